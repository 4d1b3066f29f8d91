"""Paired statistics against scipy.stats and hand-made cases."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from sdt.stats import paired

ACCURACIES = st.integers(0, 10_000).map(lambda count: count / 10_000)


def _arm(values):
  return dict(enumerate(values))


def _contrasts(method, others, margin=0.0025, name="method"):
  """Returns the contrasts of one arm minus each of the others, as one family."""
  return paired.contrasts(
    {arm: paired.Pair(name, arm, method, of_second=values) for arm, values in others.items()},
    margin,
  )


def _excludes_zero(contrast):
  return (
    contrast["interval"] is not None and not contrast["interval"][0] <= 0 <= contrast["interval"][1]
  )


def test_summary_uses_n_minus_one_and_leaves_diverged_seeds_out():
  assert paired.summary([0.9, 0.7, float("nan"), None]) == {
    "mean": 0.8,
    "sd": pytest.approx(0.1 * math.sqrt(2)),
    "n": 2,
  }
  assert paired.summary([0.5]) == {"mean": 0.5, "sd": None, "n": 1}
  assert paired.summary([float("nan")]) == {"mean": None, "sd": None, "n": 0}


def test_one_contrast_equals_scipy_paired_t_test_and_its_interval():
  rng = np.random.default_rng(0)
  method, other = rng.normal(0.75, 0.01, 7), rng.normal(0.745, 0.01, 7)
  twin = scipy_stats.ttest_rel(method, other)
  low, high = twin.confidence_interval(0.95)
  contrast = _contrasts(_arm(method), {"baseline": _arm(other)})["baseline"]
  assert contrast["p"] == pytest.approx(twin.pvalue, rel=1e-12)
  assert contrast["p_holm"] == contrast["p"]
  assert contrast["interval"] == pytest.approx([low, high], rel=1e-10)
  assert contrast["mean"] == pytest.approx((method - other).mean(), rel=1e-12)
  assert contrast["sd"] == pytest.approx((method - other).std(ddof=1), rel=1e-12)
  assert contrast["difference"] == "method - baseline"


def test_holm_on_a_hand_made_family():
  assert paired.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
  assert paired.holm([0.9, 0.8]) == [1.0, 1.0]
  assert paired.holm([]) == []


def test_family_widens_the_interval_to_bonferronis():
  rng = np.random.default_rng(1)
  method = rng.normal(0.75, 0.01, 6)
  others = {name: rng.normal(0.75, 0.01, 6) for name in ("a", "b", "c")}
  actual = _contrasts(_arm(method), {name: _arm(values) for name, values in others.items()})
  for name, values in others.items():
    low, high = scipy_stats.ttest_rel(method, values).confidence_interval(1 - 0.05 / 3)
    assert actual[name]["interval"] == pytest.approx([low, high], rel=1e-9)
    assert actual[name]["verdict"] == "not resolved"


def test_interval_follows_holm_where_bonferroni_would_not_reject():
  # Two controls, p just under 0.05 and p tiny: Holm rejects both, Bonferroni (0.025) only the
  # second.
  noise = np.array([-1.0, -0.5, 0.0, 0.5, 1.0]) * 0.004
  target = float(scipy_stats.t.isf(0.04 / 2, 4)) * noise.std(ddof=1) / math.sqrt(5)
  method = np.full(5, 0.9)
  actual = _contrasts(
    _arm(method), {"near": _arm(method - target - noise), "far": _arm(method - 0.1 - noise)}
  )
  assert actual["near"]["p"] == pytest.approx(0.04, rel=1e-6)
  assert actual["near"]["p_holm"] == pytest.approx(0.04, rel=1e-6)
  assert actual["near"]["verdict"] == "better"
  near_end = target - float(scipy_stats.t.isf(0.05 / 2, 4)) * noise.std(ddof=1) / math.sqrt(5)
  assert actual["near"]["interval"][0] == pytest.approx(near_end, rel=1e-5)
  assert near_end > 0
  far_end = target + float(scipy_stats.t.isf(0.025 / 2, 4)) * noise.std(ddof=1) / math.sqrt(5)
  assert actual["near"]["interval"][1] == pytest.approx(far_end, rel=1e-6)


@pytest.mark.parametrize(("n", "points"), [(5, 0.42), (11, 0.23)])
def test_smallest_detectable_equals_the_published_figures(n, points):
  assert round(paired.smallest_detectable(0.25, n), 2) == points


@pytest.mark.parametrize("n", [3, 4, 5, 11, 30])
@pytest.mark.parametrize("alpha", [0.05, 0.05 / 8])
def test_smallest_detectable_has_80_percent_power(n, alpha):
  shift = paired.smallest_detectable(1.0, n, alpha)
  critical = scipy_stats.t.isf(alpha / 2, n - 1)
  # T = (Z + delta) / sqrt(chi2 / df), integrated by hand over the sample sd instead of by a
  # noncentral t routine.
  chi2 = scipy_stats.chi2.ppf((np.arange(200_000) + 0.5) / 200_000, n - 1)
  power = scipy_stats.norm.sf(critical * np.sqrt(chi2 / (n - 1)) - shift * math.sqrt(n)).mean()
  assert power == pytest.approx(0.8, abs=1e-5)


def test_smallest_detectable_refuses_one_pair():
  with pytest.raises(ValueError, match="n >= 2"):
    paired.smallest_detectable(0.1, 1)


def test_less_than_three_pairs_get_no_verdict_and_no_interval():
  texts = {2: "two seeds: no verdict", 1: "one seed: no verdict", 0: "no pair of seeds: no verdict"}
  for n, text in texts.items():
    contrast = _contrasts(_arm([0.9, 0.8][:n]), {"baseline": _arm([0.1, 0.2])})["baseline"]
    assert (contrast["verdict"], contrast["n"]) == (text, n)
    assert (
      contrast["interval"]
      is contrast["p"]
      is contrast["p_holm"]
      is contrast["smallest_detectable"]
      is None
    )


def test_all_differences_equal_claims_nothing():
  method = {0: 0.9, 1: 0.06, 2: 0.3}
  # 0.9 - 0.89 and 0.06 - 0.05 differ in the last bits: rounding must not pass for a spread.
  for shift, other in ((0.0, dict(method)), (0.01, {0: 0.89, 1: 0.05, 2: 0.29})):
    contrast = _contrasts(method, {"baseline": other})["baseline"]
    assert contrast["verdict"] == "not resolved"
    assert (
      contrast["interval"]
      is contrast["p"]
      is contrast["p_holm"]
      is contrast["smallest_detectable"]
      is None
    )
    assert contrast["mean"] == pytest.approx(shift)


def test_a_contrast_without_spread_does_not_make_the_others_easier():
  method = _arm([0.9, 0.91, 0.92, 0.9])
  rest = {"other": _arm([0.8, 0.83, 0.81, 0.8])}
  alone = _contrasts(method, rest)["other"]
  beside = _contrasts(method, {**rest, "same": dict(method)})["other"]
  assert beside["p_holm"] == pytest.approx(2 * alone["p_holm"])


def test_equal_within_the_margin_needs_both_one_sided_tests():
  method = np.full(8, 0.9)
  tight = np.array([-1.0, 1.0] * 4) * 1e-4
  actual = _contrasts(_arm(method), {"baseline": _arm(method - tight)})["baseline"]
  assert actual["verdict"] == "equal within +-0.25 points"
  assert (
    _contrasts(_arm(method), {"baseline": _arm(method - tight)}, margin=0.00005)["baseline"][
      "verdict"
    ]
    == "not resolved"
  )
  loose = tight * 60
  assert (
    _contrasts(_arm(method), {"baseline": _arm(method - loose)})["baseline"]["verdict"]
    == "not resolved"
  )
  for verdict, scale in (("equal", 30), ("not", 40)):
    values = tight * scale
    twin = max(
      scipy_stats.ttest_1samp(values, -0.0025, alternative="greater").pvalue,
      scipy_stats.ttest_1samp(values, 0.0025, alternative="less").pvalue,
    )
    actual = _contrasts(_arm(method), {"baseline": _arm(method - values)})["baseline"]
    assert actual["verdict"].startswith("equal") == (twin < 0.05), (verdict, twin)


def test_of_three_contrasts_each_is_tested_for_equality_at_a_third_of_the_level():
  method, wave = np.full(8, 0.9), np.array([-1.0, 1.0] * 4)
  scales = (0.0022, 0.0026, 0.0034, 0.004)
  p_values = [
    max(
      scipy_stats.ttest_1samp(wave * scale, -0.0025, alternative="greater").pvalue,
      scipy_stats.ttest_1samp(wave * scale, 0.0025, alternative="less").pvalue,
    )
    for scale in scales
  ]
  assert (
    p_values[0] < 0.05 / 3 < p_values[1] < p_values[2] < 0.05 < p_values[3]
  )  # the second and third are equal at 0.05 only
  for scale, p_value in zip(scales, p_values, strict=True):
    actual = _contrasts(
      _arm(method), {name: _arm(method - wave * scale) for name in ("a", "b", "c")}
    )
    assert [actual[name]["verdict"].startswith("equal") for name in actual] == [
      p_value < 0.05 / 3
    ] * 3


@pytest.mark.parametrize("num_contrasts", [1, 3])
def test_smallest_detectable_of_a_contrast_is_that_at_its_part_of_the_level(num_contrasts):
  rng = np.random.default_rng(5)
  method = rng.normal(0.9, 0.01, 6)
  others = {f"arm{index}": rng.normal(0.9, 0.01, 6) for index in range(num_contrasts)}
  actual = _contrasts(_arm(method), {name: _arm(values) for name, values in others.items()})
  critical = scipy_stats.t.isf(0.05 / num_contrasts / 2, 5)
  for name, values in others.items():
    noncentrality = (
      actual[name]["smallest_detectable"] * math.sqrt(6) / np.std(method - values, ddof=1)
    )
    assert scipy_stats.nct.sf(critical, 5, noncentrality) == pytest.approx(0.8, abs=1e-6)


def test_diverged_seeds_leave_the_pairs():
  method = {0: 0.9, 1: float("nan"), 2: 0.8, 3: 0.7, 4: None, 5: 0.95}
  other = {0: 0.85, 1: 0.8, 2: 0.7, 3: float("nan"), 4: 0.5, 5: 0.91, 9: 0.1}
  contrast = _contrasts(method, {"baseline": other})["baseline"]
  assert list(contrast["per_seed"]) == ["0", "2", "5"]
  assert contrast["n"] == 3


@given(st.data(), st.integers(1, 6), st.integers(1, 4))
def test_interval_excludes_zero_exactly_when_the_verdict_names_a_side(data, n, num_arms):
  values = st.lists(ACCURACIES, min_size=n, max_size=n)
  actual = _contrasts(
    _arm(data.draw(values)), {f"arm{i}": _arm(data.draw(values)) for i in range(num_arms)}
  )
  for contrast in actual.values():
    assert _excludes_zero(contrast) == (contrast["verdict"] in ("better", "worse"))
    assert contrast["p_holm"] is None or (contrast["p_holm"] < 0.05) == _excludes_zero(contrast)
    if contrast["interval"] is not None:
      assert contrast["interval"][0] <= contrast["mean"] <= contrast["interval"][1]
    if contrast["verdict"] in ("better", "worse"):
      assert (contrast["mean"] > 0) == (contrast["verdict"] == "better")


@given(st.lists(st.tuples(ACCURACIES, ACCURACIES), min_size=1, max_size=8), st.randoms())
def test_order_of_seeds_changes_nothing(pairs, random):
  rows = [(seed, *pair) for seed, pair in enumerate(pairs)]
  shuffled = random.sample(rows, len(rows))
  first, second = (
    _contrasts({seed: a for seed, a, _ in order}, {"baseline": {seed: b for seed, _, b in order}})
    for order in (rows, shuffled)
  )
  assert first == second
  assert paired.summary(a for _, a, _ in rows) == paired.summary(a for _, a, _ in shuffled)


def test_the_other_arm_can_be_taken_from_any_that_is_named():
  actual = _contrasts(_arm([0.9, 0.8]), {"less_data": _arm([0.5, 0.5])}, name="baseline")[
    "less_data"
  ]
  assert actual["difference"] == "baseline - less_data"


def _rounds(rates, accuracies):
  return [
    {"learning_rate": rate, "test_accuracy": value}
    for rate, value in zip(rates, accuracies, strict=True)
  ]


def test_fluctuation_by_hand():
  rates = [0.1] * 8 + [0.01] * 4
  # Of eight rounds before the drop the last four: 0.50, 0.56, 0.53, 0.59, differences +0.06, -0.03,
  # +0.06, whose mean is +0.03.
  accuracies = [0.1, 0.9, 0.2, 0.4, 0.50, 0.56, 0.53, 0.59, 0.9, 0.1, 0.9, 0.1]
  by_hand = math.sqrt((0.03**2 + 0.06**2 + 0.03**2) / 2) / math.sqrt(2)
  assert paired.fluctuation(_rounds(rates, accuracies)) == pytest.approx(by_hand)
  # Rounds that are not evaluated are passed over: 0.50, 0.53, 0.59.
  accuracies[5] = None
  assert paired.fluctuation(_rounds(rates, accuracies)) == pytest.approx(
    math.sqrt(2 * 0.015**2) / math.sqrt(2)
  )
  accuracies[6] = None
  assert paired.fluctuation(_rounds(rates, accuracies)) is None


def test_fluctuation_of_a_steady_rise_is_none_and_of_independent_scatter_its_own_sd():
  assert paired.fluctuation(_rounds([0.1] * 20, np.linspace(0.2, 0.8, 20))) == pytest.approx(
    0.0, abs=1e-15
  )
  scatter = np.random.default_rng(6).normal(0.5, 0.02, 8000)
  assert paired.fluctuation(_rounds([0.1] * 8000, scatter)) == pytest.approx(0.02, rel=0.05)


def test_fluctuation_needs_rounds_before_the_rate_falls():
  scatter = [0.5, 0.6] * 10
  assert paired.fluctuation(_rounds(np.cos(np.linspace(0, 1.5, 20)), scatter)) is None
  warm_up = [0.01, 0.05, *[0.1] * 8, *[0.01] * 10]
  assert paired.fluctuation(_rounds(warm_up, scatter)) == paired.fluctuation(
    _rounds([0.1] * 10, scatter[:10])
  )
  assert paired.fluctuation([]) is None


def test_per_seed_keeps_diverged_seeds_and_counts_the_others():
  actual = paired.per_seed({3: 0.5, 1: None, 2: 0.7})
  assert actual == {
    "per_seed": {"3": 0.5, "1": None, "2": 0.7},
    "mean": pytest.approx(0.6),
    "sd": pytest.approx(math.sqrt(0.02)),
    "n": 2,
  }
