"""What is said of short trainings: eight batches by heart, and losses at several rates."""

import math

import numpy as np
import pytest

from sdt.stats.chance import chance
from sdt.stats.learning_diagnosis import Course, best_of, of_overfit, of_rates, told

CHANCE = chance(np.full(10, 100))


def course(rate: float, end: float, accuracy: float = 0.5, **more) -> Course:
  """Returns a hundred steps from a loss of 2.3 to `end`; infinity diverges after thirty."""
  losses = np.linspace(2.3, end if math.isfinite(end) else 9.0, 100)
  if not math.isfinite(end):
    return Course(rate, tuple(losses[:30]), 0.0, diverged=True, **more)
  return Course(rate, tuple(losses), accuracy, **more)


SLOW = [course(0.1, 0.2, 0.97), course(0.01, 1.0, 0.98)]


@pytest.mark.parametrize(
  ("courses", "earlier", "expected"),
  [
    ([course(0.1, 0.01, 1.0)], (), ("ok", "overfit")),
    ([course(100.0, math.inf), course(0.1, 0.0, 1.0)], (), ("fault", "rate_too_high")),
    ([course(1e-5, 2.2, 0.2), course(0.01, 0.0, 1.0)], (), ("fault", "rate_too_low")),
    ([course(100.0, math.inf), course(1.0, 0.1, 0.998)], (), ("fault", "rate_too_high")),
    ([course(100.0, math.inf), course(0.1, 0.5, 0.9)], (), ("fault", "rate_too_high")),
    ([course(100.0, math.inf), course(0.1, 2.29, 0.1)], (), ("fault", "cannot_overfit")),
    (SLOW, (), ("note", "overfit_slow")),
    ([course(0.1, 2.3, 0.1), course(0.01, 2.3, 0.1)], (), ("fault", "cannot_overfit")),
  ],
)
def test_eight_batches_are_learnt_at_the_configs_rate_at_another_or_not(courses, earlier, expected):
  (found,) = of_overfit(courses, 512, earlier)
  assert (found.level, found.code) == expected
  if found.code.startswith("rate_too"):
    assert dict(found.changes) == {"optim.learning_rate": courses[-1].rate}
    assert f"optim.learning_rate={courses[-1].rate:g}" in found.advice


def test_why_nothing_can_be_learnt_is_told_from_what_was_found_before():
  still = [course(0.1, 2.3, 0.1, unmoved=("hidden1", "head"))]
  (found,) = of_overfit(still, 64, {"constant_weights", "other_rate"})
  assert "zero weights" in found.text
  assert "never moved" not in found.text
  (found,) = of_overfit(still, 64, ())
  assert "no gradient reaches hidden1, head: they never moved" in found.text
  assert "cause" not in of_overfit([course(0.1, 2.3, 0.1)], 64, ())[0].text


def test_labels_that_neighbours_do_not_share_are_looked_at_before_the_network_is_changed():
  for courses, code in (([course(0.1, 2.3, 0.1)], "cannot_overfit"), (SLOW, "overfit_slow")):
    (found,) = of_overfit(courses, 512, {"labels_unrelated"})
    assert found.code == code
    assert found.advice.startswith("look at images with their labels first: ")
    assert not of_overfit(courses, 512, ())[0].advice.startswith("look")
  # What surely keeps a network from learning comes before them.
  (found,) = of_overfit([course(0.1, 2.3, 0.1)], 512, {"labels_unrelated", "dead_units"})
  assert found.advice.startswith("mend that first")


def test_frozen_stages_make_a_note_of_what_the_rest_cannot_learn_unless_there_is_another_reason():
  frozen = {"is_partly_frozen": True}
  (found,) = of_overfit([course(0.1, 2.3, 0.1)], 64, (), **frozen)
  assert (found.level, found.code) == ("note", "cannot_overfit")
  assert "frozen" in found.text
  (found,) = of_overfit([course(0.1, 2.3, 0.1)], 64, {"constant_weights"}, **frozen)
  assert found.level == "fault"


@pytest.mark.parametrize(
  ("ends", "expected"),
  [
    ({1.0: 0.8, 0.1: 0.7, 0.01: 2.0}, ("ok", "rates")),
    ({1.0: 0.2, 0.1: 0.7, 0.01: 2.0}, ("note", "other_rate")),
    ({1.0: math.inf, 0.1: math.inf, 0.01: 1.0}, ("fault", "rate_too_high")),
    ({1.0: 9.0, 0.1: 4.0, 0.01: 1.0}, ("fault", "rate_too_high")),
    ({1.0: 1.0, 0.1: 2.29, 0.01: 2.3}, ("fault", "rate_too_low")),
    ({1.0: math.inf, 0.1: 2.3, 0.01: 2.3}, ("fault", "does_not_learn")),
  ],
)
def test_the_configs_rate_is_judged_beside_the_best(ends, expected):
  courses = [course(rate, end) for rate, end in ends.items()]
  (found,) = of_rates(courses, 0.1, CHANCE)
  assert (found.level, found.code) == expected
  if found.changes:
    assert dict(found.changes) == {"optim.learning_rate": best_of(courses).rate}


def test_a_test_set_on_which_nothing_of_it_holds_is_a_fault():
  learnt = [course(0.1, 0.1, 0.97, test_accuracy=0.06)]
  assert [one.code for one in of_rates(learnt, 0.1, CHANCE)] == ["rates", "test_labels"]
  fine = [course(0.1, 0.1, 0.97, test_accuracy=0.6)]
  assert [one.code for one in of_rates(fine, 0.1, CHANCE)] == ["rates"]


def test_labels_that_neither_neighbours_nor_the_network_carry_over_are_called_shuffled():
  by_heart = [course(0.1, 0.5, 0.7, test_accuracy=0.11)]
  (found,) = of_rates(by_heart, 0.1, CHANCE, earlier={"labels_unrelated"})
  assert (found.level, found.code) == ("fault", "shuffled_labels")
  # Where the network tells them apart, the neighbours were only no help.
  hard = [course(0.1, 0.5, 0.7, test_accuracy=0.4)]
  assert of_rates(hard, 0.1, CHANCE, earlier={"labels_unrelated"})[0].code == "rates"


def test_many_rates_are_told_by_the_best_and_the_configs():
  few = [course(0.01, 2.0), course(0.1, 0.7), course(1.0, math.inf)]
  assert told(few, 0.1).startswith("not finite at 1, 0.7")
  many = [course(10.0**-power, 1.0 + abs(power - 4)) for power in range(8)]
  assert told(many, 1.0).endswith("(best and config's of 8)")
  assert told(many, 1.0).count(" at ") == 2
