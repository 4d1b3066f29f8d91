"""Writes scores.npz, scores.csv, scores.json, split.csv and the easiest and hardest images."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from sdt import files
from sdt.config import Config
from sdt.config.score_names import (
  COURSE,
  LAST_ROUND,
  OTHER_CLASS,
  OUT_OF_FOLD,
  PROBABILITIES,
  SCORES,
  Score,
)
from sdt.data.dataset import Data
from sdt.scores.agreement import mean_score, score_summary, score_truth, sd_over_seeds
from sdt.scores.split import Partition, rank
from sdt.scores.suspects import Suspects
from sdt.stages import suspect_files

_TILES = 20  # of each mosaic


def described(config: Config) -> Mapping[str, Score]:
  """Returns every score as it is in a run of this config.

  Those of a single pass may come from networks that have not seen the example, or of an earlier
  round, and the user says which end of the scores of a file is easy.
  """
  table = {
    **SCORES,
    "file": dataclasses.replace(
      SCORES["file"], direction=f"higher_is_{config.score.file_direction}"
    ),
  }
  is_early = config.score.at_round not in (None, config.rounds)
  told = [OUT_OF_FOLD] if config.score.folds is not None else []
  told += [f"round {config.score.at_round}"] if is_early else []
  changes: dict[str, Any] = ({"source": ", ".join(told)} if told else {}) | (
    {"note": None} if is_early else {}
  )
  return {
    name: dataclasses.replace(score, **changes) if score.source == LAST_ROUND else score
    for name, score in table.items()
  }


@dataclasses.dataclass(frozen=True)
class Scored:
  """What the stages of scores and split come to.

  Attributes:
    values: by score, [R, N].
    other_class: [R, N], the most probable class but the label's.
    sound: [R] bool, False for a seed whose network diverged: its scores are listed, but no mean
      counts them.
    partitions: of every seed.
    suspects: the examples as suspects.
    stability: what `agreement.score_stability` returned.
    probabilities: [R, N, K] of all classes, or None.
    course: [R, N, rounds] of the label in every round, 255 for certainty, or None.
  """

  values: Mapping[str, np.ndarray]
  other_class: Int[np.ndarray, "R N"]
  sound: Bool[np.ndarray, "R"]
  partitions: Sequence[Partition]
  suspects: Suspects
  stability: Mapping[str, Any] | None
  probabilities: Float[np.ndarray, "R N K"] | None = None
  course: UInt8[np.ndarray, "R N rounds"] | None = None


def write_scores(workdir: Path, data: Data, config: Config, scored: Scored) -> None:
  """Writes scores.csv, scores.json and, last, scores.npz, which tells that the stage is done.

  Args:
    workdir: of the run.
    data: for ids, labels, source files and, where it is known, the truth about the examples.
    config: for the seeds.
    scored: what is written.
  """
  train, seeds, sound = data.train, config.seeds, scored.sound
  known = {
    name: value
    for name in ("difficulty", "wrong_label")
    if (value := getattr(train, name)) is not None
  }
  _write_score_table(workdir, data, config, scored=scored, known=known)
  table = described(config)
  entries = {
    name: {
      **dataclasses.asdict(table[name]),
      **score_summary(table[name], values, seeds, sound=sound),
    }
    for name, values in scored.values.items()
  }
  parts = scored.partitions
  content: dict[str, Any] = {
    "ranked_by": config.score.name,
    "scorers": entries,
    "ties_at_cut": {seed: part.ties_at_cut for seed, part in zip(seeds, parts, strict=True)},
    "stability": scored.stability,
    "suspects": scored.suspects.summary(train.labels, data.class_names, train.wrong_label),
  }
  truth = score_truth(train, scored.values, parts, seeds=seeds, sound=sound, table=table)
  if truth is not None:
    content["truth"] = truth
  files.write_json(workdir / "scores.json", content)
  on_request = {PROBABILITIES: scored.probabilities, COURSE: scored.course}
  files.write_npz(
    workdir / "scores.npz",
    example_id=train.example_ids,
    label=train.labels,
    seeds=np.asarray(seeds, np.int64),
    sound=sound,
    **known,
    **{OTHER_CLASS: scored.other_class},
    **{name: value for name, value in on_request.items() if value is not None},
    **scored.values,
  )


def _write_score_table(
  workdir: Path, data: Data, config: Config, scored: Scored, *, known: Mapping[str, np.ndarray]
) -> None:
  """Writes scores.csv: a row for every example, and for every score its mean, sd and every seed."""
  train, table = data.train, described(config)
  header = ["example_id", "source_file", "label", "class_name", *known]
  columns: list[Any] = [
    train.example_ids,
    train.source_files or [""] * len(train),
    train.labels,
    _names_of(data),
    *map(_as_cells, known.values()),
  ]
  for name, values in scored.values.items():
    header += [name, f"{name}_sd", *(f"{name}_seed{seed}" for seed in config.seeds)]
    spread = sd_over_seeds(values, scored.sound)
    columns.append(mean_score(table[name], values, scored.sound))
    columns += [[None] * len(train) if spread is None else spread, *values]
  files.write_csv(workdir / "scores.csv", header, zip(*columns, strict=True))


def _names_of(data: Data) -> list[str]:
  """Returns the class name of every training example."""
  return [data.class_names[label] for label in data.train.labels]


def _as_cells(values: np.ndarray) -> np.ndarray:
  """Returns the column of a table: 0 and 1 for what is or is not."""
  return values.astype(np.int8) if values.dtype == np.bool_ else values


def write_split(
  workdir: Path, data: Data, config: Config, partitions: Sequence[Partition], by_mean: Partition
) -> None:
  """Writes split.csv: "A", "B" or "cut" for every example, by the mean score and for each seed."""
  columns = []
  for part in (by_mean, *partitions):
    subset = np.full(len(data.train), "B", "<U3")
    subset[part.easy] = "A"
    subset[part.left_out] = "cut"
    columns.append(subset)
  seeds = [f"subset_seed{seed}" for seed in config.seeds]
  header = ["example_id", "label", "class_name", "subset", *seeds]
  files.write_csv(
    workdir / "split.csv",
    header,
    zip(data.train.example_ids, data.train.labels, _names_of(data), *columns, strict=True),
  )


def write_mosaics(
  workdir: Path,
  data: Data,
  config: Config,
  *,
  confidence: Float[np.ndarray, "N"],
  easiness: Float[np.ndarray, "N"],
) -> None:
  """Writes figures/mosaics.npz: the easiest and the hardest training images.

  Args:
    workdir: of the run.
    data: for images, ids and labels.
    config: for the crop and the first seed, which orders equal scores.
    confidence: [N], mean over the seeds.
    easiness: [N], mean over the seeds of the score that ranks; larger is easier.
  """
  if data.train.inputs.ndim != 4:
    return
  order = rank(easiness, data.train.example_ids, config.seeds[0])
  content: dict[str, Any] = {}
  for name, positions in (("easiest", order[:_TILES]), ("hardest", order[::-1][:_TILES])):
    content[f"{name}_images"] = suspect_files.thumbnails(
      data.train, positions, config.data.crop_size
    )
    content[f"{name}_ids"] = data.train.example_ids[positions]
    content[f"{name}_labels"] = data.train.labels[positions]
    content[f"{name}_confidence"] = confidence[positions]
  files.write_npz(
    workdir / "figures" / "mosaics.npz", class_names=np.asarray(data.class_names), **content
  )
