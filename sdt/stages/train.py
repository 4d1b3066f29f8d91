"""Trains one arm in a workdir: restores, saves, writes its metrics, shows its progress, stops on a
signal.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any

import numpy as np

from sdt import files
from sdt.arms.catalogue import scoring_arms
from sdt.devices import processes
from sdt.devices.layout import fetch
from sdt.engine.plan import Plan
from sdt.engine.state import TrainState
from sdt.engine.trainer import Position, Progress, Trainer
from sdt.errors import CheckpointError, DataError
from sdt.losses import is_regression
from sdt.run.context import Context, write_environment
from sdt.run.programs import Resume
from sdt.run.progress import Task
from sdt.run.saved_states import has_rows, restore_final, restore_newest, save_state
from sdt.stages import results


def resume(context: Context, rounds: Mapping[str, int]) -> tuple[int, tuple[str, Resume] | None]:
  """Returns the index of the arm that was reached, 0 at the start, and the newest checkpoint, where
  there is one.

  Args:
    context: of the run.
    rounds: of every arm, in the order of training.
  """
  context.display.expect(rounds)
  with context.timing.stage("restore"):
    newest = restore_newest(context)
  if newest is None and context.timing.num_starts > 1:
    context.display.log("no checkpoint was saved by the last start: the training begins anew")
  reached = list(rounds).index(newest[0]) if newest else 0
  _forget_rows_after(context, rounds, reached, newest=newest[1] if newest else None)
  return reached, newest


def train_or_skip(
  context: Context, plan: Plan, index: int, reached: int, newest: tuple[str, Resume] | None
) -> TrainState | None:
  """Trains an arm from where its newest checkpoint stands; returns its final state, None where it
  was finished before.
  """
  if index < reached:
    return None
  start = newest[1] if newest and index == reached else None
  if start is not None and start.position.round_index >= plan.rounds:
    return start.state
  if start is None:
    start = (
      context.setup.warm_start(restore_final(context, 0))
      if plan.init == "warm"
      else context.setup.fresh_start
    )
  trainer = context.setup.trainer(plan)
  write_environment(context)  # how the arm is cut into dispatches is sealed before it trains
  with context.timing.stage(f"train {plan.arm}"):
    return train_arm(context, trainer, plan, arm_index=index, start=start)


def _forget_rows_after(
  context: Context, rounds: Mapping[str, int], reached: int, newest: Resume | None
) -> None:
  """Drops the rows of metrics.jsonl that the newest checkpoint does not cover: they will be made
  again, and each must stand once.
  """
  arms, num_rounds = list(rounds), newest.position.round_index if newest else 0

  def is_covered(row: dict[str, Any]) -> bool:
    index = arms.index(row["arm"])
    return index < reached or (index == reached and row["round"] <= num_rounds)

  path = context.workdir / "metrics.jsonl"
  if not context.store.steps() and files.is_intact(context.workdir / "results.json"):
    raise CheckpointError(
      f"{context.workdir} holds a finished run whose checkpoints are gone, and some of its files "
      "are missing or damaged; restore the "
      "checkpoints, or choose another --workdir to train it anew"
    )
  lost = [row for row in files.read_rows(path) if not is_covered(row)]
  files.truncate_rows(path, is_covered)
  if lost:
    done = {arms[reached]: int(np.max(newest.state.step))} if newest else {}
    steps = {
      arm: max(row["step"] for row in lost if row["arm"] == arm) - done.get(arm, 0)
      for arm in {row["arm"] for row in lost}
    }
    redone = sum(steps.values())
    context.timing.steps_redone += redone
    context.display.log(
      f"metrics.jsonl: dropped {len(lost)} row(s) that no checkpoint covers; {redone} optimiser "
      "step(s) are made again"
    )
  seeds, config = context.setup.config.seeds, context.setup.config
  there = sorted(
    (arms.index(row["arm"]), row["round"], row["seed"])
    for row in files.read_rows(path)
    if row["last_phase"]
  )
  totals = [rounds[arm] for arm in arms[: reached + 1]]
  covered = [*zip(totals[:-1], totals[:-1], strict=True), (num_rounds, totals[-1])]
  ended = [
    (arm, number)
    for arm, (count, total) in enumerate(covered)
    for number in range(1, count + 1)
    if has_rows(number, total, config)
  ]
  expected = [(arm, number, seed) for arm, number in ended for seed in sorted(seeds)]
  if there != expected:
    raise DataError(
      f"{path}: {len(there)} rows of ended rounds, the checkpoint covers {len(expected)}; restore "
      "the file from a copy or start again in a "
      "new workdir"
    )


# Saves may cost 2 % of the time: at least 50 times what the last one took lies between two, and no
# less than this.
_LEAST_SECS_BETWEEN_SAVES, _SAVE_COST_FACTOR = 10.0, 50.0


def train_arm(
  context: Context, trainer: Trainer, plan: Plan, arm_index: int, start: Resume
) -> TrainState:
  """Trains an arm to its end and returns its final state [R, ...] on the host.

  Rows go to metrics.jsonl before the checkpoint that covers them; the final state is pinned, and of
  the baseline that which is scored.

  Raises:
    Interrupted: a signal came; the state is saved.
  """
  context.raise_if_stopped(f"before arm {plan.arm}")
  processes.refuse_unequal(
    f"the start of arm {plan.arm}",
    (start.state, start.sums, start.dynamics, [phase.example_ids for phase in plan.phases]),
  )
  trainer.set_state(start.state, start.sums, start.dynamics)
  if not trainer.num_compilations:  # arms of equal shapes share a program
    context.display.log(f"{plan.arm}: compiling")
  context.timing.compile_secs += trainer.compile()
  context.raise_if_stopped(f"before arm {plan.arm}")
  rates = context.setup.learning_rates(plan)
  saver = _Saver(context, plan, arm_index, trainer=trainer, start=start)
  steps = closing(
    trainer.run(start.position, start.round_secs, saver.scored_round)
  )  # readers of streamed inputs end with it
  with (
    context.display.task(plan.arm, plan.rounds, "round", done=start.position.round_index) as task,
    steps as running,
  ):
    round_secs = start.round_secs
    for progress in saver.watch(context.profiler.watch(running)):
      received, saved_secs = time.perf_counter(), context.timing.save_secs
      round_secs = (
        0.0 if progress.finished else round_secs + progress.waited_seconds + progress.seconds
      )
      context.timing.add_dispatch(plan.arm, progress.seconds, progress.evaluation_seconds)
      at = progress.position
      if progress.finished:
        _report(
          context,
          plan,
          rates,
          progress=progress,
          steps_done=fetch(context.setup.layout, trainer.state.step),
          task=task,
        )
      task.advance(at.round_index + at.step / plan.steps_per_round)
      if at.round_index < plan.rounds:
        saver.save_if_due(at, round_secs)
      context.timing.idle_secs += (
        progress.waited_seconds
        + time.perf_counter()
        - received
        - (context.timing.save_secs - saved_secs)
      )
  saver.save(Position(plan.rounds), 0.0, pin=True)
  return trainer.get_state()[0]


class _Saver:
  """Saves the state of a training when it is time, when a signal has come, and for good after the
  round that is scored.
  """

  def __init__(self, context: Context, plan: Plan, arm_index: int, trainer: Trainer, start: Resume):
    self._context, self._plan, self._arm_index, self._trainer = context, plan, arm_index, trainer
    self._reached, self._saved = (start.position, start.round_secs), start.position
    self._next_save = time.perf_counter() + self._interval()
    config = context.setup.config
    self.scored_round = config.score.at_round if plan.arm in scoring_arms(config) else None

  def _interval(self) -> float:
    chosen = self._context.setup.config.checkpoint.every_secs
    return chosen or max(
      _LEAST_SECS_BETWEEN_SAVES, _SAVE_COST_FACTOR * self._context.store.last_save_secs
    )

  def watch(self, running: Iterator[Progress]) -> Iterator[Progress]:
    """Yields the progress; where inputs cannot be read any more, on all processes at once, what was
    done so far is saved.
    """
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
    place = (
      f"round {at.round_index + 1}, after step {at.step}"
      if at.step
      else f"round {at.round_index}, at its end"
    )
    self._context.raise_if_stopped(f"in arm {self._plan.arm}, {place}")

  def save(self, at: Position, round_secs: float, pin: bool = False) -> None:
    state, sums, dynamics = self._trainer.get_state()
    save_state(
      self._context,
      self._plan,
      self._arm_index,
      reached=Resume(state, sums, at, round_secs=round_secs, dynamics=dynamics),
      pin=pin,
    )
    self._next_save, self._saved = time.perf_counter() + self._interval(), at


def _report(
  context: Context,
  plan: Plan,
  rates: np.ndarray,
  progress: Progress,
  steps_done: np.ndarray,
  task: Task,
) -> None:
  """Appends the rows of the finished rounds to metrics.jsonl, says how they went, and counts their
  images.
  """
  config, timing = context.setup.config, context.timing
  regression = is_regression(context.setup.data.train.labels)
  rows: list[dict[str, Any]] = []
  for ended in progress.finished:
    number = ended.index + 1
    timing.images[plan.arm] = timing.images.get(plan.arm, 0) + int(ended.sums.train_count.sum())
    if not has_rows(number, plan.rounds, config):
      continue
    evaluated = number % config.eval_every_rounds == 0 or number == plan.rounds
    new = results.metrics_rows(
      plan,
      config,
      rates,
      index=ended.index,
      evaluated=evaluated,
      sums=ended.sums,
      steps_done=steps_done,
      seconds=ended.seconds,
      is_regression=regression,
    )
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
