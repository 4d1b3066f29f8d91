"""A training set with scores of two networks, made by hand: nothing is trained."""

import csv
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sdt.data.dataset import Data
from sdt.scores.split import Partition, split
from sdt.scores.suspects import find
from sdt.stages.score_files import Scored
from tests.support import tiny

CONFIG = tiny.config(seeds=(3, 8), rounds=2)
STABILITY = {"mean_spearman": 0.5}


def make_data() -> Data:
  """Returns the tiny set with ids that are not positions, and a file name for each example."""
  made = tiny.data(CONFIG)
  ids = np.arange(len(made.train), dtype=np.int32) * 3 + 5
  names = tuple(f"a/{index}.png" for index in range(len(made.train)))
  train = dataclasses.replace(made.train, example_ids=ids, source_files=names)
  return dataclasses.replace(made, train=train)


def scored(data: Data, seed: int = 0) -> tuple[dict[str, np.ndarray], tuple[Partition, ...]]:
  """Returns scores of two networks, [2, N] each, and their partitions with 7 examples in A."""
  odds = np.random.default_rng(seed).normal(size=(2, len(data.train))).astype(np.float32)
  confidence = (1 / (1 + np.exp(-odds))).astype(np.float32)
  scores = {"confidence": confidence, "log_odds": odds, "margin": odds + np.float32(0.5)}
  parts = tuple(
    split(one, data.train, size=7, seed=seed) for one, seed in zip(odds, CONFIG.seeds, strict=True)
  )
  return scores, parts


def scored_of(
  scores: dict[str, np.ndarray],
  partitions: tuple[Partition, ...],
  *,
  sound: Sequence[bool] = (True, True),
  stability: dict[str, float] | None = STABILITY,
) -> Scored:
  """Returns what the stages come to whose networks have these scores; class 0 is always next."""
  other, is_sound = np.zeros(scores["margin"].shape, np.int32), np.array(sound)
  suspects = find(scores, other, is_sound)
  return Scored(scores, other, is_sound, partitions, suspects=suspects, stability=stability)


def read_table(path: Path) -> list[dict[str, str]]:
  """Returns the rows of a csv file."""
  with path.open(newline="") as file:
    return list(csv.DictReader(file))
