"""Trains one arm in a workdir: saves, writes metrics, shows progress, stops on a signal."""

import dataclasses
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import numpy as np

from sdt import files
from sdt.arms.kept_rounds import kept_rounds
from sdt.devices import processes
from sdt.devices.layout import fetch
from sdt.engine.plan import Plan
from sdt.engine.schedule import rates_of_rounds
from sdt.engine.state import Position, Snapshot, TrainState
from sdt.engine.trainer import Progress, Trainer
from sdt.errors import DataError
from sdt.losses import is_regression
from sdt.run import metrics
from sdt.run.collapse import Watch
from sdt.run.context import Context
from sdt.run.progress import Task, rounds_to_tell
from sdt.run.saved_states import save_state
from sdt.run.stopping import Stopper
from sdt.stages.round_extras import Extras, extras_of, with_extras

# At least this long lies between two saves, and 50 times what the last one took: saves may cost 2 %
# of the time.
_LEAST_SECS_BETWEEN_SAVES, _SAVE_COST_FACTOR = 10.0, 50.0


def train_arm(
  context: Context, plan: Plan, arm_index: int, *, trainer: Trainer, start: Snapshot
) -> TrainState:
  """Trains an arm from `start` to its end; returns its final state, leaves [R, ...], on the host.

  Rows go to metrics.jsonl before the checkpoint that covers them. The final state is pinned, and
  those after `kept_rounds`.

  Raises:
    Interrupted: a signal came; the state is saved. Paused: see `Context.pause`.
  """
  context.raise_if_stopped(f"before arm {plan.arm}")
  processes.refuse_unequal(
    f"the start of arm {plan.arm}",
    (start, [phase.example_ids for phase in plan.phases], trainer.teacher),
  )
  trainer.set_state(start)
  context.display.log_once(_legend(context))
  if not trainer.num_compilations:  # arms of equal shapes share a program
    context.display.log(f"{plan.arm}: compiling")
  context.timing.compile_secs += trainer.compile()
  context.raise_if_stopped(f"before arm {plan.arm}")
  saver = _Saver(context, plan, arm_index, trainer=trainer, start=start)
  stopper = saver.stopper
  halts_every_round = stopper is not None
  steps = trainer.run(
    start.position, start.round_secs, saver.halts, halts_every_round=halts_every_round
  )
  watch, due = _watch(context, plan), _rounds_with_rows(context, plan, start)
  rates, done = context.setup.learning_rates(plan), start.position.round_index
  told = rounds_to_tell(due, rates_of_rounds(rates).tolist())
  with (
    context.display.task(plan.arm, plan.rounds, "round", done=done, told=told) as task,
    closing(steps) as running,  # readers of streamed inputs end with it
  ):
    books = _Books(context, plan, rates, task=task)
    for progress in saver.watch(context.profiler.watch(running)):
      received, saved_secs = time.perf_counter(), context.timing.save_secs
      rows = books.account(progress, trainer)
      watch.see(rows)
      if stopper is not None:
        stopper.see(rows, trainer.get_state)
      saver.save_if_due(progress)
      saving = context.timing.save_secs - saved_secs
      idle = progress.waited_seconds + time.perf_counter() - received - saving
      context.timing.idle_secs += idle
  _tell_stop(context, plan, trainer)
  ended = saver.save(Position(plan.rounds), 0.0, pin=True).state
  context.pause_if_due(plan.arm, plan.rounds)
  return ended


def _rounds_with_rows(context: Context, plan: Plan, start: Snapshot) -> list[int]:
  numbers = range(start.position.round_index + 1, plan.rounds + 1)
  return [number for number in numbers if metrics.has_rows(number, plan.rounds, context.config)]


def _stopper(context: Context, plan: Plan, start: Snapshot) -> Stopper | None:
  """Returns what stops the arm early; None where the config does not ask for it."""
  if not context.config.stop.patience:
    return None
  path = context.workdir / metrics.FILE
  earlier = files.read_rows(path) if path.exists() else []
  return Stopper(context.config, plan.arm, start, earlier=earlier)


