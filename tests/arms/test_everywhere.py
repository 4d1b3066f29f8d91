"""Regularisers of all phases: the plan is that of arms which name them in every phase."""

import dataclasses

import jax
import numpy as np
import pytest

from sdt.arms.catalogue import ARM_NAMES
from sdt.arms.planning import make_plan
from sdt.arms.setting import Setting
from sdt.engine.plan import plan_arrays
from tests.arms.test_planning import setting
from tests.support import tiny

EVERYWHERE = {"label_smoothing": 0.1, "loss_floor": 0.02}


@pytest.mark.parametrize("arm", ARM_NAMES)
def test_everywhere_is_the_plan_of_an_arm_with_the_values_written_into_every_phase(arm):
  texts = tuple(f"{name}={value}" for name, value in EVERYWHERE.items())
  plain, given = setting(), setting(everywhere=texts)
  expected = tuple(
    dataclasses.replace(phase, overrides=EVERYWHERE | phase.overrides)
    for phase in make_plan(arm, plain).phases
  )
  rates = np.ones(make_plan(arm, plain).rounds)
  plans = make_plan(arm, given), dataclasses.replace(make_plan(arm, plain), phases=expected)
  one, other = (plan_arrays(plan, (0, 1), rates, eval_every_rounds=1) for plan in plans)
  assert plans[0].regularisers() == plans[1].regularisers() == tuple(one.overrides)
  for ours, twin in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
    np.testing.assert_array_equal(ours, twin)


@pytest.mark.slow
def test_everywhere_trains_the_baseline_to_the_bits_of_an_arm_that_names_the_values():
  text = "written = all@baseline[label_smoothing=0.1]"
  given = tiny.config(rounds=2, optim__milestones=(1,), everywhere=("label_smoothing=0.1",))
  arms = {"own_arms": (text,), "arms": ("baseline", "written")}
  written = tiny.config(rounds=2, optim__milestones=(1,), **arms)
  data, params = tiny.data(given), []
  for config, arm in ((given, "baseline"), (written, "written")):
    plan = make_plan(arm, Setting(config, data.train.labels, data.train.example_ids))
    assert plan.regularisers() == ("label_smoothing",)
    params.append(tiny.train(config, plan, data)[0].params)
  tiny.assert_equal(*params)


def test_a_phase_s_own_value_wins_over_everywhere():
  lines = ("mine = A@0[label_smoothing=0] + B@0",)
  of = setting(
    arms=("baseline", "mine"), own_arms=lines, everywhere=("label_smoothing=0.2", "mixup_alpha=0.4")
  )
  assert [phase.overrides for phase in make_plan("mine", of).phases] == [
    {"label_smoothing": 0.0, "mixup_alpha": 0.4},
    {"label_smoothing": 0.2, "mixup_alpha": 0.4},
  ]
