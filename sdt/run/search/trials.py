"""The trials of a search: ordinary runs on the training set without its validation split.

Each is interrupted when the arm that it tries has come to a round, and nothing is kept of a search
but these runs: what has been tried stands in their metrics.jsonl, and what comes next follows.
"""

import dataclasses
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sdt import files
from sdt.config import Config, search_space, to_dict
from sdt.config.schema import (
  DistilConfig,
  EvaluateConfig,
  LogConfig,
  MethodConfig,
  RegulariseConfig,
  ScoreConfig,
  SemiConfig,
  SplitConfig,
)
from sdt.config.search_space import Space
from sdt.data.dataset import Data
from sdt.devices import processes
from sdt.run import metrics
from sdt.run.context import Pause
from sdt.run.progress import duration
from sdt.run.search.deciding import Candidate, decide, rank
from sdt.run.search.proposals import Seen, propose
from sdt.run.search.rungs import Rung, rungs_of, work
from sdt.stats import paired

BASELINE = "baseline"


@dataclasses.dataclass(frozen=True)
class Ask:
  """A run that a selection asks for.

  Attributes:
    config: of the run; `baseline_from` may be a workdir.
    folder: its workdir.
    name: what it is called on the screen.
    data: the training set cut in two.
    pause: where it is interrupted; None for a run with a report.
    is_trial: of a search: without a report, and with few lines on the screen.
  """

  config: Config
  folder: Path
  name: str
  data: Data
  pause: Pause | None = None
  is_trial: bool = False


Run = Callable[[Ask], object]


def on_the_rest(config: Config, arm: str, share: float) -> Config:
  """Returns the config of what is tried for an arm, on so much of the training set.

  It has no selection, and no key that only other arms read.
  """
  rule, method = config.select, dataclasses.replace(config.method, lambda_tuned=None)
  if method.num_easy is not None:
    method = dataclasses.replace(method, num_easy=max(1, round(method.num_easy * share)))
  own = dataclasses.replace(
    search_space.without_selection(config),
    seeds=config.seeds[: rule.num_seeds],
    method=method,
    evaluate=EvaluateConfig(),
    # No trial has a phase that would read these.
    regularise=RegulariseConfig(),
    semi=SemiConfig(),
    distil=DistilConfig(),
    augment=dataclasses.replace(config.augment, strong=""),
    arms=(BASELINE,) if arm == BASELINE else (BASELINE, arm),
    own_arms=(),
    baseline_from=None,
    log=LogConfig(),
  )
  return search_space.with_values(own if arm != BASELINE else _without_split(own), {})


def _without_split(config: Config) -> Config:
  """Returns a config of the baseline alone, without the keys of scores and split."""
  of_file = {name: getattr(ScoreConfig(), name) for name in ("name", "path", "column", "higher_is")}
  return dataclasses.replace(
    config,
    method=MethodConfig(),
    split=SplitConfig(),
    score=dataclasses.replace(config.score, **of_file),
  )


@dataclasses.dataclass(frozen=True)
class Part:
  """What is searched for one arm.

  Attributes:
    arm: whose validation accuracy decides.
    space: its keys.
    num_trials: of the first rung, which is all of them.
    rungs: how long they train.
  """

  arm: str
  space: Space
  num_trials: int
  rungs: tuple[Rung, ...]


def parts_of(config: Config) -> list[Part]:
  """Returns what is searched, in order: first what ordinary training reads."""
  rule, parts = config.select, []
  for arm, space in search_space.by_arm(search_space.space_of(rule.space)).items():
    is_grid = rule.method == "grid"
    num_trials = int(search_space.num_points(space)) if is_grid else rule.trials
    rungs = rungs_of(rule, config.rounds, num_trials=num_trials, every=config.eval_every_rounds)
    parts.append(Part(arm, space, num_trials, rungs=rungs))
  return parts


def rounds_of(config: Config) -> dict[str, int]:
  """Returns how many rounds of each arm a search trains, for each of its seeds."""
  rounds = {part.arm: work(part.rungs) for part in parts_of(config)}
  return {BASELINE: config.rounds} | rounds


def total_rounds(config: Config) -> int:
  """Returns how many rounds a search trains in all, for each of its seeds."""
  return sum(rounds_of(config).values())


