"""What chance reaches, against simulations and cases by hand."""

import numpy as np
import pytest
from scipy.stats import entropy

from sdt.stats.chance import chance, effective_classes


@pytest.mark.parametrize(
  ("counts", "expected"),
  [([5, 5, 5, 5], 4.0), ([9, 0, 0], 1.0), ([0, 0], 0.0), ([7, 7, 0], 2.0), ([90, 5, 5], None)],
)
def test_effective_classes_are_the_exponential_of_the_entropy(counts, expected):
  wanted = np.exp(entropy(counts)) if expected is None else expected
  assert effective_classes(np.array(counts)) == pytest.approx(wanted)


def test_a_constant_answer_and_a_guess_are_chance_and_a_network_that_knows_something_is_not():
  rng = np.random.default_rng(0)
  counts = np.array([40, 40, 40, 40, 40, 40, 40, 40, 40, 40])
  level, labels = chance(counts), np.repeat(np.arange(10), counts)
  assert level.accuracy == pytest.approx(0.1)
  assert level.loss == pytest.approx(np.log(10))
  explained = []
  for _ in range(400):
    right = rng.integers(0, 10, len(labels)) == labels
    recalls = np.array([right[labels == label].mean() for label in range(10)])
    explained.append(level.explains(right.mean(), recalls))
  assert np.mean(explained) == pytest.approx(0.977, abs=0.025)
  constant = np.zeros(10)
  constant[3] = 1.0
  assert level.explains(0.1, constant)
  assert not level.explains(0.2, np.full(10, 0.2))


def test_next_to_nothing_is_left_only_where_enough_examples_show_it():
  few, many = chance(np.full(3, 10)), chance(np.full(4, 100))
  assert not few.rules_out(0.45, 1.0)
  assert not few.rules_out(1 / 3, 0.6)
  # By hand: t = 0.25 + 0.7 / 4 = 0.425, and two of its standard deviations are 0.0494.
  assert many.rules_out(0.3755, 0.95)
  assert not many.rules_out(0.3757, 0.95)
  assert not many.rules_out(0.25, 0.3)
  assert not many.rules_out(0.0, 0.0)  # a training that is itself below chance


@pytest.mark.parametrize(("num_classes", "num"), [(2, 50), (3, 30), (10, 40), (10, 2000)])
def test_a_network_that_keeps_a_quarter_of_what_it_learned_is_hardly_ever_ruled_out(
  num_classes, num
):
  level = chance(np.full(num_classes, num // num_classes))
  kept = level.accuracy + 0.25 * (1.0 - level.accuracy)
  reached = np.random.default_rng(0).binomial(num, kept, 4000) / num
  assert np.mean([level.rules_out(float(one), 1.0) for one in reached]) < 0.035


def test_where_one_class_has_nearly_all_examples_the_recalls_decide():
  level = chance(np.array([990, 10]))
  assert level.explains(0.99, np.array([1.0, 0.0]))
  assert not level.explains(0.985, np.array([0.987, 0.8]))  # it finds the rare class
  assert level.explains(0.985)  # by the accuracy alone nobody can tell


def test_a_class_without_examples_does_not_count_and_one_class_alone_tells_nothing():
  assert chance(np.array([50, 0, 50])) == chance(np.array([50, 50]))
  assert chance(np.array([50, 0])) is None
  assert chance(np.array([0, 0])) is None
  assert chance(np.array([50, 50])).explains(0.5, np.array([1.0, 0.0, np.nan]))
