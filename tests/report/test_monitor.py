"""The figures of what was monitored."""

import numpy as np
import pytest

from sdt.report import monitor_figures
from sdt.report.monitor_figures import moving_average, step_losses, units


def row(arm, seed, number, phase, losses, **more):
  return {"arm": arm, "seed": seed, "round": number, "phase": phase, "step_losses": losses, **more}


def test_the_losses_of_the_first_seed_stand_at_their_place_in_the_round():
  rows = [
    row("method", 3, 1, "A", [4.0]),
    row("method", 3, 1, "B", [3.0, None, 1.0]),
    row("method", 8, 1, "A", [9.0]),
    row("method", 3, 2, "A", [0.5, 0.25]),
    row("baseline", 3, 1, "all", []),
  ]
  found = step_losses(rows)
  assert list(found) == ["method"]
  np.testing.assert_array_equal(found["method"].losses, [4.0, 3.0, 1.0, 0.5, 0.25])
  np.testing.assert_allclose(found["method"].rounds, [0.25, 0.5, 1.0, 1.5, 2.0])
  assert step_losses([{"arm": "a", "seed": 0, "round": 1}]) == {}


@pytest.mark.parametrize("length", [1, 3, 100, 1000])
def test_the_moving_average_is_that_of_the_neighbours(length):
  losses = np.random.default_rng(length).random(length)
  half = max(5, round(0.02 * length)) // 2
  twin = [losses[max(0, i - half) : i + half + 1].mean() for i in range(length)]
  np.testing.assert_allclose(moving_average(losses), twin, rtol=1e-9)


def test_units_are_those_of_the_first_round_and_of_the_round_that_counts():
  layers = {number: [{"layer": "1", "sd": 1.0 * number}] for number in (1, 4, 6)}
  rows = [{"arm": "a", "seed": 0, "round": number, "units": layers[number]} for number in layers]
  assert units(rows) == {"a": {"first": layers[1], "last": layers[6]}}
  assert units(rows, {"a": 4}) == {"a": {"first": layers[1], "last": layers[4]}}


def test_the_figures_draw_a_dot_for_each_loss_and_a_line_for_each_arm_and_time():
  of = step_losses([row("baseline", 0, 1, "all", [3.0, 2.0, 0.1])])
  axes = monitor_figures.losses_of_steps(of, ["baseline", "method"]).axes[0]
  assert len(axes.collections[0].get_offsets()) == 3
  assert axes.get_yscale() == "log"
  shown = {"baseline": {"first": [{"sd": 1.0}], "last": [{"sd": 2.0}]}}
  lines = monitor_figures.activation_spread(shown, ["baseline"]).axes[0].get_lines()
  assert [list(line.get_ydata()) for line in lines] == [[1.0], [2.0]]
