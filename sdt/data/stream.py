"""Batches that Grain's threads read from the host's memory or disk while the devices compute: for inputs that do not fit a device."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import jax

from sdt.errors import DataError, SdtError

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
def read_ahead(read: Callable[[int], Any], num: int, place: Callable[[Any], Any], *, what: str) -> Iterator[Iterator[Any]]:
  """Yields an iterator over `num` placed groups of batches, in order; the next ones are made while one is used.

  At any time there are up to three groups on the devices (one in use, one ready, one that waits for its place) and four on the host.

  Args:
    read: returns group 0 <= index < num, a tree of NumPy arrays, a pure function of the index; called in threads.
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
  # One element is a group, not a batch: what Grain does for an element takes as long as a step of a small network.
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
        f"{what} could not be read: {type(error).__name__}: {reason}; everything done so far is saved: once the data can be read again, run"
        " the same command to continue"
      ) from error
    yield group
    del group  # a group that is no longer used must not stay while the next one is made
