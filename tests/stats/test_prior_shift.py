"""Thresholds that are moved by the shares of the classes, with a strength that is chosen."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score

from sdt.stats import prior_shift

SHARES = np.array([0.7, 0.2, 0.1])


def drawn(seed, num=40, learned=(4, 1.2, 0.8)):
  """Returns probabilities [num, 3] that favour the first class, and labels."""
  rng = np.random.default_rng(seed)
  return rng.dirichlet(learned, num).astype(np.float32), rng.integers(0, 3, num)


def by_hand(probabilities, strength):
  """Returns p_k s_k^-strength over their sum, one number after the other."""
  rows = []
  for row in probabilities.astype(np.float64):
    weights = [p / s**strength for p, s in zip(row, SHARES, strict=True)]
    rows.append([weight / sum(weights) for weight in weights])
  return np.array(rows)


def test_strengths_are_multiples_of_the_step_up_to_the_largest():
  assert prior_shift.strengths(0.3, 0.1) == [0.0, 0.1, 0.2, 0.3]
  assert prior_shift.strengths(0.25, 0.1) == [0.0, 0.1, 0.2]
  assert len(prior_shift.strengths(2.0, 0.1)) == 21


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0, 1.7])
def test_shifted_probabilities_are_those_over_a_power_of_the_shares(strength):
  probabilities, _ = drawn(0)
  values, total = prior_shift.shifted(probabilities, SHARES, strength)
  np.testing.assert_allclose(np.exp(values), by_hand(probabilities, strength), rtol=1e-12)
  unnormalised = (probabilities.astype(np.float64) * SHARES**-strength).sum(axis=1)
  np.testing.assert_allclose(np.exp(total), unnormalised, rtol=1e-12)


def test_a_probability_that_was_rounded_to_zero_stays_zero_and_warns_of_nothing():
  values, _ = prior_shift.shifted(np.array([[1.0, 0.0, 0.0]], np.float32), SHARES, 2.0)
  assert values.tolist() == [[0.0, -np.inf, -np.inf]]
  assert (
    prior_shift.chosen(np.eye(3, dtype=np.float32), np.array([1, 2, 0]), SHARES, [0.0, 1.0]) == 0
  )


@pytest.mark.parametrize("seed", range(5))
def test_the_strength_has_the_best_balanced_accuracy_then_likelihood_then_is_the_smallest(seed):
  probabilities, labels = drawn(seed)
  tried = prior_shift.strengths(2.0, 0.1)
  merits = []
  for strength in tried:
    shifted = by_hand(probabilities, strength)
    accuracy = balanced_accuracy_score(labels, shifted.argmax(axis=1))
    losses = -np.log(shifted[np.arange(len(labels)), labels])
    merits.append((-accuracy, np.mean([losses[labels == k].mean() for k in range(3)]), strength))
  assert prior_shift.chosen(probabilities, labels, SHARES, tried) == min(merits)[2]


def test_a_network_that_learned_the_shares_alone_gets_all_of_them_taken_off():
  rng = np.random.default_rng(3)
  evidence = rng.dirichlet([0.3] * 3, 3000)
  labels = np.array([rng.choice(3, p=row) for row in evidence])
  joint = evidence * SHARES
  learned = (joint / joint.sum(axis=1, keepdims=True)).astype(np.float32)
  tried = prior_shift.strengths(2.0, 0.1)
  assert prior_shift.chosen(learned, labels, SHARES, tried) == pytest.approx(1.0, abs=0.2)


@settings(max_examples=20)
@given(st.integers(0, 2**16), st.permutations(range(40)))
def test_the_choice_does_not_depend_on_the_order_of_the_examples(seed, order):
  probabilities, labels = drawn(seed)
  tried, order = [0.0, 0.7, 1.3], np.array(order)
  chosen = prior_shift.chosen(probabilities, labels, SHARES, tried)
  assert prior_shift.chosen(probabilities[order], labels[order], SHARES, tried) == chosen


def test_a_class_without_held_out_examples_counts_nothing():
  probabilities, labels = drawn(1)
  labels = np.minimum(labels, 1)
  tried = [0.0, 0.5, 1.0]
  answers = {t: by_hand(probabilities, t).argmax(axis=1) for t in tried}
  recalls = {t: np.mean([(a[labels == k] == k).mean() for k in (0, 1)]) for t, a in answers.items()}
  chosen = prior_shift.chosen(probabilities, labels, SHARES, tried)
  assert recalls[chosen] == max(recalls.values())
