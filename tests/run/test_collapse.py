"""Which trainings are called collapsed, when this is told, and what the message advises."""

import dataclasses

import numpy as np
import pytest

from sdt.config.schema import DISTIL
from sdt.data.dataset import RawSplit, make_dataset
from sdt.run.collapse import (
  Stuck,
  Watch,
  collapse_in_words,
  collapsed_seeds,
  likely_cause,
  stuck_seeds,
)
from tests.support import tiny

LABELS = np.arange(200) % 4
# A holds one class alone: the first 20 of class 0.
PART_A, SEEDS = np.arange(0, 80, 4), (0, 1)
CONFIG = tiny.config(rounds=20, batch_size=8)  # 23 steps of B a round


def plan_of(config=CONFIG, easy=PART_A):
  """Returns a plan of A, these positions, and B."""
  plan = tiny.alternating(config, len(LABELS), len(easy))
  parts = easy, np.setdiff1d(np.arange(len(LABELS)), easy)
  phases = [
    dataclasses.replace(phase, example_ids=np.tile(part.astype(np.int32), (2, 1)))
    for phase, part in zip(plan.phases, parts, strict=True)
  ]
  return dataclasses.replace(plan, phases=tuple(phases))


def row(number, accuracy=0.25, loss=1.4, seed=0, **changes):
  """Returns the row of B of a round; by default it is at chance."""
  return {
    "arm": "method",
    "seed": seed,
    "round": number,
    "phase": "B",
    "last_phase": True,
    "train_accuracy": accuracy,
    "train_loss": loss,
    "test_accuracy": 0.9,
  } | changes


def rows(accuracies, **changes):
  return [row(number, accuracy, **changes) for number, accuracy in enumerate(accuracies, start=1)]


def stuck(some, plan=None, labels=LABELS):
  return stuck_seeds(some, plan or plan_of(), labels, seeds=SEEDS)


def test_a_fifth_of_the_rounds_at_chance_is_a_collapse_and_fewer_are_none():
  assert stuck(rows([0.25] * 4 + [0.9] * 16)) == {0: Stuck(1, 4, 0.25)}
  assert stuck(rows([0.9] * 3 + [0.28] * 17, seed=1)) == {1: Stuck(4, 20, 0.28)}
  assert stuck(rows([0.25] * 3 + [0.9] * 17)) == {}
  assert stuck(rows([0.25, 0.25, 0.25, 0.9] * 5)) == {}
  assert stuck(rows([0.4] * 20, loss=1.3)) == {}


def test_lucky_rounds_end_no_stretch_at_chance_and_rounds_that_are_clearly_above_do():
  """B has 180 examples, 50 of them of one class: chance is 27.8 %, its sd 3.3 %."""
  luck = np.random.default_rng(0).binomial(180, 50 / 180, (500, 20)) / 180
  assert (luck.max(axis=1) > 0.345).mean() > 0.25  # two sds above
  assert sum(0 in stuck(rows(some.tolist())) for some in luck) >= 498
  assert stuck(rows([0.25, 0.38, 0.25, 0.25] + [0.9] * 16)) == {0: Stuck(1, 4, 0.25)}
  assert stuck(rows([0.25, 0.45, 0.25, 0.25] + [0.9] * 16)) == {}
  assert stuck(rows([0.25] * 3 + [0.38] + [0.9] * 16)) == {}


def test_the_first_two_rounds_of_a_short_training_may_be_at_chance():
  plan = dataclasses.replace(plan_of(), rounds=5)
  assert stuck(rows([0.25, 0.25, 0.9, 0.9, 0.9]), plan) == {}
  assert stuck(rows([0.25, 0.25, 0.25, 0.9, 0.9]), plan) == {0: Stuck(1, 3, 0.25)}


def test_the_first_fifty_steps_are_at_chance_by_right_however_many_rounds_they_are():
  large = plan_of(tiny.config(rounds=20, batch_size=64))  # 3 steps of B a round
  assert stuck(rows([0.25] * 16 + [0.9] * 4), large) == {}
  assert stuck(rows([0.25] * 17 + [0.9] * 3), large) == {0: Stuck(1, 17, 0.25)}


