"""The toy: noisy points of y = x^2, for every seed its own, and the curve itself as the
test set.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sdt.config.schema import CurveConfig, DataConfig
from sdt.data import seeded
from sdt.data.dataset import Data, checksum, make_dataset

# Of the test set, evenly spaced over [-1, 1] with both ends.
NUM_GRID = 201


def truth(x: np.ndarray) -> np.ndarray:
  """Returns the true curve at `x`, float64."""
  return np.square(np.asarray(x, np.float64))


def positions(curve: CurveConfig, num_seeds: int) -> tuple[np.ndarray, np.ndarray]:
  """Returns the positions in the training split of every seed's training points [R, n] and
  validation points [R, m], int32.
  """
  rows = np.arange(num_seeds * (curve.num_points + curve.num_validation), dtype=np.int32).reshape(
    num_seeds, -1
  )
  return rows[:, : curve.num_points], rows[:, curve.num_points :]


def load_curve(config: DataConfig, seeds: Sequence[int]) -> Data:
  """Returns noisy points of y = x^2: x uniform in (-1, 1), noise uniform in (-data.curve.noise,
  data.curve.noise).

  The training split holds the points of all seeds, one seed after the other, each seed's training
  points before its validation points (`positions`), and their |noise| / data.curve.noise as
  `difficulty`. The test split is the true curve on an even grid of [-1, 1]. Inputs are float32 [N,
  1] and so are the labels, which are no classes. Every point is a pure function of
  (data.split_seed, seed, id).

  Source: the paper, section 1. Differs from source: it states neither the number of points nor the
  noise.
  """
  curve, num_own = config.curve, config.curve.num_points + config.curve.num_validation
  ids = np.arange(num_own)
  draws = [
    [seeded.uniform(config.split_seed, f"curve {what} of seed {seed}", ids) for seed in seeds]
    for what in ("x", "noise")
  ]
  x, noise = (2.0 * np.stack(draw).reshape(-1) - 1.0 for draw in draws)
  x = x.astype(np.float32)
  grid = np.linspace(-1.0, 1.0, NUM_GRID, dtype=np.float32)
  train = make_dataset(
    x[:, None],
    (truth(x) + curve.noise * noise).astype(np.float32)[:, None],
    num_classes=1,
    where="curve, points",
    difficulty=np.abs(noise),
  )
  test = make_dataset(
    grid[:, None], truth(grid).astype(np.float32)[:, None], num_classes=1, where="curve, grid"
  )
  return Data(
    train=train,
    test=test,
    class_names=("y",),
    name=config.name,
    variant="procedural",
    checksum=checksum(train, test, ("y",)),
    mean=np.zeros(1, np.float32),  # the network sees x itself
    std=np.ones(1, np.float32),
  )