class Search:
  """Runs what is left of a search, and tells what it comes to."""

  def __init__(
    self,
    config: Config,
    cut: Data,
    *,
    share: float,
    folder: Path,
    run: Run,
    log: Callable[[str], None],
  ):
    """Takes the config of the run, and the training set cut in two; `share` is what trains."""
    self._config, self._cut, self._share = config, cut, share
    self._folder, self._run, self._log = folder, run, log
    self._pace = _Pace(total_rounds(config))

  def content(self) -> dict[str, Any]:
    """Returns the entries of selection.json on the search: what was tried and what is best.

    Raises:
      DivergedError: of every trial for an arm a seed diverged. And what `run` raises.
    """
    config, choices, baseline = self._config, dict[str, Any](), None
    for part in parts_of(config):
      if part.arm != BASELINE and baseline is None:
        baseline = self._train_baseline(config, choices.get(BASELINE))
      tried = self._try(part, on_the_rest(config, part.arm, self._share))
      choices[part.arm] = decide(
        part.arm, tried, len(self._cut.test), edges=functools.partial(_edges, part.space)
      )
      config = search_space.with_values(config, choices[part.arm]["chosen"])
    baseline = baseline or chosen_of(choices[BASELINE])
    return {"choices": choices, "baseline": baseline, "search": described(self._config)}

  def _train_baseline(self, config: Config, choice: Mapping[str, Any] | None) -> dict[str, Any]:
    """Trains the baseline that all trials of other arms take over; returns its candidate's entry.

    Where its keys were searched it is the best trial, which only lacks its results.
    """
    folder = self._folder / BASELINE
    own, rounds = on_the_rest(config, BASELINE, self._share), config.rounds
    if choice is not None:
      folder, rounds = self._folder / chosen_of(choice)["folder"], 0
    self._origin = folder
    if processes.by_first(lambda: files.is_intact(folder / "results.json")):
      self._pace.skip(rounds)
    else:
      with self._pace.of(rounds):
        name = "the baseline of the search"
        self._run(Ask(own, folder, name, data=self._cut, is_trial=True))
    entry = self._entry(folder, BASELINE, own)
    if entry is None:
      raise RuntimeError(f"{folder}: the baseline has ended without rows")
    return entry

  def _try(self, part: Part, base: Config) -> list[dict[str, Any]]:
    """Returns the candidates of one arm, in the order of their numbers; trains what is left."""
    entries: list[dict[str, Any]] = []
    before = 0
    for rung in part.rungs:
      order = sorted(
        range(len(entries)), key=lambda number: (*_rank(entries[number], self._cut), number)
      )
      numbers = sorted(order[: rung.num_trials]) if entries else range(part.num_trials)
      for number in numbers:
        point = entries[number]["point"] if before else self._next(part, entries)
        entry = self._trial(part, base, number, point=point, rung=rung, before=before)
        if before:
          entries[number] = entry
        else:
          entries.append(entry)
        self._tell(part, entries, number)
      before = rung.round
    return entries

  def _next(self, part: Part, entries: Sequence[Candidate]) -> list[float]:
    earlier = [
      Seen(tuple(one["point"]), None if one["diverged"] else one["mean"]) for one in entries
    ]
    rule, seed = self._config.select, self._config.data.split_seed
    return processes.by_first(
      lambda: list(
        propose(part.space, rule.method, seed=seed, num_trials=part.num_trials, earlier=earlier)
      )
    )

  def _trial(
    self, part: Part, base: Config, number: int, *, point: list[float], rung: Rung, before: int
  ) -> dict[str, Any]:
    """Trains a trial up to the end of a rung, unless it has come so far; returns its entry."""
    config = search_space.at_point(base, part.space, point)
    folder = self._folder / f"{part.arm}_{number + 1:03d}"
    rounds = rung.round - before
    entry = self._entry(folder, part.arm, config, until=rung.round)
    if entry is None:
      origin = None if part.arm == BASELINE else str(self._origin)
      asked = Ask(
        dataclasses.replace(config, baseline_from=origin),
        folder,
        f"selection, {part.arm}, trial {number + 1} of {part.num_trials}",
        data=self._cut,
        pause=Pause(part.arm, rung.round),
        is_trial=True,
      )
      with self._pace.of(rounds):
        self._run(asked)
      entry = self._entry(folder, part.arm, config, until=rung.round)
    else:
      self._pace.skip(rounds)
    if entry is None:
      raise RuntimeError(f"{folder}: round {rung.round} has ended without rows")
    values = search_space.values_at(config, part.space)
    return {"values": values, "folder": folder.name, "arm": part.arm} | entry | {"point": point}

  def _entry(
    self, folder: Path, arm: str, config: Config, until: int | None = None
  ) -> dict[str, Any] | None:
    """Returns what a run has reached at the end of a round; None where it has not come so far."""
    number = until or config.rounds
    entry: dict[str, Any] | None = processes.by_first(
      lambda: reached(folder, arm, config.seeds, number=number)
    )
    return entry

  def _tell(self, part: Part, entries: Sequence[Candidate], number: int) -> None:
    """Logs a line about a trial that has ended, if it was trained now."""
    if not self._pace.is_running:
      return
    one, left = entries[number], self._pace.left()
    order = sorted(range(len(entries)), key=lambda at: (*_rank(entries[at], self._cut), at))
    self._log(
      f"selection, {part.arm}, trial {number + 1} of {part.num_trials}, round {one['round']}: "
      f"{search_space.values_text(one['values'])}: {_accuracy(one)}; best so far "
      f"{_accuracy(entries[order[0]])}, trial {order[0] + 1}"
      f"{'' if left is None else f'; left: {left}'}"
    )


