"""Saves and restores the states of trainings as checkpoints of the run."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from sdt.arms.catalogue import trainings
from sdt.config import Config
from sdt.engine.plan import Plan
from sdt.engine.state import TrainState
from sdt.engine.trainer import Position
from sdt.errors import CheckpointError
from sdt.run.context import Context
from sdt.run.programs import Resume, Setup
from sdt.run.shared_checkpoints import SharedStore

_ARM_STRIDE = 10**12  # steps of checkpoints: arm * stride + clock, so that a later arm is newer


def restore_newest(context: Context) -> tuple[str, Resume] | None:
  """Returns the arm and the place where the newest usable checkpoint stands; None where there are
  no checkpoints.

  Raises:
    CheckpointError: checkpoints exist and none is usable.
    ConfigError, DataError: it belongs to another run.
  """
  found = context.store.restore_latest(lambda step: saved_like(context.setup, step // _ARM_STRIDE))
  if found is None:
    return None
  step, tree, meta = found
  context.identity.refuse_other(
    meta["config"],
    meta["data_checksum"],
    context.workdir / "checkpoints",
    file_checksums=meta["file_checksums"],
  )
  at = Position(meta["round"], meta["step"], meta["eval_index"])
  context.display.log(
    f"continuing {place_in_words(meta, context.setup.config.rounds)} (checkpoint {step}, the "
    "newest that is sound)"
  )
  return meta["arm"], Resume(
    tree["state"], tree["sums"], at, round_secs=meta["round_secs"], dynamics=tree["dynamics"]
  )


def place_in_words(meta: Mapping[str, Any], rounds: int) -> str:
  """Returns where a checkpoint stands, from its meta: "in arm method after round 12 of 30 and 7
  steps", "at the end of arm method".

  `rounds` are those of an ordinary arm; older checkpoints do not tell their own.
  """
  total = meta.get("rounds", rounds)
  if meta["round"] >= total:
    return f"at the end of arm {meta['arm']}"
  return f"in arm {meta['arm']} after round {meta['round']} of {total}" + (
    f" and {meta['step']} steps" if meta["step"] else ""
  )


def restore_final(context: Context, arm_index: int) -> TrainState:
  """Returns the state at the end of an arm, from its pinned checkpoint.

  Raises:
    CheckpointError: that checkpoint is missing or damaged; the states before it are gone, so it
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


def restore_round(context: Context, round_number: int, arm_index: int = 0) -> Resume:
  """Returns where the baseline, or another training that scores, stood after a round, from its
  pinned checkpoint.

  That is there of `score.at_round` and of the last.

  Raises:
    CheckpointError: that checkpoint is missing or damaged; it cannot be made again here.
  """
  step = step_after(context.store, round_number, arm_index)
  if step is None:
    what = f"{trainings(context.setup.config)[arm_index]} after round {round_number}"
    raise CheckpointError(
      f"{context.workdir / 'checkpoints'}: no usable checkpoint of {what}; use a copy, or a new "
      "workdir"
    )
  tree, meta = context.store.restore(step, saved_like(context.setup, arm_index))
  return Resume(
    tree["state"],
    tree["sums"],
    Position(round_number),
    round_secs=meta["round_secs"],
    dynamics=tree["dynamics"],
  )


def last_step(store: SharedStore, arm_index: int) -> int:
  """Returns the newest step of an arm; where there is none, the number that its first
  would have.
  """
  return max(
    (step for step in store.steps() if step // _ARM_STRIDE == arm_index),
    default=arm_index * _ARM_STRIDE,
  )


def step_after(store: SharedStore, round_number: int, arm_index: int = 0) -> int | None:
  """Returns the checkpoint of an arm, the baseline, at the end of a round, from 1; None where there
  is none whose seal can be read.
  """
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
  """Returns a tree of the shapes that a checkpoint of an arm has; the sums may be those of another
  run, of so many phases.
  """
  dynamics = (
    setup.no_dynamics("baseline") if arm_index == 0 else None
  )  # the arms after the first record none
  return saved_tree(
    dataclasses.replace(setup.fresh_start, sums=setup.no_sums(num_phases), dynamics=dynamics)
  )


def save_state(context: Context, plan: Plan, arm_index: int, reached: Resume, *, pin: bool) -> None:
  """Saves where the training of an arm stands, sealed with the run's identity and choices, and
  accounts for the time it took.
  """
  at = reached.position
  clock = (
    at.round_index * (plan.steps_per_round + len(context.setup.data.test) + 1)
    + at.step
    + at.eval_index
  )
  place = {
    "arm": plan.arm,
    "rounds": plan.rounds,
    "round": at.round_index,
    "step": at.step,
    "eval_index": at.eval_index,
    "round_secs": reached.round_secs,
  }
  meta = {
    "stage": "train",
    **place,
    **dataclasses.asdict(context.identity),
    "choices": context.setup.choices,
  }
  context.store.save(arm_index * _ARM_STRIDE + clock, saved_tree(reached), meta, pin=pin)
  context.timing.save_secs += context.store.last_save_secs
  context.timing.num_saves += 1
  context.write_timing()


def has_rows(number: int, rounds: int, config: Config) -> bool:
  """Returns whether round `number` (from 1) of so many has rows in metrics.jsonl: each that is
  evaluated has, so that none is lost.
  """
  return (
    number % config.log_every_rounds == 0
    or number % config.eval_every_rounds == 0
    or number == rounds
  )
