"""Reads what a finished run left on disk. Only results.json must be there; the rest is optional."""

import csv
import dataclasses
import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from sdt import files
from sdt.errors import DataError

# A value of a JSON file.
type Json = bool | int | float | str | list[Json] | dict[str, Json] | None

_RESULT_KEYS = ("data", "model", "seeds", "rounds", "num_easy", "steps_per_round", "arms")
MEASURES = ("train_loss", "train_accuracy", "test_loss", "test_accuracy")
NORMS = ("weight_norm", "effective_rate", "gradient_norm", "update_norm")
# A learning rate below this share of the one before is a sharp drop. A cosine falls slower than
# this, except at its end.
DROP = 0.6
MAX_TURNS = 8
NUM_SUSPECTS = 40  # that the report shows
# What review.html is made of. A run that lacks one of them has no such page.
SUSPECTS, REVIEW_IMAGES = "suspects.csv", "figures/review.npz"
# The same of the test images; a page without them shows training images alone.
TEST_SUSPECTS, TEST_REVIEW_IMAGES = "suspects_test.csv", "figures/review_test.npz"
SUSPECT_COLUMNS = (
  *("example_id", "source_file", "given", "suggested"),
  *("suspicion", "odds", "suspect", "seeds_agree", "num_seeds", "reason"),
)
CLEANLAB_COLUMN = "cleanlab_agree"  # behind them, with `score.cleanlab`
REVIEWED_COLUMN = "reviewed"  # behind these, with `data.corrections`
RANDOM_COLUMN = "random"  # of test images: whether one is in the random sample


@dataclasses.dataclass(frozen=True)
class Split:
  """Which examples each seed put into A and into B; a policy may leave some out of both.

  Attributes:
    seeds: [R].
    labels: [N], classes.
    in_A: [R, N].
    in_B: [R, N].
  """

  seeds: list[int]
  labels: Int[np.ndarray, "N"]
  in_A: Bool[np.ndarray, "R N"]  # noqa: N815 - the paper's name
  in_B: Bool[np.ndarray, "R N"]  # noqa: N815


@dataclasses.dataclass(frozen=True)
class Curve:
  """One phase of one arm over the rounds.

  Attributes:
    arm: its name.
    phase: its name.
    last_phase: whether it ends a round.
    rounds: [T], ascending, from 1 on.
    values: measure -> [R, T], NaN where nothing was measured.
  """

  arm: str
  phase: str
  last_phase: bool
  rounds: Int[np.ndarray, "T"]
  values: dict[str, Float[np.ndarray, "R T"]]


@dataclasses.dataclass(frozen=True)
class Artifacts:
  """The content of a workdir's files; a dict is empty where its file is missing."""

  results: dict[str, Any]
  config: dict[str, Any]
  environment: dict[str, Any]
  timing: dict[str, Any]
  score_info: dict[str, Any]
  metrics: list[dict[str, Any]]
  scores: dict[str, Shaped[np.ndarray, "..."]]
  mosaics: dict[str, Shaped[np.ndarray, "..."]]
  cam: dict[str, Shaped[np.ndarray, "..."]]
  augmentation: dict[str, Shaped[np.ndarray, "..."]]
  split: Split | None
  selection: dict[str, Any]
  suspects: dict[int, dict[str, str]]
  review: dict[str, Shaped[np.ndarray, "..."]]
  has_review: bool
  has_test_review: bool = False


def has_review(workdir: Path) -> bool:
  """Returns whether a run has what review.html is made of."""
  return all((workdir / name).exists() for name in (SUSPECTS, REVIEW_IMAGES))


def has_test_review(workdir: Path) -> bool:
  """Returns whether review.html also has test images."""
  return has_review(workdir) and all(
    (workdir / name).exists() for name in (TEST_SUSPECTS, TEST_REVIEW_IMAGES)
  )


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
  require_keys(results, _RESULT_KEYS, workdir / "results.json", remedy="run the training again")
  mosaics = _optional_npz(workdir / "figures" / "mosaics.npz")
  shown = frozenset(
    int(number) for kind in ("easiest", "hardest") for number in mosaics.get(f"{kind}_ids", ())
  )
  suspects = workdir / SUSPECTS
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
    mosaics=mosaics,
    cam=_optional_npz(workdir / "figures" / "cam.npz"),
    augmentation=_optional_npz(workdir / "figures" / "augmentation.npz"),
    split=_split(workdir / "split.csv"),
    selection=_optional_json(workdir / "selection.json"),
    suspects=_suspects(suspects, shown) if suspects.exists() else {},
    review=_optional_npz(workdir / REVIEW_IMAGES),
    has_review=has_review(workdir),
    has_test_review=has_test_review(workdir),
  )


def require_keys(content: Json, keys: Iterable[str], path: Path, remedy: str) -> None:
  """Checks that the content of a JSON file is an object with all of `keys`.

  Raises:
    DataError: a key is missing; the message ends with `remedy`.
  """
  missing = [key for key in keys if not isinstance(content, dict) or key not in content]
  if missing:
    raise DataError(f"{path}: key {missing[0]!r} is missing; is it from another version? {remedy}")


