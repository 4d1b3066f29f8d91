"""Active learning: what a label of each hidden example is worth, and which are asked for next.

Every choice is a function of (seed, ids, probabilities): neither of the order of the examples nor
of a label.
"""

from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Float, Float64, Int
from scipy import special

from sdt.data.seeded import tie_breaker
from sdt.scores.split import rank

type Probabilities = Float[np.ndarray, "n K"]
type Worth = Float64[np.ndarray, "n"]


def _random(probabilities: Probabilities) -> Worth:
  return np.zeros(len(probabilities))


def _margin(probabilities: Probabilities) -> Worth:
  second, first = np.sort(probabilities, axis=1)[:, -2:].T
  return second - first


def _entropy(probabilities: Probabilities) -> Worth:
  worth: Worth = special.entr(probabilities).sum(axis=1)
  return worth


def _least_confidence(probabilities: Probabilities) -> Worth:
  worth: Worth = 1.0 - probabilities.max(axis=1)
  return worth


# By the names of `sdt/config/toolbox/acquire_blocks.py`, which has formulas, ranges and sources.
WORTHS: Mapping[str, Callable[[Probabilities], Worth]] = {
  "random": _random,
  "margin": _margin,
  "entropy": _entropy,
  "least_confidence": _least_confidence,
}


def worth(strategy: str, probabilities: Probabilities) -> Worth:
  """Returns what a label of each example is worth to a strategy, float64 [n]; more is better.

  Args:
    strategy: a name of `WORTHS`.
    probabilities: [n, K] of each class, K at least 2; computed on in float64.
  """
  return WORTHS[strategy](np.asarray(probabilities, np.float64))


def first_ids(example_ids: Int[np.ndarray, "n"], num: int, seed: int) -> Int[np.ndarray, "num"]:
  """Returns the ids whose labels are known at the start, in the order of the draw.

  The draw is uniform, not by class: before the first label nobody knows a class. A larger `num`
  holds a smaller one.
  """
  return example_ids[np.argsort(tie_breaker(example_ids, seed, "acquire start"))[:num]]


def next_places(
  worths: Worth, example_ids: Int[np.ndarray, "n"], num: int, seed: int
) -> Int[np.ndarray, "num"]:
  """Returns the places of the examples that are asked for, those of the largest worth first.

  A seeded hash of the id breaks ties.

  Args:
    worths: of the hidden examples.
    example_ids: theirs, unique.
    num: how many labels are asked for.
    seed: of the hash.

  Raises:
    DataError: a worth is NaN.
  """
  return rank(worths, example_ids, seed)[:num]
