"""doctor.json: what an examination has found, as a file; and what an earlier one has left there."""

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import sdt
from sdt import files
from sdt.config import config_hash, to_dict
from sdt.doctor.plan import PLAN, number_of
from sdt.doctor.visit import Outcome, Visit
from sdt.models import count_params
from sdt.stats.finding import Finding

FILE = "doctor.json"


def read(workdir: Path, visit: Visit) -> dict[str, Outcome]:
  """Returns the outcomes of an earlier examination of the same config, data and version.

  {} where there is none, or the file is damaged: everything in it can be measured again.
  """
  path = workdir / FILE
  content = files.read_json(path) if files.is_intact(path) else {}
  if content.get("of") != _of(visit):
    return {}
  return {
    name: Outcome(
      tuple(Finding(**one) for one in step["findings"]), step["measured"], step["seconds"]
    )
    for name, step in content["steps"].items()
  }


def write(workdir: Path, visit: Visit, advice: Mapping[str, Any]) -> dict[str, Any]:
  """Writes doctor.json and returns its content.

  Args:
    workdir: of the run; its other files stay as they are.
    visit: with the outcomes.
    advice: the entry "next".
  """
  data, setup = visit.data, visit.lesson.setup
  steps = {
    name: {
      "number": number_of(name),
      "title": PLAN[name].title,
      "what": PLAN[name].line,
      "findings": [dataclasses.asdict(one) for one in visit.outcomes[name].findings],
      "measured": visit.outcomes[name].measured,
      "seconds": round(visit.outcomes[name].seconds, 3),
    }
    for name in PLAN
    if name in visit.outcomes
  }
  content: dict[str, Any] = _finite(
    {
      "of": _of(visit),
      "data": {
        "name": data.name,
        "num_train": len(data.train),
        "num_test": len(data.test),
        "num_classes": len(data.class_names),
      },
      "model": {
        "name": visit.config.model.name,
        "num_params": count_params(setup.model, setup.input_shape),
      },
      "seed": visit.plain.seeds[0],
      "batch_size": visit.config.batch_size,
      "steps": steps,
      "next": dict(advice),
      "config": to_dict(visit.config),
    }
  )
  files.write_json(workdir / FILE, content)
  return content


def _of(visit: Visit) -> dict[str, str]:
  return {
    "config_hash": config_hash(visit.config),
    "data_checksum": visit.data.checksum,
    "version": sdt.__version__,
  }


def _finite(tree: Any) -> Any:
  """Returns a tree of plain values with None for numbers that are not finite."""
  if isinstance(tree, Mapping):
    return {str(key): _finite(value) for key, value in tree.items()}
  if isinstance(tree, list | tuple):
    return [_finite(value) for value in tree]
  return None if isinstance(tree, float) and not math.isfinite(tree) else tree
