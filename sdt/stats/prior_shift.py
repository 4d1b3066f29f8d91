"""Answers that give rare classes more say, by a strength that is chosen on held-out examples.

The logarithm of a probability loses tau times that of the class's share in training: at tau 0 it
stays, at tau 1 all classes are as if they had been equally frequent.

Source: Menon et al. 2021, "Long-tail learning via logit adjustment", section 4.1, post-hoc
adjustment. Differs from source: tau is chosen on a validation split.
"""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float64, Int
from scipy import special

from sdt.stats import classification


def strengths(largest: float, step: float) -> list[float]:
  """Returns the strengths that are tried: 0, step, 2 step, ... up to the largest."""
  return [round(number * step, 9) for number in range(math.floor(largest / step + 1e-9) + 1)]


def shifted(
  probabilities: Float[np.ndarray, "n K"], shares: Float64[np.ndarray, "K"], strength: float
) -> tuple[Float64[np.ndarray, "n K"], Float64[np.ndarray, "n"]]:
  """Returns log p - strength log s - c, and the c of each example; -inf where p is 0.

  The numbers c let the probabilities of an example sum to 1.

  Args:
    probabilities: [n, K].
    shares: [K], of the classes in what the network was trained on, above 0.
    strength: tau, 0 or more.
  """
  with np.errstate(divide="ignore"):
    values = np.log(probabilities.astype(np.float64)) - strength * np.log(shares)
  total = special.logsumexp(values, axis=1)
  return values - total[:, None], total


def chosen(
  probabilities: Float[np.ndarray, "n K"],
  labels: Int[np.ndarray, "n"],
  shares: Float64[np.ndarray, "K"],
  tried: Sequence[float],
) -> float:
  """Returns the strength of the highest balanced accuracy on these examples.

  Few held-out examples leave many strengths with one accuracy. Of these it is the one of the
  lowest mean over the classes of the mean negative log-likelihood, then the smallest.

  Args:
    probabilities: [n, K] of held-out examples.
    labels: [n].
    shares: see `shifted`.
    tried: strengths, ascending.
  """
  num_classes, own = len(shares), (np.arange(len(labels)), labels)
  counts = np.bincount(labels, minlength=num_classes)
  floor = float(np.log(np.finfo(np.float32).tiny))  # of a probability that was rounded to 0

  def merit(strength: float) -> tuple[float, float, float]:
    values, _ = shifted(probabilities, shares, strength)
    confusion = classification.confusion_matrix(labels, values.argmax(axis=1), num_classes)
    losses = np.bincount(labels, -np.maximum(values[own], floor), minlength=num_classes)
    recall = classification.of_classes(confusion)[0]
    loss = np.mean(losses[counts > 0] / counts[counts > 0])
    return -float(np.nanmean(recall)), float(loss), strength

  return min(tried, key=merit)
