"""Splits: from scores to the positions of A and B.

Sizes are exact and every split is a partition. A seeded hash of the ids breaks ties, never the
position.
"""

import dataclasses
import decimal
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from sdt.config.schema import MethodConfig, SplitConfig
from sdt.data.seeded import largest_remainder, tie_breaker
from sdt.errors import ConfigError, DataError

_NOBODY = np.zeros(0, np.int32)
_BY_SCORE = SplitConfig()


@runtime_checkable
class Examples(Protocol):
  """What a split must know of the N training examples; a `Dataset` and a `Setting` are such.

  Attributes:
    labels: [N] int in [0, K).
    example_ids: [N] int, unique.
  """

  @property
  def labels(self) -> np.ndarray: ...
  @property
  def example_ids(self) -> np.ndarray: ...


@dataclasses.dataclass(frozen=True)
class Partition:
  """The training set in parts: positions of A, of B and of the examples left out of both.

  Attributes:
    easy: A, int32, ascending.
    rest: B, int32, ascending.
    ties_at_cut: examples whose score ties across a border of A or B. All examples of the tie count.
      A class-balanced split has borders in every class; their counts add up.
    left_out: int32, ascending.
  """

  easy: Int[np.ndarray, "easy"]
  rest: Int[np.ndarray, "rest"]
  ties_at_cut: int
  left_out: Int[np.ndarray, "left_out"] = dataclasses.field(default_factory=lambda: _NOBODY)


@dataclasses.dataclass(frozen=True)
class Sizes:
  """How many examples each part of a split gets.

  Attributes:
    easy: size of A.
    skipped: examples easier than A, which go to B.
    left_out: the hardest examples, which are in neither A nor B.
  """

  easy: int
  skipped: int = 0
  left_out: int = 0


def sizes(method: MethodConfig, rule: SplitConfig, num_examples: int) -> Sizes:
  """Returns the sizes that a config asks for, each exactly the floor of its share.

  With a threshold the size of A is known only after scoring; here it is that of `method.fraction`,
  a guess.

  Raises:
    ConfigError: A or B would be empty, or there are too few examples.
  """
  size = Sizes(
    num_easy(method.fraction, num_examples, method.num_easy),
    _floor(rule.window_start or 0.0, num_examples),
    _floor(rule.cut or 0.0, num_examples),
  )
  if size.skipped + size.easy > num_examples:
    raise ConfigError(
      f"split.window_start={rule.window_start}: after {size.skipped} of {num_examples} training "
      f"examples {num_examples - size.skipped} are left for A, which is to get {size.easy}; choose "
      "an earlier start or a smaller method.fraction"
    )
  if rule.cut is not None and not 0 < size.left_out < num_examples - size.easy:
    raise ConfigError(
      f"split.cut={rule.cut}: of {num_examples} training examples A gets {size.easy} and "
      f"{size.left_out} would be left out; B needs at least one, and so do those left out: choose "
      "another share"
    )
  return size


def _floor(share: float, num_examples: int) -> int:
  """Returns floor(share * N) in decimal arithmetic: in floats floor(0.29 * 100) is 28."""
  return int(decimal.Decimal(repr(share)) * num_examples)


def num_easy(fraction: float, num_examples: int, explicit: int | None = None) -> int:
  """Returns the size of A: `explicit`, or exactly floor(fraction * N).

  Raises:
    ConfigError: A or B would be empty.
  """
  size = explicit if explicit is not None else _floor(fraction, num_examples)
  if not 0 < size < num_examples:
    where = f"method.num_easy={explicit}" if explicit is not None else f"method.fraction={fraction}"
    raise ConfigError(
      f"{where}: of {num_examples} training examples A would get {size}; both A and B need at "
      "least one, choose another value"
    )
  return size


def random_scores(
  example_ids: Int[np.ndarray, "N"], seed: int, stream: str
) -> Float[np.ndarray, "N"]:
  """Returns uniform numbers in [0, 1), float64 [N], each a function of (stream, seed, id) alone.

  A draw by them does not depend on the order of the data set.
  """
  return tie_breaker(example_ids, seed, stream) / 2.0**64


def rank(
  scores: Float[np.ndarray, "N"], example_ids: Int[np.ndarray, "N"], seed: int
) -> Int[np.ndarray, "N"]:
  """Returns the positions [N] in descending order of score; a seeded hash of the id breaks ties.

  Args:
    scores: [N] float, larger is easier; may be infinite, not NaN.
    example_ids: [N] int, unique; names of the examples that do not depend on their position.
    seed: of the hash.
  Raises:
    DataError: scores are NaN; the message names their ids.
  """
  bad = np.flatnonzero(np.isnan(scores))
  if bad.size:
    some = ", ".join(str(example_ids[position]) for position in bad[:5])
    raise DataError(
      f"the scores of {bad.size} training examples are NaN, first ids {some}; expected numbers: "
      "was the scoring network trained at all?"
    )
  return np.lexsort((tie_breaker(example_ids, seed), -scores))