def _tell_stop(context: Context, plan: Plan, trainer: Trainer) -> None:
  """Says that early stopping ended the arm before its last round."""
  number = trainer.position.round_index
  if number < plan.rounds:
    context.display.log(
      f"{plan.arm}: stopped early, after round {number} of {plan.rounds}: each seed had "
      f"{context.config.stop.patience} rounds without a better validation accuracy"
    )


@dataclasses.dataclass(frozen=True)
class _Books:
  """Accounts for the dispatches of an arm: their time, the rows of their rounds, and the display.

  Attributes:
    context: of the run.
    plan: of the arm.
    rates: [rounds], the learning rate of each.
    task: of the arm, on the display.
  """

  context: Context
  plan: Plan
  rates: np.ndarray
  task: Task

  def account(self, progress: Progress, trainer: Trainer) -> list[dict[str, Any]]:
    """Accounts for a dispatch; returns the rows of the rounds that it finished."""
    context, plan = self.context, self.plan
    rows: list[dict[str, Any]] = []
    steps_done = trainer.snapshot.state.step
    extras = extras_of(context, plan, progress, trainer=trainer)
    context.timing.add_dispatch(plan.arm, progress.seconds, progress.evaluation_seconds)
    if progress.finished:
      done = np.asarray(fetch(context.setup.layout, steps_done))
      rows = self._write_rows(progress, done, extras)
    at = progress.position
    self.task.advance(at.round_index + at.step / plan.steps_per_round)
    return rows

  def _write_rows(
    self, progress: Progress, steps_done: np.ndarray, extras: Extras
  ) -> list[dict[str, Any]]:
    """Appends the rows of the finished rounds to metrics.jsonl, and prints a line for each round.

    Returns these rows.
    """
    context, plan, config = self.context, self.plan, self.context.config
    images, rows = context.timing.images, list[dict[str, Any]]()
    for ended in progress.finished:
      number = ended.index + 1
      images[plan.arm] = images.get(plan.arm, 0) + int(ended.sums.train_count.sum())
      if not metrics.has_rows(number, plan.rounds, config):
        continue
      new = metrics.rows_of_round(
        plan,
        config,
        ended,
        learning_rate=self.rates[ended.index],
        steps_done=steps_done,
        is_regression=is_regression(context.data.train.labels),
      )
      rows += with_extras(new, extras if ended is progress.finished[-1] else {})
      self.task.line(number, _news(new), progress.position.round_index)
    files.append_rows(context.workdir / metrics.FILE, rows)
    context.loggers.add(rows)
    return rows


def _watch(context: Context, plan: Plan) -> Watch:
  """Returns what tells of a collapse; of the rows that are there already, an earlier start told."""
  path = context.workdir / metrics.FILE
  earlier = files.read_rows(path) if path.exists() else []
  labels, log = context.data.train.labels, context.display.log
  return Watch(plan, labels, context.config, log=log, earlier=earlier)


