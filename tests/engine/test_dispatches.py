"""How a training is cut into dispatches: their sizes, their seconds and the memory they leave."""

import dataclasses

import jax
import pytest

from sdt.engine.dispatch_sizes import RoundWork, choose_sizes
from sdt.engine.state import Position
from sdt.run.programs import Setup
from tests.support import tiny


@pytest.mark.slow
def test_the_seconds_of_evaluating_are_those_of_its_own_dispatches_or_reckoned_from_the_products():
  of = tiny.config(seeds=(0,), rounds=2, eval_every_rounds=2)
  plan = tiny.everything(of, 70, rounds=2)  # 5 steps of 16, one evaluation batch of 32
  whole = list(
    tiny.trainer(
      dataclasses.replace(of, parallel=dataclasses.replace(of.parallel, steps_per_dispatch=5)), plan
    ).run(Position())
  )
  shares = [progress.evaluation_seconds / progress.seconds for progress in whole]
  assert shares == pytest.approx([0.0, 32 / (32 + 3 * 5 * 16)])
  cut = list(
    tiny.trainer(
      dataclasses.replace(of, parallel=dataclasses.replace(of.parallel, steps_per_dispatch=3)), plan
    ).run(Position())
  )
  assert [progress.evaluation_seconds / progress.seconds for progress in cut] == [
    0.0,
    0.0,
    0.0,
    0.0,
    1.0,
  ]


def test_dispatches_fit_their_budget_and_cover_the_round():
  whole = choose_sizes(RoundWork(23, 1, 1e6, eval_multiply_adds=1e6), rounds=30)
  assert whole.rounds > 1
  assert (whole.steps, whole.evals) == (23, 1)
  part = choose_sizes(RoundWork(392, 20, 1e10, eval_multiply_adds=1e10), rounds=300)
  assert part.rounds == 1
  assert 392 % part.steps == 0
  assert 1 <= part.steps < 392
  asked = choose_sizes(RoundWork(391, 20, 1e10, eval_multiply_adds=1e10), rounds=300, steps=50)
  assert asked.steps <= 50


def test_300_dispatches_leave_no_more_arrays_than_50():
  of = tiny.config(rounds=50, parallel__steps_per_dispatch=1, optim__milestones=(20, 40))
  made = tiny.trainer(of, tiny.everything(of, 70))
  seen = [sum(array.nbytes for array in jax.live_arrays()) for _ in made.run(Position())]
  assert len(seen) == 50 * (5 + 1)
  assert max(seen[50:]) <= seen[49] + 1000  # of a state of 50 kB


def test_arms_of_equal_phases_and_other_rounds_train_to_their_own_end():
  """Such as uniform_mean and long_baseline, where a dispatch is a part of a round."""
  of = tiny.config(seeds=(0,), rounds=1, optim__milestones=(), parallel__steps_per_dispatch=5)
  setup = Setup.make(of, tiny.data(of))
  for arm, rounds in (("uniform_mean", 1), ("long_baseline", 2)):
    plan = dataclasses.replace(tiny.everything(of, 70, rounds=rounds), arm=arm)
    setup.choices["dispatches"][arm] = {"rounds": 1, "steps": 5, "evals": 1}
    made = setup.trainer(plan)
    made.set_state(setup.fresh_start)
    ended = [one.index for progress in made.run(Position()) for one in progress.finished]
    assert ended == list(range(rounds))
