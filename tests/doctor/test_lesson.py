"""The short trainings: which examples they see, from where they start, and when they end."""

import numpy as np
import pytest

from sdt.doctor import learning
from sdt.doctor.lesson import STEPS, Lesson, Task, kernels_of
from sdt.stats.learning_diagnosis import Course
from tests.doctor.test_faults import config
from tests.support import tiny
from tests.support.examined import visit, with_labels

FEW = np.array([3, 50, 51, 120, 300, 399], np.int32)


@pytest.fixture(scope="module")
def lesson() -> Lesson:
  return visit(config()).lesson


def test_learning_by_heart_sees_these_examples_alone_and_ends_when_all_are_right(lesson):
  data = tiny.data(config())
  others = (data.train.labels + 1) % 3
  others[FEW] = data.train.labels[FEW]
  changed = visit(config(), with_labels(data, train=others)).lesson
  task = Task(0.05, 60, FEW)
  course, state = lesson.learn(task)
  again, other = changed.learn(task)
  assert course == again
  tiny.assert_equal(state.params, other.params)
  assert course.accuracy == 1.0
  assert course.unmoved == ()
  assert 3 * STEPS <= course.num_steps < 60 * STEPS
  assert course.test_accuracy is None


def test_learning_by_heart_has_no_l1():
  without, strong = (visit(config(optim__l1=l1)).lesson for l1 in (1e-30, 1e3))
  assert strong.learn(Task(0.05, 60, FEW))[0] == without.learn(Task(0.05, 60, FEW))[0]
  assert strong.learn(Task(0.05, 1))[0] != without.learn(Task(0.05, 1))[0]


def test_every_training_starts_from_the_same_weights(lesson):
  task = Task(0.05, 2, is_tested=True)
  first = lesson.learn(task)[0]
  lesson.learn(Task(0.5, 1))
  assert lesson.learn(task)[0] == first
  assert len(first.losses) == 2 * STEPS
  assert 0.0 <= first.test_accuracy <= 1.0
  # Without a rate nothing moves, and the first batch has the same loss.
  course, state = lesson.learn(Task(0.0, 2))
  assert set(course.unmoved) == {name for name, _ in kernels_of(lesson.start)}
  tiny.assert_equal(state.params, lesson.start.params)
  assert course.losses[0] == first.losses[0]


def test_frozen_kernels_are_not_among_those_that_never_moved():
  frozen = visit(config(optim__train_from="head")).lesson
  assert frozen.frozen == {"hidden1"}
  assert frozen._unmoved(frozen.start) == ("head",)


def test_a_training_that_diverges_ends_there(lesson):
  course = lesson.learn(Task(1e30, 10))[0]
  assert course.diverged
  assert course.num_steps < 10 * STEPS
  assert course.last == np.inf


def test_chance_in_step_4_is_that_of_the_examples_that_were_tested(monkeypatch):
  def course(_, own, __):
    return [Course(own, (1.0,) * 20, 0.3, test_accuracy=0.3)], {own: None}

  seen = []
  monkeypatch.setattr("sdt.doctor.lesson._MOST_TESTED", 20)
  monkeypatch.setattr(learning, "_at_rates", course)
  monkeypatch.setattr(learning, "spread", lambda *_: ("relu", []))
  of_rates = "sdt.stats.learning_diagnosis.of_rates"
  monkeypatch.setattr(of_rates, lambda *given, **_: seen.append(given[2].num_examples) or [])
  learning.try_rates(visit(config()))
  assert seen == [20]  # of 200