def test_rounds_between_two_rows_count_and_those_before_the_first_do_not():
  assert stuck([row(number) for number in (2, 4, 6)]) == {0: Stuck(2, 6, 0.25)}
  assert stuck([row(number) for number in (3, 5)]) == {}


def test_a_network_that_learns_rare_classes_has_not_collapsed_though_its_accuracy_is_no_higher():
  labels = (np.arange(200) % 50 == 1).astype(np.int64)  # 2 % are of the second class
  plan = plan_of(easy=np.arange(2, 22))
  at_chance = float(np.mean(labels == 0))
  assert stuck(rows([at_chance] * 20, loss=0.02), plan, labels) == {}
  assert stuck(rows([at_chance] * 20, loss=0.12), plan, labels)[0].last == 20


@pytest.mark.parametrize("name", ["label_smoothing", "mixup_alpha", "loss_floor", *DISTIL])
def test_a_loss_that_a_regulariser_keeps_up_is_no_sign_where_one_class_has_most_examples(name):
  labels = (np.arange(200) % 50 == 1).astype(np.int64)
  plan, at_chance = plan_of(easy=np.arange(2, 22)), float(np.mean(labels == 0))
  assert stuck(rows([at_chance] * 20, loss=0.4, overrides={name: 0.1}), plan, labels) == {}
  assert 0 in stuck(rows([at_chance] * 20, loss=0.4, overrides={"dropout": 0.1}), plan, labels)
  assert 0 in stuck(rows([0.25] * 20, overrides={name: 0.1}))  # of equal classes accuracy tells


def test_other_phases_other_arms_and_diverged_seeds_do_not_count():
  assert stuck(rows([0.25] * 20, phase="A")) == {}
  assert stuck(rows([0.25] * 20, arm="random_subset")) == {}
  assert stuck(rows([0.25] * 20, diverged=True)) == {}
  assert stuck(rows([None] * 20, loss=None)) == {}
  one_class = dataclasses.replace(plan_of(), phases=plan_of().phases[:1])
  assert stuck(rows([0.25] * 20, phase="A"), one_class) == {}  # nothing to tell apart


def ended(train_accuracy, accuracy, num_test, *, num_classes=4, recalls=None, **of_last):
  """Returns how seed 0 collapsed, if it was above chance in all rounds but perhaps the last.

  `accuracy` is that of the test set of `num_test` examples, `recalls` the same by class.
  """

  def split(size):
    labels = np.arange(size) % num_classes
    return make_dataset(
      RawSplit(np.zeros((size, 2, 2, 1), np.uint8), labels), num_classes=num_classes, where="here"
    )

  data = dataclasses.replace(tiny.data(CONFIG), train=split(200), test=split(num_test))
  last = row(20, train_accuracy, test_accuracy=accuracy, **of_last)
  both = None if recalls is None else np.array([recalls] * 2)
  some = [*rows([0.9] * 19, loss=0.3), last]
  found = collapsed_seeds(some, plan_of(), data, seeds=SEEDS, recalls=both)
  return {seed: one.to_dict() for seed, one in found.items()}


ENDED = {0: {"stuck_in_rounds": None, "ended_at_chance": True}}


@pytest.mark.parametrize("train_accuracy", [0.6, 1.0])
@pytest.mark.parametrize("accuracy", [10 / 30, 0.45, 0.5])
def test_a_few_test_images_never_make_a_network_that_learned_something_a_collapsed_one(
  train_accuracy, accuracy
):
  assert ended(train_accuracy, accuracy, 30, num_classes=3, loss=0.5) == {}


@pytest.mark.parametrize(
  ("accuracy", "recalls"),
  [(0.25, [1.0, 0.0, 0.0, 0.0]), (0.3, [0.3, 0.3, 0.3, 0.3]), (0.28, None)],
)
def test_a_network_at_chance_in_training_and_on_the_test_set_has_collapsed(accuracy, recalls):
  assert ended(0.25, accuracy, 30, recalls=recalls) == ENDED
  assert ended(0.25, accuracy, 400, recalls=recalls) == (ENDED if accuracy < 0.3 else {})


