"""Mixed phases in the language of arms, and their plans."""

import dataclasses

import numpy as np
import pytest

from sdt.arms.checks import check_arms, check_overrides
from sdt.arms.language import parse_phases
from sdt.arms.planning import make_plan
from sdt.arms.semi_checks import check_semi
from sdt.engine.plan import plan_arrays, with_parts
from sdt.errors import ConfigError
from tests.support import tiny
from tests.support.planned import setting

SOFT = "A@mean[label_smoothing=0.2] | B@mean"


def plan_of(text, **changes):
  of = setting(own_arms=(f"mine = {text}",), arms=("baseline", "method", "mine"), **changes)
  return of, make_plan("mine", of)


def test_a_mixed_phase_has_all_examples_of_its_parts_in_order_and_the_part_of_each():
  of, plan = plan_of(SOFT)
  (phase,) = plan.phases
  baseline = make_plan("baseline", of)
  assert (phase.name, phase.num_steps) == ("mixed", baseline.steps_per_round)
  assert phase.by_part == {"label_smoothing": (0.2, 0.0)}
  assert phase.overrides == {}
  assert phase.note == " [label_smoothing=0.2|0]"
  uniform = make_plan("uniform_mean", of).phases[0]
  np.testing.assert_array_equal(phase.weight_decay, uniform.weight_decay)
  for replica, part in enumerate(of.partitions):
    np.testing.assert_array_equal(phase.example_ids[replica], np.arange(70))
    np.testing.assert_array_equal(np.flatnonzero(phase.parts[replica] == 0), part.easy)


def test_shuffled_parts_are_as_large_and_dealt_out_by_the_seed_and_the_id():
  of, plan = plan_of(f"shuffled({SOFT})")
  (phase,) = plan.phases
  np.testing.assert_array_equal((phase.parts == 0).sum(axis=1), [20, 20])
  assert (phase.parts[0] != phase.parts[1]).any()
  overlap = [np.sum(phase.parts[at][part.easy] == 0) for at, part in enumerate(of.partitions)]
  assert max(overlap) < 15  # of 20; by chance 5.7
  again = make_plan("mine", of).phases[0]
  np.testing.assert_array_equal(again.parts, phase.parts)


def test_what_everywhere_gives_is_shared_and_a_part_may_have_its_own():
  _, plan = plan_of(
    "A@mean[label_smoothing=0.2, loss_floor=0.1] | B@mean[loss_floor=0.1]:all",
    everywhere=("label_smoothing=0.05",),
  )
  (phase,) = plan.phases
  assert phase.by_part == {"label_smoothing": (0.2, 0.05)}
  assert phase.overrides == {"loss_floor": 0.1}


def test_the_arrays_have_a_value_for_each_part_and_the_part_of_each_example():
  of, plan = plan_of(f"A@1e-3[loss_weight=0.5] + {SOFT}")
  arrays = with_parts(plan_arrays(plan, (0, 1), np.ones(4), eval_every_rounds=1), plan, 70)
  np.testing.assert_array_equal(arrays.overrides["loss_weight"], [[0.5, 1.0]] * 2)
  of_parts = np.asarray([[[0.0, 0.0], [0.2, 0.0]]] * 2, np.float32)
  np.testing.assert_array_equal(arrays.overrides["label_smoothing"], of_parts)
  assert arrays.parts.dtype == np.uint8
  np.testing.assert_array_equal(arrays.parts[:, 0], np.zeros((2, 70)))
  for replica, part in enumerate(of.partitions):
    np.testing.assert_array_equal(np.flatnonzero(arrays.parts[replica, 1] == 0), part.easy)


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("A@1e-3[dropout=0.2] | B@2e-3", "a decay acts on the weights, not on examples"),
    ("A@mean~falling[dropout=0.2] | B@mean", "a decay acts on the weights"),
    ("A@mean[dropout=0.1]:all | B@mean", "give :STEPS there alone"),
    ("shuffled(A@mean[dropout=0.1])", "a mixed phase has two parts"),
    ("A@mean[dropout=0.1] | B@mean | half@mean", "a mixed phase has two parts"),
    ("shuffled(shuffled(A@mean) | B@mean)", "a mixed phase has two parts"),
    ("A&unlabelled@mean[dropout=0.1] | B@mean", "unlabelled examples are no part"),
    ("A@mean[dropout=0.1] | C@mean", "'C' is not a subset"),
    ("A@mean[dropout=0.1] |", "'' is not a phase; .* or shuffled\\(PHASE | PHASE"),
  ],
)
def test_what_is_no_mixed_phase_is_refused(text, message):
  with pytest.raises(ConfigError, match=message):
    parse_phases(text, "own_arms: mine")


