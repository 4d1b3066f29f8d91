"""From a time to a plan: what fits, what is cut, and that a fake clock is kept."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdt.errors import ConfigError
from sdt.run.search.budget import (
  Costs,
  Plan,
  Repeat,
  Spent,
  Watch,
  halving,
  left,
  plan_rungs,
  sizes,
)
from sdt.run.search.rungs import Rung, work

LENGTHS = (3, 9, 27, 81)
NAMES = [("small",), ("large",), ("small",), ("middle",)] * 20
# Seconds of a program: to compile, of a round. A start takes one more.
TRUE = {"small": (2.0, 0.1), "middle": (3.0, 0.2), "large": (5.0, 0.4)}


def spent(program, rounds, *, is_first=False, factor=1.0):
  compiling, pace = TRUE[program[0]]
  compiling = factor * compiling * is_first
  training = factor * pace * rounds
  return Spent(1.0 + compiling + training, compiling, training_secs=training, rounds=rounds)


def measured():
  costs = Costs()
  costs.add(("small",), spent(("small",), 1, is_first=True))
  costs.add(("small",), spent(("small",), 2))
  return costs


def test_halving_by_hand():
  assert halving(1, 27) == (Rung(1, 27),)
  assert halving(3, 27) == (Rung(3, 27),)
  assert halving(4, 27) == (Rung(4, 9), Rung(3, 27))
  assert halving(9, 27) == (Rung(9, 9), Rung(3, 27))
  assert halving(27, 81) == (Rung(27, 9), Rung(9, 27), Rung(3, 81))
  assert halving(81, 3) == (Rung(81, 1), Rung(3, 3))
  assert halving(27, 81, least=10) == (Rung(27, 27), Rung(3, 81))
  assert sizes(6, 3) == [6, 3, 3]


@given(st.integers(1, 81), st.integers(2, 243))
def test_halving_shrinks_by_thirds_to_three_that_train_to_the_end(num_trials, rounds):
  rungs = halving(num_trials, rounds)
  assert rungs[0].num_trials == num_trials
  assert rungs[-1] == Rung(min(3, num_trials), rounds)
  ends = [rung.round for rung in rungs]
  assert ends == sorted(set(ends))
  for before, after in itertools.pairwise(rungs[:-1]):
    assert after.num_trials == min(before.num_trials, max(3, math.ceil(before.num_trials / 3)))


def test_what_is_left_by_hand():
  # Measured is "small" alone; a program not seen yet costs what it does, and its compilation.
  costs, rungs = measured(), (Rung(4, 9), Rung(3, 27))
  first = 4 * (1 + 9 * 0.1) + 2 * 2.0  # large and middle are compiled
  second = 3 * (1 + 18 * 0.1)
  assert left(rungs, NAMES, costs) == pytest.approx(first + second)
  assert left(rungs, NAMES, costs, done=3) == pytest.approx(1.9 + 2.0 + second)
  assert left(rungs, NAMES, costs, level=1, done=2) == pytest.approx(second / 3)


def test_the_start_of_the_first_trial_which_loads_libraries_is_no_cost_of_the_others():
  costs = Costs()
  costs.add(("small",), Spent(50.0, 2.0, training_secs=0.1, rounds=1))
  costs.add(("small",), spent(("small",), 2))
  assert costs.start(("small",)) == pytest.approx(1.0)
  assert costs.start(("large",)) == pytest.approx(3.0)
  assert costs.round(("large",)) == pytest.approx(0.1)


@given(st.floats(1.0, 1e4))
def test_a_plan_fits_into_its_time_and_more_time_never_means_a_shorter_training(secs):
  costs = measured()
  rungs = plan_rungs(LENGTHS, 1, lambda rounds: NAMES, costs=costs, secs=secs)
  if rungs is None:
    assert left((Rung(1, LENGTHS[0]),), NAMES, costs) > secs
    return
  assert left(rungs, NAMES, costs) <= secs
  longer = plan_rungs(LENGTHS, 1, lambda rounds: NAMES, costs=costs, secs=2 * secs)
  enough = rungs[0].num_trials >= 9
  assert longer[-1].round >= rungs[-1].round or not enough
  assert work(longer) >= work(rungs) or longer[-1].round > rungs[-1].round


class Clock:
  """A clock that trials of known costs push on."""

  def __init__(self, secs, factor=1.0):
    self.now, self._secs, self._factor = 0.0, secs, factor
    self.costs, self._seen = Costs(), set()

  def left(self):
    return self._secs - self.now

  def train(self, program, rounds):
    took = spent(program, rounds, is_first=program not in self._seen, factor=self._factor)
    self._seen.add(program)
    self.now += took.secs
    self.costs.add(program, took)


def followed(watch, train=lambda program, rounds: None):
  """Returns the rungs that a watch allows, each trial's training being `train`."""
  rungs, before = [], 0
  for level, rung in enumerate(watch.rungs):
    done = 0
    for number in range(rungs[-1].num_trials if rungs else len(NAMES)):
      if not watch.allows(level, done, NAMES[number], rounds=rung.round - before):
        break
      train(NAMES[number], rung.round - before)
      done += 1
    if done:
      rungs.append(Rung(done, rung.round))
      before = rung.round
  return tuple(rungs)


@given(st.floats(10.0, 2000.0), st.floats(0.3, 2.0))
def test_a_clock_is_kept_though_trials_cost_up_to_twice_what_was_measured(secs, factor):
  clock = Clock(secs, factor)
  # Measured before the machine became slower or faster, and of the cheapest program alone.
  clock.costs.add(("small",), spent(("small",), 1, is_first=True))
  clock.costs.add(("small",), spent(("small",), 2))
  rungs = plan_rungs(LENGTHS, 1, lambda rounds: NAMES, costs=clock.costs, secs=secs)
  assert rungs is not None
  trained = followed(Watch(rungs, NAMES, clock.costs, secs_left=clock.left), clock.train)
  assert trained[-1].round == rungs[-1].round
  # The one trial that always comes to its end, and one that costs more than was known.
  allowed = 1 + 2.0 * 5 + 0.8 * 81 if factor > 1 else 1 + 5.0 + 0.4 * 81
  assert clock.now <= max(1.2 * secs, secs + allowed)
  if secs > 400:
    assert clock.now <= 1.2 * secs
  assert followed(Repeat(trained)) == trained
  counts = [rung.num_trials for rung in trained]
  assert counts == sorted(counts, reverse=True)
  assert Plan.read(Plan("vectors", 3, trained).to_dict()) == Plan("vectors", 3, trained)


def test_of_a_time_that_is_over_one_trial_still_comes_to_the_end():
  watch = Watch(halving(9, 27), NAMES, measured(), secs_left=lambda: 0.0)
  assert followed(watch) == (Rung(1, 9), Rung(1, 27))


@pytest.mark.parametrize(
  "content",
  [
    {},
    {"kind": "vectors", "seed": 0, "rungs": []},
    {"kind": "vectors", "seed": 0, "rungs": [[3, 9], [4, 27]]},
    {"kind": "vectors", "seed": 0, "rungs": [[3, 9], [1, 9]]},
    {"kind": "vectors", "seed": -1, "rungs": [[3, 9]]},
    {"kind": "vectors", "seed": "x", "rungs": [[3, 9]]},
    {"kind": "vectors", "seed": 0, "rungs": [[0, 9]]},
    {"kind": "vectors", "seed": 0, "rungs": 3},
  ],
)
def test_what_is_no_plan_is_refused(content):
  with pytest.raises(ConfigError, match="expected the `plan` of an earlier fit"):
    Plan.read(content)
