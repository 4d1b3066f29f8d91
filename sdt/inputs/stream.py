"""Inputs that stay on the host: threads read them ahead while the devices compute."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator

import jax
import numpy as np
from jaxtyping import Int, Shaped

from sdt.errors import DataError, SdtError


@dataclasses.dataclass(frozen=True)
class HostInputs:
  """Inputs in the host's memory or in a mapped file: train [N, ...], test [M, ...], unlabelled."""

  train: Shaped[np.ndarray, "N ..."]
  test: Shaped[np.ndarray, "M ..."]
  unlabelled: Shaped[np.ndarray, "m ..."] | None = None


def ascending(size: int) -> Callable[[Int[np.ndarray, "G"]], Int[np.ndarray, "G B"]]:
  """Returns the function from the numbers of batches [G] to their positions [G, size].

  They are in the order of the data set; some are beyond its end.
  """
  return lambda numbers: numbers[:, None] * size + np.arange(size)


def rows_at(
  inputs: Shaped[np.ndarray, "N *example"], positions: Int[np.ndarray, "..."]
) -> Shaped[np.ndarray, "..."]:
  """Returns the inputs at `positions`, of any shape; beyond the end it is the last input."""
  return np.take(inputs, positions, axis=0, mode="clip")


# Groups that are read at once: a disk answers many requests sooner than one after the other.
_THREADS = 4


@dataclasses.dataclass(frozen=True)
class _Groups[Group]:
  """What several threads of Grain read, in any order."""

  read: Callable[[int], Group]
  num: int

  def __len__(self) -> int:
    return self.num

  def __getitem__(self, index: int) -> Group:
    return self.read(index)


@contextlib.contextmanager
def read_ahead[Group, Placed](
  read: Callable[[int], Group], num: int, place: Callable[[Group], Placed], *, what: str
) -> Iterator[Iterator[Placed]]:
  """Yields an iterator over `num` placed groups of batches, in order, which are read ahead.

  At any time there are up to three groups on the devices (one in use, one ready, one that waits for
  its place) and four on the host.

  Args:
    read: returns group 0 <= index < num, a tree of NumPy arrays, a pure function of the index;
      called in threads.
    num: groups.
    place: puts a group on the devices; called in a thread.
    what: what is read, for the error message.

  The iterator raises a DataError where a group cannot be read. Leaving the block ends the threads.
  """
  if num == 0:
    yield iter(())
    return
  import grain  # takes a second; runs whose data fit the device do not need it

  source = _Groups(read, num)
  # One element is a group, not a batch: Grain's work for an element takes as long as a step of a
  # small network.
  options = grain.ReadOptions(num_threads=_THREADS, prefetch_buffer_size=_THREADS)
  dataset = grain.MapDataset.source(source).to_iter_dataset(options).map(place)
  groups = iter(grain.experimental.ThreadPrefetchIterDataset(dataset, prefetch_buffer_size=1))
  try:
    yield _with_data_errors(groups, what)
  finally:
    groups.close()


def _with_data_errors[Placed](groups: Iterator[Placed], what: str) -> Iterator[Placed]:
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
        "saved: once the data can be read again, run the same command to continue"
      ) from error
    yield group
    del group  # a group that is no longer used must not stay while the next one is made
