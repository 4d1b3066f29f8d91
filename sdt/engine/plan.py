"""A plan: what one training does, as data. The baseline, the method and every control differ in
their plan and in nothing else.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from sdt.config.schema import NEUTRAL


@dataclasses.dataclass(frozen=True)
class Phase:
  """A stretch of optimiser steps of every round.

  Attributes:
    name: "all", "A", "B", "half", or A2 for the second A of a round.
    example_ids: [R, n] int32 positions in the training set, a subset per replica.
    num_steps: optimiser steps, ceil(n / batch size) for one pass.
    weight_decay: [R] or [R, num_steps] float.
    overrides: by name the values of the regularisers (`keys.RegulariseConfig`) that this phase has;
      others have their neutral value.
  """

  name: str
  example_ids: np.ndarray
  num_steps: int
  weight_decay: np.ndarray
  overrides: Mapping[str, float] = types.MappingProxyType({})

  @property
  def note(self) -> str:
    """The overrides as text for a line about the phase, such as " [dropout=0.3]"; empty without
    any.
    """
    return (
      f" [{', '.join(f'{name}={value:g}' for name, value in self.overrides.items())}]"
      if self.overrides
      else ""
    )

  def num_seen(self, batch_size: int) -> int:
    """Returns how many examples its steps see in a round, those of further passes counted again."""
    size = self.example_ids.shape[1]
    passes, rest = divmod(self.num_steps, -(-size // batch_size))
    return passes * size + min(rest * batch_size, size)


@dataclasses.dataclass(frozen=True)
class Plan:
  """The phases of one round, in order, how many rounds, and from which weights: "scratch", or
  "warm" from the baseline's last.
  """

  arm: str
  phases: tuple[Phase, ...]
  rounds: int
  init: str = "scratch"

  @property
  def steps_per_round(self) -> int:
    return sum(phase.num_steps for phase in self.phases)

  def regularisers(self, neutral: Mapping[str, float] = NEUTRAL) -> tuple[str, ...]:
    """Returns the names of which any phase has another value than the neutral one, sorted: what its
    program must compute.
    """
    return tuple(
      sorted(
        {
          name
          for phase in self.phases
          for name, value in phase.overrides.items()
          if value != neutral[name]
        }
      )
    )


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class PlanArrays:
  """The numbers of a plan as program arguments, so that other numbers of the same shapes run in the
  same program.
  """

  seeds: Any  # [R] uint32
  example_ids: tuple[Any, ...]  # per phase [R, n]
  weight_decays: tuple[Any, ...]  # per phase [R, num_steps]
  overrides: dict[str, Any]  # [R, P] for each of the plan's regularisers
  learning_rates: Any  # [rounds]
  evaluates: Any  # [rounds] bool

  @property
  def of_replicas(self) -> PlanArrays:
    """The numbers that each replica has its own of; None for the others."""
    return dataclasses.replace(self, learning_rates=None, evaluates=None)


def plan_arrays(
  plan: Plan,
  seeds: tuple[int, ...],
  learning_rates: np.ndarray,
  eval_every_rounds: int,
  neutral: Mapping[str, float] = NEUTRAL,
) -> PlanArrays:
  """Returns the plan's numbers as arrays; the last round is always evaluated. `neutral`: what a
  phase without an override has.
  """
  rounds = np.arange(1, plan.rounds + 1)
  decays = []
  for phase in plan.phases:
    decay = np.asarray(phase.weight_decay, np.float32)
    decays.append(
      np.ascontiguousarray(
        np.broadcast_to(decay[:, None] if decay.ndim == 1 else decay, (len(seeds), phase.num_steps))
      )
    )
  return PlanArrays(
    seeds=np.asarray(seeds, np.uint32),
    example_ids=tuple(np.asarray(phase.example_ids, np.int32) for phase in plan.phases),
    weight_decays=tuple(decays),
    overrides={
      name: np.tile(
        np.asarray([phase.overrides.get(name, neutral[name]) for phase in plan.phases], np.float32),
        (len(seeds), 1),
      )
      for name in plan.regularisers(neutral)
    },
    learning_rates=np.asarray(learning_rates, np.float32),
    evaluates=(rounds % eval_every_rounds == 0) | (rounds == plan.rounds),
  )
