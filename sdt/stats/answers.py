"""Intervals of figures of answers: over seeds, and of one answer over the test examples.

An ensemble is one answer: it has no spread over seeds. Its intervals are about the test set, had
other examples of the same kind been drawn; the networks stay as they are.
"""

import math
from collections.abc import Mapping
from typing import TypedDict

import numpy as np
from jaxtyping import Float
from scipy import special

from sdt.stats.paired import MIN_PAIRS, per_seed, summary

_LEVEL = 0.95
_NORMAL = float(special.ndtri(0.5 + _LEVEL / 2))


class OverSeeds(TypedDict):
  """A figure by seed, with the 95 % t interval of its mean; None for fewer than three seeds."""

  per_seed: dict[str, float | None]
  mean: float | None
  sd: float | None
  n: int
  interval: list[float] | None


class OverExamples(TypedDict):
  """A figure of one answer, with its 95 % interval over the test examples; None where unknown."""

  mean: float
  interval: list[float] | None


def over_seeds(values: Mapping[int, float | None]) -> OverSeeds:
  """Returns the values with mean +- t(n - 1) sd / sqrt(n); None counts nothing."""
  found = per_seed(values)
  interval, mean, sd = None, found["mean"], found["sd"]
  if mean is not None and sd is not None and found["n"] >= MIN_PAIRS:
    quantile = float(special.stdtrit(found["n"] - 1, 0.5 + _LEVEL / 2))
    half = quantile * sd / math.sqrt(found["n"])
    interval = [mean - half, mean + half]
  return OverSeeds(**found, interval=interval)


def over_examples(values: Float[np.ndarray, "n"]) -> OverExamples:
  """Returns the mean of a figure of each example, and mean +- 1.96 sd / sqrt(n)."""
  found = summary(values.tolist())
  mean, sd = found["mean"], found["sd"]
  if mean is None:
    return OverExamples(mean=math.nan, interval=None)
  half = None if sd is None else _NORMAL * sd / math.sqrt(found["n"])
  return OverExamples(mean=mean, interval=None if half is None else [mean - half, mean + half])


def share(right: int, total: int) -> OverExamples:
  """Returns the share of the examples that are right, with Wilson's interval."""
  return OverExamples(mean=right / total, interval=[*wilson(right, total)])


def wilson(right: int, total: int) -> tuple[float, float]:
  """Returns Wilson's 95 % interval of a share, within [0, 1].

  Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference";
  Brown, Cai and DasGupta 2001, equation 4. Differs from source: none.
  """
  rate, squared = right / total, _NORMAL**2
  middle = (right + squared / 2) / (total + squared)
  half = _NORMAL * math.sqrt(total * rate * (1 - rate) + squared / 4) / (total + squared)
  return max(0.0, middle - half), min(1.0, middle + half)
