"""Suspects: which labels look wrong, against a small case worked by hand and scikit-learn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from sdt.scores import suspects

# Two seeds, four examples. Example 2 is the one that both networks call something else.
AUM = np.array([[3.0, 1.0, -2.0, -1.0], [2.0, 1.0, -3.0, 0.5]], np.float32)
MARGIN = np.array([[5.0, 4.0, 1.0, -1.0], [5.0, 4.0, -1.0, 1.0]], np.float32)
OTHER = np.array([[1, 2, 0, 1], [2, 2, 0, 0]], np.int32)
DYNAMICS = {"margin": MARGIN, "aum": AUM}
SOUND = np.array([True, True])


def test_the_odds_are_a_mean_over_seeds_and_scores_and_the_suspicion_their_share_of_the_set():
  found = suspects.find(DYNAMICS, OTHER, SOUND)
  assert found.source == suspects.DYNAMICS
  np.testing.assert_allclose(found.log_odds, [-2.5, -1, 2.5, 0.25])
  np.testing.assert_allclose(found.suspicion, [0, 1 / 3, 1, 2 / 3])
  np.testing.assert_array_equal(found.order, [2, 3, 1, 0])
  folds = suspects.find(DYNAMICS, OTHER, SOUND, has_folds=True)
  assert folds.source == suspects.BOTH
  np.testing.assert_allclose(folds.log_odds, [-3.75, -2.5, 1.25, 0.125])


def test_a_label_is_suspect_where_another_class_is_twelve_times_as_probable():
  margin = np.log([[1 / 12, 1 / 12.5, 12.0, 0.01]]).astype(np.float32)
  found = suspects.find({"margin": margin}, np.zeros((1, 4), np.int32), np.array([True]))
  np.testing.assert_allclose(np.exp(found.log_odds), [12, 12.5, 1 / 12, 100], rtol=1e-6)
  assert found.is_flagged.tolist() == [False, True, False, True]  # e^2.5 is 12.2


def test_the_suggested_class_is_that_of_most_seeds_and_those_that_prefer_it_are_counted():
  found = suspects.find(DYNAMICS, OTHER, SOUND)
  # Of examples 0 and 3 the seeds name two classes: that of the first counts.
  np.testing.assert_array_equal(found.suggested, [1, 2, 0, 1])
  # An area under the margin below 0 is a vote, if it is for that class.
  np.testing.assert_array_equal(found.seeds_agree, [0, 0, 2, 1])
  np.testing.assert_array_equal(found.is_flagged, [False, False, True, False])
  third = np.array([[0], [1], [1]], np.int32)
  of_three = {"margin": np.full((3, 1), -1, np.float32)}
  many = suspects.find(of_three, third, np.ones(3, bool))
  assert (many.suggested.tolist(), many.seeds_agree.tolist()) == ([1], [2])


def test_a_seed_that_diverged_has_no_say_unless_no_seed_is_sound():
  broken = {name: values.copy() for name, values in DYNAMICS.items()}
  for values in broken.values():
    values[1] = np.nan
  alone = suspects.find(
    {name: values[:1] for name, values in DYNAMICS.items()}, OTHER[:1], SOUND[:1]
  )
  found = suspects.find(broken, OTHER, np.array([True, False]))
  np.testing.assert_array_equal(found.suspicion, alone.suspicion)
  np.testing.assert_array_equal(found.seeds_agree, alone.seeds_agree)
  assert found.num_seeds == 1
  none = suspects.find(broken, OTHER, np.array([False, False]))
  assert none.num_seeds == 2
  assert np.isfinite(none.suspicion).all()


@pytest.mark.parametrize(
  ("names", "has_folds", "source"),
  [
    (("margin", "aum"), True, suspects.BOTH),
    (("margin",), True, suspects.OUT_OF_FOLD),
    (("margin", "aum"), False, suspects.DYNAMICS),
    (("margin",), False, suspects.IN_SAMPLE),
  ],
)
def test_the_source_is_the_one_that_saw_the_example_least(names, has_folds, source):
  assert suspects.source_of(names, has_folds=has_folds) == source


def test_networks_that_give_all_labels_back_know_them_by_heart():
  assert suspects.find(DYNAMICS, OTHER, SOUND).share_right == 6 / 8
  assert not suspects.find(DYNAMICS, OTHER, SOUND).has_memorised
  by_heart = DYNAMICS | {"margin": np.abs(MARGIN)}
  assert suspects.find(by_heart, OTHER, SOUND).has_memorised
  # Out of fold, the margins are of networks that have not seen the example.
  folds = DYNAMICS | {"confidence_in_sample": np.full((2, 4), 0.9, np.float32)}
  assert suspects.find(folds, OTHER, SOUND, has_folds=True).has_memorised


def test_the_summary_counts_the_flagged_by_pair_of_classes_the_most_frequent_first():
  aum = np.full((1, 6), -3, np.float32)
  aum[0, 5] = 1
  values = {"margin": aum, "aum": aum}
  other = np.array([[1, 1, 2, 1, 0, 0]], np.int32)
  found = suspects.find(values, other, np.array([True]))
  wrong = np.array([True, False, True, True, False, True])
  summary = found.summary(np.array([0, 0, 0, 0, 1, 1]), ["cat", "dog", "cow"], wrong)
  assert (summary["num"], summary["known_wrong"]) == (5, 3)
  assert summary["pairs"] == [
    {"given": "cat", "suggested": "dog", "num": 3},
    {"given": "cat", "suggested": "cow", "num": 1},
    {"given": "dog", "suggested": "cat", "num": 1},
  ]
  assert summary["unlearned"] == [{"class": "cat", "num": 4, "of": 4}]  # of dogs one of two
  assert "known_wrong" not in found.summary(np.zeros(6, int), ["a", "b", "c"], None)


@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 30))
def test_suspicions_are_shares_that_keep_the_order_of_the_scores(seed, num_seeds, num):
  rng = np.random.default_rng(seed)
  margin = rng.integers(-3, 4, (num_seeds, num)).astype(np.float32)
  found = suspects.find(
    {"margin": margin}, rng.integers(0, 3, margin.shape), np.ones(num_seeds, bool)
  )
  assert ((found.suspicion >= 0) & (found.suspicion <= 1)).all()
  assert found.suspicion.mean() == pytest.approx(0.5 if num > 1 else 0.0)
  assert sorted(found.order.tolist()) == list(range(num))
  if num_seeds == 1:
    wrong = rng.random(num) < 0.5
    if 0 < wrong.sum() < num:
      by_suspicion = roc_auc_score(wrong, found.suspicion)
      assert by_suspicion == pytest.approx(roc_auc_score(wrong, -margin[0]))
