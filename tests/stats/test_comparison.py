"""The comparison of a run's arms: families of contrasts, the positive control, the sentence."""

import numpy as np
import pytest
from scipy import stats as scipy_stats

from sdt.stats import descriptive
from sdt.stats.comparison import compare


def _arm(values):
  return {seed: float(value) for seed, value in enumerate(values)}


def _drawn(names, n=6, seed=0):
  rng = np.random.default_rng(seed)
  return {name: _arm(rng.normal(0.75, 0.01, n)) for name in names}


def test_every_arm_but_the_positive_control_is_in_the_family_those_of_unequal_work_too():
  accuracy = _drawn(("baseline", "less_data", "method", "long_baseline"))
  contrasts = compare(accuracy, 0.0025, {"long_baseline"})["contrasts"]
  assert list(contrasts) == ["baseline", "less_data", "long_baseline"]
  assert {arm: (entry["in_family"], entry["equal_work"]) for arm, entry in contrasts.items()} == {
    "baseline": (True, True),
    "less_data": (False, True),
    "long_baseline": (True, False),
  }
  for arm, size in (("baseline", 2), ("long_baseline", 2), ("less_data", 1)):
    twin = scipy_stats.ttest_rel(
      list(accuracy["method"].values()), list(accuracy[arm].values())
    ).confidence_interval(1 - 0.05 / size)
    assert contrasts[arm]["interval"] == pytest.approx(list(twin), rel=1e-9)


def test_a_positive_control_changes_no_verdict_about_the_method():
  with_it = _drawn(("baseline", "uniform_mean", "method", "less_data"))
  without = {arm: values for arm, values in with_it.items() if arm != "less_data"}
  both = [compare(accuracy, 0.0025)["contrasts"] for accuracy in (with_it, without)]
  assert {arm: both[0][arm] for arm in both[1]} == both[1]


def test_what_is_shown_beside_a_contrast_is_that_of_its_arm():
  accuracy = _drawn(("baseline", "method"), n=10)
  entry = compare(accuracy, 0.0025)["contrasts"]["baseline"]
  shown = descriptive.shown(accuracy["method"], accuracy["baseline"])
  assert {name: entry[name] for name in shown} == shown
  assert None not in shown.values()


BETTER = (0.70, 0.71, 0.705, 0.702)


@pytest.mark.parametrize(
  ("less_data", "called_worse"),
  [
    ((0.60, 0.602, 0.611, 0.60), True),
    ((0.70, 0.72, 0.69, 0.705), False),
    ((0.80, 0.802, 0.811, 0.80), False),
    (BETTER, False),
  ],
)
def test_power_is_whether_the_positive_control_is_called_worse_than_the_baseline(
  less_data, called_worse
):
  # The method is far from both: what it does has no say.
  accuracy = {
    "baseline": _arm(BETTER),
    "method": _arm((0.1, 0.11, 0.1, 0.12)),
    "less_data": _arm(less_data),
  }
  actual = compare(accuracy, 0.0025)
  power = actual["power"]
  assert power["called_worse"] is called_worse
  assert power["contrast"]["difference"] == "baseline - less_data"
  assert power["contrast"]["mean"] == pytest.approx(np.mean(BETTER) - np.mean(less_data), abs=1e-12)
  assert actual["sentence"].endswith(f" Positive control: {power['says']}.")
  assert power["says"].startswith("this experiment has no power: less_data, ") is not called_worse


def test_power_in_words():
  accuracy = {"baseline": _arm(BETTER), "less_data": _arm((0.60, 0.602, 0.611, 0.60))}
  assert compare(accuracy, 0.0025)["power"]["says"] == (
    "less_data is called worse than the baseline, as it must be (baseline - less_data is +10.10 "
    "points, interval +9.18 to +11.02, n = 4)"
  )
  accuracy["less_data"] = _arm((0.70, 0.72, 0.69, 0.705))
  assert compare(accuracy, 0.0025)["power"]["says"] == (
    "this experiment has no power: less_data, trained on half of the examples, is not called "
    "worse than the baseline (baseline - less_data "
    "is +0.05 points, interval -1.63 to +1.73, n = 4), so a difference that is not found here may "
    "be there all the same"
  )


