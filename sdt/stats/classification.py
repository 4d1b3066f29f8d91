"""Figures of a classifier from what it says of labelled examples: confusions, calibration, ranks.

Conventions. Of classes with equal logits or probabilities the lower number comes first, as in the
evaluation. A quotient 0 / 0 is NaN: the recall of a class without examples, the precision of a
class that is never predicted, the F1 of a class that is neither. A confidence on the border of two
bins belongs to the lower one.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float64, Int, Int64, Shaped

# Bins of equal width of the confidence, for the calibration.
NUM_BINS = 15
# So many classes count in the top-5 accuracy.
TOP = 5
_CHUNK_NUMBERS = 2**22  # of the float64 copies of probabilities that are made at a time


@dataclasses.dataclass(frozen=True)
class Answers:
  """What a classifier says of n examples, as far as the figures need it.

  Attributes:
    predicted: the class with the largest logit.
    label_rank: how many classes come before the label; 0 where the answer is right.
    label_log_probability: of the label, nats.
    confidence: probability of the predicted class.
    squared_error: the sum over the classes of (probability - [is the label])^2, in [0, 2].
  """

  predicted: Int[np.ndarray, "n"]
  label_rank: Int[np.ndarray, "n"]
  label_log_probability: Float[np.ndarray, "n"]
  confidence: Float64[np.ndarray, "n"]
  squared_error: Float64[np.ndarray, "n"]


@dataclasses.dataclass(frozen=True)
class Reliability:
  """How often the answers of each confidence are right; NaN for a bin without examples.

  Attributes:
    count: examples whose confidence is in the bin ((b - 1) / bins, b / bins].
    confidence: their mean confidence.
    accuracy: the share of them that is right.
  """

  count: Int64[np.ndarray, "bins"]
  confidence: Float64[np.ndarray, "bins"]
  accuracy: Float64[np.ndarray, "bins"]

  @property
  def error(self) -> float:
    """The expected calibration error: the mean of |accuracy - confidence|, weighted by count.

    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", equation 3. Differs from
    source: none.
    """
    gaps = np.abs(self.accuracy - self.confidence)[self.count > 0]
    return float(np.sum(gaps * (self.count[self.count > 0] / self.count.sum())))


@dataclasses.dataclass(frozen=True)
class Figures:
  """What a classifier reaches on a labelled set; see the module for conventions.

  Attributes:
    accuracy: share of the examples that are right.
    balanced_accuracy: mean of the recalls of the classes that have examples.
    top5_accuracy: share whose label is among the first five classes; None for K <= 5.
    nll: mean negative log-likelihood of the label, nats.
    brier: mean squared error of the probabilities, summed over the classes, in [0, 2].
    ece: expected calibration error of the predicted class.
    recall: share of each class's examples that are right.
    precision: share of the predictions of each class that are right.
    f1: harmonic mean of the two.
    confusion: examples by label (rows) and predicted class (columns).
    reliability: see `Reliability`.
  """

  accuracy: float
  balanced_accuracy: float
  top5_accuracy: float | None
  nll: float
  brier: float
  ece: float
  recall: Float64[np.ndarray, "K"]
  precision: Float64[np.ndarray, "K"]
  f1: Float64[np.ndarray, "K"]
  confusion: Int64[np.ndarray, "K K"]
  reliability: Reliability


# The figures that are one number each, of which arms have a mean over the seeds.
SCALARS = ("balanced_accuracy", "top5_accuracy", "nll", "brier", "ece")


def figures(labels: Int[np.ndarray, "n"], answers: Answers, num_classes: int) -> Figures:
  """Returns the figures of a classifier's answers; n >= 1.

  Args:
    labels: [n] in [0, num_classes).
    answers: of the same examples.
    num_classes: K.
  """
  is_right = answers.predicted == labels
  confusion = confusion_matrix(labels, answers.predicted, num_classes)
  recall, precision, f1 = of_classes(confusion)
  bins = reliability(answers.confidence, is_right)
  top5 = np.count_nonzero(answers.label_rank < TOP) / len(labels) if num_classes > TOP else None
  return Figures(
    accuracy=np.count_nonzero(is_right) / len(labels),
    balanced_accuracy=float(np.nanmean(recall)),
    top5_accuracy=top5,
    nll=-float(np.mean(answers.label_log_probability, dtype=np.float64)),
    brier=float(np.mean(answers.squared_error)),
    ece=bins.error,
    recall=recall,
    precision=precision,
    f1=f1,
    confusion=confusion,
    reliability=bins,
  )


def confusion_matrix(
  labels: Int[np.ndarray, "n"], predicted: Int[np.ndarray, "n"], num_classes: int
) -> Int64[np.ndarray, "K K"]:
  """Returns how many examples of each label (rows) are predicted as each class (columns)."""
  places = labels.astype(np.int64) * num_classes + predicted
  return np.bincount(places, minlength=num_classes**2).reshape(num_classes, num_classes)


def of_classes(
  confusion: Int[np.ndarray, "K K"],
) -> tuple[Float64[np.ndarray, "K"], Float64[np.ndarray, "K"], Float64[np.ndarray, "K"]]:
  """Returns recall, precision and F1 = 2 right / (examples + predictions) of each class, [K]."""
  right, examples, predictions = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
  return (
    _share(right, examples),
    _share(right, predictions),
    _share(2 * right, examples + predictions),
  )


def _share(part: Int[np.ndarray, "n"], whole: Int[np.ndarray, "n"]) -> Float64[np.ndarray, "n"]:
  return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)


def reliability(
  confidence: Float[np.ndarray, "n"], is_right: Bool[np.ndarray, "n"], num_bins: int = NUM_BINS
) -> Reliability:
  """Returns the reliability diagram over bins of equal width.

  Args:
    confidence: [n] in [0, 1], probability of the predicted class.
    is_right: [n].
    num_bins: of the interval [0, 1]; an edge belongs to the bin below it, 0 to the first.
  """
  borders = np.linspace(0.0, 1.0, num_bins + 1)[1:-1]
  bins = np.searchsorted(borders, confidence.astype(np.float64))
  count, mean, right = (
    np.bincount(bins, weights, minlength=num_bins) for weights in (None, confidence, is_right)
  )
  empty = np.where(count > 0, 1.0, np.nan)
  return Reliability(
    count, mean / np.maximum(count, 1) * empty, accuracy=right / np.maximum(count, 1) * empty
  )


def answers_of(
  probabilities: Float[np.ndarray, "n K"],
  labels: Int[np.ndarray, "n"],
  predicted: Int[np.ndarray, "n"],
  label_rank: Int[np.ndarray, "n"],
  label_log_probability: Float[np.ndarray, "n"],
) -> Answers:
  """Returns the answers of one network, whose ranks and log-probabilities are of its logits.

  Probabilities near 0 and 1 are rounded, so that they alone would not tell the predicted class.

  Args:
    probabilities: [n, K], of any float type; may be mapped from a file, it is read in parts.
    labels: [n].
    predicted, label_rank, label_log_probability: see `Answers`.
  """
  confidence, squared = np.empty(len(labels)), np.empty(len(labels))
  for part in _parts(len(labels), probabilities.shape[1]):
    values = probabilities[part].astype(np.float64)
    confidence[part] = values[np.arange(len(values)), predicted[part]]
    squared[part] = _squared_errors(values, labels[part])
  return Answers(
    predicted, label_rank, label_log_probability, confidence=confidence, squared_error=squared
  )


def ensemble_of(
  probabilities: Float[np.ndarray, "R n K"],
  labels: Int[np.ndarray, "n"],
  label_log_probability: Float[np.ndarray, "R n"],
  networks: Sequence[int],
) -> Answers:
  """Returns the answers of networks together: the mean of their probabilities, in float64.

  Args:
    probabilities: [R, n, K]; may be mapped from a file, it is read in parts.
    labels: [n].
    label_log_probability: [R, n]. The mean probability of the label is taken of these: it never
      vanishes, also where each probability is rounded to 0.
    networks: which of the R.
  """
  chosen = list(networks)
  _, num_examples, num_classes = probabilities.shape
  predicted, rank = (np.empty(num_examples, np.int64) for _ in range(2))
  confidence, squared = (np.empty(num_examples) for _ in range(2))
  for part in _parts(num_examples, num_classes * len(chosen)):
    values = probabilities[chosen, part].astype(np.float64).mean(axis=0)
    predicted[part] = values.argmax(axis=1)
    rank[part] = label_ranks(values, labels[part])
    confidence[part] = values.max(axis=1)
    squared[part] = _squared_errors(values, labels[part])
  total = np.logaddexp.reduce(label_log_probability[chosen].astype(np.float64), axis=0)
  return Answers(
    predicted,
    rank,
    total - np.log(len(chosen)),
    confidence=confidence,
    squared_error=squared,
  )


def label_ranks(
  values: Float[np.ndarray, "n K"], labels: Int[np.ndarray, "n"]
) -> Int64[np.ndarray, "n"]:
  """Returns how many classes come before the label, see `comes_before`."""
  own = values[np.arange(len(labels)), labels][:, None]
  return np.count_nonzero(comes_before(values, own, labels), axis=1)


def comes_before(
  values: Float[Any, "n K"], own: Float[Any, "n 1"], labels: Int[Any, "n"]
) -> Bool[Any, "n K"]:
  """Returns which classes come before the label; takes arrays of NumPy and of JAX.

  Those are the larger ones, the equal ones of a lower number, and where one of the two is NaN all
  others: what cannot be compared is never called right.

  Args:
    values: [n, K].
    own: [n, 1], those of the labels.
    labels: [n].
  """
  classes = np.arange(values.shape[1], dtype=np.int32)[None]
  is_lower, is_other = classes < labels[:, None], classes != labels[:, None]
  return is_other & (~(own >= values) | (is_lower & ~(own > values)))


def _squared_errors(
  values: Float64[np.ndarray, "n K"], labels: Int[np.ndarray, "n"]
) -> Float64[np.ndarray, "n"]:
  own = values[np.arange(len(labels)), labels]
  return np.square(values).sum(axis=1) - np.square(own) + np.square(1.0 - own)


def _parts(num_examples: int, width: int) -> Iterator[slice]:
  """Yields stretches of the examples of so few numbers that copies of them are small."""
  length = max(1, _CHUNK_NUMBERS // width)
  for start in range(0, num_examples, length):
    yield slice(start, min(start + length, num_examples))


def most_confused(
  confusion: Shaped[np.ndarray, "K K"], limit: int
) -> list[tuple[int, int, int | float]]:
  """Returns (label, predicted, number of examples) of the most frequent confusions, largest first.

  Of equal ones the lower label comes first, then the lower predicted class.
  """
  errors = confusion - np.diag(np.diag(confusion))
  order = np.argsort(-errors, axis=None, kind="stable")[:limit]
  pairs = ((*divmod(int(place), len(errors)), errors.flat[place].item()) for place in order)
  return [pair for pair in pairs if pair[2] > 0]


def most_confused_classes(
  confusion: Shaped[np.ndarray, "K K"], limit: int
) -> Int64[np.ndarray, "k"]:
  """Returns `limit` classes, ascending: those of the pairs that are confused most often.

  A pair counts in both directions. Where too few classes are in any confusion, those of the lowest
  numbers are added.
  """
  both = np.triu(confusion + confusion.T, 1)
  order = np.argsort(-both, axis=None, kind="stable")[: np.count_nonzero(both)]
  chosen = dict.fromkeys(np.stack(np.divmod(order, len(both)), axis=1).ravel().tolist())
  classes = list(dict.fromkeys([*chosen, *range(len(both))]))[:limit]
  return np.sort(np.array(classes, np.int64))


def to_plain(one: Figures) -> dict[str, Any]:
  """Returns the figures without the confusion matrix, in JSON's types; None for NaN."""
  return {
    **{name: getattr(one, name) for name in ("accuracy", *SCALARS)},
    **{name: or_none(getattr(one, name)) for name in ("recall", "precision", "f1")},
    "reliability": {name: or_none(values) for name, values in vars(one.reliability).items()},
  }


def or_none(values: Shaped[np.ndarray, "n"]) -> list[Any]:
  """Returns the values as a list, None for NaN."""
  return [None if value != value else value for value in values.tolist()]
