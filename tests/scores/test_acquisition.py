"""Active learning: the strategies against twins in plain Python, and what is asked for next."""

import math

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sdt.data.seeded import tie_breaker
from sdt.errors import DataError
from sdt.scores.acquisition import WORTHS, first_ids, next_places, worth

BY_HAND = np.array([[0.5, 0.3, 0.2], [0.2, 0.4, 0.4]])
IDS = np.array([3, 5, 8, 13, 21, 34, 55], np.int32)


def twin(strategy, row):
  """Returns the worth of one example by the formula of the toolbox, in Python's floats."""
  p1, p2 = sorted(row, reverse=True)[:2]
  return {
    "random": 0.0,
    "margin": p2 - p1,
    "entropy": -sum(p * math.log(p) for p in row if p),
    "least_confidence": 1 - p1,
  }[strategy]


def test_worths_of_two_examples_by_hand():
  expected = {"random": (0, 0), "margin": (-0.2, 0), "least_confidence": (0.5, 0.6)}
  expected["entropy"] = (1.0296530140645737, 1.0549201679861442)
  for strategy, values in expected.items():
    np.testing.assert_allclose(worth(strategy, BY_HAND), values, rtol=0, atol=1e-15)


@hypothesis.settings(max_examples=20)
@hypothesis.given(
  arrays(
    np.float32, st.tuples(st.integers(1, 9), st.integers(2, 6)), elements=st.floats(0, 1, width=32)
  )
)
def test_worths_equal_their_twins_within_their_ranges_in_any_order_of_examples_and_classes(logits):
  powers = np.exp(20 * logits.astype(np.float64))
  given = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
  num_classes = given.shape[1]
  most = {"random": 0, "margin": 0, "entropy": math.log(num_classes)}
  most["least_confidence"] = 1 - 1 / num_classes
  for strategy in WORTHS:
    found = worth(strategy, given)
    assert found.dtype == np.float64
    np.testing.assert_allclose(
      found, [twin(strategy, row.tolist()) for row in given.astype(np.float64)], rtol=0, atol=1e-12
    )
    assert (found <= most[strategy] + 1e-6).all()
    np.testing.assert_array_equal(worth(strategy, given[::-1]), found[::-1])
    np.testing.assert_allclose(worth(strategy, given[:, ::-1]), found, rtol=0, atol=1e-12)


@hypothesis.settings(max_examples=20)
@hypothesis.given(
  st.lists(st.sampled_from((0.0, 0.25, 1.0)), min_size=7, max_size=7), st.integers(0, 9)
)
def test_the_largest_worths_are_asked_for_and_a_seeded_hash_of_the_id_breaks_ties(values, seed):
  worths, hashes = np.array(values), tie_breaker(IDS, seed)
  expected = sorted(range(7), key=lambda at: (-worths[at], int(hashes[at])))[:3]
  assert next_places(worths, IDS, 3, seed).tolist() == expected
  order = np.random.default_rng(seed).permutation(7)
  moved = order[next_places(worths[order], IDS[order], 3, seed)]
  assert moved.tolist() == expected


def test_random_asks_for_other_examples_in_another_seed_and_what_has_no_number_is_refused():
  ids = np.arange(100)
  found = [next_places(worth("random", np.ones((100, 2))), ids, 20, seed) for seed in (0, 1)]
  assert len({*found[0].tolist()} & {*found[1].tolist()}) < 12
  with pytest.raises(DataError, match="NaN"):
    next_places(np.array([0.0, np.nan]), ids[:2], 1, 0)


def test_the_start_is_a_uniform_draw_by_id_and_a_larger_one_holds_a_smaller():
  ids = np.arange(1000, dtype=np.int32)
  few, many = first_ids(ids, 10, 4), first_ids(ids, 30, 4)
  assert few.tolist() == many[:10].tolist()
  order = np.random.default_rng(0).permutation(1000)
  assert first_ids(ids[order], 30, 4).tolist() == many.tolist()
  drawn = np.concatenate([first_ids(ids, 100, seed) for seed in range(30)])
  # 300 of 3,000 in each tenth of the ids, sd about 16.
  assert np.abs(np.bincount(drawn // 100, minlength=10) - 300).max() < 65
