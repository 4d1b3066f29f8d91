"""Splits: exact sizes, always a partition, ties by a seeded hash of the id."""

import math
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdt.config.schema import MethodConfig, SplitConfig
from sdt.data.seeded import tie_breaker
from sdt.errors import ConfigError, DataError
from sdt.scores.split import Sizes, class_quota, num_easy, rank, sizes, split


def ids(count):
  return np.arange(count, dtype=np.int32)


class Examples(NamedTuple):
  labels: np.ndarray
  example_ids: np.ndarray


def cut(scores, labels, size, seed=0, **rule):
  """Returns the split of examples whose ids are their positions."""
  return split(
    scores, Examples(labels, ids(len(labels))), size, seed=seed, rule=SplitConfig(**rule)
  )


@pytest.mark.parametrize(
  ("fraction", "num_examples", "expected"),
  [
    (0.1, 50_000, 5_000),
    (0.1, 73_257, 7_325),
    (0.29, 100, 29),
    (0.1, 1_437, 143),
    (0.07, 100, 7),
    (0.3, 10, 3),
    (0.57, 100, 57),
  ],
)
def test_the_size_of_the_easy_subset_is_exactly_the_floor_in_decimal_arithmetic(
  fraction, num_examples, expected
):
  assert num_easy(fraction, num_examples) == expected


def test_an_explicit_size_wins_over_the_fraction():
  assert num_easy(0.1, 5_994, 616) == 616


@pytest.mark.parametrize(
  ("fraction", "count", "explicit"), [(0.1, 9, None), (0.5, 10, 10), (0.5, 10, 11)]
)
def test_an_empty_subset_is_refused(fraction, count, explicit):
  with pytest.raises(ConfigError, match=r"method\.(fraction|num_easy)"):
    num_easy(fraction, count, explicit)


@given(
  scores=st.lists(
    st.sampled_from([-1.0, 0.0, 0.25, 0.5, 3.0, float("inf")]), min_size=2, max_size=64
  ),
  seed=st.integers(0, 1000),
  policy=st.sampled_from(["top", "bottom", "random"]),
  balanced=st.booleans(),
  draw=st.data(),
)
def test_a_split_is_a_partition_of_exact_size(scores, seed, policy, balanced, draw):
  scores = np.array(scores)
  size = draw.draw(st.integers(1, len(scores) - 1))
  labels = np.arange(len(scores)) % 3
  part = cut(scores, labels, size=size, seed=seed, policy=policy, class_balanced=balanced)
  assert len(part.easy) == size
  np.testing.assert_array_equal(np.sort(np.concatenate([part.easy, part.rest])), ids(len(scores)))
  if policy == "top" and not balanced:
    assert scores[part.easy].min() >= scores[part.rest].max()
  if policy == "bottom" and not balanced:
    assert scores[part.easy].max() <= scores[part.rest].min()


@given(
  scores=st.lists(st.integers(0, 5), min_size=3, max_size=40),
  seed=st.integers(0, 100),
  policy=st.sampled_from(["top", "bottom", "random"]),
  draw=st.data(),
)
def test_no_split_follows_the_order_of_the_dataset(scores, seed, policy, draw):
  """Permuting the examples permutes the subset: their ids decide, not their positions."""
  scores = np.array(scores, np.float32)
  order = np.array(draw.draw(st.permutations(range(len(scores)))))
  labels = np.zeros(len(scores), np.int32)
  permuted = Examples(labels, ids(len(scores))[order])
  here = cut(scores, labels, 2, seed, policy=policy)
  there = split(scores[order], permuted, 2, seed=seed, rule=SplitConfig(policy=policy))
  assert set(here.easy.tolist()) == set(order[there.easy].tolist())


def test_ties_are_broken_otherwise_by_another_seed_and_are_counted():
  scores, labels = np.ones(100), np.zeros(100, np.int32)
  first, second = (cut(scores, labels, size=10, seed=seed) for seed in (0, 1))
  assert first.ties_at_cut == 100
  assert set(first.easy.tolist()) != set(second.easy.tolist())
  assert set(first.easy.tolist()) != set(range(10))
  assert cut(np.arange(100.0), labels, size=10, seed=0).ties_at_cut == 0


def test_nan_scores_are_refused_with_their_ids():
  scores = np.array([1.0, np.nan, 3.0, np.nan])
  with pytest.raises(DataError, match=r"2 training examples are NaN, first ids 11, 13"):
    rank(scores, np.array([10, 11, 12, 13]), 0)


