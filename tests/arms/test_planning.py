"""The arms: which examples, how many steps, which decay; and that they can be compared."""

import dataclasses

import numpy as np
import pytest

from sdt.arms.catalogue import ARM_NAMES, ARMS, arm_order, num_phases
from sdt.arms.class_shares import BY_CLASS
from sdt.arms.design import check_equal_work
from sdt.arms.language import (
  DECAYS,
  REGULARISERS,
  STEPS,
  SUBSETS,
)
from sdt.arms.planning import make_plan
from sdt.arms.setting import Setting
from sdt.config.combinations import OWN_START
from sdt.config.schema import DISTIL, NEUTRAL
from sdt.engine.plan import plan_arrays
from sdt.engine.semi import SEMI
from sdt.errors import ConfigError
from sdt.scores.split import Partition
from tests.support import tiny
from tests.support.planned import phases, setting


def cifar(num_easy=5000, **changes):
  """Returns CIFAR's sizes: 50,000 examples in batches of 128."""
  config = tiny.config(seeds=(0,), batch_size=128, **({"method__lambda_tuned": 3e-4} | changes))
  ids = np.arange(50_000, dtype=np.int32)
  part = Partition(ids[:num_easy], ids[num_easy:], 0)
  return Setting(config, np.zeros(50_000, np.int32), ids, scores=None, partitions=(part,))


def test_the_baseline_sees_everything_at_its_decay():
  of = setting(optim__weight_decay=3e-4)
  plan = make_plan("baseline", of)
  assert [(phase.name, phase.num_steps) for phase in plan.phases] == [("all", 5)]
  np.testing.assert_array_equal(plan.phases[0].example_ids, np.tile(np.arange(70), (2, 1)))
  np.testing.assert_array_equal(plan.phases[0].weight_decay, [3e-4, 3e-4])
  assert (plan.init, plan.rounds) == ("scratch", of.config.rounds)


def test_the_method_alternates_the_highest_scores_and_the_rest_and_ends_on_the_rest():
  of = setting(method__lambda_A=2e-3, method__lambda_B=3e-4)
  plan = make_plan("method", of)
  assert [(phase.name, phase.num_steps) for phase in plan.phases] == [("A", 2), ("B", 4)]
  easy, rest = plan.phases
  for replica in range(2):
    best = np.argsort(-of.scores[replica])[:20]
    assert set(easy.example_ids[replica]) == set(best)
    assert sorted([*easy.example_ids[replica], *rest.example_ids[replica]]) == list(range(70))
  np.testing.assert_array_equal(easy.weight_decay, [2e-3] * 2)
  np.testing.assert_array_equal(rest.weight_decay, [3e-4] * 2)
  assert not np.array_equal(easy.example_ids[0], easy.example_ids[1])  # every seed has its own


def test_hard_first_turns_the_phases_of_every_alternating_arm():
  of = setting(method__order="hard_first")
  for arm in ("method", "random_subset", "alternate_mean"):
    assert [phase.name for phase in make_plan(arm, of).phases] == ["B", "A"]


def test_the_method_and_its_controls_start_alike():
  of = setting(method__init="warm")
  assert {arm for arm in ARM_NAMES if make_plan(arm, of).init == "scratch"} == {
    "baseline",
    "less_data",
    "long_baseline",
  }
  of = setting(method__init="scratch")
  assert {arm for arm in ARM_NAMES if make_plan(arm, of).init == "warm"} == {"warm_start"}
  assert {arm for arm in ARM_NAMES if ARMS[arm].start != "method"} == OWN_START


def test_the_step_mean_of_cifar_is_the_number_of_the_paper_s_setting():
  of = cifar(method__lambda_A=1.5e-3, method__lambda_B=1e-4)
  method, uniform = make_plan("method", of), make_plan("uniform_mean", of)
  assert [phase.num_steps for phase in method.phases] == [40, 352]
  assert uniform.steps_per_round == 391
  decay = uniform.phases[0].weight_decay[0]
  assert decay == pytest.approx(2.43e-4, abs=5e-7)
  assert decay == pytest.approx((40 * 1.5e-3 + 352 * 1e-4) / 392, rel=1e-12)
  for phase in make_plan("alternate_mean", of).phases:
    assert phase.weight_decay[0] == decay


