"""Learning curves over labels: areas and differences by NumPy and SciPy."""

import numpy as np
import pytest
from scipy import stats

from sdt.stats.learning_curve import area, summarised

LABELS = [10, 20, 50]
RNG = np.random.default_rng(0)
ACCURACIES = {
  name: {seed: (RNG.uniform(0.5, 0.6, 3) + lead).tolist() for seed in range(5)}
  for name, lead in (("margin", 0.1), ("entropy", 0.0), ("random", 0.0))
}


def test_the_area_is_the_mean_accuracy_on_the_way_by_the_trapezoidal_rule():
  assert area([10, 20, 50], [0.0, 0.5, 1.0]) == pytest.approx((2.5 + 22.5) / 40)
  for of in ACCURACIES["margin"].values():
    assert area(LABELS, of) == pytest.approx(np.trapezoid(of, LABELS) / 40, rel=1e-12)
  assert area(LABELS, [0.5, None, None]) is None


def test_areas_are_one_family_of_paired_t_tests_and_all_numbers_of_labels_another():
  found = summarised(LABELS, ACCURACIES, 0.0025)
  by_hand = {
    name: [np.trapezoid(row, LABELS) / 40 for row in of.values()] for name, of in ACCURACIES.items()
  }
  assert list(found["primary"]) == ["margin", "entropy"]
  for name, one in found["primary"].items():
    test = stats.ttest_rel(by_hand[name], by_hand["random"])
    assert one["difference"] == f"{name} - random"
    assert one["p"] == pytest.approx(test.pvalue, rel=1e-9)
  p = sorted(one["p"] for one in found["primary"].values())
  assert min(one["p_holm"] for one in found["primary"].values()) == pytest.approx(2 * p[0])
  assert found["primary"]["margin"]["verdict"] == "better"
  at = [one["p"] for of in found["at_labels"].values() for one in of]
  assert [len(of) for of in found["at_labels"].values()] == [2, 2]
  least = min((one for of in found["at_labels"].values() for one in of), key=lambda one: one["p"])
  assert least["p_holm"] == pytest.approx(min(1, 4 * min(at)))
  interval = stats.t.interval(0.95, 4, np.mean(by_hand["margin"]), stats.sem(by_hand["margin"]))
  assert found["areas"]["margin"]["interval"] == pytest.approx(interval)


def test_a_seed_that_diverged_counts_where_it_got_to_and_without_random_nothing_is_compared():
  lost = {**ACCURACIES, "margin": {**ACCURACIES["margin"], 4: [0.5, 0.6, None]}}
  found = summarised(LABELS, lost, 0.0025)
  assert [one["n"] for one in found["curves"]["margin"]] == [5, 5, 4]
  assert [one["n"] for one in found["at_labels"]["margin"]] == [5, 4]
  assert found["primary"]["margin"]["n"] == 4
  alone = summarised(LABELS, {"margin": ACCURACIES["margin"]}, 0.0025)
  assert (alone["primary"], alone["at_labels"]) == ({}, {})
