"""Inputs that stay on the host: one pass over them, read ahead by threads while the devices
compute.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from sdt.devices import processes
from sdt.devices.layout import Layout, place
from sdt.errors import DataError, SdtError
from sdt.inputs.order import num_batches


@dataclasses.dataclass(frozen=True)
class HostInputs:
  """Inputs that stay on the host, in memory or in a file that is mapped: train [N, ...] and test
  [M, ...].
  """

  train: np.ndarray
  test: np.ndarray


def ascending(size: int) -> Callable[[np.ndarray], np.ndarray]:
  """Returns the function from the numbers of batches [G] to their positions [G, size] in the order
  of the data set, some beyond its end.
  """
  return lambda numbers: numbers[:, None] * size + np.arange(size)


def rows_at(inputs: np.ndarray, positions: np.ndarray) -> np.ndarray:
  """Returns the inputs at `positions`, of any shape; those beyond the end are the last one's."""
  return np.take(inputs, positions, axis=0, mode="clip")


@contextlib.contextmanager
def batches_of(
  host: HostInputs | None,
  split: str,
  positions: Callable[[np.ndarray], np.ndarray],
  num: int,
  group: int,
  layout: Layout,
) -> Iterator[Iterator[dict[str, Any]]]:
  """Yields an iterator over the dispatches of one pass over a split: what each is given beside the
  data on the devices.

  Args:
    host: inputs that are streamed; None where they are not: then each dispatch is given nothing.
    split: train or test.
    positions: numbers of batches [G] -> [G, B] positions in the split.
    num: batches of the pass.
    group: batches of a dispatch; where the pass ends in the middle of one, the last batch stands
      again.
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
    following = functools.partial(
      processes.on_all, functools.partial(next, groups)
    )  # a process that cannot read ends all of them
    yield map(
      lambda _: {f"{split}_inputs": following()}, range(num_batches(num, group))
    )  # unlike a generator, it keeps none


# Groups that are read at once: a disk answers many requests sooner than one after the other.
_THREADS = 4


@dataclasses.dataclass(frozen=True)
class _Groups:
  """What Grain reads, in any order, by several threads."""

  read: Callable[[int], Any]
  num: int

  def __len__(self) -> int:
    return self.num

  def __getitem__(self, index: int) -> Any:
    return self.read(index)


@contextlib.contextmanager
def read_ahead(
  read: Callable[[int], Any], num: int, place: Callable[[Any], Any], *, what: str
) -> Iterator[Iterator[Any]]:
  """Yields an iterator over `num` placed groups of batches, in order; the next ones are made while
  one is used.

  At any time there are up to three groups on the devices (one in use, one ready, one that waits for
  its place) and four on the host.

  Args:
    read: returns group 0 <= index < num, a tree of NumPy arrays, a pure function of the index;
      called in threads.
    num: groups.
    place: puts a group on the devices; called in a thread.
    what: is read, for the error message.

  The iterator raises a DataError where a group cannot be read; leaving the block ends the threads.
  """
  if num == 0:
    yield iter(())
    return
  import grain  # takes a second, which runs whose data fit the device need not wait

  source: Any = _Groups(read, num)
  # One element is a group, not a batch: what Grain does for an element takes as long as a step of a
  # small network.
  options = grain.ReadOptions(num_threads=_THREADS, prefetch_buffer_size=_THREADS)
  dataset = grain.MapDataset.source(source).to_iter_dataset(options).map(place)
  groups = iter(grain.experimental.ThreadPrefetchIterDataset(dataset, prefetch_buffer_size=1))
  try:
    yield _told(groups, what)
  finally:
    groups.close()


def _told(groups: Iterator[Any], what: str) -> Iterator[Any]:
  """Yields the groups; an error of a thread becomes a DataError that says what was read."""
  while True:
    try:
      group = next(groups)
    except StopIteration:
      return
    except (SdtError, jax.errors.JaxRuntimeError):
      raise
    except Exception as error:  # whatever file systems and decoders raise
      reason = " ".join(str(error).split())[:200]
      raise DataError(
        f"{what} could not be read: {type(error).__name__}: {reason}; everything done so far is "
        "saved: once the data can be read again, run"
        " the same command to continue"
      ) from error
    yield group
    del group  # a group that is no longer used must not stay while the next one is made