@pytest.mark.parametrize("arm", ["alternate_mean", "alternate_only"])
def test_plain_alternation_has_the_method_s_examples_at_one_decay(arm):
  of = setting()
  method, same = phases("method", of), phases(arm, of)
  for name in "AB":
    np.testing.assert_array_equal(method[name].example_ids, same[name].example_ids)
    assert method[name].num_steps == same[name].num_steps
  assert np.unique([same[name].weight_decay for name in "AB"]).size == 1
  if arm == "alternate_only":
    assert same["A"].weight_decay[0] == of.config.optim.weight_decay


@pytest.mark.parametrize("policy", ["top", "random"])
def test_the_random_subset_has_the_method_s_sizes_and_decays_and_other_examples(policy):
  of = setting(split__policy=policy)
  method, other = phases("method", of), phases("random_subset", of)
  for name in "AB":
    assert method[name].example_ids.shape == other[name].example_ids.shape
    np.testing.assert_array_equal(method[name].weight_decay, other[name].weight_decay)
  for replica in range(2):
    assert set(method["A"].example_ids[replica]) != set(other["A"].example_ids[replica])
    assert sorted([*other["A"].example_ids[replica], *other["B"].example_ids[replica]]) == list(
      range(70)
    )
  assert set(other["A"].example_ids[0]) != set(other["A"].example_ids[1])


def test_a_random_subset_does_not_depend_on_the_other_seeds():
  one, two = (
    phases("random_subset", setting(seeds=(1,))),
    phases("random_subset", setting(seeds=(0, 1))),
  )
  np.testing.assert_array_equal(one["A"].example_ids[0], two["A"].example_ids[1])


def test_the_hardest_subset_is_the_bottom_of_the_ranking():
  of = setting()
  easy = phases("hardest_subset", of)["A"]
  for replica in range(2):
    assert set(easy.example_ids[replica]) == set(np.argsort(of.scores[replica])[:20])


def test_class_balance_holds_in_the_controls_too():
  of = setting(split__class_balanced=True)
  counts = [
    np.bincount(of.labels[phases(arm, of)["A"].example_ids[0]])
    for arm in ("method", "random_subset", "hardest_subset")
  ]
  np.testing.assert_array_equal(counts[0], counts[1])
  np.testing.assert_array_equal(counts[0], counts[2])


def test_less_data_is_half_of_it_for_as_many_steps():
  of = setting()
  half = phases("less_data", of)["half"]
  assert half.example_ids.shape == (2, 35)
  assert half.num_steps == make_plan("baseline", of).steps_per_round
  assert all(len(set(ids)) == 35 for ids in half.example_ids)
  assert not np.array_equal(half.example_ids[0], half.example_ids[1])


@pytest.mark.parametrize("num_easy", [1, 15, 16, 17, 64, 69])
def test_all_arms_do_the_same_work_to_one_step_a_round(num_easy):
  of = setting(size=num_easy)
  plans = [make_plan(arm, of) for arm in ARM_NAMES]
  check_equal_work(plans, of.config)
  assert {plan.arm: plan.rounds for plan in plans if plan.rounds != of.config.rounds} == {
    "long_baseline": 2 * of.config.rounds
  }
  steps = [plan.steps_per_round for plan in plans]
  assert max(steps) - min(steps) <= 1


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("num_out", [1, 9, 49])
def test_what_the_method_leaves_out_is_left_out_of_its_controls_and_the_work_stays_equal(
  num_out, balanced
):
  of = setting(
    left_out=num_out,
    split__policy="mislabel_cut",
    split__cut=0.1,
    split__class_balanced=balanced,
    arms=ARM_NAMES,
  )
  plans = {arm: make_plan(arm, of) for arm in ARM_NAMES}
  check_equal_work(plans.values(), of.config)
  for replica in range(2):
    out = set(of.partitions[replica].left_out.tolist())
    assert len(out) == num_out
    for arm in (
      "method",
      "alternate_mean",
      "random_subset",
      "class_matched_random",
      "hardest_subset",
      "swap_order",
    ):
      of_arm = {phase.name: phase.example_ids[replica].tolist() for phase in plans[arm].phases}
      assert (len(of_arm["A"]), len(of_arm["B"])) == (20, 50 - num_out)
      assert sorted([*of_arm["A"], *of_arm["B"], *out]) == list(range(70))
      if balanced or arm == "class_matched_random":
        counts = [
          np.bincount(of.labels[ids])
          for ids in (of_arm["A"], plans["method"].phases[0].example_ids[replica])
        ]
        np.testing.assert_array_equal(*counts)
    assert sorted(plans["uniform_mean"].phases[0].example_ids[replica]) == list(range(70))
    worst = [one for one in np.argsort(of.scores[replica]) if one not in out][:20]
    assert balanced or set(plans["hardest_subset"].phases[0].example_ids[replica]) == set(worst)
  assert [phase.num_steps for phase in plans["method"].phases] == [
    phase.num_steps for phase in make_plan("method", setting()).phases
  ]


