"""The toy's points: y = x^2 with noise, different for every seed; the curve is the test set."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float64, Int32

from sdt.config.schema import CurveConfig, DataConfig
from sdt.data import seeded
from sdt.data.dataset import Data, RawSplit, checksum, make_dataset

# Points of the test set, evenly spaced over [-1, 1] with both ends.
NUM_GRID = 201


def truth(x: Float[np.ndarray, "*shape"]) -> Float64[np.ndarray, "*shape"]:
  """Returns the true curve x^2 at `x`, float64."""
  return np.square(np.asarray(x, np.float64))


def positions(
  curve: CurveConfig, num_seeds: int
) -> tuple[Int32[np.ndarray, "R n"], Int32[np.ndarray, "R m"]]:
  """Returns the positions of every seed's training points and validation points, in `train`."""
  total = num_seeds * (curve.num_points + curve.num_validation)
  rows = np.arange(total, dtype=np.int32).reshape(num_seeds, -1)
  return rows[:, : curve.num_points], rows[:, curve.num_points :]


def load_curve(config: DataConfig, seeds: Sequence[int]) -> Data:
  """Returns noisy points of y = x^2 as the training split, and the true curve as the test split.

  x is uniform in (-1, 1), the noise uniform in (-data.curve.noise, data.curve.noise). The training
  split holds the points of all seeds, one seed after the other, each seed's training points before
  its validation points (`positions`); their `difficulty` is |noise| / data.curve.noise. The test
  split is on an even grid of [-1, 1]. Inputs and labels are float32 [N, 1]; the labels are no
  classes. Every point is a pure function of (data.split_seed, seed, id).

  Source: the paper, section 1. Differs from source: it states neither the number of points nor the
  noise.
  """
  curve = config.curve
  ids = np.arange(curve.num_points + curve.num_validation)
  draws = [
    [seeded.uniform(config.split_seed, f"curve {what} of seed {seed}", ids) for seed in seeds]
    for what in ("x", "noise")
  ]
  x, noise = (2.0 * np.stack(draw).reshape(-1) - 1.0 for draw in draws)
  x = x.astype(np.float32)
  grid = np.linspace(-1.0, 1.0, NUM_GRID, dtype=np.float32)
  y = (truth(x) + curve.noise * noise).astype(np.float32)
  points = RawSplit(x[:, None], y[:, None], difficulty=np.abs(noise))
  train = make_dataset(points, num_classes=1, where="curve, points")
  exact = RawSplit(grid[:, None], truth(grid).astype(np.float32)[:, None])
  test = make_dataset(exact, num_classes=1, where="curve, grid")
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
