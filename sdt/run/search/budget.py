"""From a time to a plan: how many trials train how long, by what the first ones cost. Pure.

The plan is that of synchronous halving (sdt/run/search/rungs.py) whose last rung has three trials:
the mean of their probabilities predicts.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sdt.errors import ConfigError
from sdt.run.search.rungs import Rung

MEMBERS, FACTOR = 3, 3  # trials of the last rung; of how many trials one goes on
MOST_TRIALS = 81
_WANTED = 9  # trials that a training may not be so long as to leave less of

type Program = tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Plan:
  """What a fit trains; the same plan on the same data comes to the same bytes.

  Attributes:
    kind: a name of `ready_spaces.KINDS`.
    seed: of the validation split, of the recipes that are tried and of their networks.
    rungs: of halving; the first has all trials, and the last trains to the end.
  """

  kind: str
  seed: int
  rungs: tuple[Rung, ...]

  def to_dict(self) -> dict[str, Any]:
    """Returns the plan as plain values, which `read` takes."""
    rungs = [[rung.num_trials, rung.round] for rung in self.rungs]
    return {"kind": self.kind, "seed": self.seed, "rungs": rungs}

  @classmethod
  def read(cls, content: Mapping[str, Any]) -> "Plan":
    """Returns the plan in plain values.

    Raises:
      ConfigError: they are none: another form, rungs that do not shrink or do not train on.
    """
    told = 'expected the `plan` of an earlier fit, {"kind": ..., "seed": 0, "rungs": [[9, 3], ...]}'
    try:
      rungs = tuple(Rung(int(number), int(end)) for number, end in content["rungs"])
      plan = cls(str(content["kind"]), int(content["seed"]), rungs)
    except (KeyError, TypeError, ValueError) as error:
      raise ConfigError(f"plan={content!r}: {told}") from error
    numbers, ends = [rung.num_trials for rung in rungs], [rung.round for rung in rungs]
    falls = numbers == sorted(numbers, reverse=True) and ends == sorted(set(ends))
    if not rungs or not falls or numbers[-1] < 1 or ends[0] < 1 or plan.seed < 0:
      raise ConfigError(f"plan={content!r}: {told}, with fewer trials and more rounds at each rung")
    return plan


def sizes(num_trials: int, num_rungs: int) -> list[int]:
  """Returns the trials of each rung: a third goes on, three at least, and three to the end."""
  counts = [num_trials]
  while len(counts) < num_rungs:
    counts.append(min(counts[-1], max(MEMBERS, math.ceil(counts[-1] / FACTOR))))
  return [*counts[:-1], min(counts[-1], MEMBERS)] if num_rungs > 1 else counts


def halving(num_trials: int, rounds: int, least: int = 1) -> tuple[Rung, ...]:
  """Returns the rungs of so many trials, of which the last three train `rounds`.

  From the end the rungs train rounds, rounds / 3, rounds / 9, ...; there are as many as it takes to
  come from all trials to three by thirds, none of them below `least` rounds.
  """
  ends, left_over = [rounds], num_trials
  while left_over > MEMBERS and ends[0] > 1 and math.ceil(ends[0] / FACTOR) >= least:
    ends.insert(0, math.ceil(ends[0] / FACTOR))
    left_over = math.ceil(left_over / FACTOR)
  return tuple(map(Rung, sizes(num_trials, len(ends)), ends))


@dataclasses.dataclass(frozen=True)
class Spent:
  """Seconds that a part of a trial took: in all, to compile, and in so many rounds."""

  secs: float
  compile_secs: float
  training_secs: float
  rounds: int


class Costs:
  """What trials have cost: to compile and a round by program, and a start without compiling."""

  def __init__(self) -> None:
    """Knows of none."""
    self._compile: dict[Program, float] = {}
    self._round: dict[Program, float] = {}
    self._starts: list[float] = []

  def add(self, program: Program, spent: Spent) -> None:
    """Takes note of a trial. The start of the first one, which loads libraries, tells nothing."""
    if self._compile:
      self._starts.append(max(0.0, spent.secs - spent.compile_secs - spent.training_secs))
    self._compile.setdefault(program, spent.compile_secs)
    if spent.rounds:
      self._round[program] = spent.training_secs / spent.rounds

  def start(self, program: Program, *, is_known: bool = False) -> float:
    """Returns the seconds until a trial trains, a program not seen yet being the slowest."""
    start = sum(self._starts) / max(1, len(self._starts))
    is_known = is_known or program in self._compile
    return start + (0.0 if is_known else max(self._compile.values()))

  def round(self, program: Program) -> float:
    """Returns the seconds of a round; of a program not seen yet those of the slowest."""
    return self._round.get(program, max(self._round.values()))


def left(
  rungs: Sequence[Rung], programs: Sequence[Program], costs: Costs, *, level: int = 0, done: int = 0
) -> float:
  """Returns the seconds that rungs from `level` on still take, `done` trials of it being trained.

  Which trials go on is not known, so a later rung costs what trials cost on average.

  Args:
    rungs: of the whole plan.
    programs: of the trials of the first rung.
    costs: of those so far.
    level: the rung under way.
    done: its trials that have come to its end.
  """
  secs, known = 0.0, set(programs[:done] if level == 0 else programs)
  if level == 0:
    for program in programs[done : rungs[0].num_trials]:
      secs += costs.start(program, is_known=program in known)
      secs += rungs[0].round * costs.round(program)
      known.add(program)
  used = programs[: rungs[0].num_trials]
  start = sum(costs.start(one, is_known=True) for one in used) / len(used)
  pace = sum(map(costs.round, used)) / len(used)
  for place in range(max(1, level), len(rungs)):
    number = rungs[place].num_trials - (done if place == level else 0)
    secs += number * (start + pace * (rungs[place].round - rungs[place - 1].round))
  return secs


def widest(
  rounds: int, least: int, programs: Sequence[Program], *, costs: Costs, secs: float
) -> tuple[Rung, ...] | None:
  """Returns the rungs of the most trials of `rounds` rounds in so many seconds; None for not one.

  `programs` are those of the first `MOST_TRIALS` trials; `least` is as in `halving`.
  """
  plans = (halving(number, rounds, least) for number in range(len(programs), 0, -1))
  return next((rungs for rungs in plans if left(rungs, programs, costs) <= secs), None)


def plan_rungs(
  lengths: Sequence[int],
  least: int,
  programs: Callable[[int], Sequence[Program]],
  *,
  costs: Costs,
  secs: float,
) -> tuple[Rung, ...] | None:
  """Returns the rungs for so many seconds; None where not one trial of the fewest rounds fits.

  The longest training is taken that leaves time for nine trials; where none does, the longest that
  leaves time for three, else for one. Then there are as many trials as the time allows.

  Args:
    lengths: rounds that a training may have, ascending.
    least: rounds before which no trial is judged.
    programs: of the first trials, where a whole training has so many rounds.
    costs, secs: see `widest`.
  """
  found = [widest(one, least, programs(one), costs=costs, secs=secs) for one in reversed(lengths)]
  for wanted in (_WANTED, MEMBERS, 1):
    for rungs in found:
      if rungs is not None and rungs[0].num_trials >= wanted:
        return rungs
  return None


class Watch:
  """Decides by a clock which trials are trained."""

  def __init__(
    self,
    rungs: Sequence[Rung],
    programs: Sequence[Program],
    costs: Costs,
    *,
    secs_left: Callable[[], float],
  ):
    """Takes the rungs of a forecast, which the time may shorten, or lengthen at the first rung."""
    self.rungs, self._programs, self._costs = tuple(rungs), programs, costs
    self._secs_left, self._num_trials = secs_left, 1  # of the first rung

  def allows(self, level: int, done: int, program: Program, rounds: int) -> bool:
    """Returns whether one more trial of a rung is trained, after `done` ones.

    One trial always comes to the end. Beyond it a trial needs the time for itself and for what is
    to follow: at the first rung the other rungs, at a later one three trials to the end.

    Args:
      level: the rung.
      done: its trials so far.
      program: of the trial.
      rounds: that it has to train.
    """
    last = level == len(self.rungs) - 1
    if done == 0 and (level == 0 or last):
      return True
    ends = [rung.round for rung in self.rungs]
    if level == 0:
      if done >= (MEMBERS if last else len(self._programs)):
        return False
      counts = sizes(done + 1, len(ends))
      secs = left(tuple(map(Rung, counts, ends)), self._programs, self._costs, done=done)
    else:
      if done >= sizes(self._num_trials, len(ends))[level]:
        return False
      secs = self._costs.start(program, is_known=True) + rounds * self._costs.round(program)
      if not last:
        after = [Rung(MEMBERS, end) for end in ends]
        secs += left(after, self._programs, self._costs, level=level + 1)
    is_allowed = secs <= self._secs_left()
    if level == 0 and is_allowed:
      self._num_trials = done + 1
    return is_allowed


class Repeat:
  """Decides by a plan which trials are trained."""

  def __init__(self, rungs: Sequence[Rung]):
    """Takes the rungs of an earlier fit."""
    self.rungs = tuple(rungs)

  def allows(self, level: int, done: int, program: Program, rounds: int) -> bool:
    """Returns whether the plan has one more trial at this rung."""
    del program, rounds
    return done < self.rungs[level].num_trials
