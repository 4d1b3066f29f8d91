"""Decays that fall or rise over the rounds: as much in all, and trained with as planned."""

import numpy as np
import pytest

from sdt.arms import design
from sdt.arms.language import TRENDS, parse_own_arms
from sdt.arms.planning import make_plan
from sdt.arms.setting import Setting
from sdt.engine.schedule import falling, rates_of_arm
from sdt.errors import ConfigError
from sdt.run import metrics
from tests.support import tiny
from tests.support.planned import setting

TREND = ("plain = all@3e-2", "early = all@3e-2~falling", "late = all@3e-2~rising")
ARMS = ("baseline", "plain", "early", "late")
SCHEDULES = [
  {"optim__schedule": "step", "optim__milestones": (2, 4)},
  {"optim__schedule": "cosine", "optim__milestones": (), "optim__warmup_rounds": 2},
  {"optim__schedule": "linear", "optim__milestones": (), "optim__clock": "step"},
]


def plans(**changes):
  of = setting(own_arms=TREND, arms=ARMS, rounds=6, **changes)
  return of.config, {arm: make_plan(arm, of) for arm in ARMS}


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda one: one["optim__schedule"])
def test_a_trend_decays_as_much_in_all_as_without_it(schedule):
  config, of = plans(**schedule)
  constants = {
    arm: design.decay_constants(
      plan, config.optim, rates_of_arm(config, plan.rounds, plan.steps_per_round)
    )
    for arm, plan in of.items()
  }
  assert constants["early"] == pytest.approx(constants["plain"], rel=1e-12)
  assert constants["late"] == pytest.approx(constants["plain"], rel=1e-12)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda one: one["optim__schedule"])
def test_a_trend_of_one_of_two_phases_decays_as_much_in_that_phase(schedule):
  own = (
    "plain = A@3e-2 + B@1e-2",
    "early = A@3e-2~falling + B@1e-2",
    "late = A@3e-2 + B@1e-2~rising",
  )
  of = setting(own_arms=own, arms=ARMS, rounds=6, **schedule)
  constants = [
    design.decay_constants(
      plan, of.config.optim, rates_of_arm(of.config, plan.rounds, plan.steps_per_round)
    )
    for plan in (make_plan(arm, of) for arm in ARMS[1:])
  ]
  np.testing.assert_allclose(constants, constants[0], rtol=1e-12)


def test_it_falls_from_twice_to_none_in_the_clock_of_the_rate_and_the_other_rises():
  rates = np.asarray([0.3, 0.3, 0.3, 0.1])
  # The rate has passed 15, 45, 75 and 95 % of its sum in the middle of each round.
  np.testing.assert_allclose(falling(rates), [1.7, 1.1, 0.5, 0.1], rtol=1e-12)
  _, of = plans()
  np.testing.assert_allclose(of["early"].decay_factors + of["late"].decay_factors, 2.0)
  assert (np.diff(of["early"].decay_factors, axis=0) < 0).all()
  assert of["plain"].decay_factors is None


def test_a_trend_is_of_its_phase_alone_also_where_the_phases_are_turned():
  own = ("mixed = A@lambda_A~rising + B@lambda_B",)
  for order, place in (("easy_first", 0), ("hard_first", 1)):
    of = setting(own_arms=own, arms=("baseline", "mixed"), method__order=order)
    plan = make_plan("mixed", of)
    assert plan.phases[place].name == "A"
    assert (plan.decay_factors[:, 1 - place] == 1.0).all()
    assert (plan.decay_factors[:, place] != 1.0).any()


def test_an_unknown_trend_is_refused_with_the_nearest():
  with pytest.raises(ConfigError, match=r"'fallin' is not a trend.*falling.*trends: "):
    parse_own_arms(("mine = all@mean~fallin",), ())
  assert tuple(TRENDS) == ("falling", "rising")


def test_training_multiplies_the_decay_of_every_round_by_its_factor():
  own = ("early = all@0.2~falling[loss_weight=0]",)  # no gradient: the decay alone moves weights
  of = tiny.config(
    own_arms=own, arms=("baseline", "early"), optim__momentum=0.0, rounds=4, model__name="mlp"
  )
  data = tiny.data(of)
  plan = make_plan("early", Setting.of(of, data))
  state, finished = tiny.train(of, plan, data)
  start = tiny.leaves(tiny.first_state(of).params)
  rates = rates_of_arm(of, plan.rounds, plan.steps_per_round)
  factors = falling(rates)
  left = np.prod((1.0 - 0.2 * rates * factors) ** plan.steps_per_round)
  assert left < 0.95
  for name, leaf in tiny.leaves(tiny.replica(state.params, 0)).items():
    np.testing.assert_allclose(leaf[0], start[name] * left, rtol=1e-5)
  (row,) = (
    row
    for row in metrics.rows_of_round(
      plan, of, finished[1], learning_rate=rates[1], steps_done=np.full(len(of.seeds), 1000)
    )
    if row["seed"] == of.seeds[0]
  )
  assert row["weight_decay"] == pytest.approx(0.2 * factors[1], rel=1e-5)
