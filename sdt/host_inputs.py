"""Inputs that stay on the host, and one pass over them: what scoring, evaluation and recalibration are given where inputs are streamed."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from sdt.data.batches import num_batches
from sdt.data.stream import read_ahead
from sdt.devices import processes
from sdt.devices.layout import Layout, place


@dataclasses.dataclass(frozen=True)
class HostInputs:
  """Inputs that stay on the host, in memory or in a file that is mapped: train [N, ...] and test [M, ...]."""

  train: np.ndarray
  test: np.ndarray


def ascending(size: int) -> Callable[[np.ndarray], np.ndarray]:
  """Returns the function from the numbers of batches [G] to their positions [G, size] in the order of the data set, some beyond its end."""
  return lambda numbers: numbers[:, None] * size + np.arange(size)


def rows_at(inputs: np.ndarray, positions: np.ndarray) -> np.ndarray:
  """Returns the inputs at `positions`, of any shape; those beyond the end are the last one's."""
  return np.take(inputs, positions, axis=0, mode="clip")


@contextlib.contextmanager
def batches_of(
  host: HostInputs | None, split: str, positions: Callable[[np.ndarray], np.ndarray], num: int, group: int, layout: Layout
) -> Iterator[Iterator[dict[str, Any]]]:
  """Yields an iterator over the dispatches of one pass over a split: what each is given beside the data on the devices.

  Args:
    host: inputs that are streamed; None where they are not: then each dispatch is given nothing.
    split: train or test.
    positions: numbers of batches [G] -> [G, B] positions in the split.
    num: batches of the pass.
    group: batches of a dispatch; where the pass ends in the middle of one, the last batch stands again.
    layout: of the devices.
  """
  if host is None:
    yield itertools.repeat({})
    return
  inputs: np.ndarray = getattr(host, split)
  put, what = functools.partial(place, layout), f"the inputs of the {split} split"

  def read(dispatch: int) -> np.ndarray:
    return rows_at(inputs, positions(np.minimum(dispatch * group + np.arange(group), num - 1)))

  with read_ahead(read, num_batches(num, group), put, what=what) as groups:
    following = functools.partial(processes.on_all, functools.partial(next, groups))  # a process that cannot read ends all of them
    yield map(lambda _: {f"{split}_inputs": following()}, range(num_batches(num, group)))  # unlike a generator, it keeps none