def folds(
  labels: Int[np.ndarray, "N"], example_ids: Int[np.ndarray, "N"], num_folds: int, seed: int
) -> Int[np.ndarray, "N"]:
  """Returns the fold of every example, int [N] in [0, num_folds): a seeded, stratified draw by id.

  Folds differ by at most one example in size, and by at most one in any class.

  Args:
    labels: [N] int in [0, K).
    example_ids: [N] int, unique.
    num_folds: at least 2.
    seed: of the draw.
  Raises:
    ConfigError: more folds than examples.
  """
  if num_folds > len(labels):
    raise ConfigError(
      f"score.folds={num_folds}: expected at most one for each of the {len(labels)} training "
      "examples"
    )
  order = np.lexsort((tie_breaker(example_ids, seed, "folds"), labels))
  fold_of = np.empty(len(labels), np.int64)
  fold_of[order] = np.arange(len(labels)) % num_folds
  return fold_of


def class_quota(
  labels: Int[np.ndarray, "N"], size: int, most: Int[np.ndarray, "K"] | None = None
) -> Int[np.ndarray, "K"]:
  """Returns how many examples of A each class gets, int [K], in proportion to the class.

  The sum is exactly `size` (largest remainder). `most`: how many of each class there are to take,
  where some are left out; what a class lacks goes to the next.
  """
  counts = np.bincount(labels)
  return largest_remainder(counts, size, counts if most is None else most)


def split(
  scores: Float[np.ndarray, "N"],
  examples: Examples,
  size: Sizes | int,
  seed: int,
  rule: SplitConfig = _BY_SCORE,
  left_out: Int[np.ndarray, "out"] = _NOBODY,
) -> Partition:
  """Returns the partition of the training set into A, B (the rest) and what is left out of both.

  Args:
    scores: [N] float, larger is easier.
    examples: their labels and ids.
    size: sizes of the parts; a number is the size of A. A threshold ignores it.
    seed: of the hash that breaks ties, and of the random policy.
    rule: `policy` says which get into A. "top": highest scores. "bottom": lowest. "random": any.
      "window": highest after the skipped ones. "mislabel_cut": highest; the lowest are left out.
      "threshold": all above `threshold`, on the scale of `scores`, where larger is easier.
      With `class_balanced` A has each class's share of the training set; of what A leaves, the
      skipped and the left out have each class's share too.
    left_out: positions that are left out whatever their score; `size` then leaves none out.

  Source: the paper, Algorithm 1, step 3 (top, not class-balanced). Differs from source: ties, which
  the paper does not mention. Training without the examples whose labels a score suspects: Pleiss et
  al. 2020. Differs from source: the user names the share, no estimate does.
  """
  labels, ids = examples.labels, examples.example_ids
  size = Sizes(size) if isinstance(size, int) else size
  if rule.policy == "random":
    scores = random_scores(ids, seed, "random policy")
  order = rank(-scores if rule.policy == "bottom" else scores, ids, seed)
  if rule.policy == "threshold":
    size = Sizes(int(np.sum(scores > rule.threshold)))
  order = order[~np.isin(order, left_out)]
  groups = _groups(order, labels, size) if rule.class_balanced else [(order, size)]
  in_easy, is_out, ties = np.zeros(len(labels), bool), np.zeros(len(labels), bool), 0
  is_out[left_out] = True
  for ranked, part in groups:
    end, last = part.skipped + part.easy, len(ranked) - part.left_out
    in_easy[ranked[part.skipped : end]] = True
    is_out[ranked[last:]] = True
    ties += _num_ties(scores[ranked], (part.skipped, end, last))
  easy, rest, out = (
    np.flatnonzero(mask).astype(np.int32) for mask in (in_easy, ~in_easy & ~is_out, is_out)
  )
  return Partition(easy, rest, ties, left_out=out)


def _groups(order: np.ndarray, labels: np.ndarray, size: Sizes) -> list[tuple[np.ndarray, Sizes]]:
  """Returns the positions of each class in order of rank, and its part of the sizes.

  Its part of A is by the whole training set.
  """
  free = np.bincount(labels[order], minlength=int(labels.max()) + 1)
  easy = class_quota(labels, size.easy, free)
  free = free - easy
  skipped = largest_remainder(free, size.skipped, free)
  free = free - skipped
  left_out = largest_remainder(free, size.left_out, free)
  return [
    (
      order[labels[order] == label],
      Sizes(int(easy[label]), int(skipped[label]), int(left_out[label])),
    )
    for label in range(len(easy))
  ]


def _num_ties(ranked_scores: np.ndarray, borders: tuple[int, ...]) -> int:
  """Returns how many scores equal those on both sides of a border, each counted once.

  Args:
    ranked_scores: [n], in order of rank.
    borders: numbers of scores before each border.
  """
  inside = [border for border in borders if 0 < border < len(ranked_scores)]
  cut_through = {
    float(ranked_scores[border])
    for border in inside
    if ranked_scores[border - 1] == ranked_scores[border]
  }
  return sum(int(np.sum(ranked_scores == value)) for value in cut_through)
