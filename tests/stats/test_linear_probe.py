"""A linear classifier on given features, beside scikit-learn's and a minimum by hand."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from sdt.stats import linear_probe
from sdt.stats.linear_probe import STRENGTHS, Examples, interval, probe, sign_test


@pytest.fixture(autouse=True)
def one_thread():
  with threadpool_limits(1):
    yield


def drawn(num, seed, noise=1.0):
  """Returns examples of three classes whose means differ, in features of very unlike spreads."""
  rng = np.random.default_rng(seed)
  labels = np.arange(num) % 3
  features = np.eye(3)[labels] + noise * rng.normal(size=(num, 3))
  features = np.c_[features, rng.normal(size=(num, 4)), np.zeros(num)]
  return Examples((features * 10.0 ** np.arange(8) + 5.0).astype(np.float32), labels)


def by_sklearn(train, test, strength):
  """Returns the predicted labels of one fit from nothing."""
  scaler = StandardScaler().fit(train.features.astype(np.float64))
  model = LogisticRegression(C=1 / (strength * len(train.labels)), max_iter=5000, tol=1e-8)
  model.fit(scaler.transform(train.features.astype(np.float64)), train.labels)
  return model, model.predict_proba(scaler.transform(test.features.astype(np.float64)))


def test_strength_and_answers_are_those_of_a_search_by_hand_over_the_held_out_parts():
  train, test = drawn(60, 0), drawn(40, 1)
  parts = np.arange(60) // 3 % 5
  losses = dict.fromkeys(STRENGTHS, 0.0)
  right = {strength: np.zeros(60, bool) for strength in STRENGTHS}
  for strength in STRENGTHS:
    for part in range(5):
      rest, out = (Examples(*(one[of] for one in train)) for of in (parts != part, parts == part))
      _, probabilities = by_sklearn(rest, out, strength)
      losses[strength] -= np.log(probabilities[np.arange(len(out.labels)), out.labels]).sum()
      right[strength][parts == part] = probabilities.argmax(1) == out.labels
  best = min(losses, key=losses.get)
  found = probe(train, test, parts)
  assert found.strength == best
  np.testing.assert_array_equal(found.held_out, right[best])
  _, probabilities = by_sklearn(train, test, best)
  np.testing.assert_array_equal(found.test, probabilities.argmax(1) == test.labels)
  # The penalty is strength / 2 * ||weights||^2 beside the mean loss: its gradient is zero there.
  model, own = by_sklearn(train, train, best)
  scaled = StandardScaler().fit_transform(train.features.astype(np.float64))
  gradient = (own - np.eye(3)[train.labels]).T @ scaled / 60 + best * model.coef_
  assert np.abs(gradient).max() < 1e-5


@pytest.mark.slow
def test_the_test_set_and_its_labels_choose_nothing():
  train, test = drawn(60, 0), drawn(40, 1)
  found = probe(train, test, np.arange(60) // 3 % 5)
  other = probe(train, Examples(test.features[::-1], test.labels), np.arange(60) // 3 % 5)
  assert (found.strength, list(found.held_out)) == (other.strength, list(other.held_out))
  assert list(found.test) != list(other.test)


@pytest.mark.slow
def test_noise_without_classes_asks_for_the_strongest_penalty_and_clear_ones_for_a_weak_one():
  noise = drawn(60, 0)._replace(labels=np.random.default_rng(0).integers(0, 3, 60))
  assert probe(noise, drawn(9, 1), np.arange(60) % 5).strength == STRENGTHS[0]
  assert probe(drawn(60, 0, noise=0.1), drawn(9, 1), np.arange(60) % 5).strength < 0.1


def test_of_many_examples_one_part_is_held_out_and_a_class_that_a_fit_has_not_seen_counts_wrong(
  monkeypatch,
):
  monkeypatch.setattr(linear_probe, "MANY_EXAMPLES", 59)
  train = drawn(60, 0, noise=0.1)
  parts = np.where(train.labels == 2, 0, 1 + np.arange(60) % 4)
  found = probe(train, drawn(9, 1), parts)
  assert len(found.held_out) == 20
  assert not found.held_out.any()


def test_the_interval_is_wilsons_and_the_sign_test_counts_what_one_alone_has_right():
  low, high = interval(np.arange(100) < 90)
  z, p = 1.959964, 0.9
  middle = (p + z**2 / 200) / (1 + z**2 / 100)
  half = z / (1 + z**2 / 100) * np.sqrt(p * (1 - p) / 100 + z**2 / 40000)
  assert (low, high) == pytest.approx((middle - half, middle + half), abs=1e-6)
  one, other = np.array([1, 1, 1, 1, 0, 1], bool), np.array([0, 0, 0, 0, 1, 1], bool)
  assert sign_test(one, other) == pytest.approx((5 + 1) / 32)  # 4 or more of 5
  assert sign_test(one, one) == 1.0
