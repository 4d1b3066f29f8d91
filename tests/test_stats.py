"""Paired statistics against scipy.stats and hand-made cases."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from sdt import stats

ACCURACIES = st.integers(0, 10_000).map(lambda count: count / 10_000)


def _arm(values):
  return dict(enumerate(values))


def _excludes_zero(contrast):
  return contrast["interval"] is not None and not contrast["interval"][0] <= 0 <= contrast["interval"][1]


def test_summary_uses_n_minus_one_and_leaves_diverged_seeds_out():
  assert stats.summary([0.9, 0.7, float("nan"), None]) == {"mean": 0.8, "sd": pytest.approx(0.1 * math.sqrt(2)), "n": 2}
  assert stats.summary([0.5]) == {"mean": 0.5, "sd": None, "n": 1}
  assert stats.summary([float("nan")]) == {"mean": None, "sd": None, "n": 0}


def test_one_contrast_equals_scipy_paired_t_test_and_its_interval():
  rng = np.random.default_rng(0)
  method, other = rng.normal(0.75, 0.01, 7), rng.normal(0.745, 0.01, 7)
  twin = scipy_stats.ttest_rel(method, other)
  low, high = twin.confidence_interval(0.95)
  contrast = stats.contrasts(_arm(method), {"baseline": _arm(other)})["baseline"]
  assert contrast["p"] == pytest.approx(twin.pvalue, rel=1e-12)
  assert contrast["p_holm"] == contrast["p"]
  assert contrast["interval"] == pytest.approx([low, high], rel=1e-10)
  assert contrast["mean"] == pytest.approx((method - other).mean(), rel=1e-12)
  assert contrast["sd"] == pytest.approx((method - other).std(ddof=1), rel=1e-12)
  assert contrast["difference"] == "method - baseline"


def test_holm_on_a_hand_made_family():
  assert stats.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
  assert stats.holm([0.9, 0.8]) == [1.0, 1.0]
  assert stats.holm([]) == []


def test_family_widens_the_interval_to_bonferronis():
  rng = np.random.default_rng(1)
  method = rng.normal(0.75, 0.01, 6)
  others = {name: rng.normal(0.75, 0.01, 6) for name in ("a", "b", "c")}
  found = stats.contrasts(_arm(method), {name: _arm(values) for name, values in others.items()})
  for name, values in others.items():
    low, high = scipy_stats.ttest_rel(method, values).confidence_interval(1 - 0.05 / 3)
    assert found[name]["interval"] == pytest.approx([low, high], rel=1e-9)
    assert found[name]["verdict"] == "not resolved"


def test_interval_follows_holm_where_bonferroni_would_not_reject():
  # Two controls, p just under 0.05 and p tiny: Holm rejects both, Bonferroni (0.025) only the second.
  noise = np.array([-1.0, -0.5, 0.0, 0.5, 1.0]) * 0.004
  target = float(scipy_stats.t.isf(0.04 / 2, 4)) * noise.std(ddof=1) / math.sqrt(5)
  method = np.full(5, 0.9)
  found = stats.contrasts(_arm(method), {"near": _arm(method - target - noise), "far": _arm(method - 0.1 - noise)})
  assert found["near"]["p"] == pytest.approx(0.04, rel=1e-6)
  assert found["near"]["p_holm"] == pytest.approx(0.04, rel=1e-6)
  assert found["near"]["verdict"] == "better"
  near_end = target - float(scipy_stats.t.isf(0.05 / 2, 4)) * noise.std(ddof=1) / math.sqrt(5)
  assert found["near"]["interval"][0] == pytest.approx(near_end, rel=1e-5)
  assert near_end > 0
  far_end = target + float(scipy_stats.t.isf(0.025 / 2, 4)) * noise.std(ddof=1) / math.sqrt(5)
  assert found["near"]["interval"][1] == pytest.approx(far_end, rel=1e-6)


@pytest.mark.parametrize(("n", "points"), [(5, 0.42), (11, 0.23)])
def test_smallest_detectable_equals_the_published_figures(n, points):
  assert round(stats.smallest_detectable(0.25, n), 2) == points


@pytest.mark.parametrize("n", [3, 4, 5, 11, 30])
@pytest.mark.parametrize("alpha", [0.05, 0.05 / 8])
def test_smallest_detectable_has_80_percent_power(n, alpha):
  shift = stats.smallest_detectable(1.0, n, alpha)
  critical = scipy_stats.t.isf(alpha / 2, n - 1)
  # T = (Z + delta) / sqrt(chi2 / df), integrated by hand over the sample sd instead of by a noncentral t routine.
  chi2 = scipy_stats.chi2.ppf((np.arange(200_000) + 0.5) / 200_000, n - 1)
  power = scipy_stats.norm.sf(critical * np.sqrt(chi2 / (n - 1)) - shift * math.sqrt(n)).mean()
  assert power == pytest.approx(0.8, abs=1e-5)


def test_smallest_detectable_refuses_one_pair():
  with pytest.raises(ValueError, match="n >= 2"):
    stats.smallest_detectable(0.1, 1)


def test_less_than_three_pairs_get_no_verdict_and_no_interval():
  texts = {2: "two seeds: no verdict", 1: "one seed: no verdict", 0: "no pair of seeds: no verdict"}
  for n, text in texts.items():
    contrast = stats.contrasts(_arm([0.9, 0.8][:n]), {"baseline": _arm([0.1, 0.2])})["baseline"]
    assert (contrast["verdict"], contrast["n"]) == (text, n)
    assert contrast["interval"] is contrast["p"] is contrast["p_holm"] is contrast["smallest_detectable"] is None


def test_all_differences_equal_claims_nothing():
  method = {0: 0.9, 1: 0.06, 2: 0.3}
  # 0.9 - 0.89 and 0.06 - 0.05 differ in the last bits: rounding must not pass for a spread.
  for shift, other in ((0.0, dict(method)), (0.01, {0: 0.89, 1: 0.05, 2: 0.29})):
    contrast = stats.contrasts(method, {"baseline": other})["baseline"]
    assert contrast["verdict"] == "not resolved"
    assert contrast["interval"] is contrast["p"] is contrast["p_holm"] is contrast["smallest_detectable"] is None
    assert contrast["mean"] == pytest.approx(shift)


def test_a_contrast_without_spread_does_not_make_the_others_easier():
  method = _arm([0.9, 0.91, 0.92, 0.9])
  rest = {"other": _arm([0.8, 0.83, 0.81, 0.8])}
  alone = stats.contrasts(method, rest)["other"]
  beside = stats.contrasts(method, {**rest, "same": dict(method)})["other"]
  assert beside["p_holm"] == pytest.approx(2 * alone["p_holm"])


def test_equal_within_the_margin_needs_both_one_sided_tests():
  method = np.full(8, 0.9)
  tight = np.array([-1.0, 1.0] * 4) * 1e-4
  found = stats.contrasts(_arm(method), {"baseline": _arm(method - tight)})["baseline"]
  assert found["verdict"] == "equal within +-0.25 points"
  assert stats.contrasts(_arm(method), {"baseline": _arm(method - tight)}, margin=0.00005)["baseline"]["verdict"] == "not resolved"
  loose = tight * 60
  assert stats.contrasts(_arm(method), {"baseline": _arm(method - loose)})["baseline"]["verdict"] == "not resolved"
  for verdict, scale in (("equal", 30), ("not", 40)):
    values = tight * scale
    twin = max(
      scipy_stats.ttest_1samp(values, -0.0025, alternative="greater").pvalue,
      scipy_stats.ttest_1samp(values, 0.0025, alternative="less").pvalue,
    )
    found = stats.contrasts(_arm(method), {"baseline": _arm(method - values)})["baseline"]
    assert found["verdict"].startswith("equal") == (twin < 0.05), (verdict, twin)


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
  assert p_values[0] < 0.05 / 3 < p_values[1] < p_values[2] < 0.05 < p_values[3]  # the second and third are equal at 0.05 only
  for scale, p_value in zip(scales, p_values, strict=True):
    found = stats.contrasts(_arm(method), {name: _arm(method - wave * scale) for name in ("a", "b", "c")})
    assert [found[name]["verdict"].startswith("equal") for name in found] == [p_value < 0.05 / 3] * 3


@pytest.mark.parametrize("num_contrasts", [1, 3])
def test_smallest_detectable_of_a_contrast_is_that_at_its_part_of_the_level(num_contrasts):
  rng = np.random.default_rng(5)
  method = rng.normal(0.9, 0.01, 6)
  others = {f"arm{index}": rng.normal(0.9, 0.01, 6) for index in range(num_contrasts)}
  found = stats.contrasts(_arm(method), {name: _arm(values) for name, values in others.items()})
  critical = scipy_stats.t.isf(0.05 / num_contrasts / 2, 5)
  for name, values in others.items():
    noncentrality = found[name]["smallest_detectable"] * math.sqrt(6) / np.std(method - values, ddof=1)
    assert scipy_stats.nct.sf(critical, 5, noncentrality) == pytest.approx(0.8, abs=1e-6)


def test_diverged_seeds_leave_the_pairs():
  method = {0: 0.9, 1: float("nan"), 2: 0.8, 3: 0.7, 4: None, 5: 0.95}
  other = {0: 0.85, 1: 0.8, 2: 0.7, 3: float("nan"), 4: 0.5, 5: 0.91, 9: 0.1}
  contrast = stats.contrasts(method, {"baseline": other})["baseline"]
  assert list(contrast["per_seed"]) == ["0", "2", "5"]
  assert contrast["n"] == 3


@given(st.data(), st.integers(1, 6), st.integers(1, 4))
def test_interval_excludes_zero_exactly_when_the_verdict_names_a_side(data, n, num_arms):
  values = st.lists(ACCURACIES, min_size=n, max_size=n)
  found = stats.contrasts(_arm(data.draw(values)), {f"arm{i}": _arm(data.draw(values)) for i in range(num_arms)})
  for contrast in found.values():
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
    stats.contrasts({seed: a for seed, a, _ in order}, {"baseline": {seed: b for seed, _, b in order}}) for order in (rows, shuffled)
  )
  assert first == second
  assert stats.summary(a for _, a, _ in rows) == stats.summary(a for _, a, _ in shuffled)


def test_sentence_names_the_difference_and_the_verdict():
  accuracy = {"baseline": {0: 0.9833, 1: 0.9861}, "method": {0: 0.9861, 1: 0.9861}}
  text = stats.sentence(accuracy, stats.contrasts(accuracy["method"], {"baseline": accuracy["baseline"]}))
  assert text == (
    "The method reached 98.61 +- 0.00 % test accuracy (n = 2) and the baseline reached 98.47 +- 0.20 % test accuracy (n = 2); "
    "method - baseline is +0.14 points (two seeds: no verdict)."
  )


def test_sentence_without_a_method_or_without_a_comparison():
  assert stats.sentence({"baseline": {0: 0.5}}, {}).startswith("No method arm was trained")
  assert stats.sentence({"method": {0: 0.5}}, {}) == "Nothing to compare with: the method reached 50.00 % test accuracy (n = 1)."


def test_sentence_of_a_resolved_and_an_unresolved_contrast():
  accuracy = {
    "baseline": _arm([0.70, 0.71, 0.705, 0.702]),
    "method": _arm([0.75, 0.758, 0.752, 0.75]),
    "uniform_mean": _arm([0.73, 0.77, 0.74, 0.76]),
  }
  others = {arm: accuracy[arm] for arm in ("baseline", "uniform_mean")}
  text = stats.sentence(accuracy, stats.contrasts(accuracy["method"], others))
  assert text.endswith("n = 4): better; against uniform_mean (+0.25, not resolved).")
  flipped = {arm: stats.contrasts(accuracy["method"], others)["uniform_mean"] for arm in ("baseline",)}
  assert "not resolved, the smallest detectable difference being" in stats.sentence(accuracy, flipped)
