"""Trains one arm in a workdir: restores, saves, writes its metrics, shows its progress, stops on a signal."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from sdt import artifacts, files
from sdt.accept import Beside
from sdt.arms.catalogue import scoring_arms, trainings
from sdt.config import Config, to_dict
from sdt.config.differences import SAFE_TO_CHANGE, diff
from sdt.data.dataset import Data
from sdt.devices import processes
from sdt.devices.layout import fetch
from sdt.engine.plan import Plan
from sdt.engine.state import TrainState
from sdt.engine.trainer import Position, Progress, Trainer
from sdt.errors import CheckpointError, ConfigError, DataError, Interrupted
from sdt.losses import is_regression
from sdt.profiling import Profiler
from sdt.progress import Display, Task
from sdt.setup import Resume, Setup
from sdt.shared_store import SharedStore
from sdt.stop import StopRequest

# Saves may cost 2 % of the time: at least 50 times what the last one took lies between two, and no less than this.
_LEAST_SECS_BETWEEN_SAVES, _SAVE_COST_FACTOR = 10.0, 50.0
_ARM_STRIDE = 10**12  # steps of checkpoints: arm * stride + clock, so that a later arm is newer


@dataclasses.dataclass(frozen=True)
class Identity:
  """What a run is a run of. Sealed in every checkpoint.

  Attributes:
    config: as plain values.
    data_checksum: of its data; empty where they are not there.
    file_checksums: SHA-256 of every file beside the data that the config may name, by its key, "none" without one; a key that is not
      there is not known.
  """

  config: dict[str, Any]
  data_checksum: str
  file_checksums: Mapping[str, str] = dataclasses.field(default_factory=dict)

  @classmethod
  def of(cls, config: Config, data: Data, beside: Beside) -> Identity:
    """Returns the identity of a run, from what `sdt.accept` accepted."""
    return cls(to_dict(config), data.checksum, beside.checksums)

  def is_other_data(self, checksum: str | None) -> bool:
    """Returns whether this is the checksum of other data; none, on either side, is not known to be."""
    return bool(checksum and self.data_checksum) and checksum != self.data_checksum

  def refuse_other(self, config: dict[str, Any], data_checksum: str | None, where: Path, file_checksums: Mapping[str, str]) -> None:
    """Refuses to continue at `where` what another config, other data or other files began; a checksum of None is not known.

    Raises:
      ConfigError: names every key that differs. DataError: the data or a file differs.
    """
    changes = diff(config, self.config, ignore=SAFE_TO_CHANGE)
    if changes:
      raise ConfigError(f"{where} holds a run of another config ({'; '.join(changes)}); use that config again or choose another --workdir")
    if self.is_other_data(data_checksum):
      raise DataError(
        f"{where} holds a run on other data (checksum {data_checksum}, now {self.data_checksum}); "
        "restore that data or choose another --workdir"
      )
    others = self.other_files(file_checksums)
    if others:
      raise DataError(f"{where} holds a run with {'; '.join(others)}; restore that file or choose another --workdir")

  def other_files(self, checksums: Mapping[str, str]) -> list[str]:
    """Returns "another KEY (...)" for every file whose checksum, where both are known, is another in `checksums`."""
    both = [key for key in checksums if key in self.file_checksums and checksums[key] != self.file_checksums[key]]
    return [f"another {key} (SHA-256 {checksums[key]}, now {self.file_checksums[key]})" for key in both]


@dataclasses.dataclass
class Timing:
  """Seconds, over all starts of the run; the content of timing.json. Training, evaluating, compiling and saving are parts of stages.

  A selection is a stage too, "select"; what it trained stands in the accounts of its own runs.

  `images` counts the training examples of finished rounds, each seed's; `train_secs` and `evaluation_secs` are the seconds in which
  programs trained and evaluated (see `dispatch.Progress`), steps that were lost and made again among them; `idle_secs` those that the host
  kept the devices waiting for between two dispatches, for streamed inputs too, but not for saves. `steps_redone` counts the optimiser
  steps that a start had to make again, as far as rows tell of them; what a kill took after the last row nobody knows.
  """

  stages: dict[str, float] = dataclasses.field(default_factory=dict)
  images: dict[str, int] = dataclasses.field(default_factory=dict)
  train_secs: dict[str, float] = dataclasses.field(default_factory=dict)
  evaluation_secs: dict[str, float] = dataclasses.field(default_factory=dict)
  idle_secs: float = 0.0
  compile_secs: float = 0.0
  save_secs: float = 0.0
  num_saves: int = 0
  num_starts: int = 0
  steps_redone: int = 0
  wall_secs: float = 0.0  # of the earlier starts
  since: float = dataclasses.field(default_factory=time.perf_counter)  # when this start began, on the process's own clock

  @contextmanager
  def stage(self, name: str) -> Iterator[None]:
    start = time.perf_counter()
    try:
      yield
    finally:
      self.stages[name] = self.stages.get(name, 0.0) + time.perf_counter() - start

  def add_dispatch(self, arm: str, secs: float, evaluation_secs: float) -> None:
    """Adds a dispatch of an arm, which took so many seconds and evaluated in so many of them."""
    self.train_secs[arm] = self.train_secs.get(arm, 0.0) + secs - evaluation_secs
    self.evaluation_secs[arm] = self.evaluation_secs.get(arm, 0.0) + evaluation_secs

  def to_dict(self) -> dict[str, Any]:
    """Adds what follows from it.

    images_per_sec: of training, by arm. goodput: the share of the wall time, a selection's apart, in which programs trained or evaluated.
    """
    rates = {arm: self.images.get(arm, 0) / secs for arm, secs in self.train_secs.items() if secs > 0}
    wall_secs = self.wall_secs + time.perf_counter() - self.since
    own_secs = wall_secs - self.stages.get("select", 0.0)
    content = {**dataclasses.asdict(self), "wall_secs": wall_secs}
    del content["since"]
    running = sum(self.train_secs.values()) + sum(self.evaluation_secs.values())
    return {**content, "images_per_sec": rates, "goodput": running / own_secs}

  @classmethod
  def read(cls, path: Path, since: float) -> Timing:
    """Continues the account of earlier starts, where there is one."""
    content = files.read_json(path) if files.is_intact(path) else {}
    known = {field.name: content[field.name] for field in dataclasses.fields(cls) if field.name in content}
    return cls(**(known | {"num_starts": known.get("num_starts", 0) + 1, "since": since}))


@dataclasses.dataclass(frozen=True)
class Context:
  """What the stages of one run share: the setup, and where its story goes."""

  setup: Setup
  beside: Beside
  workdir: Path
  identity: Identity
  store: SharedStore
  display: Display
  stop: StopRequest
  timing: Timing
  profiler: Profiler

  def write_timing(self) -> None:
    files.write_json(self.workdir / "timing.json", self.timing.to_dict())

  def raise_if_stopped(self, where: str) -> None:
    name = self.stop.asked()
    if name is not None:
      raise Interrupted(f"stopped by {name} {where}; everything done so far is saved: run the same command again to continue")


def restore_newest(context: Context) -> tuple[str, Resume] | None:
  """Returns the arm and the place where the newest usable checkpoint stands; None where there are no checkpoints.

  Raises:
    CheckpointError: checkpoints exist and none is usable.
    ConfigError, DataError: it belongs to another run.
  """
  found = context.store.restore_latest(lambda step: saved_like(context.setup, step // _ARM_STRIDE))
  if found is None:
    return None
  step, tree, meta = found
  context.identity.refuse_other(meta["config"], meta["data_checksum"], context.workdir / "checkpoints", meta["file_checksums"])
  at = Position(meta["round"], meta["step"], meta["eval_index"])
  context.display.log(f"continuing {place_in_words(meta, context.setup.config.rounds)} (checkpoint {step}, the newest that is sound)")
  return meta["arm"], Resume(tree["state"], tree["sums"], at, meta["round_secs"], tree["dynamics"])


def place_in_words(meta: Mapping[str, Any], rounds: int) -> str:
  """Returns where a checkpoint stands, from its meta: "in arm method after round 12 of 30 and 7 steps", "at the end of arm method".

  `rounds` are those of an ordinary arm; older checkpoints do not tell their own.
  """
  total = meta.get("rounds", rounds)
  if meta["round"] >= total:
    return f"at the end of arm {meta['arm']}"
  return f"in arm {meta['arm']} after round {meta['round']} of {total}" + (f" and {meta['step']} steps" if meta["step"] else "")


def restore_final(context: Context, arm_index: int) -> TrainState:
  """Returns the state at the end of an arm, from its pinned checkpoint.

  Raises:
    CheckpointError: that checkpoint is missing or damaged; the states before it are gone, so it cannot be made again here.
  """
  step = last_step(context.store, arm_index)
  tree, meta = context.store.restore(step, saved_like(context.setup, arm_index))
  if meta["round"] < meta.get("rounds", context.setup.config.rounds):  # older checkpoints lack it
    raise CheckpointError(
      f"the last checkpoint of arm {meta['arm']} is missing, {step} is of round {meta['round']}; use a copy, or a new workdir"
    )
  return tree["state"]


def restore_round(context: Context, round_number: int, arm_index: int = 0) -> Resume:
  """Returns where the baseline, or another training that scores, stood after a round, from its pinned checkpoint.

  That is there of `score.at_round` and of the last.

  Raises:
    CheckpointError: that checkpoint is missing or damaged; it cannot be made again here.
  """
  step = step_after(context.store, round_number, arm_index)
  if step is None:
    what = f"{trainings(context.setup.config)[arm_index]} after round {round_number}"
    raise CheckpointError(f"{context.workdir / 'checkpoints'}: no usable checkpoint of {what}; use a copy, or a new workdir")
  tree, meta = context.store.restore(step, saved_like(context.setup, arm_index))
  return Resume(tree["state"], tree["sums"], Position(round_number), meta["round_secs"], tree["dynamics"])


def last_step(store: SharedStore, arm_index: int) -> int:
  """Returns the newest step of an arm; where there is none, the number that its first would have."""
  return max((step for step in store.steps() if step // _ARM_STRIDE == arm_index), default=arm_index * _ARM_STRIDE)


def step_after(store: SharedStore, round_number: int, arm_index: int = 0) -> int | None:
  """Returns the checkpoint of an arm, the baseline, at the end of a round, from 1; None where there is none whose seal can be read."""
  for step in (step for step in store.steps() if step // _ARM_STRIDE == arm_index):
    with suppress(CheckpointError):
      meta = store.read_meta(step)
      if (meta["round"], meta["step"]) == (round_number, 0):
        return step
  return None


def saved_tree(reached: Resume) -> dict[str, Any]:
  """Returns what a checkpoint holds as a tree; the position stands in its meta."""
  return {"state": reached.state, "sums": reached.sums, "dynamics": reached.dynamics}


def saved_like(setup: Setup, arm_index: int, num_phases: int | None = None) -> dict[str, Any]:
  """Returns a tree of the shapes that a checkpoint of an arm has; the sums may be those of another run, of so many phases."""
  dynamics = setup.no_dynamics("baseline") if arm_index == 0 else None  # the arms after the first record none
  return saved_tree(dataclasses.replace(setup.fresh_start, sums=setup.no_sums(num_phases), dynamics=dynamics))


def train_arm(context: Context, trainer: Trainer, plan: Plan, arm_index: int, start: Resume) -> TrainState:
  """Trains an arm to its end and returns its final state [R, ...] on the host.

  Rows go to metrics.jsonl before the checkpoint that covers them; the final state is pinned, and of the baseline that which is scored.

  Raises:
    Interrupted: a signal came; the state is saved.
  """
  context.raise_if_stopped(f"before arm {plan.arm}")
  processes.refuse_unequal(
    f"the start of arm {plan.arm}", (start.state, start.sums, start.dynamics, [phase.example_ids for phase in plan.phases])
  )
  trainer.set_state(start.state, start.sums, start.dynamics)
  if not trainer.num_compilations:  # arms of equal shapes share a program
    context.display.log(f"{plan.arm}: compiling")
  context.timing.compile_secs += trainer.compile()
  context.raise_if_stopped(f"before arm {plan.arm}")
  rates = context.setup.learning_rates(plan)
  saver = _Saver(context, plan, arm_index, trainer, start)
  steps = closing(trainer.run(start.position, start.round_secs, saver.scored_round))  # readers of streamed inputs end with it
  with context.display.task(plan.arm, plan.rounds, "round", start.position.round_index) as task, steps as running:
    round_secs = start.round_secs
    for progress in saver.watch(context.profiler.watch(running)):
      received, saved_secs = time.perf_counter(), context.timing.save_secs
      round_secs = 0.0 if progress.finished else round_secs + progress.waited_seconds + progress.seconds
      context.timing.add_dispatch(plan.arm, progress.seconds, progress.evaluation_seconds)
      at = progress.position
      if progress.finished:
        _report(context, plan, rates, progress, fetch(context.setup.layout, trainer.state.step), task)
      task.advance(at.round_index + at.step / plan.steps_per_round)
      if at.round_index < plan.rounds:
        saver.save_if_due(at, round_secs)
      context.timing.idle_secs += progress.waited_seconds + time.perf_counter() - received - (context.timing.save_secs - saved_secs)
  saver.save(Position(plan.rounds), 0.0, pin=True)
  return trainer.get_state()[0]


class _Saver:
  """Saves the state of a training when it is time, when a signal has come, and for good after the round that is scored."""

  def __init__(self, context: Context, plan: Plan, arm_index: int, trainer: Trainer, start: Resume):
    self._context, self._plan, self._arm_index, self._trainer = context, plan, arm_index, trainer
    self._reached, self._saved = (start.position, start.round_secs), start.position
    self._next_save = time.perf_counter() + self._interval()
    config = context.setup.config
    self.scored_round = config.score.at_round if plan.arm in scoring_arms(config) else None

  def _interval(self) -> float:
    chosen = self._context.setup.config.checkpoint.every_secs
    return chosen or max(_LEAST_SECS_BETWEEN_SAVES, _SAVE_COST_FACTOR * self._context.store.last_save_secs)

  def watch(self, running: Iterator[Progress]) -> Iterator[Progress]:
    """Yields the progress; where inputs cannot be read any more, on all processes at once, what was done so far is saved."""
    while True:
      try:
        progress = next(running)
      except StopIteration:
        return
      except DataError:
        if self._reached[0] != self._saved:
          self.save(*self._reached)
        raise
      yield progress

  def save_if_due(self, at: Position, round_secs: float) -> None:
    self._reached = at, round_secs
    is_scored = self.scored_round is not None and at == Position(self.scored_round)
    asked = self._context.stop.asked()
    is_due = processes.agree(time.perf_counter() >= self._next_save)
    if not (is_scored or is_due or asked):
      return
    self.save(at, round_secs, pin=is_scored)
    place = f"round {at.round_index + 1}, after step {at.step}" if at.step else f"round {at.round_index}, at its end"
    self._context.raise_if_stopped(f"in arm {self._plan.arm}, {place}")

  def save(self, at: Position, round_secs: float, pin: bool = False) -> None:
    state, sums, dynamics = self._trainer.get_state()
    save_state(self._context, self._plan, self._arm_index, Resume(state, sums, at, round_secs, dynamics), pin=pin)
    self._next_save, self._saved = time.perf_counter() + self._interval(), at


def save_state(context: Context, plan: Plan, arm_index: int, reached: Resume, *, pin: bool) -> None:
  """Saves where the training of an arm stands, sealed with the run's identity and choices, and accounts for the time it took."""
  at = reached.position
  clock = at.round_index * (plan.steps_per_round + len(context.setup.data.test) + 1) + at.step + at.eval_index
  place = {
    "arm": plan.arm,
    "rounds": plan.rounds,
    "round": at.round_index,
    "step": at.step,
    "eval_index": at.eval_index,
    "round_secs": reached.round_secs,
  }
  meta = {"stage": "train", **place, **dataclasses.asdict(context.identity), "choices": context.setup.choices}
  context.store.save(arm_index * _ARM_STRIDE + clock, saved_tree(reached), meta, pin=pin)
  context.timing.save_secs += context.store.last_save_secs
  context.timing.num_saves += 1
  context.write_timing()


