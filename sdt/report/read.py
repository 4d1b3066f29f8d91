"""What a finished run left on disk, read for the report. Only results.json must be there; every
other part may be missing.
"""

from __future__ import annotations

import csv
import dataclasses
import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sdt import files
from sdt.errors import DataError

_RESULT_KEYS = ("data", "model", "seeds", "rounds", "num_easy", "steps_per_round", "arms")
MEASURES = ("train_loss", "train_accuracy", "test_loss", "test_accuracy")
NORMS = ("weight_norm", "effective_rate", "gradient_norm", "update_norm")
# A learning rate that falls below this share of the round before is a drop worth a mark; a cosine
# falls slower, but for its end.
DROP = 0.6
MAX_DROPS = 8


@dataclasses.dataclass(frozen=True)
class Split:
  """Labels [N], and which examples each seed put into A and into B, [R, N] each; a policy may leave
  some out of both.
  """

  seeds: list[int]
  labels: np.ndarray
  in_A: np.ndarray  # noqa: N815 - the paper's name
  in_B: np.ndarray  # noqa: N815


@dataclasses.dataclass(frozen=True)
class Curve:
  """One phase of one arm: rounds [T] and per measure the values [R, T] of its seeds, NaN where
  nothing was measured.
  """

  arm: str
  phase: str
  last_phase: bool
  rounds: np.ndarray
  values: dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Artifacts:
  results: dict[str, Any]
  config: dict[str, Any]
  environment: dict[str, Any]
  timing: dict[str, Any]
  score_info: dict[str, Any]
  metrics: list[dict[str, Any]]
  scores: dict[str, np.ndarray]
  mosaics: dict[str, np.ndarray]
  cam: dict[str, np.ndarray]
  split: Split | None
  selection: dict[str, Any]


def load(workdir: Path) -> Artifacts:
  """Returns the artifacts of a workdir; a missing optional part is empty.

  Raises:
    DataError: no results.json, or a file is damaged.
  """
  if not (workdir / "results.json").exists():
    raise DataError(
      f"{workdir / 'results.json'} is missing: no finished run there; run the training first, or "
      "name its workdir"
    )
  results = _optional_json(workdir / "results.json")
  missing = [key for key in _RESULT_KEYS if key not in results]
  if missing:
    raise DataError(
      f"{workdir / 'results.json'}: key {missing[0]!r} is missing; is it from another version? "
      "run the training again"
    )
  return Artifacts(
    results=results,
    config=_optional_json(workdir / "config.json"),
    environment=_optional_json(workdir / "environment.json"),
    timing=_optional_json(workdir / "timing.json"),
    score_info=_optional_json(workdir / "scores.json"),
    metrics=files.read_rows(workdir / "metrics.jsonl")
    if (workdir / "metrics.jsonl").exists()
    else [],
    scores=_optional_npz(workdir / "scores.npz"),
    mosaics=_optional_npz(workdir / "figures" / "mosaics.npz"),
    cam=_optional_npz(workdir / "figures" / "cam.npz"),
    split=_split(workdir / "split.csv"),
    selection=_optional_json(workdir / "selection.json"),
  )


def curves(
  rows: Iterable[dict[str, Any]], arms: Sequence[str], measures: Sequence[str] = MEASURES
) -> list[Curve]:
  """Returns the curves of metrics.jsonl in the order of `arms`, phases in the order of their first
  row; NaN where a row has no value.

  A seed that diverges in some round is left out of all rounds of its arm: a mean whose seeds change
  on the way would bend for no reason.
  """
  rows = list(rows)
  lost = diverged(rows)
  groups: dict[tuple[str, str], dict[tuple[int, int], dict[str, Any]]] = {}
  for row in (row for row in rows if row["seed"] not in lost.get(row["arm"], ())):
    groups.setdefault((row["arm"], row["phase"]), {})[row["seed"], row["round"]] = row
  result = []
  for arm, phase in sorted(
    (key for key in groups if key[0] in arms), key=lambda key: arms.index(key[0])
  ):
    cells = groups[arm, phase]
    seeds = sorted({seed for seed, _ in cells})
    rounds = sorted({number for _, number in cells})
    values = {
      measure: np.array(
        [
          [_number(cells.get((seed, number), {}).get(measure)) for number in rounds]
          for seed in seeds
        ]
      )
      for measure in measures
    }
    last_phase = any(row["last_phase"] for row in cells.values())
    result.append(Curve(arm, phase, last_phase, rounds=np.array(rounds), values=values))
  return result


def diverged(rows: Iterable[dict[str, Any]]) -> dict[str, list[int]]:
  """Returns arm -> the seeds, ascending, that diverged in some round, for the arms that
  have any.
  """
  found: dict[str, set[int]] = {}
  for row in rows:
    if row.get("diverged"):
      found.setdefault(row["arm"], set()).add(row["seed"])
  return {arm: sorted(seeds) for arm, seeds in found.items()}


def learning_rate_drops(rows: Sequence[dict[str, Any]]) -> list[int]:
  """Returns the rounds with a sharply lower learning rate than the one before in `rows`; [] where
  there are too many to mark.
  """
  if not rows:
    return []
  first = rows[0]
  rates = {
    row["round"]: row["learning_rate"]
    for row in rows
    if (row["arm"], row["seed"]) == (first["arm"], first["seed"])
  }
  drops = [
    number
    for before, number in itertools.pairwise(sorted(rates))
    if rates[number] < DROP * rates[before]
  ]
  return drops if len(drops) <= MAX_DROPS else []


def cut(scores: np.ndarray, in_A: np.ndarray) -> float | None:
  """Returns the score at the border between A and B for one seed, None where A is not one end of
  the ranking (random, balanced).
  """
  a, b = scores[in_A], scores[~in_A]
  if not len(a) or not len(b):
    return None
  if a.min() >= b.max():
    return float(a.min())
  return float(a.max()) if a.max() <= b.min() else None


def flat(tree: Any, prefix: str = "") -> list[tuple[str, Any]]:
  """Returns the leaves of nested dicts as (dotted key, value), in file order; lists are leaves."""
  if not isinstance(tree, dict):
    return [(prefix, tree)]
  return [
    leaf
    for key, value in tree.items()
    for leaf in flat(value, f"{prefix}.{key}" if prefix else str(key))
  ]


def _number(value: Any) -> float:
  return float("nan") if value is None else float(value)


def _optional_json(path: Path) -> dict[str, Any]:
  value = files.read_json(path) if path.exists() else {}
  if not isinstance(value, dict):
    raise DataError(
      f"{path}: expected a JSON object, got {type(value).__name__}; run the same command again"
    )
  return value


def _optional_npz(path: Path) -> dict[str, np.ndarray]:
  return files.read_npz(path) if path.exists() else {}


def _split(path: Path) -> Split | None:
  if not path.exists():
    return None
  with open(path, encoding="utf-8", newline="") as file:
    header, *rows = csv.reader(file)
  prefix = "subset_seed"
  columns = [index for index, name in enumerate(header) if name.startswith(prefix)]
  if (
    "label" not in header or not columns or not rows or any(len(row) != len(header) for row in rows)
  ):
    raise DataError(
      f"{path}: expected the columns label and {prefix}<k>, and a row per example; run the same "
      "command again"
    )
  table = np.array(rows).T
  seeds = [int(header[index].removeprefix(prefix)) for index in columns]
  in_A, in_B = (np.stack([table[index] == name for index in columns]) for name in "AB")
  return Split(seeds, table[header.index("label")].astype(np.int64), in_A, in_B=in_B)
