"""Intervals of answers: by scipy, over seeds and over test examples."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sdt.stats import answers


def test_over_seeds_is_the_t_interval_of_the_mean():
  values = {0: 0.91, 3: 0.94, 5: 0.90, 8: None, 9: 0.97}
  found = answers.over_seeds(values)
  known = [value for value in values.values() if value is not None]
  expected = stats.t.interval(0.95, 3, np.mean(known), stats.sem(known))
  assert found["interval"] == pytest.approx(expected)
  assert (found["n"], found["per_seed"]["8"]) == (4, None)


def test_two_seeds_have_no_interval():
  assert answers.over_seeds({0: 0.5, 1: 0.6})["interval"] is None
  assert answers.over_seeds({0: None})["mean"] is None


def test_over_examples_is_the_normal_interval_of_the_mean():
  values = np.random.default_rng(0).normal(size=400)
  found = answers.over_examples(values)
  expected = stats.norm.interval(0.95, values.mean(), stats.sem(values))
  assert found["interval"] == pytest.approx(expected)
  assert answers.over_examples(values[:1])["interval"] is None


@given(st.integers(1, 500), st.data())
def test_a_share_has_wilsons_interval(total, data):
  right = data.draw(st.integers(0, total))
  found = answers.share(right, total)
  expected = stats.binomtest(right, total).proportion_ci(method="wilson")
  assert found["interval"] == pytest.approx([expected.low, expected.high], abs=1e-9)
  assert found["mean"] == right / total
