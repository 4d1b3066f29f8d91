"""The course of single examples as a page draws it: few points, in whole percent."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Shaped, UInt8

from sdt.errors import DataError

MOST_POINTS = 60
_FULL = 255  # what a probability of 1 is stored as

type Json = dict[str, object]


def points(
  course: Shaped[np.ndarray, "..."],
  at: Sequence[int],
  *,
  sound: Bool[np.ndarray, "R"] | None,
  remedy: str,
) -> tuple[Json, list[list[list[int]]]]:
  """Returns which rounds and seeds are drawn, and of each example its values there, in percent.

  The values are the mean over the seeds, and where there are several their lowest and highest. The
  seeds are those that did not diverge, or all where every seed did. With early stopping a seed
  counts up to its best round. Of many rounds `MOST_POINTS` are drawn, the first and the last too.

  Args:
    course: of scores.npz, uint8 [R, N, rounds].
    at: the places of the examples.
    sound: which seeds did not diverge; None if that is not known.
    remedy: the end of a message.

  Raises:
    DataError: it is no such array.
  """
  if course.dtype != np.uint8 or course.ndim != 3:
    raise DataError(
      f"scores.npz: expected a course [R, N, rounds] of uint8, got {course.dtype} "
      f"{list(course.shape)}; remove it and {remedy}"
    )
  counted = np.flatnonzero(sound) if sound is not None and sound.any() else range(len(course))
  trained = np.stack([_rounds_of(course[seed]) for seed in counted])
  rounds = _thinned(int(trained.any(axis=0).sum()))
  shown = trained[:, None, rounds - 1]
  values = np.stack([course[seed][at][:, rounds - 1] for seed in counted]) * (100 / _FULL)
  lines = [values.mean(axis=0, where=shown)]
  if len(counted) > 1:
    lines += [values.min(0, where=shown, initial=100), values.max(0, where=shown, initial=0)]
  described: Json = {"rounds": rounds.tolist(), "numSeeds": len(counted)}
  return described, np.rint(np.stack(lines, axis=1)).astype(int).tolist()


def _rounds_of(course: UInt8[np.ndarray, "N rounds"]) -> Bool[np.ndarray, "rounds"]:
  """Returns which rounds a seed trained: all up to the last in which an example has a value."""
  return np.logical_or.accumulate(course.any(axis=0)[::-1])[::-1]


def _thinned(count: int) -> Shaped[np.ndarray, "points"]:
  """Returns the rounds 1 to `count`, or `MOST_POINTS` of them at equal distances."""
  if count <= MOST_POINTS:
    return np.arange(1, count + 1)
  return np.rint(np.linspace(1, count, MOST_POINTS)).astype(int)
