"""Finished runs that never happened, as far as `sdt.trained.load` and comparing them read files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sdt import files
from sdt.config import config_hash, to_dict
from sdt.report.read import SUSPECT_COLUMNS
from tests.support import tiny

NAMES = ("cat", "dog", "eel")
LABELS = np.arange(30) % 3
SEEDS = (0, 1, 2)


def answers(right: Sequence[int], labels: np.ndarray = LABELS) -> np.ndarray:
  """Returns what networks say, [R, n]: of each seed so many of the first examples are right."""
  place = np.arange(len(labels))
  return np.stack([np.where(place < count, labels, (labels + 1) % 3) for count in right])


def write(
  workdir: Path,
  predicted: Mapping[str, np.ndarray],
  *,
  labels: np.ndarray = LABELS,
  ids: Sequence[int] | None = None,
  given: Sequence[str] | None = None,
  results: Mapping[str, Any] | None = None,
  **keys: Any,
) -> Path:
  """Writes a run and returns its workdir.

  Args:
    workdir: of the run.
    predicted: by arm, [R, n].
    labels, ids: of the test set.
    given: the training labels, by example id.
    results: further entries of results.json; `data` is added to its own.
    keys: of the config, as `tiny.config` takes them.
  """
  config = tiny.config(**({"seeds": SEEDS} | keys), arms=tuple(predicted))
  of_data = {"name": "shapes", "class_names": NAMES, "checksum": "5f" * 32}
  further = dict(results or {})
  content = {
    "data": of_data | further.pop("data", {}),
    "seeds": config.seeds,
    "arms": {arm: {"accuracy": dict.fromkeys(config.seeds, 0.5)} for arm in predicted},
    "recommended": {"arm": "baseline", "seed": 0},
    "predictions": {"file": "predictions.npz", "table": {"file": "predictions.csv"}},
    **further,
  }
  files.write_json(workdir / "results.json", content)
  files.write_json(
    workdir / "config.json", {"config": to_dict(config), "hash": config_hash(config)}
  )
  sums = {f"data.{key}": f"digest of {path}" for key, path in _named(config).items()}
  files.write_json(workdir / "environment.json", {"file_checksums": sums, "choices": {}})
  files.write_json(workdir / "scores.json", {})
  numbers = np.arange(len(labels)) if ids is None else np.array(ids)
  _write_predictions(workdir, predicted, labels, ids=numbers, seeds=config.seeds)
  rows = [
    [number, f"train/{number}.png", name, "dog", 0.5, 0.1, 0, 1, 3, "made up"]
    for number, name in enumerate(given if given is not None else ["cat"] * 9)
    if name
  ]
  files.write_csv(workdir / "suspects.csv", SUSPECT_COLUMNS, rows)
  return workdir


def _write_predictions(
  workdir: Path,
  predicted: Mapping[str, np.ndarray],
  labels: np.ndarray,
  *,
  ids: np.ndarray,
  seeds: Sequence[int],
) -> None:
  with files.writing_npz(workdir / "predictions.npz") as archive:
    archive.write("predicted", np.stack(list(predicted.values())).astype(np.int32))
    archive.write("example_id", ids.astype(np.int32))
    archive.write("label", labels.astype(np.int32))
    archive.write("arms", np.array(list(predicted)))
    archive.write("weights", np.array([f"{workdir}:{arm}" for arm in predicted]))
    archive.write("seeds", np.array(seeds, np.int64))
  sources = [[number, f"test/{number}.png"] for number in ids.tolist()]
  files.write_csv(workdir / "predictions.csv", ["example_id", "source_file"], sources)


def _named(config: Any) -> dict[str, Any]:
  """Returns the keys of `data` that name files of labels, where they do."""
  keys = ("corrections", "corrections_test")
  return {key: paths for key in keys if (paths := getattr(config.data, key))}
