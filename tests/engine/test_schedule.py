"""Learning rates: every schedule against its formula, worked out by hand."""

import math

import numpy as np
import pytest

from sdt.config.schema import OptimConfig
from sdt.engine.schedule import learning_rates, rates_of_rounds

# Of eight rounds at the rate 1, unless a case says otherwise.
BY_HAND = {
  "step": ({"milestones": (2, 6)}, [1, 1, 0.1, 0.1, 0.1, 0.1, 0.01, 0.01]),
  "constant": ({}, [1] * 8),
  "cosine": ({}, [(1 + math.cos(math.pi * t / 8)) / 2 for t in range(8)]),
  "linear": ({}, [1, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125]),
  "inverse_sqrt": ({}, [1 / math.sqrt(t) for t in range(1, 9)]),
  "inverse_time(0.5)": ({}, [1, 1 / 1.5, 1 / 2, 1 / 2.5, 1 / 3, 1 / 3.5, 1 / 4, 1 / 4.5]),
  "exponential(0.5)": ({}, [1, 0.5, 0.25, 0.125, 0.0625, 0.03125, 0.015625, 0.0078125]),
  "natural_exponential(0.1)": ({}, [math.exp(-t / 10) for t in range(8)]),
  "triangular": (
    {"cycle_rounds": 4, "floor": 0.2},
    [0.2, 0.6, 1, 0.6, 0.2, 0.6, 1, 0.6],
  ),
  "warm_restarts": (
    {"cycle_rounds": 4},
    [1, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2] * 2,
  ),
}


def rates(rounds=8, *, batch_size=None, steps=1, stretch=1, **changes):
  config = OptimConfig(**{"learning_rate": 1.0, **changes})
  return learning_rates(config, rounds, batch_size=batch_size, steps=steps, stretch=stretch)


@pytest.mark.parametrize("schedule", BY_HAND)
def test_a_schedule_is_its_formula_after_any_warm_up_and_above_any_floor(schedule):
  changes, expected = BY_HAND[schedule]
  plain = rates(schedule=schedule, **changes)
  np.testing.assert_allclose(plain, expected, rtol=1e-14)
  if schedule not in ("step", "inverse_sqrt"):
    warm = rates(10, schedule=schedule, warmup_rounds=2, **changes)
    np.testing.assert_allclose(warm, [0.5, 1, *expected], rtol=1e-14)
  if schedule not in ("step", "constant", "triangular"):
    low = rates(schedule=schedule, floor=0.25, **changes)
    np.testing.assert_allclose(low, 0.25 + 0.75 * np.array(expected), rtol=1e-14)
  # Three steps of a round: the first has the rate of the round, two rounds are twice as slow.
  of_steps = rates(schedule=schedule, clock="step", steps=3, **changes)
  assert of_steps.shape == (8, 3)
  np.testing.assert_allclose(of_steps[:, 0], expected, rtol=1e-14)
  slower = rates(schedule=schedule, clock="step", steps=3, stretch=2, **changes)
  np.testing.assert_allclose(slower[::2, 0], expected, rtol=1e-14)
  np.testing.assert_array_equal(rates(schedule=schedule, stretch=2, **changes), plain.repeat(2))


def test_milestones_are_rounds_of_the_run_whatever_the_warm_up():
  warm = rates(schedule="step", milestones=(4, 6), warmup_rounds=3)
  np.testing.assert_allclose(warm, [1 / 3, 2 / 3, 1, 1, 0.1, 0.1, 0.01, 0.01])


def test_the_inverse_root_after_a_warm_up_is_that_of_the_transformer():
  """Vaswani et al.: min(t^-1/2, t W^-3/2), here 1 at t = W, in steps of which the first is 1."""
  ours = rates(6, schedule="inverse_sqrt", warmup_rounds=2, clock="step", steps=5).ravel()
  t, warmup = np.arange(1, 31), 10
  theirs = np.minimum(t**-0.5, t * warmup**-1.5) * math.sqrt(warmup)
  np.testing.assert_allclose(ours[:10], theirs[:10], rtol=1e-14)
  np.testing.assert_allclose(ours[11:], theirs[10:-1], rtol=1e-14)  # the peak is held for a step


def test_between_rounds_the_rate_of_a_step_lies_on_the_curve():
  of_steps = rates(4, schedule="linear", clock="step", steps=2)
  np.testing.assert_allclose(of_steps, [[1, 0.875], [0.75, 0.625], [0.5, 0.375], [0.25, 0.125]])
  np.testing.assert_array_equal(rates_of_rounds(of_steps), [1, 0.75, 0.5, 0.25])
  rising = rates(4, schedule="constant", warmup_rounds=2, clock="step", steps=2)
  np.testing.assert_allclose(rising.ravel(), [0.25, 0.5, 0.75, 1, 1, 1, 1, 1])


def test_the_linear_scaling_rule_multiplies_by_the_batch_size():
  scaled = rates(3, schedule="constant", reference_batch=128, batch_size=64)
  np.testing.assert_array_equal(scaled, [0.5] * 3)
  with pytest.raises(ValueError, match="needs the batch size"):
    rates(3, reference_batch=128)
