"""Splits: from scores to the ids of A and B. Exact sizes, always a partition, ties broken by a
seeded hash and never by position.
"""

from __future__ import annotations

import dataclasses
import decimal

import numpy as np

from sdt.config.schema import MethodConfig, SplitConfig
from sdt.data.seeded import largest_remainder, tie_breaker
from sdt.errors import ConfigError, DataError

_NOBODY = np.zeros(0, np.int32)


@dataclasses.dataclass(frozen=True)
class Partition:
  """Positions of A, B and the examples that are left out, each int32 and ascending, and how many
  examples tied at a border of A or B.

  A tie counts where it straddles a border, with all its examples; a class-balanced split has its
  borders in every class, and their counts add up.
  """

  easy: np.ndarray
  rest: np.ndarray
  ties_at_cut: int
  left_out: np.ndarray = dataclasses.field(default_factory=lambda: _NOBODY)


@dataclasses.dataclass(frozen=True)
class Sizes:
  """How many examples A gets, how many easier ones are passed over before it, and how many of the
  hardest are left out of A and B.
  """

  easy: int
  skipped: int = 0
  left_out: int = 0


def sizes(method: MethodConfig, rule: SplitConfig, num_examples: int) -> Sizes:
  """Returns the sizes that a config asks for, each exactly the floor of its share.

  With a threshold A's is known only after scoring: then it is that of `method.fraction`, a guess.

  Raises:
    ConfigError: A or B would be empty, or there are not so many examples.
  """
  found = Sizes(
    num_easy(method.fraction, num_examples, method.num_easy),
    _floor(rule.window_start or 0.0, num_examples),
    _floor(rule.cut or 0.0, num_examples),
  )
  if found.skipped + found.easy > num_examples:
    raise ConfigError(
      f"split.window_start={rule.window_start}: after {found.skipped} of {num_examples} training "
      f"examples {num_examples - found.skipped} "
      f"are left for A, which is to get {found.easy}; choose an earlier start or a smaller "
      "method.fraction"
    )
  if rule.cut is not None and not 0 < found.left_out < num_examples - found.easy:
    raise ConfigError(
      f"split.cut={rule.cut}: of {num_examples} training examples A gets {found.easy} and "
      f"{found.left_out} would be left out; B needs at "
      "least one, and so do those left out: choose another share"
    )
  return found


def _floor(share: float, num_examples: int) -> int:
  """Returns floor(share * N) in decimal arithmetic: in floats floor(0.29 * 100) is 28."""
  return int(decimal.Decimal(repr(share)) * num_examples)


def num_easy(fraction: float, num_examples: int, explicit: int | None = None) -> int:
  """Returns the size of A: `explicit`, or exactly floor(fraction * N).

  Raises:
    ConfigError: if A or B would be empty.
  """
  size = explicit if explicit is not None else _floor(fraction, num_examples)
  if not 0 < size < num_examples:
    where = f"method.num_easy={explicit}" if explicit is not None else f"method.fraction={fraction}"
    raise ConfigError(
      f"{where}: of {num_examples} training examples A would get {size}; both A and B need at "
      "least one, choose another value"
    )
  return size


def random_scores(example_ids: np.ndarray, seed: int, stream: str) -> np.ndarray:
  """Returns uniform numbers in [0, 1), float64 [N], by the ids: a draw by them does not depend on
  the order of the data set.
  """
  return tie_breaker(example_ids, seed, stream) / 2.0**64


def rank(scores: np.ndarray, example_ids: np.ndarray, seed: int) -> np.ndarray:
  """Returns the positions [N] in descending order of score; equal scores are ordered by a seeded
  hash of their id.

  Args:
    scores: [N] float, larger is easier; infinities are in order, NaN is refused.
    example_ids: [N] int, unique; names of the examples that do not depend on their position.
    seed: of the hash.
  Raises:
    DataError: naming the ids whose score is NaN.
  """
  bad = np.flatnonzero(np.isnan(scores))
  if bad.size:
    some = ", ".join(str(example_ids[position]) for position in bad[:5])
    raise DataError(
      f"the scores of {bad.size} training examples are NaN, first ids {some}; expected numbers: "
      "was the scoring network trained at all?"
    )
  return np.lexsort((tie_breaker(example_ids, seed), -scores))


