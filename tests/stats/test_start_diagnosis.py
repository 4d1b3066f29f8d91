"""What is said of numbers before the first step: hand-made cases at both sides of every limit."""

import math

import numpy as np
import pytest

from sdt.stats import start_diagnosis as diagnosis
from sdt.stats.finding import Finding, codes, fault, note, ok, worst
from sdt.stats.neighbours import Agreement, agreement


def told(findings: list[Finding]) -> list[tuple[str, str]]:
  return [(one.level, one.code) for one in findings]


@pytest.mark.parametrize(
  ("errors", "level"),
  [
    ([1e-9, 3e-9, 2e-8], "ok"),
    ([1e-9, 3e-9, 0.04], "ok"),  # one direction has crossed a kink
    ([1e-9, 2e-4, 0.04], "fault"),
    ([math.nan] * 3, "fault"),
  ],
)
def test_the_gradient_is_judged_by_the_median_of_its_errors(errors, level):
  assert [one.level for one in diagnosis.of_gradient(errors)] == [level]


@pytest.mark.parametrize(
  ("loss", "expected"),
  [
    (2.303, ("ok", "initial_loss")),
    (2.98, ("ok", "initial_loss")),
    (3.4, ("note", "initial_loss_above")),
    (21.7, ("fault", "initial_loss_high")),
    (math.nan, ("fault", "initial_loss_high")),
    (2.0, ("note", "initial_loss_below")),
  ],
)
def test_the_initial_loss_is_compared_with_log_k(loss, expected):
  assert told(diagnosis.of_initial_loss(loss, 10)) == [expected]
  assert told(diagnosis.of_initial_loss(loss, 10, is_drawn=False)) == [("ok", "initial_loss")]


@pytest.mark.parametrize(
  ("mean", "sd", "level"),
  [
    ([0.0, 0.1], [1.0, 0.9], "ok"),
    ([0.3], [0.37], "note"),  # pixels over 255
    ([0.0], [0.25], "note"),
    ([0.0, 83.1], [1.0, 76.6], "fault"),
    ([0.0], [0.0], "fault"),
  ],
)
def test_inputs_far_from_mean_0_and_spread_1_are_called_unnormalised(mean, sd, level):
  (found,) = diagnosis.of_inputs(np.array(mean), np.array(sd))
  assert found.level == level
  assert dict(found.changes) == ({} if level == "ok" else {"data.normalise": "channel"})
  assert "channel 2" in found.text or len(mean) == 1 or level == "ok"


def counts(accuracy: float, shift: int = 0, num: int = 500, classes: int = 10) -> Agreement:
  """Returns an agreement of so much accuracy, whose own labels are moved by `shift`."""
  each = num // classes
  right = round(accuracy * each)
  table = np.full((classes, classes), (each - right) // (classes - 1))
  np.fill_diagonal(table, right)
  return Agreement(np.roll(table, shift, axis=1))


@pytest.mark.parametrize(
  ("train", "test", "expected"),
  [
    (counts(0.9), counts(0.88), ("ok", "labels")),
    (counts(0.26), counts(0.24), ("ok", "labels")),
    (counts(0.1), counts(0.1), ("note", "labels_unrelated")),
    (counts(0.9), counts(0.9, shift=1), ("fault", "labels_off_by_one")),
    (counts(0.9), counts(0.9, shift=9), ("fault", "labels_off_by_one")),
    (counts(0.9), counts(0.9, shift=3), ("fault", "labels_shifted")),
    (counts(0.9), counts(0.1), ("fault", "test_labels")),
  ],
)
def test_labels_are_judged_by_their_nearest_neighbours(train, test, expected):
  assert told(diagnosis.of_labels(train, test, [str(name) for name in range(10)])) == [expected]


def test_a_shift_of_the_test_labels_is_told_by_the_names_of_the_classes():
  names = ["cat", "dog", "owl", *"abcdefg"]
  (found,) = diagnosis.of_labels(counts(0.9), counts(0.9, shift=1), names)
  assert "off by one: the class that training calls cat is called dog in the test set" in found.text
  swapped = counts(0.9).counts[:, [1, 0, *range(2, 10)]]
  (found,) = diagnosis.of_labels(counts(0.9), Agreement(np.roll(swapped, 0)), names)
  assert found.code == "labels"  # two of ten classes alone leave most of the agreement
  order = [1, 0, 3, 2, 5, 4, 7, 6, 9, 8]
  (found,) = diagnosis.of_labels(counts(0.9), Agreement(counts(0.9).counts[:, order]), names)
  assert found.code == "labels_renamed"
  assert "(cat is dog, dog is cat, owl is a, ...)" in found.text


def test_the_nearest_neighbour_is_that_of_a_loop():
  rng = np.random.default_rng(3)
  mine, others = rng.integers(0, 255, (20, 3, 3, 1)), rng.integers(0, 255, (30, 3, 3, 1))
  labels, theirs = rng.integers(0, 4, 20), rng.integers(0, 4, 30)
  table = np.zeros((4, 4), int)
  for image, label in zip(mine, labels, strict=True):
    distances = [np.square(image - other).sum() for other in others]
    table[theirs[int(np.argmin(distances))], label] += 1
  found = agreement(
    (mine.astype(np.uint8), labels.astype(np.int32)),
    (others.astype(np.uint8), theirs.astype(np.int32)),
    4,
  )
  np.testing.assert_array_equal(found.counts, table)
  assert found.accuracy == pytest.approx(np.trace(table) / 20)


def test_constant_kernels_are_a_fault_where_they_are_half_of_all():
  assert told(diagnosis.of_weights(["a", "b"], 4)) == [("fault", "constant_weights")]
  assert diagnosis.of_weights(["a"], 4) == []  # such as a last layer that starts at 0
  assert diagnosis.of_weights([], 0) == []


def layer(sd: float, dead: float = 0.0, saturated: float = math.nan) -> dict:
  return {"layer": "1", "dead": dead, "saturated": saturated, "mean": 0.0, "sd": sd}


@pytest.mark.parametrize(
  ("layers", "expected"),
  [
    ([], []),
    ([layer(0.6), layer(0.8)], [("ok", "units")]),
    ([layer(0.6), layer(0.0, dead=1.0)], [("fault", "dead_units")]),
    ([layer(0.6), layer(0.1, dead=0.6)], [("note", "dead_units")]),
    ([layer(0.9, saturated=0.7), layer(0.9, saturated=0.6)], [("note", "saturated")]),
    # Six layers of tanh with weights of 0.01: each multiplies the spread by 0.64.
    ([layer(0.5 * 0.3**place) for place in range(6)], [("note", "vanishing")]),
    ([layer(1.0 * 3.0**place) for place in range(6)], [("note", "exploding")]),
    ([layer(1.0), layer(float("inf"))], [("fault", "exploding")]),
    ([layer(float("nan")), layer(1.0)], [("fault", "exploding")]),
  ],
)
def test_dead_saturated_vanishing_and_exploding_layers_are_named(layers, expected):
  assert told(diagnosis.of_units(layers, "tanh")) == expected


def test_the_worst_level_and_the_codes_of_what_is_not_ok():
  found = [ok("a", "."), note("b", ".", "do", optim__learning_rate=0.1)]
  assert worst(found) == "note"
  assert worst([*found, fault("c", ".", "do")]) == "fault"
  assert worst([]) == "ok"
  assert codes(found) == {"b"}
  assert dict(found[1].changes) == {"optim.learning_rate": 0.1}