def test_unequal_work_is_refused_by_name():
  of = setting()
  more = tiny.everything(of.config, 70, steps=7)
  with pytest.raises(
    ConfigError, match=r"method 4 rounds of 6, baseline 4 rounds of 7|baseline 4 rounds of 7"
  ):
    check_equal_work([make_plan("uniform_mean", of), more], of.config)
  with pytest.raises(ConfigError, match="unequal numbers of optimiser steps"):
    check_equal_work(
      [make_plan("method", of), dataclasses.replace(make_plan("method", of), rounds=9)], of.config
    )


def test_replicas_of_a_seed_are_paired_over_the_arms():
  of = setting(seeds=(4, 9))
  rates = np.ones(of.config.rounds)
  first, *others = (
    plan_arrays(make_plan(arm, of), of.config.seeds, rates, eval_every_rounds=1)
    for arm in ARM_NAMES
  )
  for plan in others:
    np.testing.assert_array_equal(plan.seeds, first.seeds)
    np.testing.assert_array_equal(plan.learning_rates, first.learning_rates)


def test_the_baseline_trains_first_and_every_phase_has_a_place_in_the_sums():
  assert arm_order(("method", "less_data", "baseline")) == ("baseline", "method", "less_data")
  assert num_phases(tiny.config(arms=("baseline",))) == 1
  of = setting(arms=ARM_NAMES)
  assert num_phases(of.config) == max(len(make_plan(arm, of).phases) for arm in ARM_NAMES)
  assert (
    num_phases(tiny.config(arms=("baseline", "three"), own_arms=("three = A@0 + B@0 + A@0.1",)))
    == 3
  )


# ---- further controls


def test_the_class_matched_random_subset_has_the_class_counts_of_the_seeds_own_a():
  of = setting()
  method, other = phases("method", of), phases("class_matched_random", of)
  for replica in range(2):
    counts = [
      np.bincount(of.labels[of_arm["A"].example_ids[replica]], minlength=3)
      for of_arm in (method, other)
    ]
    np.testing.assert_array_equal(counts[0], counts[1])
    assert set(method["A"].example_ids[replica]) != set(other["A"].example_ids[replica])
    assert sorted([*other["A"].example_ids[replica], *other["B"].example_ids[replica]]) == list(
      range(70)
    )


def test_decay_steps_only_takes_the_methods_steps_without_the_loss_of_a():
  of = setting()
  method, other = make_plan("method", of).phases, make_plan("decay_steps_only", of).phases
  assert [dict(phase.overrides) for phase in other] == [{"loss_weight": 0.0}, {}]
  for ours, theirs in zip(method, other, strict=True):
    assert (ours.name, ours.num_steps) == (theirs.name, theirs.num_steps)
    np.testing.assert_array_equal(ours.weight_decay, theirs.weight_decay)


def test_drop_subset_sees_b_alone_for_as_many_steps_as_the_method():
  of = setting()
  (phase,) = make_plan("drop_subset", of).phases
  np.testing.assert_array_equal(phase.example_ids, phases("method", of)["B"].example_ids)
  assert phase.num_steps == make_plan("method", of).steps_per_round
  np.testing.assert_array_equal(phase.weight_decay, [of.config.method.lambda_B] * 2)


def test_random_batches_has_lambda_a_at_as_many_random_places_as_a_has_steps():
  of = setting(num_examples=700, size=100, method__lambda_A=0.5, method__lambda_B=0.25)
  (phase,) = make_plan("random_batches", of).phases
  assert phase.name == "all"
  assert phase.weight_decay.shape == (2, 44)
  np.testing.assert_array_equal((phase.weight_decay == 0.5).sum(axis=1), [7, 7])
  np.testing.assert_array_equal((phase.weight_decay == 0.25).sum(axis=1), [37, 37])
  assert not np.array_equal(phase.weight_decay[0], phase.weight_decay[1])