@given(labels=st.lists(st.integers(0, 4), min_size=2, max_size=60), draw=st.data())
def test_class_balanced_sizes_are_exact_and_within_one_of_the_class_share(labels, draw):
  labels = np.array(labels)
  size = draw.draw(st.integers(1, len(labels) - 1))
  quota = class_quota(labels, size)
  counts = np.bincount(labels)
  assert quota.sum() == size
  assert (np.abs(quota - counts * size / len(labels)) < 1).all()
  assert (quota <= counts).all()


def test_the_easiest_of_a_hand_made_case():
  scores = np.array([0.1, 5.0, 3.0, -2.0, 4.0])
  part = cut(scores, np.zeros(5, np.int32), size=2, seed=0)
  assert part.easy.tolist() == [1, 4]
  assert part.rest.tolist() == [0, 2, 3]


def test_a_random_subset_is_another_one_for_another_seed_and_does_not_see_the_scores():
  scores, labels = np.arange(60.0), np.zeros(60, np.int32)
  first, again, other = (
    cut(scores, labels, size=20, seed=seed, policy="random") for seed in (0, 0, 1)
  )
  np.testing.assert_array_equal(first.easy, again.easy)
  assert set(first.easy.tolist()) != set(other.easy.tolist())
  np.testing.assert_array_equal(
    first.easy, cut(-scores, labels, size=20, seed=0, policy="random").easy
  )


@given(
  examples=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 2)), min_size=2, max_size=50),
  seed=st.integers(0, 9),
  bottom=st.booleans(),
  draw=st.data(),
)
def test_class_balanced_takes_the_end_of_the_ranking_of_every_class_and_counts_ties_in_each(
  examples, seed, bottom, draw
):
  scores, labels = (np.array(column) for column in zip(*examples, strict=True))
  size = draw.draw(st.integers(1, len(scores) - 1))
  part = cut(
    scores * 1.0,
    labels,
    size=size,
    seed=seed,
    policy="bottom" if bottom else "top",
    class_balanced=True,
  )
  easiness = -scores if bottom else scores
  ties = 0
  for label in set(labels.tolist()):
    a, b = (easiness[ids_of][labels[ids_of] == label].tolist() for ids_of in (part.easy, part.rest))
    if a and b:
      assert min(a) >= max(b)
      ties += (a + b).count(min(a)) if min(a) == max(b) else 0
  assert part.ties_at_cut == ties


def test_class_balanced_ties_of_a_hand_made_case():
  scores = np.array([5.0, 5.0, 5.0, 1.0, 9.0, 8.0, 2.0, 2.0])
  labels = np.array([0, 0, 0, 0, 1, 1, 1, 1])
  part = cut(scores, labels, size=4, seed=0, class_balanced=True)
  assert (
    part.ties_at_cut == 3
  )  # class 0 takes two of its three fives; class 1 takes 9 and 8, before its twos
  assert set(part.easy.tolist()) >= {4, 5}
  assert (
    cut(scores, labels, size=6, seed=0, class_balanced=True).ties_at_cut == 2
  )  # all fives, and one of the two twos


# ---- what each policy takes, against a twin that shares no line with it


def places(counts, size):
  """Returns the largest-remainder places of each group, in fractions."""
  total = sum(counts)
  shares = [Fraction(count * size, total) if total else Fraction(0) for count in counts]
  given = [math.floor(share) for share in shares]
  for group in sorted(range(len(counts)), key=lambda group: (given[group] - shares[group], group))[
    : size - sum(given)
  ]:
    given[group] += 1
  return given


def twin(scores, labels, size, seed, balanced):
  """Returns the sets (A, left out) of the ranking cut in Python."""
  hashes = tie_breaker(ids(len(scores)), seed)
  ranked = sorted(range(len(scores)), key=lambda index: (-scores[index], hashes[index]))
  groups = (
    [[index for index in ranked if labels[index] == label] for label in range(max(labels) + 1)]
    if balanced
    else [ranked]
  )
  easy = places([len(group) for group in groups], size.easy)
  free = [len(group) - count for group, count in zip(groups, easy, strict=True)]
  skipped, out = places(free, size.skipped), places(free, size.left_out)
  taken, left = set(), set()
  for group, count, start, end in zip(groups, easy, skipped, out, strict=True):
    taken.update(group[start : start + count])
    left.update(group[len(group) - end :])
  return taken, left


CLASSES = st.sampled_from([0, 0, 0, 0, 0, 1, 1, 3])
IMBALANCED = st.lists(
  st.tuples(st.sampled_from([-2.0, 0.0, 0.5, 1.0, 7.0]), CLASSES), min_size=4, max_size=60
)


