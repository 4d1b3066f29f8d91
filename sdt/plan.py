"""A plan: what one training does, as data. The baseline, the method and every control differ in their plan and in nothing else."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np


@dataclasses.dataclass(frozen=True)
class Phase:
  """A stretch of optimiser steps of every round.

  Attributes:
    name: "all", "A", "B", "half", or A2 for the second A of a round.
    example_ids: [R, n] int32 positions in the training set, a subset per replica.
    num_steps: optimiser steps, ceil(n / batch size) for one pass.
    weight_decay: [R] or [R, num_steps] float.
    loss_scale: factor of the loss; 0 makes steps without data, which move by decay and momentum alone.
  """

  name: str
  example_ids: np.ndarray
  num_steps: int
  weight_decay: np.ndarray
  loss_scale: float = 1.0

  def num_seen(self, batch_size: int) -> int:
    """Returns how many examples its steps see in a round, those of further passes counted again."""
    size = self.example_ids.shape[1]
    passes, rest = divmod(self.num_steps, -(-size // batch_size))
    return passes * size + min(rest * batch_size, size)


@dataclasses.dataclass(frozen=True)
class Plan:
  """The phases of one round, in order, how many rounds, and from which weights: "scratch", or "warm" from the baseline's last."""

  arm: str
  phases: tuple[Phase, ...]
  rounds: int
  init: str = "scratch"

  @property
  def steps_per_round(self) -> int:
    return sum(phase.num_steps for phase in self.phases)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class PlanArrays:
  """The numbers of a plan as program arguments, so that other numbers of the same shapes run in the same program."""

  seeds: Any  # [R] uint32
  example_ids: tuple[Any, ...]  # per phase [R, n]
  weight_decays: tuple[Any, ...]  # per phase [R, num_steps]
  loss_scales: Any  # [R, P]
  learning_rates: Any  # [rounds]
  evaluates: Any  # [rounds] bool


def plan_arrays(plan: Plan, seeds: tuple[int, ...], learning_rates: np.ndarray, eval_every_rounds: int) -> PlanArrays:
  """Returns the plan's numbers as arrays; the last round is always evaluated."""
  rounds = np.arange(1, plan.rounds + 1)
  decays = []
  for phase in plan.phases:
    decay = np.asarray(phase.weight_decay, np.float32)
    decays.append(np.ascontiguousarray(np.broadcast_to(decay[:, None] if decay.ndim == 1 else decay, (len(seeds), phase.num_steps))))
  return PlanArrays(
    seeds=np.asarray(seeds, np.uint32),
    example_ids=tuple(np.asarray(phase.example_ids, np.int32) for phase in plan.phases),
    weight_decays=tuple(decays),
    loss_scales=np.broadcast_to(np.asarray([phase.loss_scale for phase in plan.phases], np.float32), (len(seeds), len(plan.phases))).copy(),
    learning_rates=np.asarray(learning_rates, np.float32),
    evaluates=(rounds % eval_every_rounds == 0) | (rounds == plan.rounds),
  )
