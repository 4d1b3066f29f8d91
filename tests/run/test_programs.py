"""Which plans share a program; programs and states that are known from their shapes alone."""

import dataclasses

import jax
import pytest

from sdt.devices import compile as compiler
from sdt.engine.state import Position, Snapshot
from sdt.run.programs import Setup
from tests.support import tiny, whole
from tests.support.quick import only


@pytest.mark.parametrize("mode", only(["jit"], ["jit", "pmap"]))
def test_a_program_compiled_from_shapes_is_the_one_that_runs(mode):
  """On two devices: the executable of an abstract setup trains the real state to the same bits."""
  compiler._slot.cache_clear()  # whatever earlier tests compiled
  config = whole.config(parallel__mode=mode, parallel__num_devices=2)
  data = tiny.data(config)
  plan = tiny.alternating(config, 70, 7)
  real, abstract = Setup.make(config, data), Setup.make(config, data, is_abstract=True)
  assert all(
    isinstance(leaf, jax.ShapeDtypeStruct) for leaf in jax.tree.leaves(abstract.source.data)
  )
  from_shapes, trainer = abstract.trainer(plan), real.trainer(plan)
  from_shapes.set_state(Snapshot(abstract.state_shapes, abstract.no_sums()))
  from_shapes.compile()
  trainer.set_state(real.fresh_start)
  trainer.take_programs(from_shapes)
  rounds = [ended for progress in trainer.run(Position()) for ended in progress.finished]
  state, expected = tiny.train(config, plan, data)
  tiny.assert_equal(trainer.get_state().state, state)
  assert [ended.index for ended in rounds] == [ended.index for ended in expected]
  assert trainer.memory_bytes() == from_shapes.memory_bytes() > 0


@pytest.mark.parametrize(
  "changes", [{}, {"optim__name": "adam"}, {"optim__body_rate_factor": 0.0}, {"seeds": (5,)}]
)
def test_shapes_of_the_state_are_those_of_the_real_one(changes):
  config = tiny.resnet(**changes)
  setup = Setup.make(config, tiny.data(config))
  real, shapes = setup.fresh_start.state, setup.state_shapes
  described = jax.tree.map(lambda leaf: (leaf.shape, str(leaf.dtype)), real)
  assert jax.tree.map(lambda leaf: (leaf.shape, str(leaf.dtype)), shapes) == described


def test_uniform_arms_share_the_program_of_the_baseline_and_keep_no_dynamics():
  config = tiny.config(arms=("baseline", "method", "uniform_mean"))
  data = tiny.data(config)
  setup = Setup.make(config, data)
  ends = {}
  for arm in ("baseline", "uniform_mean"):
    plan = dataclasses.replace(tiny.everything(config, len(data.train)), arm=arm)
    trainer = setup.trainer(plan)
    trainer.set_state(setup.fresh_start)
    trainer.compile()
    list(trainer.run(Position()))
    ends[arm] = trainer.get_state()
  assert trainer.num_compilations == 1
  assert ends["baseline"].dynamics is not None
  assert ends["uniform_mean"].dynamics is None
  tiny.assert_equal(ends["uniform_mean"].state, ends["baseline"].state)


@pytest.mark.parametrize(
  ("changes", "of_plan"),
  [
    ({"score__course": True}, {}),  # it would take too much memory
    ({}, {"rounds": 8}),
    ({"score__dynamics": False}, {}),
  ],
)
def test_other_arms_have_no_room_for_dynamics(changes, of_plan):
  config = tiny.config(**changes)
  data = tiny.data(config)
  plan = dataclasses.replace(tiny.everything(config, len(data.train)), arm="uniform", **of_plan)
  assert Setup.make(config, data).trainer(plan).program.num_recorded == 0