def test_swap_order_ends_on_a_and_turns_with_the_method():
  assert [phase.name for phase in make_plan("swap_order", setting()).phases] == ["B", "A"]
  assert [
    phase.name for phase in make_plan("swap_order", setting(method__order="hard_first")).phases
  ] == ["A", "B"]


def test_the_long_baseline_is_the_baseline_for_twice_the_rounds():
  of = setting()
  ours, theirs = make_plan("long_baseline", of), make_plan("baseline", of)
  assert (ours.rounds, ours.steps_per_round) == (2 * theirs.rounds, theirs.steps_per_round)
  np.testing.assert_array_equal(ours.phases[0].example_ids, theirs.phases[0].example_ids)


# ---- regularisers

EASY = {
  "smooth_easy": {"label_smoothing": 0.1},
  "augment_easy": {"augment_strength": 0.5},
  "mixup_easy": {"mixup_alpha": 0.2},
  "dropout_easy": {"dropout": 0.3},
  "connect_easy": {"drop_connect": 0.3},
  "depth_easy": {"stochastic_depth": 0.2},
  "weight_easy": {"loss_weight": 0.5},
  "floor_easy": {"loss_floor": 0.05},
}


def test_each_regulariser_has_an_arm_that_differs_from_plain_alternation_by_it_on_a_alone():
  of = setting()
  assert (
    {name for overrides in EASY.values() for name in overrides}
    == set(REGULARISERS) - set(BY_CLASS) - set(SEMI) - set(DISTIL)
    == set(NEUTRAL) - set(BY_CLASS) - set(SEMI) - set(DISTIL)
  )
  plain = make_plan("alternate_only", of).phases
  for arm, overrides in EASY.items():
    ours = make_plan(arm, of).phases
    assert [phase.overrides for phase in ours] == [overrides, {}]
    for one, other in zip(ours, plain, strict=True):
      np.testing.assert_array_equal(one.example_ids, other.example_ids)
      np.testing.assert_array_equal(one.weight_decay, other.weight_decay)
      assert one.num_steps == other.num_steps
    assert ARMS[arm].control == "alternate_only"


def test_a_regulariser_has_the_config_s_value_or_the_phase_s_own():
  lines = ("mine = A@0[label_smoothing, mixup_alpha=1.5] + B@0[loss_weight=1e+2]:all + A@0",)
  of = setting(arms=("baseline", "mine"), own_arms=lines, regularise__label_smoothing=0.25)
  plan = make_plan("mine", of)
  assert [phase.overrides for phase in plan.phases] == [
    {"label_smoothing": 0.25, "mixup_alpha": 1.5},
    {"loss_weight": 100.0},
    {},
  ]
  assert [phase.note for phase in plan.phases] == [
    " [label_smoothing=0.25, mixup_alpha=1.5]",
    " [loss_weight=100]",
    "",
  ]
  arrays = plan_arrays(plan, (0, 1), np.ones(4), eval_every_rounds=1).overrides
  assert {name: values.tolist() for name, values in arrays.items()} == {
    "label_smoothing": [[0.25, 0.0, 0.0]] * 2, "loss_weight": [[1.0, 100.0, 1.0]] * 2,
    "mixup_alpha": [[1.5, 0.0, 0.0]] * 2,
  }  # fmt: skip


# ---- a user's own


def test_an_arm_of_ones_own_is_a_line_of_text():
  of = setting(
    arms=("baseline", "mine"),
    own_arms=("mine = matched_A@2e-3[loss_weight=0.5] + B@lambda_B:all + A@1e+2",),
  )
  first, rest, last = make_plan("mine", of).phases
  assert [phase.name for phase in (first, rest, last)] == ["A", "B", "A2"]
  assert (first.overrides, rest.num_steps) == ({"loss_weight": 0.5}, 5)
  np.testing.assert_array_equal(first.weight_decay, [2e-3] * 2)
  np.testing.assert_array_equal(last.weight_decay, [1e2] * 2)
  np.testing.assert_array_equal(last.example_ids, phases("method", of)["A"].example_ids)


def test_every_subset_decay_and_length_of_the_language_makes_a_phase():
  for subset in SUBSETS:
    for decay in DECAYS:
      for steps in STEPS:
        of = setting(arms=("baseline", "mine"), own_arms=(f"mine = {subset}@{decay}:{steps}",))
        (phase,) = make_plan("mine", of).phases
        assert phase.example_ids.shape[0] == 2
        assert np.isfinite(phase.weight_decay).all()
        assert phase.num_steps >= 1
