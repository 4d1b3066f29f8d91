"""A plan: what one training does, as data.

The baseline, the method and every control differ in their plan and in nothing else. The plan of
Algorithm 1, step 4, has two phases: A with the decay lambda_A, then B with lambda_B.
"""

import dataclasses
import types
from collections.abc import Iterable, Mapping

import jax
import numpy as np
from jaxtyping import Float, Int, UInt32

from sdt.config.schema import NEUTRAL
from sdt.inputs.order import draw_thresholds
from sdt.types import Leaf, PyTree

# The regularisers with a number for each class, and the number that changes nothing.
_NEUTRAL_OF_CLASS: Mapping[str, float] = {"class_weight": 1.0, "logit_adjustment": 0.0}
# The regulariser that draws the examples of a phase by weights.
_DRAWS = "class_balance"


@dataclasses.dataclass(frozen=True)
class Phase:
  """A stretch of optimiser steps of every round.

  Attributes:
    name: "all", "half", "kept", "clean", "A" or "B", or A2 for the second A of a round.
    example_ids: [R, n] int32 positions in the training set, a subset per replica.
    num_steps: optimiser steps, ceil(n / batch size) for one pass.
    weight_decay: [R] or [R, num_steps] float.
    overrides: by name the values of the regularisers (`RegulariseConfig`) that this phase has;
      others have their neutral value.
    by_class: by name what the regularisers of the classes read: [R, K], and of `class_balance`
      [R, n], how often each example is drawn beside the others.
    num_unlabelled: m, unlabelled examples that its steps see as well, a few in each; 0 for none.
    by_part: by name the values of the regularisers that differ between the two parts of a mixed
      phase.
    parts: [R, n] of a mixed phase, the part of each of its examples, 0 or 1; None of another phase.
  """

  name: str
  example_ids: Int[np.ndarray, "R n"]
  num_steps: int
  weight_decay: Float[np.ndarray, "R"] | Float[np.ndarray, "R T"]
  overrides: Mapping[str, float] = types.MappingProxyType({})
  by_class: Mapping[str, Float[np.ndarray, "R ..."]] = types.MappingProxyType({})
  num_unlabelled: int = 0
  by_part: Mapping[str, tuple[float, float]] = types.MappingProxyType({})
  parts: Int[np.ndarray, "R n"] | None = None

  @property
  def note(self) -> str:
    """The overrides for a line about the phase, such as " [dropout=0.3]"; empty without any.

    Those of the parts of a mixed phase stand beside each other, as in " [dropout=0.3|0]".
    """
    texts = {name: f"{value:g}" for name, value in self.overrides.items()}
    texts |= {name: "|".join(f"{one:g}" for one in each) for name, each in self.by_part.items()}
    values = ", ".join(f"{name}={text}" for name, text in texts.items())
    return f" [{values}]" if values else ""

  def num_seen(self, batch_size: int) -> int:
    """Returns how many examples its steps see in a round, those of further passes counted again."""
    size = self.example_ids.shape[1]
    passes, rest = divmod(self.num_steps, -(-size // batch_size))
    return passes * size + min(rest * batch_size, size)


@dataclasses.dataclass(frozen=True)
class Plan:
  """The phases of one round in their order, how many rounds, and from which weights.

  `init` is "scratch", or "warm" from the baseline's last weights. `decay_factors` are [rounds, P]:
  what the decay of each phase is multiplied by in each round; None for 1.
  """

  arm: str
  phases: tuple[Phase, ...]
  rounds: int
  init: str = "scratch"
  decay_factors: Float[np.ndarray, "rounds P"] | None = None

  @property
  def steps_per_round(self) -> int:
    return sum(phase.num_steps for phase in self.phases)

  @property
  def sizes(self) -> tuple[object, ...]:
    """The rounds, the examples and steps of each phase, whether decays differ between rounds, and
    what differs between examples.
    """
    of_phases = tuple((one.example_ids.shape[1], one.num_steps) for one in self.phases)
    return self.rounds, of_phases, self.decay_factors is not None, self.by_part

  @property
  def by_part(self) -> tuple[str, ...]:
    """The regularisers that differ between the parts of any phase, sorted."""
    return tuple(sorted({name for phase in self.phases for name in phase.by_part}))

  def factors_of(self, round_index: int) -> Float[np.ndarray, "P"]:
    """Returns what the decay of each phase is multiplied by in a round, from 0."""
    by_round = self.decay_factors
    return np.ones(len(self.phases)) if by_round is None else by_round[round_index]

  @property
  def num_unlabelled(self) -> int:
    """How many unlabelled examples its phases see; 0 where none sees any."""
    return max(phase.num_unlabelled for phase in self.phases)

  def regularisers(
    self, neutral: Mapping[str, float] = NEUTRAL, always: Iterable[str] = ()
  ) -> tuple[str, ...]:
    """Returns the names that have another value than the neutral one in any phase, sorted.

    The program computes these regularisers and no others. `always`: names that it computes even if
    no phase overrides them.
    """
    overrides = [item for phase in self.phases for item in phase.overrides.items()]
    other = {name for name, value in overrides if value != neutral[name]}
    return tuple(sorted(other.union(always, self.by_part)))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class PlanArrays:
  """The numbers of a plan as program arguments.

  Other numbers of the same shapes run in the same program.
  """

  seeds: Leaf  # [R] uint32
  example_ids: tuple[Leaf, ...]  # per phase [R, n] int32
  weight_decays: tuple[Leaf, ...]  # per phase [R, num_steps] float32
  # [R, P] float32 for each of the plan's regularisers; [R, P, K] where it has a number for each
  # class, [R, P, 2] where it differs between the parts of a mixed phase.
  overrides: dict[str, Leaf]
  learning_rates: Leaf  # [rounds] or [rounds, steps] float32
  evaluates: Leaf  # [rounds] bool
  optim: Mapping[str, Leaf] | None = None  # [] float32 each, see `sdt.engine.optim.numbers_of`
  draws: tuple[Leaf, ...] | None = None  # per phase [R, n] uint32, see `sdt.inputs.order`
  semi: Mapping[str, Leaf] | None = None  # see `sdt.engine.semi.numbers_of_semi`
  decay_factors: Leaf | None = None  # [rounds, P] float32
  parts: Leaf | None = None  # [R, P, N] uint8, the part of every training example
  teacher: PyTree = None  # leaves [R, ...], what teaches each replica: `sdt.engine.teacher`
  teaching: Mapping[str, PyTree] | None = None  # what all replicas share of their teachers

  @property
  def of_replicas(self) -> "PlanArrays":
    """The numbers that differ between replicas; None for the others."""
    nothing: dict[str, PyTree] = dict.fromkeys(self.shared)
    return dataclasses.replace(self, **nothing)

  @property
  def shared(self) -> dict[str, PyTree]:
    """The numbers that are the same for all replicas, by field."""
    names = ("learning_rates", "evaluates", "optim", "semi", "decay_factors", "teaching")
    return {name: getattr(self, name) for name in names}


def plan_arrays(
  plan: Plan,
  seeds: tuple[int, ...],
  learning_rates: Float[np.ndarray, "rounds ..."],
  eval_every_rounds: int,
  *,
  regularisers: Mapping[str, float] | None = None,
  optim: Mapping[str, float] = types.MappingProxyType({}),
) -> PlanArrays:
  """Returns the plan's numbers as arrays; the last round is always evaluated.

  Args:
    plan: the plan.
    seeds: of the replicas.
    learning_rates: of every round, or of every step.
    eval_every_rounds: how often the test set is evaluated.
    regularisers: those of the program, each with its value in a phase that does not override it;
      None for those that the plan overrides, and `NEUTRAL`.
    optim: the numbers of the optimiser that the program takes as arguments.
  """
  if regularisers is None:
    regularisers = {name: NEUTRAL[name] for name in plan.regularisers()}
  rounds, num_replicas = np.arange(1, plan.rounds + 1), len(seeds)

  def decays(phase: Phase) -> Float[np.ndarray, "R T"]:
    decay = np.asarray(phase.weight_decay, np.float32)
    of_steps = decay[:, None] if decay.ndim == 1 else decay
    return np.ascontiguousarray(np.broadcast_to(of_steps, (num_replicas, phase.num_steps)))

  return PlanArrays(
    seeds=np.asarray(seeds, np.uint32),
    example_ids=tuple(np.asarray(phase.example_ids, np.int32) for phase in plan.phases),
    weight_decays=tuple(decays(phase) for phase in plan.phases),
    overrides={
      name: _values(plan, name, neutral, num_replicas=num_replicas)
      for name, neutral in regularisers.items()
    },
    learning_rates=np.asarray(learning_rates, np.float32),
    evaluates=(rounds % eval_every_rounds == 0) | (rounds == plan.rounds),
    optim={name: np.asarray(value, np.float32) for name, value in optim.items()},
    draws=_draws(plan, num_replicas) if _DRAWS in regularisers else None,
    decay_factors=None if plan.decay_factors is None else plan.decay_factors.astype(np.float32),
  )


def _values(
  plan: Plan, name: str, neutral: float, *, num_replicas: int
) -> Float[np.ndarray, "R P *K"]:
  """Returns the values of a regulariser as `PlanArrays.overrides` has them."""
  if name in _NEUTRAL_OF_CLASS:
    return _by_class(plan, name)
  of_phases: list[object] = []
  for phase in plan.phases:
    value = phase.overrides.get(name, neutral)
    of_phases.append(phase.by_part.get(name, (value, value)) if name in plan.by_part else value)
  return np.stack([np.asarray(of_phases, np.float32)] * num_replicas)


def with_parts(arrays: PlanArrays, plan: Plan, num_examples: int) -> PlanArrays:
  """Returns the arrays with the part of each of the N training examples in every phase.

  It is 0 of what a phase has not. Without a mixed phase the arrays stay as they are.
  """
  if not plan.by_part:
    return arrays
  parts = np.zeros((len(arrays.seeds), len(plan.phases), num_examples), np.uint8)
  for place, phase in enumerate(plan.phases):
    if phase.parts is not None:
      np.put_along_axis(parts[:, place], phase.example_ids, phase.parts.astype(np.uint8), axis=1)
  return dataclasses.replace(arrays, parts=parts)


def _by_class(plan: Plan, name: str) -> Float[np.ndarray, "R P K"]:
  """Returns the numbers of a regulariser for each class in each phase."""
  known = next(phase.by_class[name] for phase in plan.phases if name in phase.by_class)
  neutral = np.full_like(known, _NEUTRAL_OF_CLASS[name])
  of_phases = [phase.by_class.get(name, neutral) for phase in plan.phases]
  return np.stack(of_phases, axis=1).astype(np.float32)


def _draws(plan: Plan, num_replicas: int) -> tuple[UInt32[np.ndarray, "R n"], ...]:
  """Returns the thresholds by which the examples of each phase are drawn.

  A phase that draws none has those of equal weights, which it does not use.
  """
  return tuple(
    np.stack([draw_thresholds(row) for row in phase.by_class[_DRAWS]])
    if _DRAWS in phase.by_class
    else np.tile(draw_thresholds(np.ones(phase.example_ids.shape[1])), (num_replicas, 1))
    for phase in plan.phases
  )
