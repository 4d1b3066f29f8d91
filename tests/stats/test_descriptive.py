"""The figures shown beside a contrast, against scipy.stats and by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from sdt.stats import descriptive


def _arm(values):
  return dict(enumerate(values))


def test_wilcoxon_of_five_pairs_cannot_go_below_a_sixteenth():
  assert descriptive.wilcoxon([0.01, 0.02, 0.03, 0.04, 0.05]) == {"p": 0.0625, "smallest_p": 0.0625}
  assert descriptive.wilcoxon([0.01] * 5) == {"p": 0.0625, "smallest_p": 0.0625}  # all tied
  with_zeros = descriptive.wilcoxon([0.01, 0.02, 0.0, -0.0, 0.05])
  assert with_zeros == {"p": 0.25, "smallest_p": 0.25}  # three that are not zero
  assert descriptive.wilcoxon([0.01, -0.01]) == {"p": 1.0, "smallest_p": 0.5}
  assert descriptive.wilcoxon([0.0, 0.0]) is None


@given(st.lists(st.integers(-4, 4).filter(bool), min_size=2, max_size=8))
def test_wilcoxon_equals_scipys_over_all_sign_patterns_ties_or_not(counts):
  # Differences of accuracies have other last bits.
  differences = (np.array(counts) / 360 + 0.9 - 0.9).tolist()
  twin = scipy_stats.wilcoxon(
    np.array(counts, float), method=scipy_stats.PermutationMethod(n_resamples=np.inf)
  )
  actual = descriptive.wilcoxon(differences)
  assert actual["p"] == pytest.approx(twin.pvalue, rel=1e-12)
  assert actual["smallest_p"] == pytest.approx(min(1.0, 2 / 2 ** len(counts)))
  assert actual["p"] >= actual["smallest_p"]


def test_wilcoxon_of_many_untied_differences_equals_scipys_exact_table():
  differences = np.random.default_rng(3).normal(0.003, 0.01, 40)
  twin = scipy_stats.wilcoxon(differences, method="exact").pvalue
  assert descriptive.wilcoxon(differences.tolist())["p"] == pytest.approx(twin, rel=1e-9)


def test_bootstrap_begins_at_ten_pairs_and_equals_resampling_by_hand():
  values = np.random.default_rng(3).normal(0.004, 0.01, 12)
  assert descriptive.bootstrap(values[:9].tolist()) is None
  assert descriptive.bootstrap(values[:10].tolist()) is not None
  assert descriptive.bootstrap([0.01] * 12) is None
  draws = np.random.default_rng(99).choice(values, (200_000, 12)).mean(axis=1)
  # 9,999 resamples: an end of the interval scatters by about a fiftieth of its width.
  actual, twin = descriptive.bootstrap(values.tolist()), np.quantile(draws, [0.025, 0.975])
  assert actual == pytest.approx(twin, abs=0.02 * (twin[1] - twin[0]))
  assert actual == descriptive.bootstrap(values[::-1].tolist())
  wide = descriptive.bootstrap(values.tolist(), alpha=0.01)
  assert wide[0] < actual[0] < actual[1] < wide[1]


def test_shown_correlation_is_that_of_the_paired_accuracies():
  rng = np.random.default_rng(4)
  method = rng.normal(0.9, 0.01, 6)
  other = method + rng.normal(0, 0.005, 6)
  actual = descriptive.shown({**_arm(method), 9: 0.1}, {**_arm(other), 8: float("nan")})
  assert actual["correlation"] == pytest.approx(scipy_stats.pearsonr(method, other).statistic)
  assert actual["wilcoxon"] == descriptive.wilcoxon((method - other).tolist())
  assert actual["bootstrap"] is None
  assert descriptive.shown(_arm(method), _arm([0.5] * 6))["correlation"] is None
  assert descriptive.shown(_arm(method[:2]), _arm(other)) == {
    "correlation": None,
    "wilcoxon": None,
    "bootstrap": None,
  }
