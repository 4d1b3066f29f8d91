"""Steps 3 and 4: eight batches by heart, and learning rates for a hundred steps each."""

import math
from typing import Any

import numpy as np

from sdt.doctor.before import drawn, spread
from sdt.doctor.lesson import STEPS, Task
from sdt.doctor.visit import Outcome, Visit
from sdt.engine.state import TrainState
from sdt.stats import learning_diagnosis
from sdt.stats.chance import Chance, chance
from sdt.stats.learning_diagnosis import Course, best_of

NUM_BATCHES = 8
_MOST_ROUNDS, _FEW_ROUNDS = 60, 20  # at the config's own rate, and at others
_LOWER_FACTORS, _HIGHER_FACTORS = (0.1, 0.01, 0.001), (10.0, 100.0)
_FACTORS = (10.0, 1.0, 0.1, 0.01)
_LOWER, _HIGHER = (1e-3, 1e-4, 1e-5, 1e-6), (100.0, 1e3)
_NUM_STEPS = 100


def learn_by_heart(visit: Visit) -> Outcome:
  """Trains on eight batches, without decay, augmentation or dropout, until all are right.

  Where the config's own rate does not do it, others are tried.

  Source: the slides on training networks, step 2: five to ten batches to 100 %.
  """
  config, num = visit.plain, len(visit.data.train)
  positions = drawn(num, min(num, NUM_BATCHES * config.batch_size))
  own = config.optim.learning_rate
  courses = [_learnt(visit, Task(own, _MOST_ROUNDS, positions))[0]]
  # Where the loss went up, no higher rate is better.
  for factor in _LOWER_FACTORS if courses[0].rose else (*_LOWER_FACTORS, *_HIGHER_FACTORS):
    if courses[-1].accuracy >= learning_diagnosis.NEARLY:
      break
    rate = _rounded(own * factor)
    courses.append(_learnt(visit, Task(rate, _FEW_ROUNDS, positions))[0])
  found = learning_diagnosis.of_overfit(
    courses, len(positions), visit.codes, is_partly_frozen=bool(visit.lesson.frozen)
  )
  measured = {"num_examples": len(positions), "courses": [as_json(one) for one in courses]}
  return Outcome(tuple(found), measured)


def try_rates(visit: Visit) -> Outcome:
  """Trains for a hundred steps at each of four rates: ten times the config's, it, a tenth, a
  hundredth.

  Where none of them learns, or the lowest is the best, lower ones are tried too.

  Source: the slides on training networks, step 3. Differs from source: the rates are around the
  config's own.
  """
  lesson = visit.lesson
  own = visit.plain.optim.learning_rate
  courses, ends = _at_rates(visit, own, _FACTORS)
  best = best_of(courses)
  if not best.learns or best.rate == min(one.rate for one in courses):
    more, others = _at_rates(visit, own, _LOWER)
    courses, ends = courses + more, ends | others
  if not best_of(courses).learns:
    more, others = _at_rates(visit, own, _HIGHER)
    courses, ends = courses + more, ends | others
  best = best_of(courses)
  counts = np.bincount(lesson.setup.data.test.labels)  # of the examples that were tested alone
  known = chance(counts) or Chance(1.0, 1.0, 1.0, recall_ceiling=1.0, loss=0.0, num_examples=1)
  found = learning_diagnosis.of_rates(courses, own, known, earlier=visit.codes)
  measured = {
    "courses": [as_json(one) for one in courses],
    "best": best.rate,
    "layers": spread(visit, ends[best.rate])[1],
    "pass_secs": lesson.seconds / max(1, lesson.passes),
    "compile_secs": lesson.compile_secs,
  }
  return Outcome(tuple(found), measured)


def _at_rates(
  visit: Visit, own: float, factors: tuple[float, ...]
) -> tuple[list[Course], dict[float, TrainState]]:
  """Returns the courses at so many times the rate, and the state at the end of each by its rate."""
  courses, ends = [], {}
  for factor in factors:
    rate = own if factor == 1.0 else _rounded(own * factor)
    course, ends[rate] = _learnt(visit, Task(rate, _NUM_STEPS // STEPS, is_tested=True))
    courses.append(course)
  return courses, ends


def _learnt(visit: Visit, task: Task) -> tuple[Course, TrainState]:
  """Returns what `Lesson.learn` does, and tells of it: a large network takes minutes."""
  course, state = visit.lesson.learn(task)
  end = "not finite" if course.diverged else f"loss {course.last:.3g}, {course.accuracy:.1%} right"
  visit.log(f"  rate {task.rate:g}: {course.num_steps} steps, {end}")
  return course, state


def _rounded(rate: float) -> float:
  return float(f"{rate:.3g}")


def as_json(course: Course) -> dict[str, Any]:
  """Returns the numbers of a course as JSON has them."""
  return {
    "rate": course.rate,
    "accuracy": course.accuracy,
    "test_accuracy": course.test_accuracy,
    "diverged": course.diverged,
    "losses": [loss if math.isfinite(loss) else None for loss in course.losses],
    "unmoved": list(course.unmoved),
  }