@pytest.mark.parametrize("num_classes", [2, 4, 10])
def test_a_network_that_fits_its_training_set_and_is_at_chance_on_many_others_has_collapsed(
  num_classes,
):
  guess = 1 / num_classes
  assert ended(0.95, guess, 400, num_classes=num_classes, loss=0.1) == ENDED
  assert ended(0.95, guess, 10, num_classes=num_classes, loss=0.1) == {}


def test_a_weak_network_on_many_test_images_has_not_collapsed():
  assert ended(0.95, 0.40, 400, loss=0.1) == {}  # it keeps a fifth of what it learned
  assert ended(0.28, 0.27, 400, loss=1.2) == {}  # in training it is hardly above chance itself
  assert ended(0.95, 0.25, 400, recalls=[0.9, 0.1, 0.0, 0.9], loss=0.1) == {}


def test_a_seed_that_diverged_is_not_called_collapsed_too():
  assert ended(0.25, None, 400, diverged=True) == {}


def test_it_is_told_once_while_it_happens_and_not_again_after_a_stop():
  said = []
  watch = Watch(plan_of(), LABELS, CONFIG, log=said.append)
  for number in range(1, 7):
    watch.see([row(number), row(number, 0.9, seed=1)])
    assert len(said) == (number >= 4)
  assert said[0].startswith(
    "collapsed: method, seed 0: in rounds 1 to 4 training was no better than chance (25.00 % right "
    "in phase B); likely cause: A has 1.0 classes in effect, the training set 4.0"
  )
  again = Watch(plan_of(), LABELS, CONFIG, log=said.append, earlier=rows([0.25] * 6))
  again.see(rows([0.25] * 9)[6:])
  assert len(said) == 1
  again.see([row(number, seed=1) for number in range(10, 14)])
  assert [line[:30] for line in said[1:]] == ["collapsed: method, seed 1: in "]


def test_it_says_nothing_where_the_labels_are_no_classes():
  said: list[str] = []
  values = np.zeros((200, 1), np.float32)
  Watch(plan_of(), values, CONFIG, log=said.append).see(rows([None] * 20))
  assert said == []


def test_the_advice_names_only_keys_that_would_change_something():
  def cures(config=CONFIG, easy=PART_A):
    return " ".join(likely_cause(plan_of(config, easy), LABELS, config).cures)

  assert "class_balanced=True" in cures()
  assert "order=hard_first" in cures()
  assert "optim.learning_rate below 0.05" in cures()
  assert "class_balanced" not in cures(tiny.config(split__class_balanced=True))
  assert "hard_first" not in cures(tiny.config(method__order="hard_first"))
  every_class = cures(easy=np.arange(20))
  assert "class_balanced" not in every_class
  assert "hard_first" not in every_class
  baseline = dataclasses.replace(plan_of(), phases=plan_of().phases[1:])
  cause = likely_cause(baseline, LABELS, CONFIG)
  assert "learning rate may be too high, or 20 rounds too few" in cause.text
  assert cause.cures == ("--config.rounds above 20", "--config.optim.learning_rate below 0.05")
  learned = likely_cause(plan_of(), LABELS, CONFIG, fits_training_set=True)
  assert "are the two of the same classes" in learned.text


def test_the_sentence_names_arms_seeds_cause_and_cures_and_is_empty_without_a_collapse():
  sound = {"accuracy": {0: 0.9, 1: 0.9}, "collapsed": [], "collapse": None}
  about = {"likely_cause": "A is poor", "cures": ("--config.x=1", "--config.y=2")}
  hit = {"accuracy": {0: 0.1, 1: 0.9}, "collapsed": [0], "collapse": about}
  assert collapse_in_words({"baseline": sound}) == ""
  assert collapse_in_words({"baseline": sound, "method": hit}) == (
    "Collapsed to chance: method, 1 of 2 seeds (0). Likely cause: A is poor; to try in a new "
    "--workdir: --config.x=1, or --config.y=2."
  )
