"""The arms: which examples, how many steps, which decay; and that they can be compared."""

import dataclasses

import numpy as np
import pytest
import tiny

from sdt.arms import ARM_NAMES, Setting, arm_order, check_arms, check_equal_work, make_plan, num_phases
from sdt.errors import ConfigError
from sdt.plan import plan_arrays
from sdt.split import Partition, split


def setting(num_examples=70, seeds=(0, 1), size=20, **changes):
  """Returns a setting with a seed's own scores; ids are not positions, so that the two cannot be mixed up."""
  config = tiny.config(seeds=seeds, **changes)
  rng = np.random.default_rng(1)
  scores = rng.normal(size=(len(seeds), num_examples))
  labels, ids = rng.integers(0, 3, num_examples).astype(np.int32), np.arange(num_examples, dtype=np.int32) * 7
  cut = dataclasses.asdict(config.split)
  del cut["source"]
  parts = tuple(split(one, labels, ids, size, seed, **cut) for one, seed in zip(scores, seeds, strict=True))
  return Setting(config, labels, ids, scores, parts)


def cifar(num_easy=5000, **changes):
  """Returns CIFAR's sizes: 50,000 examples in batches of 128."""
  config = tiny.config(seeds=(0,), batch_size=128, **changes)
  part = Partition(np.arange(num_easy, dtype=np.int32), np.arange(num_easy, 50_000, dtype=np.int32), 0)
  return Setting(config, np.zeros(50_000, np.int32), np.arange(50_000, dtype=np.int32), None, (part,))


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
  assert {arm for arm in ARM_NAMES if make_plan(arm, of).init == "scratch"} == {"baseline", "less_data"}
  of = setting(method__init="scratch")
  assert {arm for arm in ARM_NAMES if make_plan(arm, of).init == "scratch"} == set(ARM_NAMES)


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
    assert sorted([*other["A"].example_ids[replica], *other["B"].example_ids[replica]]) == list(range(70))
  assert set(other["A"].example_ids[0]) != set(other["A"].example_ids[1])


def test_a_random_subset_does_not_depend_on_the_other_seeds():
  one, two = phases("random_subset", setting(seeds=(1,))), phases("random_subset", setting(seeds=(0, 1)))
  np.testing.assert_array_equal(one["A"].example_ids[0], two["A"].example_ids[1])


def test_the_hardest_subset_is_the_bottom_of_the_ranking():
  of = setting()
  easy = phases("hardest_subset", of)["A"]
  for replica in range(2):
    assert set(easy.example_ids[replica]) == set(np.argsort(of.scores[replica])[:20])


def test_class_balance_holds_in_the_controls_too():
  of = setting(split__class_balanced=True)
  counts = [np.bincount(of.labels[phases(arm, of)["A"].example_ids[0]]) for arm in ("method", "random_subset", "hardest_subset")]
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
  check_equal_work(plans)
  steps = [plan.steps_per_round for plan in plans]
  assert max(steps) - min(steps) <= 1


def test_unequal_work_is_refused_by_name():
  of = setting()
  more = tiny.everything(of.config, 70, steps=7)
  with pytest.raises(ConfigError, match=r"method 4 rounds of 6, baseline 4 rounds of 7|baseline 4 rounds of 7"):
    check_equal_work([make_plan("uniform_mean", of), more])
  with pytest.raises(ConfigError, match="unequal numbers of optimiser steps"):
    check_equal_work([make_plan("method", of), dataclasses.replace(make_plan("method", of), rounds=9)])


def test_replicas_of_a_seed_are_paired_over_the_arms():
  of = setting(seeds=(4, 9))
  rates = np.ones(of.config.rounds)
  first, *others = (plan_arrays(make_plan(arm, of), of.config.seeds, rates, 1) for arm in ARM_NAMES)
  for plan in others:
    np.testing.assert_array_equal(plan.seeds, first.seeds)
    np.testing.assert_array_equal(plan.learning_rates, first.learning_rates)


def test_the_baseline_trains_first_and_every_phase_has_a_place_in_the_sums():
  assert arm_order(("method", "less_data", "baseline")) == ("baseline", "method", "less_data")
  assert num_phases(("baseline",)) == 1
  of = setting()
  assert num_phases(ARM_NAMES) == max(len(make_plan(arm, of).phases) for arm in ARM_NAMES)


def test_an_unknown_arm_is_refused_with_the_nearest_and_the_list():
  with pytest.raises(ConfigError, match=r"'uniform_men' is not an arm; did you mean 'uniform_mean'\? \(arms: baseline, method"):
    check_arms(("baseline", "uniform_men"))
  with pytest.raises(ConfigError, match=r"'xyz' is not an arm \(arms: baseline"):
    check_arms(("baseline", "xyz"))
  with pytest.raises(ConfigError, match="'baseline' is missing"):
    check_arms(("method",))
  check_arms(ARM_NAMES)