class _Saver:
  """Saves the state of a training when it is time and when a signal has come.

  The states after the rounds that are needed later are pinned.
  """

  def __init__(
    self, context: Context, plan: Plan, arm_index: int, *, trainer: Trainer, start: Snapshot
  ):
    self._context, self._plan, self._arm_index, self._trainer = context, plan, arm_index, trainer
    self._at, self._round_secs, self._saved = start.position, start.round_secs, start.position
    self._next_save = time.perf_counter() + self._interval()
    trained = dataclasses.replace(trainer.get_state(), best=start.best)
    self.stopper = _stopper(context, plan, trained)
    config = context.setup.config
    self.kept_rounds = kept_rounds(plan.arm, config)
    self._paused_round = context.pauses_after(plan.arm)

  @property
  def halts(self) -> tuple[int, ...]:
    """The rounds at whose end the state is needed."""
    paused = self._paused_round
    return (*self.kept_rounds, *(() if paused is None else (paused,)))

  def _interval(self) -> float:
    chosen = self._context.setup.config.checkpoint.every_secs
    return chosen or max(
      _LEAST_SECS_BETWEEN_SAVES, _SAVE_COST_FACTOR * self._context.store.last_save_secs
    )

  def watch(self, running: Iterator[Progress]) -> Iterator[Progress]:
    """Yields the progress, up to where early stopping ends the arm.

    If the inputs cannot be read any more, what was done so far is saved. The processes of a run see
    this error together.
    """
    while not (self.stopper is not None and self.stopper.is_over):
      try:
        progress = next(running)
      except StopIteration:
        return
      except DataError:
        if self._at != self._saved:
          is_end = self._at.round_index == self._plan.rounds
          self.save(self._at, self._round_secs, pin=is_end)
        raise
      yield progress

  def save_if_due(self, progress: Progress) -> None:
    """Saves after a dispatch if it is time, the state is needed later, or a signal has come.

    Raises:
      Interrupted: a signal has come. Paused: the run is to go no further.
    """
    spent = self._round_secs + progress.waited_seconds + progress.seconds
    at = self._at = progress.position
    self._round_secs = 0.0 if progress.finished else spent
    if at.round_index == self._plan.rounds:
      return  # the end is saved by the training itself
    is_kept = at == Position(at.round_index) and at.round_index in self.kept_rounds
    asked = self._context.stop.asked()
    is_due = processes.agree(time.perf_counter() >= self._next_save)
    is_paused = self._paused_round is not None and at == Position(self._paused_round)
    if not (is_kept or is_due or is_paused or asked):
      return
    self.save(at, self._round_secs, pin=is_kept)
    if is_paused:
      self._context.pause_if_due(self._plan.arm, at.round_index)
    place = (
      f"round {at.round_index + 1}, after step {at.step}"
      if at.step
      else f"round {at.round_index}, at its end"
    )
    self._context.raise_if_stopped(f"in arm {self._plan.arm}, {place}")

  def save(self, at: Position, round_secs: float, *, pin: bool = False) -> Snapshot:
    """Saves the state that the trainer has now, at this position, and returns it.

    At the end of an arm that early stopping watches, these are the best states of its seeds.
    """
    snapshot = self._trainer.get_state()
    reached = dataclasses.replace(snapshot, position=at, round_secs=round_secs)
    if self.stopper is not None:
      is_end = at.round_index == self._plan.rounds
      reached = self.stopper.at_the_end(reached) if is_end else self.stopper.beside(reached)
    save_state(self._context, self._plan, self._arm_index, reached=reached, pin=pin)
    self._next_save, self._saved = time.perf_counter() + self._interval(), at
    return reached


def _legend(context: Context) -> str:
  """Returns the line that says what the figures of the others are."""
  count = len(context.config.seeds)
  mean = f", each a mean over the {count} seeds, without those that diverged" if count > 1 else ""
  if is_regression(context.data.train.labels):
    return f"a line of a round has the training loss over its last phase{mean}"
  return (
    "a line of a round has the test accuracy at its end, and training accuracy and loss over its "
    f"last phase{mean}"
  )


def _news(rows: list[dict[str, Any]]) -> str:
  """Returns the line of one round: means over the seeds that have not diverged."""
  last = [row for row in rows if row["last_phase"]]
  parts = []
  # Where a round has several phases, the training figures are the last one's.
  train = "train" if last[0]["phase"] in ("all", "half") else f"train {last[0]['phase']}"
  for name, key, scale, unit in (
    ("test", "test_accuracy", 100.0, " %"),
    (train, "train_accuracy", 100.0, " %"),
    (f"{train} loss", "train_loss", 1.0, ""),
    ("guesses used", "guesses_used", 100.0, " %"),
  ):
    values = [row[key] for row in last if row.get(key) is not None and not row.get("diverged")]
    if values:
      parts.append(f"{name} {scale * sum(values) / len(values):.{4 if scale == 1.0 else 2}f}{unit}")
  lost = [str(row["seed"]) for row in last if row.get("diverged")]
  parts.append(f"lr {last[0]['learning_rate']:.4g}")
  return "  ".join(parts) + (f"  diverged: seed {', '.join(lost)}" if lost else "")
