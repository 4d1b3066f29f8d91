"""Makes a training set imbalanced on purpose: how many examples each class keeps, and which."""

from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Int, Int64

from sdt.config.schema import DataConfig
from sdt.config.toolbox.imbalance_blocks import IMBALANCES
from sdt.config.toolbox.parse import parse_call
from sdt.data import seeded
from sdt.errors import DataError

KEY = "data.imbalance"


def _longtail(
  counts: Int[np.ndarray, "K"], numbers: tuple[float, ...], seed: int
) -> Int64[np.ndarray, "K"]:
  """Returns n ratio^(-k / (K - 1)) to the nearest, with the largest n that every class allows."""
  del seed
  shares = numbers[0] ** (-np.arange(len(counts)) / max(1, len(counts) - 1))
  largest = np.floor(np.min(counts / shares) + 1e-9)
  return np.floor(largest * shares + 0.5).astype(np.int64)


def _uniform(
  counts: Int[np.ndarray, "K"], numbers: tuple[float, ...], seed: int
) -> Int64[np.ndarray, "K"]:
  """Returns for each class a number drawn from low to high, a function of (seed, class)."""
  low, high = (int(number) for number in numbers)
  classes = np.arange(len(counts))
  return low + seeded.integers(seed, "imbalance of class", classes, high=high - low + 1)


COUNTS: Mapping[str, Callable[..., Int64[np.ndarray, "K"]]] = {
  "longtail": _longtail,
  "uniform": _uniform,
}


def counts_of(
  text: str, counts: Int[np.ndarray, "K"], seed: int, where: str = KEY
) -> Int64[np.ndarray, "K"]:
  """Returns how many examples each class keeps, [K].

  Args:
    text: a block of `IMBALANCES`.
    counts: [K], the examples of each class before.
    seed: of what is drawn, `data.split_seed`.
    where: the start of a message about it.

  Raises:
    DataError: a class has fewer examples than it is to keep, or would keep none.
  """
  call = parse_call(text, IMBALANCES)
  kept = COUNTS[call.name](counts, call.numbers, seed)
  too_few = np.flatnonzero((kept < 1) | (kept > counts))
  if len(too_few):
    worst = int(too_few[-1])
    raise DataError(
      f"{where}: {KEY}={text} would leave class {worst} with {kept[worst]} of its "
      f"{counts[worst]} examples; expected from 1 to all of them: choose other numbers"
      + (", or more examples by data.num_train" if kept[worst] < 1 else "")
    )
  return kept


def positions(
  labels: Int[np.ndarray, "N"],
  ids: Int[np.ndarray, "N"],
  num_classes: int,
  config: DataConfig,
  *,
  where: str = KEY,
) -> Int64[np.ndarray, "n"]:
  """Returns the positions of the examples that stay, ascending.

  Of each class those stay whose id has the smallest seeded hash, so a smaller count keeps a part of
  what a larger one keeps, and the order of the examples does not matter.

  Args:
    labels: [N] in [0, num_classes), those of the set.
    ids: [N], unique.
    num_classes: K.
    config: `imbalance`, `split_seed`.
    where: what messages call the set.

  Raises:
    DataError: see `counts_of`.
  """
  counts = np.bincount(labels, minlength=num_classes)
  kept = counts_of(config.imbalance or "", counts, config.split_seed, where=where)
  order = np.lexsort((seeded.bits(config.split_seed, "imbalance", ids), labels))
  rank = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
  return np.sort(order[rank < np.repeat(kept, counts)])
