"""Splits: from scores to the ids of A and B. Exact sizes, always a partition, ties broken by a seeded hash and never by position."""

from __future__ import annotations

import dataclasses
import decimal
import hashlib

import numpy as np

from sdt.errors import ConfigError, DataError


@dataclasses.dataclass(frozen=True)
class Partition:
  """Positions of A and B in the training set, each int32 and ascending, and how many examples tied at the cut.

  A tie counts where it straddles the cut, with all its examples; a class-balanced split has a cut in every class, and their counts add up.
  """

  easy: np.ndarray
  rest: np.ndarray
  ties_at_cut: int


def num_easy(fraction: float, num_examples: int, explicit: int | None = None) -> int:
  """Returns the size of A: `explicit`, or exactly floor(fraction * N) in decimal arithmetic (in floats floor(0.29 * 100) is 28).

  Raises:
    ConfigError: if A or B would be empty.
  """
  size = explicit if explicit is not None else int(decimal.Decimal(repr(fraction)) * num_examples)
  if not 0 < size < num_examples:
    where = f"method.num_easy={explicit}" if explicit is not None else f"method.fraction={fraction}"
    raise ConfigError(
      f"{where}: of {num_examples} training examples A would get {size}; both A and B need at least one, choose another value"
    )
  return size


def tie_breaker(example_ids: np.ndarray, seed: int, stream: str = "ties") -> np.ndarray:
  """Returns a pseudo-random uint64 [N] per example id: SHA-256 of (stream, seed, id), the same on every machine."""
  prefix = stream.encode() + b"\0" + int(seed).to_bytes(8, "little", signed=True)
  digests = (hashlib.sha256(prefix + int(example_id).to_bytes(8, "little", signed=True)).digest()[:8] for example_id in example_ids)
  return np.fromiter((int.from_bytes(digest, "little") for digest in digests), np.uint64, len(example_ids))


def random_scores(example_ids: np.ndarray, seed: int, stream: str) -> np.ndarray:
  """Returns uniform numbers in [0, 1), float64 [N], by the ids: a draw by them does not depend on the order of the data set."""
  return tie_breaker(example_ids, seed, stream) / 2.0**64


def rank(scores: np.ndarray, example_ids: np.ndarray, seed: int) -> np.ndarray:
  """Returns the positions [N] in descending order of score; equal scores are ordered by a seeded hash of their id.

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
      f"the scores of {bad.size} training examples are NaN, first ids {some}; expected numbers: was the scoring network trained at all?"
    )
  return np.lexsort((tie_breaker(example_ids, seed), -scores))


def class_quota(labels: np.ndarray, size: int) -> np.ndarray:
  """Returns how many of A each class gets, int [K]: proportional to the class, summing to `size` exactly (largest remainder)."""
  counts = np.bincount(labels)
  # Integers throughout: quota_k = floor(count_k * size / N), remainders compared exactly.
  quota, remainder = np.divmod(counts.astype(np.int64) * size, len(labels))
  order = np.lexsort((np.arange(len(counts)), -remainder))
  quota[order[: size - int(quota.sum())]] += 1
  return quota


def split(
  scores: np.ndarray,
  labels: np.ndarray,
  example_ids: np.ndarray,
  size: int,
  seed: int,
  *,
  policy: str = "top",
  class_balanced: bool = False,
) -> Partition:
  """Returns the partition of the training set into A (`size` examples) and B (the rest).

  Args:
    scores: [N] float, larger is easier.
    labels: [N] int in [0, K).
    example_ids: [N] int, unique.
    size: of A, in [1, N - 1].
    seed: of the tie-breaking hash, and of the random policy.
    policy: "top" (highest scores), "bottom" (lowest), "random".
    class_balanced: A has each class's share of the training set.
  Source: the paper, Algorithm 1, step 3 (top, not class-balanced). Differs from source: ties, of which it says nothing.
  """
  if policy == "random":
    scores = random_scores(example_ids, seed, "random policy")
  order = rank(-scores if policy == "bottom" else scores, example_ids, seed)
  if class_balanced:
    quota = class_quota(labels, size)
    cuts = [(order[labels[order] == label], int(quota[label])) for label in range(len(quota))]
  else:
    cuts = [(order, size)]
  in_easy = np.zeros(len(labels), bool)
  in_easy[np.concatenate([ranked[:count] for ranked, count in cuts])] = True
  ties = sum(_num_ties(scores[ranked], count) for ranked, count in cuts)
  return Partition(np.flatnonzero(in_easy).astype(np.int32), np.flatnonzero(~in_easy).astype(np.int32), ties)


def _num_ties(ranked_scores: np.ndarray, count: int) -> int:
  """Returns how many of the scores, in order of rank, are equal to that of the last one taken, where the first one left equals it too."""
  if not 0 < count < len(ranked_scores) or ranked_scores[count - 1] != ranked_scores[count]:
    return 0
  return int(np.sum(ranked_scores == ranked_scores[count]))
