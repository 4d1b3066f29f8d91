"""The arms: which examples, how many steps, which decay; and that they can be compared."""

import dataclasses
import functools

import numpy as np
import pytest

from sdt.arms import checks
from sdt.arms.catalogue import ARM_NAMES, ARMS, arm_order, arm_specs, num_phases
from sdt.arms.checks import check_arms, check_overrides
from sdt.arms.language import (
  DECAYS,
  REGULARISERS,
  STEPS,
  SUBSETS,
  PhaseSpec,
  parse_own_arms,
  parse_phases,
)
from sdt.arms.planning import Setting, check_equal_work, make_plan
from sdt.config.combinations import OWN_START
from sdt.config.schema import NEUTRAL
from sdt.engine.plan import plan_arrays
from sdt.errors import ConfigError
from sdt.scores.split import Partition, Sizes, split
from tests.support import tiny


def setting(num_examples=70, seeds=(0, 1), size=20, left_out=0, **changes):
  """Returns a setting with a seed's own scores; ids are not positions, so that the two cannot be
  mixed up.
  """
  config = tiny.config(seeds=seeds, **({"method__lambda_tuned": 3e-4} | changes))
  rng = np.random.default_rng(1)
  scores = rng.normal(size=(len(seeds), num_examples))
  labels, ids = (
    rng.integers(0, 3, num_examples).astype(np.int32),
    np.arange(num_examples, dtype=np.int32) * 7,
  )
  rule, size = config.split, Sizes(size, left_out=left_out)
  cut = functools.partial(split, policy=rule.policy, class_balanced=rule.class_balanced)
  parts = tuple(cut(one, labels, ids, size, seed) for one, seed in zip(scores, seeds, strict=True))
  return Setting(config, labels, ids, scores=scores, partitions=parts)


def cifar(num_easy=5000, **changes):
  """Returns CIFAR's sizes: 50,000 examples in batches of 128."""
  config = tiny.config(seeds=(0,), batch_size=128, **({"method__lambda_tuned": 3e-4} | changes))
  part = Partition(
    np.arange(num_easy, dtype=np.int32), np.arange(num_easy, 50_000, dtype=np.int32), 0
  )
  return Setting(
    config,
    np.zeros(50_000, np.int32),
    np.arange(50_000, dtype=np.int32),
    scores=None,
    partitions=(part,),
  )


def phases(arm, of):
  return {phase.name: phase for phase in make_plan(arm, of).phases}


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


def test_an_unknown_arm_is_refused_with_the_nearest_and_the_list():
  with pytest.raises(
    ConfigError,
    match=r"'uniform_men' is not an arm; did you mean 'uniform_mean'\? \(arms: baseline, method",
  ):
    check_arms(tiny.config(arms=("baseline", "uniform_men")))
  with pytest.raises(
    ConfigError,
    match=(
      r"'xyz' is not an arm \(arms: baseline, .*; own_arms defines more, such as "
      r"--config.own_arms='gentle = "
    ),
  ):
    check_arms(tiny.config(arms=("baseline", "xyz")))
  with pytest.raises(ConfigError, match="'baseline' is missing"):
    check_arms(tiny.config(arms=("method",)))
  check_arms(tiny.config(arms=ARM_NAMES, method__lambda_tuned=3e-4))


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
  "depth_easy": {"stochastic_depth": 0.2},
  "weight_easy": {"loss_weight": 0.5},
  "floor_easy": {"loss_floor": 0.05},
}