@given(
  examples=IMBALANCED,
  seed=st.integers(0, 9),
  balanced=st.booleans(),
  policy=st.sampled_from(["window", "mislabel_cut"]),
  draw=st.data(),
)
def test_window_and_mislabel_cut_take_exactly_what_the_twin_takes_on_imbalanced_classes(
  examples, seed, balanced, policy, draw
):
  scores, labels = (np.array(column) for column in zip(*examples, strict=True))
  easy = draw.draw(st.integers(1, len(scores) - 2))
  other = draw.draw(st.integers(0, len(scores) - easy - 1))
  size = Sizes(easy, skipped=other) if policy == "window" else Sizes(easy, left_out=other)
  part = cut(scores, labels, size=size, seed=seed, policy=policy, class_balanced=balanced)
  assert (len(part.easy), len(part.left_out)) == (size.easy, size.left_out)
  np.testing.assert_array_equal(
    np.sort(np.concatenate([part.easy, part.rest, part.left_out])), ids(len(scores))
  )
  assert (set(part.easy.tolist()), set(part.left_out.tolist())) == twin(
    scores.tolist(), labels.tolist(), size, seed, balanced
  )
  if balanced:
    share = np.bincount(labels, minlength=4) * easy / len(labels)
    assert (np.abs(np.bincount(labels[part.easy], minlength=4) - share) < 1).all()


@given(scores=st.lists(st.integers(-3, 3), min_size=1, max_size=30), threshold=st.integers(-4, 4))
def test_a_threshold_takes_all_that_are_easier(scores, threshold):
  part = cut(
    np.array(scores, np.float32),
    np.zeros(len(scores), np.int32),
    size=1,
    seed=0,
    policy="threshold",
    threshold=threshold,
  )
  assert part.easy.tolist() == [index for index, score in enumerate(scores) if score > threshold]
  assert part.ties_at_cut == 0
  assert len(part.easy) + len(part.rest) == len(scores)


def test_a_window_and_a_cut_of_a_hand_made_case():
  scores, labels = np.array([0.1, 5.0, 3.0, -2.0, 4.0, 4.0]), np.zeros(6, np.int32)
  window = cut(scores, labels, size=Sizes(2, skipped=1), seed=0, policy="window")
  assert (window.easy.tolist(), window.rest.tolist(), window.ties_at_cut) == (
    [4, 5],
    [0, 1, 2, 3],
    0,
  )
  assert cut(scores, labels, size=Sizes(2, skipped=2), seed=0, policy="window").ties_at_cut == 2
  part = cut(scores, labels, size=Sizes(2, left_out=1), seed=0, policy="mislabel_cut")
  assert (part.rest.tolist(), part.left_out.tolist(), part.ties_at_cut) == (
    [0, 2, 4] if 5 in part.easy else [0, 2, 5],
    [3],
    2,
  )
  assert (
    cut(np.ones(6), labels, size=Sizes(2, left_out=1), seed=0, policy="mislabel_cut").ties_at_cut
    == 6
  )


@pytest.mark.parametrize(
  ("changes", "expected"),
  [
    ({}, Sizes(10)),
    ({"policy": "window", "window_start": 0.29}, Sizes(10, skipped=29)),
    ({"policy": "window", "window_start": 0.9}, Sizes(10, skipped=90)),
    ({"policy": "mislabel_cut", "cut": 0.29}, Sizes(10, left_out=29)),
    ({"policy": "mislabel_cut", "cut": 0.89}, Sizes(10, left_out=89)),
  ],
)
def test_sizes_are_the_exact_floor_of_their_shares(changes, expected):
  assert sizes(MethodConfig(), SplitConfig(**changes), 100) == expected


@pytest.mark.parametrize(
  ("changes", "part"),
  [
    (
      {"policy": "window", "window_start": 0.91},
      r"window_start=0\.91: after 91 of 100 training examples 9 are left for A, which is to get 10",
    ),
    (
      {"policy": "mislabel_cut", "cut": 0.9},
      r"split\.cut=0\.9: of 100 training examples A gets 10 and 90 would be left out",
    ),
    ({"policy": "mislabel_cut", "cut": 0.001}, r"A gets 10 and 0 would be left out"),
  ],
)
def test_sizes_that_leave_nothing_are_refused(changes, part):
  with pytest.raises(ConfigError, match=part):
    sizes(MethodConfig(), SplitConfig(**changes), 100)
