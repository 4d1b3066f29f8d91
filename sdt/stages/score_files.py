"""Writes scores.npz, scores.csv, scores.json, split.csv and the images of the mosaics."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sdt import files
from sdt.config import Config
from sdt.config.score_names import LAST_ROUND, OUT_OF_FOLD, SCORES, Score
from sdt.data.dataset import Data, image_sizes
from sdt.inputs.augment import centre_crop
from sdt.scores.agreement import mean_score, score_summary, score_truth, sd_over_seeds
from sdt.scores.split import Partition, rank

_MOSAIC_TILES = 100


def described(config: Config) -> Mapping[str, Score]:
  """Returns every score as it is in a run of this config.

  Those of a single pass may come from networks that have not seen the example, or of an earlier
  round, and the user says which end of the scores of a file is easy.
  """
  table = {
    **SCORES,
    "file": dataclasses.replace(SCORES["file"], direction=f"higher_is_{config.score.higher_is}"),
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


def write_scores(
  workdir: Path,
  data: Data,
  config: Config,
  scores: Mapping[str, np.ndarray],
  partitions: Sequence[Partition],
  sound: np.ndarray,
  stability: Mapping[str, Any] | None,
) -> None:
  """Writes scores.csv, scores.json and, last, scores.npz, whose presence says that the stage is
  done.

  Args:
    workdir: of the run.
    data: for ids, labels, source files and, where it is known, the truth about the examples.
    config: for the seeds.
    scores: name -> [R, N].
    partitions: per seed.
    sound: [R] bool, False for a seed whose network diverged: its scores are listed, but no mean
      counts them.
    stability: what `score_stability` returned.
  """
  train = data.train
  known = {
    name: value
    for name in ("difficulty", "wrong_label")
    if (value := getattr(train, name)) is not None
  }
  header = ["example_id", "source_file", "label", *known]
  columns: list[Any] = [
    train.example_ids,
    train.source_files or [""] * len(train),
    train.labels,
    *(_as_cells(v) for v in known.values()),
  ]
  table, entries = described(config), {}
  for name, values in scores.items():
    header += [name, f"{name}_sd", *(f"{name}_seed{seed}" for seed in config.seeds)]
    spread = sd_over_seeds(values, sound)
    columns += [
      mean_score(table[name], values, sound),
      [None] * len(train) if spread is None else spread,
      *values,
    ]
    entries[name] = {
      **dataclasses.asdict(table[name]),
      **score_summary(table[name], values, config.seeds, sound=sound),
    }
  files.write_csv(workdir / "scores.csv", header, zip(*columns, strict=True))
  ties = {seed: part.ties_at_cut for seed, part in zip(config.seeds, partitions, strict=True)}
  content: dict[str, Any] = {
    "ranked_by": config.score.name,
    "scorers": entries,
    "ties_at_cut": ties,
    "stability": stability,
  }
  truth = score_truth(train, scores, partitions, seeds=config.seeds, sound=sound, table=table)
  if truth is not None:
    content["truth"] = truth
  files.write_json(workdir / "scores.json", content)
  seeds = np.asarray(config.seeds, np.int64)
  files.write_npz(
    workdir / "scores.npz",
    example_id=train.example_ids,
    label=train.labels,
    seeds=seeds,
    sound=sound,
    **known,
    **scores,
  )


def _as_cells(values: np.ndarray) -> np.ndarray:
  """Returns the column of a table: 0 and 1 for what is or is not."""
  return values.astype(np.int8) if values.dtype == np.bool_ else values


def write_split(
  workdir: Path, data: Data, config: Config, partitions: Sequence[Partition], by_mean: Partition
) -> None:
  """Writes split.csv: the subset of every example, "A", "B" or "cut", by the mean score, and for
  each seed.
  """
  columns = []
  for part in (by_mean, *partitions):
    subset = np.full(len(data.train), "B", "<U3")
    subset[part.easy] = "A"
    subset[part.left_out] = "cut"
    columns.append(subset)
  header = ["example_id", "label", "subset", *(f"subset_seed{seed}" for seed in config.seeds)]
  files.write_csv(
    workdir / "split.csv",
    header,
    zip(data.train.example_ids, data.train.labels, *columns, strict=True),
  )


def write_mosaics(
  workdir: Path,
  data: Data,
  config: Config,
  confidence: np.ndarray,
  ranking: np.ndarray,
  partition: Partition,
) -> None:
  """Writes figures/mosaics.npz for the first seed: A's highest scores (lowest for the policy
  "bottom"), and a seeded random draw of B.

  Args:
    workdir: of the run.
    data: for images, ids and labels.
    config: for the policy and the first seed.
    confidence: [N] of the first seed.
    ranking: [N], the scores that the first seed's A was split by.
    partition: of the first seed.
  """
  if data.train.inputs.ndim != 4:
    return
  order = rank(
    -ranking if config.split.policy == "bottom" else ranking,
    data.train.example_ids,
    config.seeds[0],
  )
  easiest = order[np.isin(order, partition.easy)][:_MOSAIC_TILES]
  draw = np.random.default_rng([config.seeds[0], 0x305A]).permutation(partition.rest)[
    :_MOSAIC_TILES
  ]
  sizes = image_sizes(data.train)
  content: dict[str, Any] = {}
  for name, positions in (("easiest", easiest), ("other", draw)):
    content[f"{name}_images"] = np.asarray(
      centre_crop(data.train.inputs[positions], sizes[positions], config.data.crop_size)
    )
    content[f"{name}_ids"] = data.train.example_ids[positions]
    content[f"{name}_labels"] = data.train.labels[positions]
    content[f"{name}_confidence"] = confidence[positions]
  files.write_npz(
    workdir / "figures" / "mosaics.npz", class_names=np.asarray(data.class_names), **content
  )
