"""How well a linear classifier tells the classes apart by given features."""

import dataclasses
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float64, Int

from sdt.stats.answers import wilson

if TYPE_CHECKING:
  from sklearn.pipeline import Pipeline

# What the strength of the penalty is chosen from, the strongest first.
STRENGTHS = (10.0, 1.0, 0.1, 0.01, 1e-3, 1e-4, 1e-5)
# Of more training examples than this only one part is held out, for the sake of time.
MANY_EXAMPLES = 10_000
# Close enough to the one minimum that an answer hangs on no step.
_MAX_STEPS, _TOLERANCE = 5000, 1e-7
# Fits on fewer numbers than this use one thread: to share them out costs more than it saves.
_SMALL = 2**22
_LEAST_PROBABILITY = 1e-12


class Examples(NamedTuple):
  """Features [N, D] of examples and their labels [N] int."""

  features: Float[np.ndarray, "N D"]
  labels: Int[np.ndarray, "N"]


@dataclasses.dataclass(frozen=True)
class Probe:
  """What a linear classifier on some features reaches.

  Attributes:
    strength: of the penalty, one of `STRENGTHS`.
    held_out: [n] bool, whether each training example that was held out is classified right by a
      classifier that has not seen it, in the order of the training set.
    test: [m] bool, the same for the test set, by the classifier of the whole training set.
  """

  strength: float
  held_out: Bool[np.ndarray, "n"]
  test: Bool[np.ndarray, "m"]


def probe(train: Examples, test: Examples, parts: Int[np.ndarray, "N"]) -> Probe:
  """Returns what multinomial logistic regression on standardised features reaches.

  It minimises the mean loss + strength / 2 * ||weights||^2. The strength is that of the least loss
  on held-out parts of the training set; of equal ones the strongest. Nothing depends on the test
  set. Means and spreads of the features are those of the examples that are fitted.

  Args:
    train: of every class at least one example in each fit.
    test: in the same features.
    parts: [N], the part of each training example. Each is held out once; of many examples the
      first alone.
  """
  losses = np.zeros(len(STRENGTHS))
  held_out = np.isin(parts, _held_out(parts))
  answers = np.zeros((len(STRENGTHS), len(parts)), bool)
  for part in _held_out(parts):
    is_out = parts == part
    rest, out = (Examples(*(one[of] for one in train)) for of in (~is_out, is_out))
    for place, fitted in enumerate(_fits(rest)):
      losses[place] -= np.log(_own_probabilities(fitted, out)).sum()
      answers[place, is_out] = fitted.predict(out.features) == out.labels
  best = int(np.argmin(losses))
  *_, fitted = _fits(train, STRENGTHS[: best + 1])
  is_right = fitted.predict(test.features) == test.labels
  return Probe(STRENGTHS[best], answers[best, held_out], is_right)


def _held_out(parts: Int[np.ndarray, "N"]) -> Int[np.ndarray, "P"]:
  """Returns the parts that are held out."""
  numbers = np.unique(parts)
  return numbers if len(parts) <= MANY_EXAMPLES else numbers[:1]


def _fits(examples: Examples, strengths: tuple[float, ...] = STRENGTHS) -> Iterator["Pipeline"]:
  """Yields the classifier of each strength; each begins at the weights of the one before it."""
  from sklearn.exceptions import ConvergenceWarning
  from sklearn.linear_model import LogisticRegression
  from sklearn.pipeline import make_pipeline
  from sklearn.preprocessing import StandardScaler
  from threadpoolctl import threadpool_limits

  features = examples.features.astype(np.float64)
  num_threads = 1 if features.size < _SMALL else None
  scaler = StandardScaler().fit(features)
  regression = LogisticRegression(max_iter=_MAX_STEPS, tol=_TOLERANCE, warm_start=True)
  for strength in strengths:
    # scikit-learn's C multiplies the sum of the losses.
    regression.set_params(C=1.0 / (strength * len(features)))
    with warnings.catch_warnings(), threadpool_limits(num_threads, "blas"):
      warnings.simplefilter("ignore", ConvergenceWarning)
      regression.fit(scaler.transform(features), examples.labels)
    yield make_pipeline(scaler, regression)


def _own_probabilities(fitted: "Pipeline", examples: Examples) -> Float64[np.ndarray, "n"]:
  """Returns the probability of each example's label; not below 1e-12, for a class never seen."""
  probabilities = fitted.predict_proba(examples.features.astype(np.float64))
  is_own = fitted.classes_ == examples.labels[:, None]
  return np.maximum((probabilities * is_own).sum(axis=1), _LEAST_PROBABILITY)


def interval(is_right: Bool[np.ndarray, "m"]) -> tuple[float, float]:
  """Returns Wilson's 95 % interval of the share of True."""
  return wilson(int(is_right.sum()), len(is_right))


def sign_test(one: Bool[np.ndarray, "n"], other: Bool[np.ndarray, "n"]) -> float:
  """Returns the p of the sign test that `one` is right more often than `other`, one-sided.

  It counts the examples on which exactly one of the two is right. 1 without any.

  Source: McNemar 1947, the exact form.
  """
  from scipy.stats import binomtest

  wins, losses = int((one & ~other).sum()), int((other & ~one).sum())
  if wins + losses == 0:
    return 1.0
  return float(binomtest(wins, wins + losses, alternative="greater").pvalue)
