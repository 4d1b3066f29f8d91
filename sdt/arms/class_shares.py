"""Numbers for the regularisers of the classes, made from how frequent each class is in a phase.

All three act against n_k, the examples of class k in the phase, with a strength t: 0 is neutral, 1
treats all classes alike. A class without an example in the phase counts as one example.
"""

from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Float64, Int

from sdt.engine.plan import Phase

type Labels = Int[np.ndarray, "R n"]


def counts_of(labels: Labels, num_classes: int) -> Float64[np.ndarray, "R K"]:
  """Returns the examples of each class, [R, K]; 1 for a class without any."""
  counts = [np.bincount(row, minlength=num_classes) for row in labels]
  return np.maximum(np.stack(counts), 1).astype(np.float64)


def draw_weights(labels: Labels, num_classes: int, strength: float) -> Float64[np.ndarray, "R n"]:
  """Returns n_k^-t of each example's class: how often it is drawn, beside the others.

  Source: documents 003 and 004, weighted sampling. At t = 1 every class has the same share of what
  is drawn, as with torch's WeightedRandomSampler and the weights 1 / n_k.
  """
  return np.take_along_axis(counts_of(labels, num_classes) ** -strength, labels, axis=1)


def loss_weights(labels: Labels, num_classes: int, strength: float) -> Float64[np.ndarray, "R K"]:
  """Returns n_k^-t over its mean over the examples: the factor of the loss of each class.

  At t = 1 that is N / (K n_k). Source: King and Zeng 2001; scikit-learn's "balanced". Differs from
  source: between 0 and 1 the strength lies between none and that.
  """
  powers = counts_of(labels, num_classes) ** -strength
  mean = np.take_along_axis(powers, labels, axis=1).mean(axis=1, keepdims=True)
  return powers / mean


def logit_offsets(labels: Labels, num_classes: int, strength: float) -> Float64[np.ndarray, "R K"]:
  """Returns t log(n_k / N): what is added to the logit of each class in the loss.

  Source: Menon et al. 2021, "Long-tail learning via logit adjustment", equation 10. Differs from
  source: the shares are those of the phase, not of the whole training set.
  """
  counts = counts_of(labels, num_classes)
  return strength * np.log(counts / counts.sum(axis=1, keepdims=True))


# Regulariser -> from labels [R, n], the number of classes and the strength to its numbers.
BY_CLASS: Mapping[str, Callable[[Labels, int, float], np.ndarray]] = {
  "class_balance": draw_weights,
  "class_weight": loss_weights,
  "logit_adjustment": logit_offsets,
}


def by_class(
  labels: Labels, num_classes: int, overrides: Mapping[str, float]
) -> dict[str, np.ndarray]:
  """Returns the numbers of the regularisers of the classes that a phase names, by name."""
  return {
    name: function(labels, num_classes, overrides[name])
    for name, function in BY_CLASS.items()
    if name in overrides
  }


def learned_counts(phase: Phase, labels: Int[np.ndarray, "N"]) -> Float64[np.ndarray, "R K"]:
  """Returns the examples of each class in a phase, as frequent as its regularisers make them.

  A network that knows nothing but how frequent the classes are answers by these. With a strength t
  against imbalance, n examples of a class count in proportion to n^(1 - t); the sum stays.

  Args:
    phase: of a plan.
    labels: [N] of the training set.
  """
  num_classes = int(labels.max()) + 1
  rows = [np.bincount(row, minlength=num_classes) for row in labels[phase.example_ids]]
  counts = np.stack(rows).astype(np.float64)
  strength = sum(phase.overrides.get(name, 0.0) for name in BY_CLASS)
  shares = np.where(counts > 0, np.maximum(counts, 1.0) ** (1.0 - strength), 0.0)
  return shares * (counts.sum(axis=1) / shares.sum(axis=1))[:, None] if strength else counts


def loss_shares(phase: Phase, labels: Int[np.ndarray, "N"]) -> Float64[np.ndarray, "R K"]:
  """Returns the factor `loss_weight` of each class in a phase, a mean over its examples; 0 of none.

  It is one number for all, or differs between the parts of a mixed phase.

  Args:
    phase: of a plan.
    labels: [N] of the training set.
  """
  own, num_classes = labels[phase.example_ids], int(labels.max()) + 1
  if "loss_weight" in phase.by_part and phase.parts is not None:
    weights = np.asarray(phase.by_part["loss_weight"])[phase.parts]
  else:
    weights = np.full(own.shape, phase.overrides.get("loss_weight", 1.0))
  both = zip(own, weights, strict=True)
  sums = np.stack([np.bincount(row, one, minlength=num_classes) for row, one in both])
  counts = np.stack([np.bincount(row, minlength=num_classes) for row in own])
  return np.divide(sums, counts, out=np.zeros_like(sums), where=counts > 0)