def test_each_regulariser_has_an_arm_that_differs_from_plain_alternation_by_it_on_a_alone():
  of = setting()
  assert (
    {name for overrides in EASY.values() for name in overrides} == set(REGULARISERS) == set(NEUTRAL)
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
  own = ("mine = A@0[label_smoothing, mixup_alpha=1.5] + B@0[loss_weight=1e+2]:all + A@0",)
  of = setting(arms=("baseline", "mine"), own_arms=own, regularise__label_smoothing=0.25)
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


@pytest.mark.parametrize(("name", "low", "high"), [
  ("label_smoothing", 0.0, 0.999), ("augment_strength", 0.0, 1.0),
  ("mixup_alpha", 0.0, 1e3), ("dropout", 0.0, 0.999),
  ("stochastic_depth", 0.0, 0.999), ("loss_weight", 0.0, 1e3), ("loss_floor", 0.0, 1e3),
])  # fmt: skip
def test_values_out_of_range_are_refused_in_the_config_and_in_a_phase(name, low, high):
  for value in (low, high):
    assert getattr(tiny.config(**{f"regularise__{name}": value}).regularise, name) == value
    assert parse_phases(f"A@0[{name}={value}]", "x")[0].overrides == ((name, value),)
  for value in (-0.001, high + 0.002, float("nan")):
    with pytest.raises(
      ConfigError, match=f"regularise.{name} = .*: expected a finite number at least 0"
    ):
      tiny.config(**{f"regularise__{name}": value})
    with pytest.raises(ConfigError, match=f"x: {name} = .*: expected a finite number at least 0"):
      parse_phases(f"A@0[{name}={value}]", "x")


@pytest.mark.parametrize(
  ("arm", "changes", "message"),
  [
    (
      "dropout_easy",
      {},
      (
        r"'dropout_easy' asks for dropout, which model.name='mlp' has not; networks that have it: "
        r"wrn, wrn28_10$"
      ),
    ),
    (
      "depth_easy",
      {},
      (
        "stochastic_depth, which model.name='mlp' has not; networks that have it: "
        "paper_preresnet110, .*resnet8, wrn, "
      ),
    ),
    (
      "augment_easy",
      {},
      "augment_strength, and nothing is augmented; give augment.pad_crop or augment.flip",
    ),
    (
      "depth_easy",
      {"model__name": "resnet8", "model__hidden_sizes": None, "optim__body_rate_factor": 0.0},
      "stochastic_depth, which a frozen body has not; choose optim.body_rate_factor above 0",
    ),
    (
      "method",
      {"regularise__loss_floor": 0.1},
      r"regularise.loss_floor = 0.1: no arm of the run reads it; name one in arms .*\[loss_floor\]",
    ),
    (
      "floor_easy",
      {"regularise__loss_weight": 0.1},
      "regularise.loss_weight = 0.1: no arm of the run reads it",
    ),
    (
      "smooth_easy",
      {"regularise__label_smoothing": 0.0},
      "'smooth_easy' asks for label_smoothing, and label_smoothing = 0.0 changes nothing",
    ),
    (
      "mine",
      {"own_arms": ("mine = A@0[loss_weight=1] + B@0",)},
      "'mine' asks for loss_weight, and loss_weight = 1.0 changes nothing",
    ),
    (
      "mine",
      {"own_arms": ("mine = A@0[label_smoothing, loss_weight=0] + B@0",)},
      (
        "asks for label_smoothing, and with loss_weight = 0 beside it no loss moves the weights; "
        "leave one of the two out"
      ),
    ),
    (
      "mine",
      {
        "model__name": "wrn28_10",
        "model__hidden_sizes": None,
        "own_arms": ("mine = A@0[dropout=0] + B@0",),
      },
      "'mine' asks for dropout, and dropout = 0.0 changes nothing",
    ),
    (
      "dropout_easy",
      {"model__name": "wrn28_10", "model__hidden_sizes": None, "model__dropout": 0.3},
      "'dropout_easy' asks for dropout, and dropout = 0.3 changes nothing",
    ),
  ],
)
def test_a_regulariser_that_would_do_nothing_is_refused(arm, changes, message):
  config = tiny.config(arms=("baseline", arm), **changes)
  with pytest.raises(ConfigError, match=message):
    check_overrides(config)


@pytest.mark.parametrize(
  "text", ["hardest_A@lambda_A + hardest_B@lambda_B", "A@lambda_A + hardest_B@0"]
)
def test_the_hardest_are_refused_in_any_arm_where_they_are_the_method_s_own(text):
  changes = {"arms": ("baseline", "method", "mine"), "own_arms": (f"mine = {text}",)}
  check_arms(tiny.config(**changes))
  with pytest.raises(
    ConfigError,
    match=(
      r"'mine' has the phase hardest_[AB], which is the method's own [AB] with split.policy = "
      r"'bottom'"
    ),
  ):
    check_arms(tiny.config(**changes, split__policy="bottom"))
  check_arms(tiny.config(**changes | {"arms": ("baseline", "method")}, split__policy="bottom"))


def test_a_regulariser_that_the_run_can_have_is_accepted():
  check_overrides(tiny.config(arms=("baseline", "decay_steps_only")))
  off = {
    "own_arms": ("mine = A@0[dropout=0] + B@0",),
    "model__dropout": 0.3,
  }  # less than the network has elsewhere
  check_overrides(
    tiny.config(arms=("baseline", "mine"), model__name="wrn28_10", model__hidden_sizes=None, **off)
  )
  check_overrides(
    tiny.config(
      arms=("baseline", "augment_easy"), augment__flip=True, regularise__augment_strength=0.1
    )
  )
  check_overrides(
    tiny.config(
      arms=("baseline", "depth_easy"), model__name="paper_preresnet56", model__hidden_sizes=None
    )
  )
  check_overrides(
    tiny.config(
      arms=("baseline", "dropout_easy", "depth_easy"), model__name="wrn", model__hidden_sizes=None
    )
  )


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


def test_the_shipped_arms_are_written_in_the_language():
  assert ARMS["method"].phases == (PhaseSpec("A", "lambda_A"), PhaseSpec("B", "lambda_B"))
  assert parse_phases("A@1e-3+B@0", "x") == (PhaseSpec("A", 1e-3), PhaseSpec("B", 0.0))


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("A@1e-3", "'A@1e-3' has no name; expected NAME = PHASE"),
    ("mine", "'mine' has no name"),
    ("2 = A@0", "'2' is not a name for an arm; expected letters, digits and . _ -"),
    (" = A@0", "has no name"),
    ("mine = ", "own_arms: mine: '' is not a phase; expected SUBSET@DECAY"),
    ("mine = A", "'A' is not a phase"),
    ("mine = A@0 + ", "'' is not a phase"),
    ("mine = C@0", r"'C' is not a subset \(subsets: all, A, B"),
    ("mine = hardst_A@0", "'hardst_A' is not a subset; did you mean 'hardest_A'"),
    ("mine = A@lamda_A", "'lamda_A' is not a decay; did you mean 'lambda_A'"),
    ("mine = A@0:rond", "'rond' is not a length; did you mean 'round'"),
    ("mine = A@-1", "the decay -1 of 'A@-1' must be from 0 to 1000"),
    ("mine = A@nan", "the decay nan of 'A@nan' must be from 0 to 1000"),
    ("mine = A@0*2", "'A@0\\*2' is not a phase"),
    ("mine = A@0[dropot]", "'dropot' is not a regulariser; did you mean 'dropout'"),
    ("mine = A@0[]", r"'' is not a regulariser \(regularisers: label_smoothing, "),
    (
      "mine = A@0[loss_weight=x]",
      "mine: loss_weight = 'x': expected a finite number at least 0, at most 1000",
    ),
    ("mine = A@0[dropout, dropout=0.2]", "names dropout more than once"),
    ("method = A@0 + B@0", "the name 'method' is taken"),
    ("mine = A@0 against x y", "names no arm after 'against'"),
    ("mine = A@0 against ", "'A@0 against' is not a phase"),
  ],
)
def test_what_is_no_arm_is_refused_with_the_place_and_the_remedy(text, message):
  with pytest.raises(ConfigError, match=message):
    check_arms(tiny.config(own_arms=(text,)))


