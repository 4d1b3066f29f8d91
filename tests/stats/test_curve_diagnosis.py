"""What is said of curves and grids, on curves by formula."""

import numpy as np
import pytest

from sdt.stats.curve_diagnosis import Curves, end, of_curves, of_grid, rise

T = np.arange(1, 31)
FALLS = 2.3 * np.exp(-T / 5)


def curves(train: np.ndarray, held_out: np.ndarray, losses: np.ndarray = FALLS) -> Curves:
  return Curves(losses, train, held_out, 1000)


FLAT = np.ones(30)
CASES = {
  "curves": (curves(0.99 * FLAT, 0.97 * FLAT), "ok", {}),
  "still_rising": (curves(0.5 + 0.01 * T, 0.48 + 0.01 * T), "note", {"rounds": 60}),
  "wide_gap": (curves(1.0 * FLAT, 0.85 * FLAT), "note", {}),
  "no_gap": (curves(0.7 * FLAT, 0.7 * FLAT), "note", {}),
  "loss_up": (
    curves(0.3 * FLAT, 0.3 * FLAT, 1.0 + 0.1 * T),
    "fault",
    {"optim.learning_rate": 0.033},
  ),
}
WORDS = {
  "still_rising": "train longer",
  "wide_gap": "more regularisation",
  "no_gap": "a larger network",
  "loss_up": "lower the rate",
}


@pytest.mark.parametrize("code", CASES)
def test_each_shape_of_curve_is_named_with_what_to_do(code):
  of, level, changes = CASES[code]
  found = {one.code: one for one in of_curves(of, rounds=30, planned=30, rate=0.1)}
  assert found[code].level == level
  assert dict(found[code].changes) == changes
  assert WORDS.get(code, "") in found[code].advice
  assert set(found) == {code}


def test_a_trial_shorter_than_the_training_to_come_asks_for_no_longer_one():
  rising, _, _ = CASES["still_rising"]
  (found,) = of_curves(rising, rounds=30, planned=300, rate=0.1)
  assert (found.level, found.code, found.changes) == ("ok", "rising", {})
  assert found.text.endswith("in the last fifth of 30 rounds; the config has 300")


def test_an_accuracy_that_jumps_is_unsteady_and_not_called_rising():
  jumping = np.array([0.3, 0.7, 0.8, 0.9, 0.92, 0.9, 0.71, 0.62, 0.92, 0.9, 0.97, 0.99])
  found = of_curves(Curves(FALLS[:12], jumping, jumping, 144), rounds=12, planned=12, rate=1.0)
  assert [one.code for one in found] == ["unsteady"]
  assert "jumps by 1" in found[0].text
  assert "optim.learning_rate=0.33" in found[0].advice


def test_a_loss_that_is_not_finite_went_up():
  losses = FALLS.copy()
  losses[-1] = np.nan
  (found,) = of_curves(curves(FLAT, FLAT, losses), rounds=30, planned=30, rate=0.1)
  assert found.code == "loss_up"


def test_a_loss_that_wobbles_on_its_way_down_did_not_go_up():
  wobble = FALLS + 0.02 * (-1.0) ** T
  (found,) = of_curves(curves(0.99 * FLAT, 0.97 * FLAT, wobble), rounds=30, planned=30, rate=0.1)
  assert found.code == "curves"


def test_the_end_of_a_curve_is_its_last_fifth():
  assert end(np.arange(10.0)) == 8.5
  assert rise(np.arange(10.0)) == 2.0
  assert (end(np.array([3.0])), rise(np.array([3.0]))) == (3.0, 0.0)


@pytest.mark.parametrize(
  ("at_edge", "is_fine", "code"),
  [([], False, "coarse"), ([], True, "fine"), (["optim.learning_rate"], True, "at_edge")],
)
def test_what_a_grid_has_chosen_is_handed_on(at_edge, is_fine, code):
  values = {"optim.learning_rate": 0.3, "optim.weight_decay": 0.0}
  candidates = [
    {"values": values, "mean": 0.91, "diverged": []},
    {"values": {**values, "optim.learning_rate": 0.9}, "mean": None, "diverged": [0]},
  ]
  choice = {"chosen": values, "candidates": candidates, "num_trials": 2, "at_edge": at_edge}
  (found,) = of_grid(choice, is_fine=is_fine)
  assert found.code == code
  assert dict(found.changes) == values
  assert "91.0% of the held-out examples right; 1 diverged" in found.text
