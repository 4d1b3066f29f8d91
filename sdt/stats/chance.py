"""What a classifier reaches that knows nothing but how frequent the classes are."""

import dataclasses
import math

import numpy as np
from jaxtyping import Float, Int

_SDS = 2.0  # so many standard deviations above chance are still called chance
_LUCKY_SDS = 4.0  # so many are reached once in 30,000 times
# A network that fits its training set and reaches less than this share of it, above chance, on
# other examples has learned nothing of use.
_SHARE_KEPT = 0.25


@dataclasses.dataclass(frozen=True)
class Chance:
  """What an answer that ignores its input reaches on a set of examples.

  Attributes:
    accuracy: by always naming the most frequent class.
    ceiling: the same with two standard deviations of the binomial: the share that is right of so
      many independent examples. A network at chance rarely has more.
    lucky: the same with four: a network at chance has more once in 30,000 times.
    recall_ceiling: the same of the mean over the classes of the share that is right. This mean is
      1/K for any answer that ignores its input, also where one class has 99 % of the examples.
    loss: the least mean cross-entropy, nats: the entropy of the class frequencies.
    num_examples: of the set.
  """

  accuracy: float
  ceiling: float
  lucky: float
  recall_ceiling: float
  loss: float
  num_examples: int

  def explains(self, accuracy: float, recalls: Float[np.ndarray, "K"] | None = None) -> bool:
    """Returns whether a network of this accuracy may know nothing about its inputs.

    Args:
      accuracy: share of the examples that are right.
      recalls: [K] the same by class, NaN for a class without examples; None where it is not known.
    """
    is_low = recalls is None or float(np.nanmean(recalls)) <= self.recall_ceiling
    return bool(accuracy <= self.ceiling) and is_low

  def rules_out(self, accuracy: float, train_accuracy: float) -> bool:
    """Returns whether these examples show that next to nothing of a training's success is left.

    That is accuracy + 2 sqrt(t (1 - t) / n) < t, with t = chance + (train_accuracy - chance) / 4:
    were the true accuracy t or more, so low a one would be found at most once in about 40 times.
    A few examples cannot show it, nor can a training accuracy near chance.

    Args:
      accuracy: share of these examples that are right.
      train_accuracy: the same of the training set.
    """
    if train_accuracy <= self.accuracy:
      return False
    least = self.accuracy + _SHARE_KEPT * (train_accuracy - self.accuracy)
    sd = math.sqrt(least * (1 - least) / self.num_examples)
    return bool(accuracy + _SDS * sd < least)


def chance(counts: Int[np.ndarray, "K"]) -> Chance | None:
  """Returns what chance reaches, from the examples of each class [K].

  None with fewer than two classes that have examples: nothing can be told apart there.
  """
  counts = counts[counts > 0]
  total, num_classes = int(counts.sum()), len(counts)
  if num_classes < 2:
    return None
  accuracy, guess = float(counts.max()) / total, 1 / num_classes
  sd = math.sqrt(accuracy * (1 - accuracy) / total)
  recall_sd = math.sqrt(guess * (1 - guess) * float(np.sum(1 / counts))) / num_classes
  return Chance(
    accuracy,
    ceiling=accuracy + _SDS * sd,
    lucky=accuracy + _LUCKY_SDS * sd,
    recall_ceiling=guess + _SDS * recall_sd,
    loss=math.log(effective_classes(counts)),
    num_examples=total,
  )


def effective_classes(counts: Int[np.ndarray, "K"]) -> float:
  """Returns the effective number of classes: exp(H), H the entropy of the class frequencies.

  That many equally frequent classes have the same entropy: K for K equal ones, 1 where all examples
  are of one class, and 0 without examples.

  Source: Hill 1973, "Diversity and evenness", his number of order 1. Differs from source: none.
  """
  shares = counts[counts > 0] / max(1, int(counts.sum()))
  return float(np.exp(-np.sum(shares * np.log(shares)))) if len(shares) else 0.0
