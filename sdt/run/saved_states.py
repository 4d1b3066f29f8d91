"""Saves and restores the states of trainings as checkpoints of the run."""

import dataclasses
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Self

from sdt.arms.catalogue import trainings
from sdt.engine.plan import Plan
from sdt.engine.state import Best, Position, Snapshot, TrainState
from sdt.errors import CheckpointError
from sdt.run import recorded
from sdt.run.context import Context
from sdt.run.programs import Setup
from sdt.run.shared_checkpoints import SharedStore

_ARM_STRIDE = 10**12


@dataclasses.dataclass(frozen=True, order=True)
class CheckpointKey:
  """Which checkpoint: of which arm, and at which time of its training. Later ones are larger.

  Attributes:
    arm: the place of the arm in the order of training, from 0.
    clock: grows with the training; 0 before its first step.
  """

  arm: int
  clock: int = 0

  @property
  def step(self) -> int:
    """The number under which the checkpoint is stored."""
    return self.arm * _ARM_STRIDE + self.clock

  @classmethod
  def of(cls, step: int) -> Self:
    """Returns the key of a stored checkpoint."""
    return cls(*divmod(step, _ARM_STRIDE))


def restore_newest(context: Context) -> tuple[str, Snapshot] | None:
  """Returns the arm of the newest usable checkpoint and where it stands; None without checkpoints.

  Raises:
    CheckpointError: checkpoints exist and none is usable.
    ConfigError, DataError: it belongs to another run.
  """
  newest = context.store.restore_latest(
    lambda step: saved_like(context.setup, CheckpointKey.of(step).arm)
  )
  if newest is None:
    return None
  step, tree, meta = newest
  context.identity.refuse_other(
    meta["config"],
    meta["data_checksum"],
    context.workdir / "checkpoints",
    file_checksums=meta["file_checksums"],
  )
  where = place_in_words(meta, context.config.rounds)
  context.display.log(f"continuing {where} (checkpoint {step}, the newest that is sound)")
  at = Position(meta["round"], meta["step"], meta["eval_index"])
  return meta["arm"], Snapshot(**tree, position=at, round_secs=meta["round_secs"])


def place_in_words(meta: Mapping[str, Any], rounds: int) -> str:
  """Returns where a checkpoint stands: "in arm method after round 12 of 30 and 7 steps".

  At the end of an arm: "at the end of arm method". `rounds` are those of an ordinary arm; older
  checkpoints do not tell their own.
  """
  total = meta.get("rounds", rounds)
  if meta["round"] >= total:
    return f"at the end of arm {meta['arm']}"
  steps = f" and {meta['step']} steps" if meta["step"] else ""
  return f"in arm {meta['arm']} after round {meta['round']} of {total}{steps}"


def restore_final(context: Context, arm_index: int) -> TrainState:
  """Returns the state at the end of an arm, leaves [R, ...], from its pinned checkpoint.

  Raises:
    CheckpointError: that checkpoint is missing or damaged. The states before it are gone, so it
      cannot be made again here.
  """
  step = last_step(context.store, arm_index)
  tree, meta = context.store.restore(step, saved_like(context.setup, arm_index))
  if meta["round"] < meta.get("rounds", context.setup.config.rounds):  # older checkpoints lack it
    raise CheckpointError(
      f"the last checkpoint of arm {meta['arm']} is missing, {step} is of round {meta['round']}; "
      "use a copy, or a new workdir"
    )
  return tree["state"]


def restore_round(context: Context, round_number: int, arm_index: int = 0) -> Snapshot:
  """Returns where an arm stood after a round, from its pinned checkpoint.

  The rounds that are pinned are those of `kept_rounds` and the last.

  Raises:
    CheckpointError: that checkpoint is missing or damaged; it cannot be made again here.
  """
  step = step_after(context.store, round_number, arm_index)
  if step is None:
    what = f"{trainings(context.config)[arm_index]} after round {round_number}"
    raise CheckpointError(
      f"{context.workdir / 'checkpoints'}: no usable checkpoint of {what}; use a copy, or a new "
      "workdir"
    )
  tree, meta = context.store.restore(step, saved_like(context.setup, arm_index))
  at = Position(round_number)
  return Snapshot(**tree, position=at, round_secs=meta["round_secs"])


def _steps_of(store: SharedStore, arm_index: int) -> list[int]:
  return [step for step in store.steps() if CheckpointKey.of(step).arm == arm_index]


def last_step(store: SharedStore, arm_index: int) -> int:
  """Returns the newest step of an arm; without one, the number that its first would have."""
  return max(_steps_of(store, arm_index), default=CheckpointKey(arm_index).step)


def step_after(store: SharedStore, round_number: int, arm_index: int = 0) -> int | None:
  """Returns the checkpoint of an arm at the end of a round, from 1; None without a readable one."""
  for step in _steps_of(store, arm_index):
    with suppress(CheckpointError):
      meta = store.read_meta(step)
      if (meta["round"], meta["step"]) == (round_number, 0):
        return step
  return None


def saved_tree(reached: Snapshot) -> dict[str, Any]:
  """Returns what a checkpoint holds as a tree; the position stands in its meta."""
  tree = {"state": reached.state, "sums": reached.sums, "dynamics": reached.dynamics}
  return tree | ({} if reached.best is None else {"best": reached.best})


def saved_like(setup: Setup, arm_index: int, num_phases: int | None = None) -> dict[str, Any]:
  """Returns a tree of the shapes that a checkpoint of an arm has.

  Args:
    setup: of the run.
    arm_index: the place of the arm in the order of training.
    num_phases: of the sums, where the checkpoint is another run's.
  """
  # Only the first arm, the baseline, records training dynamics.
  dynamics = recorded.nothing_yet(setup.config, setup.data, "baseline") if arm_index == 0 else None
  sums, fresh = setup.no_sums(num_phases), setup.fresh_start
  best = Best(fresh.state, dynamics) if setup.config.stop.patience else None
  return saved_tree(dataclasses.replace(fresh, sums=sums, dynamics=dynamics, best=best))


def save_state(
  context: Context, plan: Plan, arm_index: int, *, reached: Snapshot, pin: bool
) -> None:
  """Saves where the training of an arm stands, sealed with the run's identity and choices."""
  at = reached.position
  per_round = plan.steps_per_round + len(context.data.test) + 1
  key = CheckpointKey(arm_index, at.round_index * per_round + at.step + at.eval_index)
  meta = {
    "stage": "train",
    "arm": plan.arm,
    "rounds": plan.rounds,
    "round": at.round_index,
    "step": at.step,
    "eval_index": at.eval_index,
    "round_secs": reached.round_secs,
    **dataclasses.asdict(context.identity),
    "choices": context.setup.choices,
  }
  context.store.save(key.step, saved_tree(reached), meta, pin=pin)
  context.timing.save_secs += context.store.last_save_secs
  context.timing.num_saves += 1
  context.write_timing()