def reached(folder: Path, arm: str, seeds: Sequence[int], number: int) -> dict[str, Any] | None:
  """Returns how accurate an arm was at the end of a round; None where it has not come so far.

  Only files are read. A seed that had diverged by then has None.
  """
  path = folder / metrics.FILE
  if not path.exists():
    return None
  rows = [row for row in files.read_rows(path) if row["arm"] == arm and row["round"] <= number]
  last = {row["seed"]: row for row in rows if row["round"] == number and row["last_phase"]}
  if any(seed not in last for seed in seeds):
    return None
  diverged = metrics.diverged_seeds(rows, arm)
  accuracy, loss = (
    {str(seed): None if seed in diverged else last[seed][key] for seed in seeds}
    for key in ("test_accuracy", "test_loss")
  )
  return {
    "accuracy": accuracy,
    **paired.summary(accuracy.values()),
    "loss": loss,
    "diverged": [seed for seed in seeds if seed in diverged],
    "round": number,
  }


def described(config: Config) -> dict[str, Any]:
  """Returns the entry `search` of selection.json: how the trials came about."""
  rule, parts = config.select, parts_of(config)
  return {
    "method": rule.method,
    "seed": config.data.split_seed,
    "parts": {
      part.arm: {
        "space": [dataclasses.asdict(dimension) for dimension in part.space],
        "rungs": [dataclasses.asdict(rung) for rung in part.rungs],
      }
      for part in parts
    },
  }


def identity(config: Config) -> list[Mapping[str, Any]]:
  """Returns what the results of a search depend on, beside the data."""
  plain = to_dict(config)["select"]
  return [plain, *(to_dict(on_the_rest(config, part.arm, 1.0)) for part in parts_of(config))]


def chosen_of(choice: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the candidate that was chosen, of an entry of `choices` in selection.json."""
  return next(one for one in choice["candidates"] if one["values"] == choice["chosen"])


def _rank(one: Candidate, cut: Data) -> tuple[float, ...]:
  return (-one["round"], *rank(one, len(cut.test)))


def _edges(space: Space, one: Candidate) -> list[str]:
  return [
    dimension.key
    for dimension, unit in zip(space, one["point"], strict=True)
    if dimension.is_edge(unit)
  ]


def _accuracy(one: Candidate) -> str:
  return "diverged" if one["diverged"] else f"{100 * one['mean']:.2f} %"


class _Pace:
  """How long the rest of a search takes, by the rounds that were trained in this start."""

  def __init__(self, total: int):
    self._left, self._rounds, self._secs = total, 0, 0.0
    self._since = 0.0
    self.is_running = False

  def skip(self, rounds: int) -> None:
    """Takes note of rounds that an earlier start has trained."""
    self._left -= rounds
    self.is_running = False

  def of(self, rounds: int) -> "_Pace":
    """Times the training of so many rounds, as a context."""
    self._now = rounds
    return self

  def __enter__(self) -> None:
    self._since = time.perf_counter()

  def __exit__(self, *error: object) -> None:
    self._secs += time.perf_counter() - self._since
    self._rounds += self._now
    self._left -= self._now
    self.is_running = True

  def left(self) -> str | None:
    """Returns the time left in words; None where nothing is, or nothing is known."""
    if not self._rounds or self._left <= 0:
      return None
    return f"about {duration(self._secs / self._rounds * self._left)}"
