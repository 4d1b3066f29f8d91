"""How good a fitted curve is, which decay fits best, and which arm wins how often, in float64."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import numpy as np
from jaxtyping import Float
from scipy import stats as scipy_stats

from sdt.errors import DivergedError
from sdt.stats import paired

# Two values that differ by a smaller share of the larger one are equal.
SAME = 1e-3


def squared_error(
  fits: Float[np.ndarray, "R M"], truth: Float[np.ndarray, "... M"]
) -> Float[np.ndarray, "R"]:
  """Returns the mean squared difference [R] of fits [R, M] and the truth, [M] or [R, M]."""
  return np.mean(np.square(np.asarray(fits, np.float64) - np.asarray(truth, np.float64)), axis=-1)


def roughness(fits: Float[np.ndarray, "R M"]) -> Float[np.ndarray, "R"]:
  """Returns the mean |second difference| [R] of fits [R, M] on an even grid.

  It is 0 for a straight line, and 2 h^2 for x^2 on a grid of step h.
  """
  return np.mean(np.abs(np.diff(np.asarray(fits, np.float64), n=2, axis=-1)), axis=-1)


def end_bias(
  fits: Float[np.ndarray, "R M"], truth: Float[np.ndarray, "... M"]
) -> Float[np.ndarray, "R"]:
  """Returns the mean of fit - truth at the first and the last point, [R]; < 0: too low."""
  difference = np.asarray(fits, np.float64) - np.asarray(truth, np.float64)
  return (difference[..., 0] + difference[..., -1]) / 2


@dataclasses.dataclass(frozen=True)
class Choice:
  """The chosen candidate, and whether it is the first or the last: a better one may lie beyond."""

  index: int
  at_edge: bool


def choose(errors: Float[np.ndarray, "L R"]) -> Choice:
  """Returns the candidate with the smallest mean error; of equal ones, the first.

  Args:
    errors: [L, R], candidates in ascending order. It is NaN where a seed diverged; a candidate with
      such a seed is not chosen.

  Raises:
    DivergedError: a seed of every candidate diverged.
  """
  finished = np.isfinite(errors).all(axis=1)
  if not finished.any():
    raise DivergedError(
      f"toy.lambdas: no decay can be chosen: a seed diverged under each of the {len(errors)} "
      "candidates; try a lower optim.learning_rate in a new --workdir"
    )
  index = int(np.argmin(np.where(finished, errors.mean(axis=1), np.inf)))
  return Choice(index, index in (0, len(errors) - 1))


class SignTest(TypedDict):
  """Paired differences: their summary, the numbers of signs, and the two-sided p of the sign test.

  `smaller`, `larger` and `equal` count the pairs in which the first value is so.
  """

  mean: float | None
  sd: float | None
  n: int
  smaller: int
  larger: int
  equal: int
  p: float | None


def sign_test(first: Sequence[float | None], second: Sequence[float | None]) -> SignTest:
  """Returns the sign test of first - second over the pairs of two numbers, without equal pairs.

  Two numbers are equal if they differ by less than a thousandth of the larger one: networks that
  collapse to the same constant differ in their last digits only, and these signs are no evidence.

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
  """A claim about the toy: its number, the bound of the number, and whether the claim holds."""

  name: str
  says: str
  value: float | None
  at_least: float | None
  below: float | None
  holds: bool | None


def checks(arms: Mapping[str, Mapping[str, Any]], noise_variance: float) -> list[Check]:
  """Returns the checks that the network without decay overfits, as the toy is meant to show.

  Args:
    arms: `no_decay` and `uniform`, each with `train_error`, `error` and `roughness` as returned by
      `sdt.stats.paired.per_seed`.
    noise_variance: of the noise in the targets.

  Returns:
    The checks; `holds` is None where no seed finished.
  """
  free, uniform = arms["no_decay"], arms["uniform"]
  rough = sign_test(
    list(free["roughness"]["per_seed"].values()), list(uniform["roughness"]["per_seed"].values())
  )
  share = rough["larger"] / rough["n"] if rough["n"] else None
  fit = _ratio(free["train_error"]["mean"], noise_variance)
  miss = _ratio(free["error"]["mean"], uniform["error"]["mean"])
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
  holds = None
  if value is not None:
    holds = (at_least is None or value >= at_least) and (below is None or value < below)
  return Check(name=name, says=says, value=value, at_least=at_least, below=below, holds=holds)