def curves(
  rows: Iterable[dict[str, Any]], arms: Sequence[str], measures: Sequence[str] = MEASURES
) -> list[Curve]:
  """Returns the curves of metrics.jsonl, sorted by `arms`, then by the first row of each phase.

  A value that a row lacks is NaN. A seed that diverges in some round is left out of all rounds of
  its arm: otherwise the mean would jump at that round only because its seeds change.
  """
  rows = list(rows)
  lost = diverged(rows)
  groups: dict[tuple[str, str], dict[tuple[int, int], dict[str, Any]]] = {}
  for row in rows:
    if row["arm"] in arms and row["seed"] not in lost.get(row["arm"], ()):
      groups.setdefault((row["arm"], row["phase"]), {})[row["seed"], row["round"]] = row
  in_order = sorted(groups, key=lambda key: arms.index(key[0]))
  return [_curve(arm, phase, groups[arm, phase], measures=measures) for arm, phase in in_order]


def _curve(
  arm: str,
  phase: str,
  cells: dict[tuple[int, int], dict[str, Any]],
  measures: Sequence[str],
) -> Curve:
  """Returns the curve of the rows of one phase, given by (seed, round)."""
  seeds = sorted({seed for seed, _ in cells})
  rounds = sorted({number for _, number in cells})
  values = {
    measure: np.array(
      [[_number(cells.get((seed, number), {}).get(measure)) for number in rounds] for seed in seeds]
    )
    for measure in measures
  }
  last_phase = any(row["last_phase"] for row in cells.values())
  return Curve(arm, phase, last_phase, rounds=np.array(rounds), values=values)


def diverged(rows: Iterable[dict[str, Any]]) -> dict[str, list[int]]:
  """Returns arm -> its seeds that diverged in some round, ascending; only arms that have any."""
  lost: dict[str, set[int]] = {}
  for row in rows:
    if row.get("diverged"):
      lost.setdefault(row["arm"], set()).add(row["seed"])
  return {arm: sorted(seeds) for arm, seeds in lost.items()}


def learning_rate_turns(rows: Sequence[dict[str, Any]]) -> dict[int, str]:
  """Returns the rounds in which the learning rate drops sharply, with the words for it.

  Where it goes back up, as at the start of each cycle, these rounds instead; {} where there are too
  many.
  """
  if not rows:
    return {}
  first = rows[0]
  by_round = {
    row["round"]: row["learning_rate"]
    for row in rows
    if (row["arm"], row["seed"]) == (first["arm"], first["seed"])
  }
  numbers = sorted(by_round)
  rates = [by_round[number] for number in numbers]
  drops = [at for at in range(1, len(rates)) if rates[at] < DROP * rates[at - 1]]
  # A warm-up goes up as well, but has not come down before.
  restarts = [
    at
    for at in range(2, len(rates))
    if rates[at - 1] <= rates[at - 2] and rates[at - 1] < DROP * min(rates[at], max(rates[:at]))
  ]
  turns, word = (restarts, "rate restarts") if restarts else (drops, "rate drops")
  return dict.fromkeys((numbers[at] for at in turns), word) if len(turns) <= MAX_TURNS else {}


def cut(scores: Float[np.ndarray, "N"], in_A: Bool[np.ndarray, "N"]) -> float | None:
  """Returns the score at the border of one seed's A: the score of A that is nearest to B.

  None where A is not one end of the ranking: a random A, or one that is balanced by class.
  """
  a, b = scores[in_A], scores[~in_A]
  if not len(a) or not len(b):
    return None
  if a.min() >= b.max():
    return float(a.min())
  return float(a.max()) if a.max() <= b.min() else None


def flat(tree: Json, prefix: str = "") -> list[tuple[str, Json]]:
  """Returns the leaves of nested dicts as (dotted key, value), in file order; lists are leaves."""
  if not isinstance(tree, dict):
    return [(prefix, tree)]
  return [
    leaf
    for key, value in tree.items()
    for leaf in flat(value, f"{prefix}.{key}" if prefix else str(key))
  ]


def _number(value: float | None) -> float:
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


def _suspects(path: Path, ids: frozenset[int]) -> dict[int, dict[str, str]]:
  """Returns the first rows of suspects.csv and those of `ids`, by example id, in the file's order.

  The others of a large set are not kept in memory.
  """
  with open(path, encoding="utf-8", newline="") as file:
    rows = csv.DictReader(file)
    if missing := [name for name in SUSPECT_COLUMNS if name not in (rows.fieldnames or ())]:
      raise DataError(
        f"{path}: expected the columns {', '.join(SUSPECT_COLUMNS)}, {missing[0]} is missing; run "
        "the same command again"
      )
    first = {int(row["example_id"]): row for row in itertools.islice(rows, NUM_SUSPECTS)}
    others = {int(row["example_id"]): row for row in rows if int(row["example_id"]) in ids}
  return first | others


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
