"""The loss of every step: what is kept, and that keeping it changes nothing."""

import dataclasses
import json

import numpy as np
import pytest

from sdt.engine.plan import Phase, Plan
from sdt.engine.state import zero_sums
from sdt.engine.trainer import FinishedRound
from sdt.run import metrics
from tests.support import tiny


def trained(**changes):
  config = tiny.config(rounds=2, optim__milestones=(), **changes)
  plan = tiny.alternating(config, 70, 20)
  return tiny.train(config, plan)


def test_the_losses_of_a_round_add_up_to_its_training_loss():
  _, rounds = trained(monitor__steps=True, parallel__steps_per_dispatch=4)
  for one in rounds:
    losses = one.sums.step_losses[:, :6].astype(np.float64)
    sizes = np.array([16, 4, 16, 16, 16, 2])  # of the batches of A and of B
    for phase, steps in enumerate((slice(0, 2), slice(2, 6))):
      total = (losses[:, steps] * sizes[steps]).sum(axis=1)
      np.testing.assert_allclose(total, one.sums.train_loss[:, phase], rtol=1e-5)
    assert np.unique(losses).size == losses.size


@pytest.mark.slow
def test_keeping_the_losses_changes_no_bit_of_the_training():
  tiny.assert_equal(trained()[0], trained(monitor__steps=True)[0])


def rows_of(step_losses, steps, steps_done, rounds=4):
  config = tiny.config(monitor__steps=step_losses is not None)
  ids = np.zeros((2, 3), np.int32)
  phases = tuple(
    Phase(name, ids, number, weight_decay=np.zeros(2))
    for name, number in zip("AB", steps, strict=True)
  )
  shape = (2, 2)
  sums = zero_sums(2, 2, 1)
  sums = dataclasses.replace(sums, step_losses=step_losses, train_count=np.ones(shape, np.int32))
  return metrics.rows_of_round(
    Plan("method", phases, rounds),
    config,
    FinishedRound(1, sums, 1.0),
    learning_rate=0.1,
    steps_done=np.array(steps_done),
  )


def test_a_row_has_the_losses_of_its_phase_and_none_of_steps_that_were_not_made():
  losses = np.arange(1.0, 17.0, dtype=np.float32).reshape(2, 8)
  rows = rows_of(losses, steps=(2, 3), steps_done=[10, 8])
  assert [row["step_losses"] for row in rows] == [
    [1.0, 2.0],
    [3.0, 4.0, 5.0],
    [9.0, 10.0],
    [11.0, None, None],
  ]
  assert json.loads(json.dumps(rows[0]["step_losses"])) == [1.0, 2.0]
  assert not any("step_losses" in row for row in rows_of(None, (2, 3), [10, 10]))


@pytest.mark.parametrize("rounds", [4, 4_000, 9_001])
def test_of_a_long_training_every_kth_loss_is_kept_wherever_rounds_and_phases_end(rounds):
  every = metrics.kept_every(rounds * 5)
  assert rounds * 5 / every <= metrics.MOST_STEPS
  assert every == 1 or rounds * 5 / (every - 1) > metrics.MOST_STEPS
  losses = np.arange(5.0, 10.0, dtype=np.float32)[None].repeat(2, 0)  # steps 5 to 9 of all
  rows = rows_of(losses, (2, 3), [10**6] * 2, rounds)
  kept = rows[0]["step_losses"] + rows[1]["step_losses"]
  assert kept == [number for number in range(5, 10) if number % every == 0]
