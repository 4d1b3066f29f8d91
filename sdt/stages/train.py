"""The trainings of a run: each is trained, continued where it was stopped, or was done before."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np

from sdt import files
from sdt.engine.plan import Plan
from sdt.engine.state import Snapshot, TrainState
from sdt.errors import CheckpointError, DataError
from sdt.run import metrics, stopping
from sdt.run.context import Context, write_environment
from sdt.run.saved_states import restore_final, restore_newest
from sdt.run.taken_over import Taken
from sdt.stages.teachers import teacher_for
from sdt.stages.train_arm import train_arm


@dataclasses.dataclass(frozen=True)
class Trained:
  """The end of a training: what `Trainings.train` returns."""

  _context: Context
  _arm_index: int
  _state: TrainState | None  # None if it has not been read

  @property
  def is_at_hand(self) -> bool:
    """Whether the final state is in memory; False for a training that was done long before."""
    return self._state is not None

  @property
  def state(self) -> TrainState:
    """The final state, leaves [R, ...]; read from its checkpoint if the training was done before.

    Raises:
      CheckpointError: that checkpoint is missing or damaged.
    """
    return restore_final(self._context, self._arm_index) if self._state is None else self._state


@dataclasses.dataclass
class Trainings:
  """The trainings of a run: how far an earlier start has come, and what is left to train.

  Attributes:
    rounds: how many each arm trains, in the order of training.
    reached: index of the arm of the newest checkpoint; 0 without one.
    newest: what that checkpoint holds; None without one.
    keep: the arm whose final state stays in memory, because it is needed at the end.
  """

  context: Context
  rounds: Mapping[str, int]
  reached: int = 0
  newest: Snapshot | None = None
  keep: str = "method"
  _kept: TrainState | None = None

  @classmethod
  def resume(cls, context: Context, rounds: Mapping[str, int], keep: str) -> Self:
    """Returns the trainings of a run, from its newest checkpoint on.

    Raises:
      CheckpointError, DataError: what earlier starts left is damaged.
    """
    context.display.expect(rounds)
    with context.timing.stage("restore"):
      newest = restore_newest(context)
    trainings = cls(context, rounds, keep=keep)
    trainings._set_newest(newest)
    trainings._check_and_drop_rows()
    return trainings

  def _set_newest(self, newest: tuple[str, Snapshot] | None) -> None:
    if newest is not None:
      arm, self.newest = newest
      self.reached = self._index_of(arm)

  def _index_of(self, arm: str) -> int:
    return list(self.rounds).index(arm)

  def take_over(self, finished: Taken | None, plans: Mapping[str, Plan]) -> None:
    """Takes the ends of trainings from other runs, if this one has trained nothing yet.

    Args:
      finished: trainings of other runs; None if the run is to train all itself.
      plans: of the arms whose networks score.

    Raises:
      CheckpointError, DataError, WorkdirError: see `Taken.take_over`.
    """
    if finished is None or self.newest is not None:
      return
    with self.context.timing.stage(f"take over {finished.what}"):
      self._set_newest(finished.take_over(self.context, plans))
      write_environment(self.context)

  def was_done(self, arm: str) -> bool:
    """Returns whether an arm was trained to its end before this start of the run."""
    place = self._index_of(arm)
    ended = self.newest is not None and self.newest.position.round_index >= self.rounds[arm]
    return place < self.reached or (place == self.reached and ended)

  def train(self, plan: Plan) -> Trained:
    """Trains an arm to its end: from its start, or from where an earlier start of the run stopped.

    An arm that has ended before is not trained again.

    Raises:
      Interrupted: a signal came; the state is saved.
    """
    place = self._index_of(plan.arm)
    start = self.newest if place == self.reached else None
    if self.was_done(plan.arm):
      self.context.pause_if_due(plan.arm, plan.rounds)
      state = None if start is None else start.state
      return Trained(self.context, place, state)
    if start is None:
      start = self._start_of(plan)
    with self.context.timing.stage(f"train {plan.arm}"):
      trainer = self.context.setup.trainer(plan, teacher_for(self.context, plan))
      write_environment(self.context)  # seals how the arm is cut into dispatches, before it trains
      state = train_arm(self.context, plan, place, trainer=trainer, start=start)
      trainer.release_teacher()
    self._kept = state if plan.arm == self.keep else self._kept
    return Trained(self.context, place, state)

  def final_state(self, arm: str) -> TrainState:
    """Returns the state at the end of an arm, leaves [R, ...]; read unless it was kept."""
    if arm == self.keep and self._kept is not None:
      return self._kept
    return restore_final(self.context, self._index_of(arm))

  def _start_of(self, plan: Plan) -> Snapshot:
    if plan.init == "warm":
      return self.context.setup.warm_start(restore_final(self.context, 0))
    return self.context.setup.fresh_start

  def _check_and_drop_rows(self) -> None:
    """Drops the rows of metrics.jsonl that the newest checkpoint does not cover.

    These rounds are trained again, and each row must stand once.
    """
    context, path = self.context, self.context.workdir / metrics.FILE
    if not context.store.steps() and files.is_intact(context.workdir / "results.json"):
      raise CheckpointError(
        f"{context.workdir} holds a finished run whose checkpoints are gone, and some of its files "
        "are missing or damaged; restore the checkpoints, or choose another --workdir to train it "
        "anew"
      )
    lost = metrics.drop_rows(context.workdir, self._is_covered)
    if lost:
      redone = self._steps_redone(lost)
      context.timing.steps_redone += redone
      context.display.log(
        f"metrics.jsonl: dropped {len(lost)} row(s) that no checkpoint covers; {redone} optimiser "
        "step(s) are made again"
      )
    rows = [row for row in files.read_rows(path) if row["last_phase"]]
    expected = self._expected_rows(rows)
    there = sorted((self._index_of(row["arm"]), row["round"], row["seed"]) for row in rows)
    if there != expected:
      raise DataError(
        f"{path}: {len(there)} rows of ended rounds, the checkpoint covers {len(expected)}; "
        "restore the file from a copy or start again in a new workdir"
      )

  @property
  def _rounds_covered(self) -> int:
    return 0 if self.newest is None else self.newest.position.round_index

  def _is_covered(self, row: metrics.Row) -> bool:
    place = self._index_of(row["arm"])
    return place < self.reached or (place == self.reached and row["round"] <= self._rounds_covered)

  def _steps_redone(self, lost: Sequence[metrics.Row]) -> int:
    """Returns how many optimiser steps are made again, as far as the dropped rows tell."""
    done = 0 if self.newest is None else int(np.max(self.newest.state.step))
    last: dict[int, int] = {}
    for row in lost:
      place = self._index_of(row["arm"])
      last[place] = max(row["step"], last.get(place, 0))
    return sum(last.values()) - (done if self.reached in last else 0)

  def _expected_rows(self, rows: Sequence[metrics.Row]) -> list[tuple[int, int, int]]:
    """Returns (place of the arm, round, seed) of every ended round that the checkpoint covers.

    `rows` tell where early stopping ended an arm.
    """
    config, totals = self.context.config, list(self.rounds.items())[: self.reached + 1]
    covered = [*(total for _, total in totals[:-1]), self._rounds_covered]
    own = {arm: [row for row in rows if row["arm"] == arm] for arm, _ in totals}
    return [
      (place, number, seed)
      for place, (count, (arm, total)) in enumerate(zip(covered, totals, strict=True))
      for number in range(1, min(count, stopping.num_rounds(own[arm], total, config)) + 1)
      if metrics.has_rows(number, total, config)
      for seed in sorted(config.seeds)
    ]
