"""How good a fitted curve is, which decay fits best, and who wins how often. Numbers in, numbers
out, in float64.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import numpy as np
from scipy import stats as scipy_stats

from sdt.errors import DivergedError
from sdt.stats import paired

# Two values that differ by a smaller share of the larger one are equal.
SAME = 1e-3


def squared_error(fits: np.ndarray, truth: np.ndarray) -> np.ndarray:
  """Returns the mean squared difference, [R], of fits [R, M] and the truth [M] or [R, M]."""
  return np.mean(np.square(np.asarray(fits, np.float64) - np.asarray(truth, np.float64)), axis=-1)


def roughness(fits: np.ndarray) -> np.ndarray:
  """Returns the mean |second difference|, [R], of fits [R, M] on an even grid; 0 for a straight
  line, 2 h^2 for x^2 on a grid of step h.
  """
  return np.mean(np.abs(np.diff(np.asarray(fits, np.float64), n=2, axis=-1)), axis=-1)


def end_bias(fits: np.ndarray, truth: np.ndarray) -> np.ndarray:
  """Returns the mean of fit - truth at the first and the last point, [R]: below 0 where the ends
  hang down.
  """
  difference = np.asarray(fits, np.float64) - np.asarray(truth, np.float64)
  return (difference[..., 0] + difference[..., -1]) / 2


@dataclasses.dataclass(frozen=True)
class Choice:
  """Which of several candidates is chosen, and whether it is the first or the last of them: then
  the best may lie beyond.
  """

  index: int
  at_edge: bool


def choose(errors: np.ndarray) -> Choice:
  """Returns the candidate of the smallest mean error, the first of equals.

  Args:
    errors: [L, R] of candidates in their natural order; NaN for a seed that diverged: such a
      candidate is not chosen.

  Raises:
    DivergedError: there is none to choose.
  """
  finished = np.isfinite(errors).all(axis=1)
  if not finished.any():
    raise DivergedError(
      f"toy.lambdas: nothing to choose, of every one of {len(errors)} candidates a seed diverged; "
      "try a lower optim.learning_rate in a new "
      "--workdir"
    )
  index = int(np.argmin(np.where(finished, errors.mean(axis=1), np.inf)))
  return Choice(index, index in (0, len(errors) - 1))


class SignTest(TypedDict):
  """Paired differences: summary, in how many pairs the first is smaller, larger, equal, and the
  two-sided p of the sign test.
  """

  mean: float | None
  sd: float | None
  n: int
  smaller: int
  larger: int
  equal: int
  p: float | None


def sign_test(first: Sequence[float | None], second: Sequence[float | None]) -> SignTest:
  """Returns the sign test of first - second over the pairs in which both are numbers; equal pairs
  count for neither side.

  Equal are two numbers that differ by less than a thousandth of the larger: networks that have
  collapsed to the same constant differ in their last digits, and the signs of those are no
  evidence.

  Source: the binomial test of scipy at probability 1/2. Differs from source: none.
  """
  pairs = [(a, b) for a, b in zip(first, second, strict=True) if a is not None and b is not None]
  apart = [(a, b) for a, b in pairs if abs(a - b) > SAME * max(abs(a), abs(b))]
  smaller, larger = sum(a < b for a, b in apart), sum(a > b for a, b in apart)
  p = float(scipy_stats.binomtest(smaller, smaller + larger).pvalue) if smaller + larger else None
  equal = len(pairs) - smaller - larger
  return {
    **paired.summary(a - b for a, b in pairs),
    "smaller": smaller,
    "larger": larger,
    "equal": equal,
    "p": p,
  }


class Check(TypedDict):
  """A claim about the toy: the number, what it must be, and whether it is."""

  name: str
  says: str
  value: float | None
  at_least: float | None
  below: float | None
  holds: bool | None


def checks(arms: Mapping[str, Mapping[str, Any]], noise_variance: float) -> list[Check]:
  """Returns whether the toy shows what it is about: that the network without decay overfits; None
  where no seed finished.

  Args:
    arms: `no_decay` and `uniform`, each with `train_error`, `error` and `roughness` as
      `sdt.stats.per_seed` has them.
    noise_variance: of the noise in the targets.
  """
  free, uniform = arms["no_decay"], arms["uniform"]
  rough = sign_test(
    list(free["roughness"]["per_seed"].values()), list(uniform["roughness"]["per_seed"].values())
  )
  share = rough["larger"] / rough["n"] if rough["n"] else None
  fit, miss = (
    _ratio(free["train_error"]["mean"], noise_variance),
    _ratio(free["error"]["mean"], uniform["error"]["mean"]),
  )
  return [
    _check(
      "overfits", "(a)'s mean training error as a share of the noise variance", fit, below=0.6
    ),
    _check("misses", "(a)'s mean error to the curve in units of (b)'s", miss, at_least=1.5),
    _check("rougher", "share of the seeds in which (a) is rougher than (b)", share, at_least=0.9),
  ]


def _ratio(a: float | None, b: float | None) -> float | None:
  return None if a is None or b is None else a / b


def _check(
  name: str,
  says: str,
  value: float | None,
  *,
  at_least: float | None = None,
  below: float | None = None,
) -> Check:
  holds = (
    None
    if value is None
    else (at_least is None or value >= at_least) and (below is None or value < below)
  )
  return {
    "name": name,
    "says": says,
    "value": value,
    "at_least": at_least,
    "below": below,
    "holds": holds,
  }
