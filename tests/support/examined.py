"""Examinations of tiny problems, without the command around them."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sdt.config import Config
from sdt.data.dataset import Data, Dataset
from sdt.doctor import steps
from sdt.doctor.plan import CHEAP
from sdt.doctor.visit import Visit
from sdt.run.load_inputs import Beside
from sdt.run.search.trials import Ask
from tests.support import tiny


def visit(config: Config, data: Data | None = None, folder: Path = Path("nowhere")) -> Visit:
  """Returns an examination that has not begun; grids cannot run."""

  def refuse(asked: Ask) -> None:
    raise AssertionError(f"a grid was asked for: {asked.name}")

  return Visit(config, data or tiny.data(config), Beside(), folder, run=refuse, log=lambda _: None)


def examined(
  config: Config, data: Data | None = None, names: Sequence[str] = CHEAP
) -> dict[str, list[str]]:
  """Returns the codes of what each step finds that is not ok, faults in capitals."""
  made = visit(config, data)
  list(steps.examine(made, names))
  return {
    name: [
      one.code.upper() if one.level == "fault" else one.code
      for one in outcome.findings
      if one.level != "ok"
    ]
    for name, outcome in made.outcomes.items()
  }


def with_labels(
  data: Data, *, train: np.ndarray | None = None, test: np.ndarray | None = None
) -> Data:
  """Returns the data with other labels."""

  def relabelled(split: Dataset, labels: np.ndarray | None) -> Dataset:
    return split if labels is None else dataclasses.replace(split, labels=labels.astype(np.int32))

  return dataclasses.replace(
    data, train=relabelled(data.train, train), test=relabelled(data.test, test)
  )
