"""Halving within a time, or by the plan that an earlier time allowed: what `sdt.fit` trains.

The trials are ordinary runs, as those of every search, on a training set from which the validation
split is held out; their networks are kept. Only which of them are trained depends on the clock.
"""

import dataclasses
import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sdt import files
from sdt.config import Config, from_dict, ready_spaces, search_space, to_dict
from sdt.config.dependent import without_dependent
from sdt.config.ready_spaces import Kind
from sdt.data.dataset import Data, checksum
from sdt.errors import ConfigError, DivergedError
from sdt.run.context import Pause
from sdt.run.search.budget import (
  MEMBERS,
  MOST_TRIALS,
  Costs,
  Plan,
  Program,
  Repeat,
  Spent,
  Watch,
  plan_rungs,
)
from sdt.run.search.deciding import rank
from sdt.run.search.proposals import Seen, propose
from sdt.run.search.rungs import Rung
from sdt.run.search.trials import BASELINE, Ask, Run, reached

_PILOT_ROUNDS = (0, 1, 3)  # it is stopped after each; no training is shorter
_KEPT = 0.05  # of the time, for what comes after the trials


@dataclasses.dataclass(frozen=True)
class Task:
  """What a fit is asked to learn.

  Attributes:
    kind: a name of `ready_spaces.KINDS`.
    config: what the trials have in common.
    cut: the training set cut in two; `test` is the validation split.
    folder: of the trials.
    network: where a trial keeps its network, in its folder.
  """

  kind: str
  config: Config
  cut: Data
  folder: Path
  network: str

  @property
  def seed(self) -> int:
    """What draws the recipes, their networks and the validation split."""
    return self.config.seeds[0]

  @property
  def row(self) -> Kind:
    return ready_spaces.KINDS[self.kind]

  @property
  def steps_per_round(self) -> int:
    return -(-len(self.cut.train) // self.config.batch_size)


class Trials:
  """The trials of a fit by number, from 0; the first is the middle of the space."""

  def __init__(self, task: Task, run: Run, clock: Callable[[], float]):
    """Takes what trains a trial, and the clock by which its cost is measured, in seconds."""
    self.task, self._run, self._clock = task, run, clock
    self._space = task.row.dimensions
    self._points: list[tuple[float, ...]] = [(0.5,) * len(self._space)]
    self.costs = Costs()

  def point(self, number: int) -> tuple[float, ...]:
    """Returns the point of a trial; it depends on the seed and the number alone."""
    while number >= len(self._points):
      earlier = [Seen(point, None) for point in self._points]
      drawn = propose(
        self._space, "random", seed=self.task.seed, num_trials=MOST_TRIALS, earlier=earlier
      )
      self._points.append(drawn)
    return self._points[number]

  def program(self, number: int, rounds: int) -> Program:
    """Returns which program a trial has: its choices, and the length of a whole training."""
    texts = search_space.texts(self._space, self.point(number))
    return (str(rounds), *ready_spaces.program_of(self._space, texts))

  def programs(self, rounds: int) -> list[Program]:
    """Returns the programs of the first `MOST_TRIALS` trials."""
    return [self.program(number, rounds) for number in range(MOST_TRIALS)]

  def config(self, number: int, rounds: int) -> Config:
    """Returns the config of a trial whose whole training has so many rounds."""
    plain = without_dependent(to_dict(self.task.config)) | {"rounds": rounds}
    return search_space.at_point(from_dict(plain), self._space, self.point(number))

  def pilot(self, rounds: int) -> None:
    """Measures what the first trial costs, on a part of the examples where they are many.

    It is stopped after a round and goes on: what the first start loads is no cost of a trial.
    """
    task, cut, program = self.task, self.task.cut, self.program(0, rounds)
    folder, most = task.folder / f"{rounds}_001", task.row.pilot_examples
    if len(cut.train) > most:
      folder, program = task.folder / "pilot", ("pilot", *program)
      cut = _first_of(cut, most)
    factor = len(task.cut.train) / len(cut.train)
    for before, end in itertools.pairwise(_PILOT_ROUNDS):
      asked = Ask(
        self.config(0, rounds),
        folder,
        "the measurement of a round",
        data=cut,
        pause=Pause(BASELINE, end),
        is_trial=True,
      )
      spent = self._spent(asked, end - before)
      more = (factor - 1) * spent.training_secs
      self.costs.add(
        program,
        dataclasses.replace(
          spent, secs=spent.secs + more, training_secs=spent.training_secs + more
        ),
      )

  def train(self, number: int, end: int, *, before: int, rounds: int) -> dict[str, Any]:
    """Trains a trial up to the end of a round, unless it has come so far; returns what it reached.

    Args:
      number: of the trial.
      end: the round.
      before: the round up to which it has been trained.
      rounds: of a whole training; at its end the network is kept.
    """
    config, folder = self.config(number, rounds), self.task.folder / f"{rounds}_{number + 1:03d}"
    model = folder / self.task.network
    is_whole = end == rounds
    entry = reached(folder, BASELINE, config.seeds, number=end)
    if entry is None or (is_whole and not files.is_intact(model)):
      asked = Ask(
        config,
        folder,
        f"trial {number + 1}",
        data=self.task.cut,
        pause=None if is_whole else Pause(BASELINE, end),
        is_trial=True,
      )
      self.costs.add(self.program(number, rounds), self._spent(asked, end - before))
      entry = reached(folder, BASELINE, config.seeds, number=end)
    if entry is None:
      raise RuntimeError(f"{folder}: round {end} has ended without rows")
    values = search_space.values_at(config, self._space)
    place = model.relative_to(self.task.folder.parent).as_posix()
    return {"trial": number + 1, "values": values, **entry} | ({"file": place} if is_whole else {})

  def _spent(self, asked: Ask, rounds: int) -> Spent:
    """Runs what is asked for; returns what it took by the clock, divided as the run's account."""
    before, start = _account(asked.folder), self._clock()
    self._run(asked)
    secs = self._clock() - start
    training, compiling, whole = (
      now - then for now, then in zip(_account(asked.folder), before, strict=True)
    )
    share = secs / whole if whole > 0 else 0.0
    return Spent(secs, compiling * share, training_secs=training * share, rounds=rounds)


def _account(folder: Path) -> tuple[float, float, float]:
  """Returns the seconds in which a run trained and evaluated, in which it compiled, and all."""
  path = folder / "timing.json"
  if not files.is_intact(path):
    return 0.0, 0.0, 0.0
  content = files.read_json(path)
  busy = sum(content["train_secs"].values()) + sum(content["evaluation_secs"].values())
  return busy, content["compile_secs"], content["wall_secs"]


def _first_of(cut: Data, number: int) -> Data:
  """Returns evenly spaced training examples, so many, and as large a share of the validation."""
  share = number / len(cut.train)
  train, test = (
    one.take(np.unique(np.linspace(0, len(one) - 1, max(1, round(share * len(one)))).astype(int)))
    for one in (cut.train, cut.test)
  )
  own = checksum(train, test, cut.class_names)
  return dataclasses.replace(cut, train=train, test=test, checksum=own)


def forecast(trials: Trials, secs_left: Callable[[], float], log: Callable[[str], None]) -> Watch:
  """Returns what decides by the clock, after a measurement of what a round costs.

  Raises:
    ConfigError: the time is too short for one trial; the message says what is enough.
  """
  steps = trials.task.steps_per_round
  lengths, least = ready_spaces.lengths(steps), ready_spaces.least_round(steps)
  log("fit: compiles the first recipe and measures what a round costs")
  trials.pilot(_guessed_length(trials, lengths, least, secs=secs_left()))
  secs = secs_left() * (1 - _KEPT)
  rungs = plan_rungs(lengths, least, trials.programs, costs=trials.costs, secs=secs)
  if rungs is None:
    program = trials.program(0, lengths[0])
    needed = trials.costs.start(program) + lengths[0] * trials.costs.round(program)
    raise ConfigError(
      f"minutes: one recipe of {lengths[0]} rounds, the fewest that are worth a try, takes about "
      f"{needed / 60:.2g} minutes here, and {max(0.0, secs_left()) / 60:.2g} are left after the "
      f"measurement; give at least {1.3 * needed / 60 + 0.1:.2g} more, or fewer examples"
    )
  told = ", ".join(f"{rung.num_trials} up to round {rung.round}" for rung in rungs)
  log(f"fit: by the measurement the time allows about so many recipes: {told}")
  return Watch(
    rungs,
    trials.programs(rungs[-1].round),
    trials.costs,
    secs_left=lambda: secs_left() * (1 - _KEPT),
  )


def _guessed_length(trials: Trials, lengths: tuple[int, ...], least: int, *, secs: float) -> int:
  """Returns how many rounds a training will have, if it takes what its kind says roughly."""
  row, guess = trials.task.row, Costs()
  of_round = row.step_secs * trials.task.steps_per_round
  total = row.compile_secs + of_round
  guess.add(("guess",), Spent(total, row.compile_secs, training_secs=of_round, rounds=1))
  rungs = plan_rungs(lengths, least, trials.programs, costs=guess, secs=secs)
  return rungs[-1].round if rungs is not None else lengths[0]


def search(
  trials: Trials, watch: Watch | Repeat, log: Callable[[str], None]
) -> tuple[Plan, list[dict[str, Any]]]:
  """Returns the plan that was trained and what its trials reached, the best first.

  Trials of a rung are trained in the order of what they had reached, so that those which the time
  leaves out are the worst. A rung without a trial is none.

  Args:
    trials: of the fit.
    watch: the rungs, and which trials of them are trained.
    log: gets a line for each trial.

  Raises:
    DivergedError: no trial came to the end without diverging.
  """
  entries: dict[int, dict[str, Any]] = {}
  ends = [rung.round for rung in watch.rungs]
  rungs, before, rounds = list[Rung](), 0, ends[-1]
  num_validation = len(trials.task.cut.test)

  def order() -> list[int]:
    def key(number: int) -> tuple[float, ...]:
      one = entries[number]
      return (-one["round"], *rank(one, num_validation), number)

    return sorted(entries, key=key)

  for level, end in enumerate(ends):
    candidates = order()[: rungs[-1].num_trials] if rungs else range(MOST_TRIALS)
    done = 0
    for number in candidates:
      if not watch.allows(level, done, trials.program(number, rounds), rounds=end - before):
        break
      entries[number] = trials.train(number, end, before=before, rounds=rounds)
      done += 1
      log(_line(entries[number], entries[order()[0]]))
    if done:
      rungs.append(Rung(done, end))
      before = end
  plan = Plan(trials.task.kind, trials.task.seed, tuple(rungs))
  return plan, [entries[number] for number in order()]


def best_of(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
  """Returns the best three of the trials that came to the end, the best first.

  Raises:
    DivergedError: there is none that did not diverge.
  """
  whole = [one for one in entries if "file" in one and not one["diverged"]]
  if not whole:
    raise DivergedError(
      "fit: every recipe that came to the end diverged; are the inputs numbers of any size? Divide "
      "them by their spread, or fit another seed"
    )
  return whole[:MEMBERS]


def _line(one: Mapping[str, Any], best: Mapping[str, Any]) -> str:
  def said(entry: Mapping[str, Any]) -> str:
    return "diverged" if entry["diverged"] else f"{100 * entry['mean']:.2f} %"

  return (
    f"fit: trial {one['trial']}, round {one['round']}: {search_space.values_text(one['values'])}: "
    f"{said(one)}; best so far {said(best)}, trial {best['trial']}"
  )