def test_the_steps_of_a_shuffled_phase_may_stand_behind_it():
  outside, inside = (
    parse_phases(text, "mine") for text in (f"shuffled({SOFT}):all", f"shuffled({SOFT}:all)")
  )
  assert outside == inside
  assert outside[0].steps == "all"


@pytest.mark.parametrize(
  ("text", "changes", "message"),
  [
    ("A@mean[mixup_alpha=0.2] | B@mean", {}, "differ in mixup_alpha: it acts on whole batches"),
    ("A@mean[loss_floor=0.2, dropout=0.1] | B@mean", {}, "differ in loss_floor: it acts on whole"),
    ("A@mean[class_weight] | B@mean", {}, "differ in class_weight: it acts on whole batches"),
    ("A@mean | B@mean", {}, "whose parts have the same regularisers; write one phase"),
    ("A@mean[label_smoothing] | B@mean[label_smoothing=0.1]", {}, "have the same regularisers"),
    (
      SOFT,
      {"everywhere": ("mixup_alpha=0.2",)},
      "mixup_alpha makes one example of several, which may be of both parts",
    ),
    (SOFT, {"augment__ops": "smote(1) flip"}, "smote makes one example of several"),
    (
      "A@mean[loss_weight=0.5] | B@mean",
      {"everywhere": ("loss_floor=0.1",)},
      "loss_floor is of the loss of whole batches",
    ),
    ("A@mean[stochastic_depth=0.1] | B@mean", {}, r"which model\.name='mlp' has not"),
  ],
)
def test_what_cannot_differ_between_the_examples_of_a_batch_is_refused(text, changes, message):
  config = tiny.config(own_arms=(f"mine = {text}",), arms=("baseline", "mine"), **changes)
  with pytest.raises(ConfigError, match=message):
    check_overrides(config)


def test_parts_with_common_examples_are_refused_when_it_is_known_which_they_are():
  with pytest.raises(ConfigError, match=r"two parts of all \| A have examples in common"):
    plan_of("all@mean[dropout=0.1] | A@mean")
  ends = "A@mean[dropout=0.1] | hardest_A@mean:all"
  of, plan = plan_of(ends)
  assert plan.phases[0].example_ids.shape == (2, 40)
  before = dataclasses.replace(of, scores=None)  # the examples of the parts are arbitrary
  assert make_plan("mine", before).phases[0].example_ids.shape == (2, 40)


def test_parts_are_checked_as_phases_are():
  wrong = tiny.config(
    own_arms=("mine = hardest_A@mean[dropout=0.1] | hardest_B@mean",),
    arms=("baseline", "mine"),
    split__policy="bottom",
  )
  with pytest.raises(ConfigError, match="has the phase hardest_A"):
    check_arms(wrong)
  both = tiny.config(
    own_arms=(f"mine = {SOFT} + A&unlabelled@mean[fixmatch=1]",),
    arms=("baseline", "mine"),
    augment__strong="flip",
    data__labelled=30,
  )
  with pytest.raises(ConfigError, match="a mixed phase beside one with unlabelled examples"):
    check_semi(both)