def has_rows(number: int, rounds: int, config: Config) -> bool:
  """Returns whether round `number` (from 1) of so many has rows in metrics.jsonl: each that is evaluated has, so that none is lost."""
  return number % config.log_every_rounds == 0 or number % config.eval_every_rounds == 0 or number == rounds


def _report(context: Context, plan: Plan, rates: np.ndarray, progress: Progress, steps_done: np.ndarray, task: Task) -> None:
  """Appends the rows of the finished rounds to metrics.jsonl, says how they went, and counts their images."""
  config, timing = context.setup.config, context.timing
  regression = is_regression(context.setup.data.train.labels)
  rows: list[dict[str, Any]] = []
  for ended in progress.finished:
    number = ended.index + 1
    timing.images[plan.arm] = timing.images.get(plan.arm, 0) + int(ended.sums.train_count.sum())
    if not has_rows(number, plan.rounds, config):
      continue
    evaluated = number % config.eval_every_rounds == 0 or number == plan.rounds
    new = artifacts.metrics_rows(plan, config, rates, ended.index, evaluated, ended.sums, steps_done, ended.seconds, regression)
    rows += new
    task.line(number, _news(new), progress.position.round_index)
  files.append_rows(context.workdir / "metrics.jsonl", rows)


def _news(rows: list[dict[str, Any]]) -> str:
  """Returns the line of one round: means over the seeds that are still training."""
  last = [row for row in rows if row["last_phase"]]
  parts = []
  # Where a round has several phases, the training figures are the last one's.
  train = "train" if last[0]["phase"] in ("all", "half") else f"train {last[0]['phase']}"
  for name, key, scale, unit in (
    ("test", "test_accuracy", 100.0, " %"),
    (train, "train_accuracy", 100.0, " %"),
    (f"{train} loss", "train_loss", 1.0, ""),
  ):
    values = [row[key] for row in last if row[key] is not None and not row.get("diverged")]
    if values:
      parts.append(f"{name} {scale * sum(values) / len(values):.{4 if scale == 1.0 else 2}f}{unit}")
  lost = [str(row["seed"]) for row in last if row.get("diverged")]
  parts.append(f"lr {last[0]['learning_rate']:.4g}")
  return "  ".join(parts) + (f"  diverged: seed {', '.join(lost)}" if lost else "")