def test_power_of_too_few_pairs_has_no_verdict():
  for less_data, words in (
    ({0: 0.1, 1: 0.2}, "two seeds"),
    ({0: 0.1, 1: None}, "one seed"),
    ({0: float("nan")}, "no pair of seeds"),
  ):
    power = compare({"baseline": {0: 0.9, 1: 0.8}, "less_data": less_data}, 0.0025)["power"]
    assert (power["called_worse"], power["says"]) == (None, f"{words}: no verdict")


def test_without_a_positive_control_nothing_is_said_about_power():
  actual = compare(_drawn(("baseline", "method")), 0.0025)
  assert "power" not in actual
  assert "ositive control" not in actual["sentence"]


def test_sentence_names_the_difference_and_the_verdict():
  accuracy = {"baseline": {0: 0.9833, 1: 0.9861}, "method": {0: 0.9861, 1: 0.9861}}
  assert compare(accuracy, 0.0025)["sentence"] == (
    "The method reached 98.61 % test accuracy (n = 2) and the baseline reached 98.47 % test "
    "accuracy (n = 2); method - baseline is +0.14 points (two seeds: no verdict). "
    "For a verdict give the same command at least 3 seeds: --config.seeds=0,1,2,3,4."
  )


def test_sentence_without_a_method_or_without_a_comparison():
  assert compare({"baseline": {0: 0.5}}, 0.0025)["sentence"] == (
    "No method arm was trained: the baseline reached 50.00 % test accuracy (n = 1)."
  )
  assert (
    compare({"method": {0: 0.5}}, 0.0025)["sentence"]
    == "Nothing to compare with: the method reached 50.00 % test accuracy (n = 1)."
  )


def test_sentence_of_a_resolved_and_an_unresolved_contrast():
  accuracy = {
    "baseline": _arm(BETTER),
    "method": _arm((0.75, 0.758, 0.752, 0.75)),
    "uniform_mean": _arm((0.73, 0.77, 0.74, 0.76)),
  }
  text = compare(accuracy, 0.0025, {"uniform_mean"})["sentence"]
  assert text.endswith(
    "n = 4): better; against uniform_mean (+0.25, not resolved, not equal work)."
  )
  flipped = compare({"baseline": accuracy["uniform_mean"], "method": accuracy["method"]}, 0.0025)[
    "sentence"
  ]
  assert "not resolved, the smallest detectable difference being" in flipped


def test_sentence_says_nothing_about_the_method_minus_the_positive_control():
  accuracy = _drawn(("baseline", "method", "less_data"))
  head, tail = compare(accuracy, 0.0025)["sentence"].split(" Positive control: ")
  assert "less_data" not in head
  assert "method" not in tail


def test_arms_with_their_own_control_are_one_family_that_changes_no_verdict_about_the_method():
  accuracy = _drawn(
    ("baseline", "alternate_only", "smooth_easy", "mixup_easy", "method", "less_data")
  )
  controls = {
    "smooth_easy": "alternate_only",
    "mixup_easy": "alternate_only",
    "floor_easy": "alternate_only",
    "method": "not_trained",
  }
  actual = compare(accuracy, 0.0025, controls=controls)
  assert list(actual["against_control"]) == ["smooth_easy", "mixup_easy"]
  for arm, entry in actual["against_control"].items():
    test = scipy_stats.ttest_rel(
      list(accuracy[arm].values()), list(accuracy["alternate_only"].values())
    )
    assert entry["difference"] == f"{arm} - alternate_only"
    assert entry["interval"] == pytest.approx(
      list(test.confidence_interval(1 - 0.05 / 2)), rel=1e-9
    )
    assert entry["mean"] == pytest.approx(
      np.mean(list(accuracy[arm].values())) - np.mean(list(accuracy["alternate_only"].values()))
    )
    assert (
      f"{arm} - alternate_only ({100 * entry['mean']:+.2f}, {entry['verdict']})"
      in actual["sentence"]
    )
  without = compare(accuracy, 0.0025)
  assert "against_control" not in without
  assert (actual["contrasts"], actual["power"]) == (without["contrasts"], without["power"])


def test_an_arm_against_a_control_of_unequal_work_says_so():
  accuracy = _drawn(("baseline", "long_baseline", "own"))
  entry = compare(accuracy, 0.0025, {"long_baseline"}, controls={"own": "long_baseline"})[
    "against_control"
  ]["own"]
  assert (entry["in_family"], entry["equal_work"]) == (True, False)
