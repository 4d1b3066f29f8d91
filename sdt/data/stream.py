"""Batches that Grain's threads read from the host's memory or disk while the devices compute: for inputs that do not fit a device."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from sdt.data.batches import num_batches
from sdt.errors import DataError, SdtError

_THREADS = 8  # that read at once: a disk answers many requests sooner than one after the other


@dataclasses.dataclass(frozen=True)
class _Batches:
  """What Grain reads: batch `index` of `total`, in any order, by several threads; beyond `num` the last one stands again."""

  read: Callable[[int], Any]
  num: int
  total: int

  def __len__(self) -> int:
    return self.total

  def __getitem__(self, index: int) -> Any:
    return self.read(min(index, self.num - 1))


@contextlib.contextmanager
def read_ahead(
  read: Callable[[int], Any], num: int, group: int, place: Callable[[Any], Any], *, what: str, axis: int = 0
) -> Iterator[Iterator[Any]]:
  """Yields an iterator over ceil(num / group) placed groups of batches, in order; the next ones are made while one is used.

  At any time there are up to three groups on the devices (one in use, one ready, one that waits for its place) and two on the host.

  Args:
    read: returns batch 0 <= index < num, a tree of NumPy arrays, a pure function of the index; called in threads.
    num: batches in all. The last group is filled up with the last batch.
    group: batches in a group, stacked along a new axis.
    place: puts a group on the devices; called in a thread.
    what: is read, for the error message.
    axis: of the batches in a group.

  The iterator raises a DataError where a batch cannot be read; leaving the block ends the threads.
  """
  import grain  # takes a second, which runs whose data fit the device need not wait

  def stacked(batches: Any) -> Any:
    return jax.tree.map(lambda *leaves: np.stack(leaves, axis), *batches)

  source: Any = _Batches(read, num, num_batches(num, group) * group)
  options = grain.ReadOptions(num_threads=min(_THREADS, group), prefetch_buffer_size=group)
  dataset = grain.MapDataset.source(source).to_iter_dataset(options).batch(group, batch_fn=stacked).map(place)
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
    except (SdtError, MemoryError, jax.errors.JaxRuntimeError):
      raise
    except Exception as error:  # whatever file systems and decoders raise
      reason = " ".join(str(error).split())[:200]
      raise DataError(
        f"{what} could not be read: {type(error).__name__}: {reason}; everything done so far is saved: once the data can be read again, run"
        " the same command to continue"
      ) from error
    yield group
    del group  # a group that is no longer used must not stay while the next one is made