def folds(labels: np.ndarray, example_ids: np.ndarray, num_folds: int, seed: int) -> np.ndarray:
  """Returns the fold of every example, int [N] in [0, num_folds): seeded, by the ids, and
  stratified.

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
  found = np.empty(len(labels), np.int64)
  found[order] = np.arange(len(labels)) % num_folds
  return found


def class_quota(labels: np.ndarray, size: int) -> np.ndarray:
  """Returns how many of A each class gets, int [K]: proportional to the class, summing to `size`
  exactly (largest remainder).
  """
  counts = np.bincount(labels)
  return largest_remainder(counts, size, counts)


def split(
  scores: np.ndarray,
  labels: np.ndarray,
  example_ids: np.ndarray,
  size: Sizes | int,
  seed: int,
  *,
  policy: str = "top",
  class_balanced: bool = False,
  threshold: float | None = None,
  left_out: np.ndarray = _NOBODY,
) -> Partition:
  """Returns the partition of the training set into A, B (the rest) and what is left out of both.

  Args:
    scores: [N] float, larger is easier.
    labels: [N] int in [0, K).
    example_ids: [N] int, unique.
    size: of A, and what is skipped before it and left out; just a number is the size of A.
    seed: of the tie-breaking hash, and of the random policy.
    policy: "top" (highest scores), "bottom" (lowest), "random", "window" (the highest after those
      skipped), "mislabel_cut" (highest; the lowest are left out), "threshold" (all above it,
      however many).
    class_balanced: A has each class's share of the training set, and so have those skipped and
      those left out of what A leaves.
    threshold: for its policy, on the scale of `scores`.
    left_out: positions that are left out whatever their score; `size` then has none.
  Source: the paper, Algorithm 1, step 3 (top, not class-balanced). Differs from source: ties, of
  which it says nothing. Training without
    the examples whose labels a score suspects: Pleiss et al. 2020. Differs from source: a share
      that the user names, no estimate of it.
  """
  size = Sizes(size) if isinstance(size, int) else size
  if policy == "random":
    scores = random_scores(example_ids, seed, "random policy")
  order = rank(-scores if policy == "bottom" else scores, example_ids, seed)
  if policy == "threshold":
    size = Sizes(int(np.sum(scores > threshold)))
  order = order[~np.isin(order, left_out)]
  groups = _groups(order, labels, size) if class_balanced else [(order, size)]
  in_easy, is_out, ties = np.zeros(len(labels), bool), np.zeros(len(labels), bool), 0
  is_out[left_out] = True
  for ranked, own in groups:
    end, last = own.skipped + own.easy, len(ranked) - own.left_out
    in_easy[ranked[own.skipped : end]] = True
    is_out[ranked[last:]] = True
    ties += _num_ties(scores[ranked], (own.skipped, end, last))
  positions = (
    np.flatnonzero(mask).astype(np.int32) for mask in (in_easy, ~in_easy & ~is_out, is_out)
  )
  easy, rest, out = positions
  return Partition(easy, rest, ties, left_out=out)


def _groups(order: np.ndarray, labels: np.ndarray, size: Sizes) -> list[tuple[np.ndarray, Sizes]]:
  """Returns for each class its positions in order of rank, and its part of the sizes. A's is by the
  whole training set.
  """
  easy = class_quota(labels, size.easy)
  free = np.bincount(labels[order], minlength=len(easy)) - easy
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
  """Returns how many of the scores, in order of rank, are equal to those on both sides of a border,
  each counted once.
  """
  inside = [border for border in borders if 0 < border < len(ranked_scores)]
  cut_through = {
    float(ranked_scores[border])
    for border in inside
    if ranked_scores[border - 1] == ranked_scores[border]
  }
  return sum(int(np.sum(ranked_scores == value)) for value in cut_through)
