"""What the nearest training examples say of labels, without any network."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Int32, Shaped

_MOST_NUMBERS = 3072  # of an example that are compared; of more, evenly spaced ones


class Agreement(NamedTuple):
  """How the labels of some examples agree with those of their nearest training examples.

  Attributes:
    counts: [K, K] int64, examples by (label of the nearest training example, own label).
  """

  counts: Int[np.ndarray, "K K"]

  @property
  def accuracy(self) -> float:
    """The share of the examples whose label is that of the nearest training example."""
    return float(np.trace(self.counts)) / max(1, self.num)

  @property
  def num(self) -> int:
    """How many examples were compared."""
    return int(self.counts.sum())

  @property
  def of_labels(self) -> Int[np.ndarray, "K"]:
    """How many examples of each own label there are, [K]."""
    return self.counts.sum(axis=0)

  def renamed(self) -> Int[np.ndarray, "K"]:
    """Returns for each class which own label its neighbours have most often, [K].

    A class that is the nearest of no example stays as it is.
    """
    seen = self.counts.sum(axis=1) > 0
    return np.where(seen, self.counts.argmax(axis=1), np.arange(len(self.counts)))

  def accuracy_renamed(self) -> float:
    """Returns the accuracy if every class were called as in `renamed`."""
    names = self.renamed()
    return float(self.counts[np.arange(len(names)), names].sum()) / max(1, self.num)


def agreement(
  examples: tuple[Shaped[np.ndarray, "M ..."], Int32[np.ndarray, "M"]],
  others: tuple[Shaped[np.ndarray, "N ..."], Int32[np.ndarray, "N"]],
  num_classes: int,
) -> Agreement:
  """Returns how the labels of examples agree with those of their nearest neighbours in `others`.

  The distance is the Euclidean one of the inputs as they are.

  Args:
    examples: inputs and labels.
    others: the same of the training examples.
    num_classes: K.
  """
  mine, theirs = (_flat(inputs) for inputs, _ in (examples, others))
  squares = np.square(theirs).sum(axis=1)[None] - 2.0 * (mine @ theirs.T)
  nearest = others[1][np.argmin(squares, axis=1)]
  counts = np.zeros((num_classes, num_classes), np.int64)
  np.add.at(counts, (nearest, examples[1]), 1)
  return Agreement(counts)


def _flat(inputs: Shaped[np.ndarray, "N ..."]) -> Float[np.ndarray, "N D"]:
  flat = inputs.reshape(len(inputs), -1)
  stride = -(-flat.shape[1] // _MOST_NUMBERS)
  return flat[:, ::stride].astype(np.float32)