def test_an_own_arm_names_its_control_which_must_be_another_arm_of_the_run():
  specs = arm_specs(
    tiny.config(own_arms=("mine = A@0 + B@0 against alternate_only", "free = A@0 + B@0"))
  )
  assert [specs[name].control for name in ("mine", "free", "mixup_easy", "method")] == [
    "alternate_only",
    None,
    "alternate_only",
    None,
  ]
  assert specs["mine"].phases == specs["free"].phases
  one, other = "one = A@0 against other", "other = A@0 against one"
  own = (
    "mine = A@0 + B@0 against alternate_only",
    "vain = A@0 against vain",
    one,
    other,
    "it = A@0 against method",
    "low = A@0 against less_data",
    "typo = A@0 against alternate_onyl",
  )
  check_arms(tiny.config(own_arms=own, arms=("baseline", "alternate_only", "mine")))
  check_arms(tiny.config(own_arms=own))  # neither is trained
  remedy = r"take another control \(baseline, uniform_mean\)"
  for arms, message in (
    (
      ("mine",),
      (
        r"'mine' against 'alternate_only': a control must be trained too; add 'alternate_only' "
        rf"to arms, or {remedy}"
      ),
    ),
    (
      ("vain",),
      rf"'vain' against 'vain': an arm is no control of itself; leave 'against' out, or {remedy}",
    ),
    (("one",), "'one' and 'other' are each against the other, which is one difference"),
    (
      ("it", "method"),
      (
        r"'it' against 'method': 'method' minus 'it' is in the results anyway; leave 'against' "
        rf"out, or {remedy}"
      ),
    ),
    (
      ("low", "less_data"),
      rf"'low' against 'less_data': 'less_data' is the positive control, .* or {remedy}",
    ),
    (
      ("typo",),
      (
        "own_arms: 'typo' against 'alternate_onyl': 'alternate_onyl' is not an arm; did you mean "
        "'alternate_only'"
      ),
    ),
  ):
    with pytest.raises(ConfigError, match=message):
      check_arms(tiny.config(own_arms=own, arms=("baseline", "uniform_mean", *arms)))


def test_an_arm_that_is_defined_and_not_trained_and_one_without_its_control_are_told():
  own = ("mine = A@0 + B@0 against baseline", "idle = A@0 + B@0", "vain = A@0")
  of = tiny.config(own_arms=own, arms=("baseline", "mine", "mixup_easy", "smooth_easy"))
  assert checks.notes(of) == [
    "own_arms defines idle, vain, which arms does not name: not trained",
    "mixup_easy, smooth_easy: no difference from the control alternate_only, which is not in arms",
  ]
  assert checks.notes(tiny.config(arms=("baseline", "alternate_only", "smooth_easy"))) == []


def test_two_arms_of_one_name_are_refused():
  with pytest.raises(ConfigError, match="the name 'mine' is taken"):
    parse_own_arms(("mine = A@0 + B@0", "mine = all@0"), ARMS)
