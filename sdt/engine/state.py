"""The state of a training: what it holds, its shapes, and how it is made."""

import dataclasses
import functools
from collections.abc import Sequence

import jax
import numpy as np

from sdt.config.schema import OptimConfig
from sdt.engine.evaluate import BatchSums
from sdt.engine.optim import init_opt_state
from sdt.models.registry import variable_shapes
from sdt.scores.dynamics import Dynamics
from sdt.types import BatchStats, Leaf, Model, OptState, Params, Variables


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
  """All that training changes, on the devices or (NumPy) on the host.

  In programs the leaves lead with [R]. `step` counts optimiser steps; a replica that diverged stops
  counting. `average` is the exponential average of `variables`; None where none is kept.
  """

  step: Leaf
  params: Params
  batch_stats: BatchStats
  opt_state: OptState
  average: Variables | None = None

  @property
  def variables(self) -> Variables:
    """What the network is applied with."""
    return {"params": self.params, "batch_stats": self.batch_stats}


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Sums:
  """Running sums of the current round; in programs the leaves lead with [R].

  Per phase [P] in training mode, and over the test set [] in evaluation mode. The norms are sums
  over `num_steps` steps, except `weight_norms`: the norm of every kernel at the end of the phase, 0
  before.
  """

  train_loss: Leaf  # [P] float32, nats
  train_correct: Leaf  # [P] int32
  train_count: Leaf  # [P] int32
  test_loss: Leaf  # [] float32, nats
  test_correct: Leaf  # [] int32
  test_count: Leaf  # [] int32
  gradient_norm: Leaf  # [P] float32
  update_norm: Leaf  # [P] float32
  num_steps: Leaf  # [P] int32
  weight_norms: Leaf  # [P, L] float32
  average: BatchSums | None = None  # over the test set, under the average of the weights
  guesses_used: Leaf = None  # [P] float32, shares of unlabelled examples; None where none are seen
  step_losses: Leaf = None  # [S] float32, mean loss of each step of the round; None where not kept


@dataclasses.dataclass(frozen=True)
class Position:
  """What comes next: step `step` of round `round_index`, both from 0.

  Once `step` is past the end of the round, evaluation batch `eval_index` comes next.
  """

  round_index: int = 0
  step: int = 0
  eval_index: int = 0


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Best:
  """Of early stopping: what each seed had after its best round, leaves [R, ...]."""

  state: TrainState
  dynamics: Dynamics | None = None


@functools.partial(
  jax.tree_util.register_dataclass,
  data_fields=("state", "sums", "dynamics", "best"),
  meta_fields=("position", "round_secs"),
)
@dataclasses.dataclass(frozen=True)
class Snapshot:
  """Where a training stands: all that is needed to continue it.

  A pytree of `state`, `sums`, `dynamics` and `best`; programs know nothing of the position, and
  have no `best`.

  Attributes:
    state: of every replica.
    sums: of the round under way.
    dynamics: where they are recorded; None also stands for those before the first step.
    position: what comes next.
    round_secs: seconds spent on the round under way.
    best: with early stopping, what may be the end of the training.
  """

  state: TrainState
  sums: Sums
  dynamics: Dynamics | None = None
  position: Position = Position()
  round_secs: float = 0.0
  best: Best | None = None


def zero_sums(
  num_replicas: int,
  num_phases: int,
  num_layers: int,
  *,
  has_average: bool = False,
  has_guesses: bool = False,
  num_steps: int | None = None,
) -> Sums:
  """Returns empty sums on the host, leading axis [R].

  With `num_steps` there are losses of steps, with `has_guesses` shares of unlabelled examples.
  """
  per_phase, scalar = (num_replicas, num_phases), (num_replicas,)
  return Sums(
    train_loss=np.zeros(per_phase, np.float32),
    train_correct=np.zeros(per_phase, np.int32),
    train_count=np.zeros(per_phase, np.int32),
    test_loss=np.zeros(scalar, np.float32),
    test_correct=np.zeros(scalar, np.int32),
    test_count=np.zeros(scalar, np.int32),
    gradient_norm=np.zeros(per_phase, np.float32),
    update_norm=np.zeros(per_phase, np.float32),
    num_steps=np.zeros(per_phase, np.int32),
    weight_norms=np.zeros((*per_phase, num_layers), np.float32),
    average=BatchSums(*(np.zeros(scalar, dtype) for dtype in (np.float32, np.int32, np.int32)))
    if has_average
    else None,
    guesses_used=np.zeros(per_phase, np.float32) if has_guesses else None,
    step_losses=None if num_steps is None else np.zeros((num_replicas, num_steps), np.float32),
  )


def init_state(weights: Sequence[Variables], optim: OptimConfig) -> TrainState:
  """Returns the state before the first step on the host, leaves [R, ...].

  Args:
    weights: the variables of every replica.
    optim: the optimiser.
  """
  stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *weights)
  return start_state(optim, stacked["params"], stacked.get("batch_stats", {}))


def start_state(optim: OptimConfig, params: Params, batch_stats: BatchStats) -> TrainState:
  """Returns the state before the first step from weights [R, ...] on the host."""
  num_replicas = len(jax.tree.leaves(params)[0])
  return TrainState(
    step=np.zeros(num_replicas, np.int32),
    params=params,
    batch_stats=batch_stats,
    opt_state=init_opt_states(optim, params),
    average=first_average(optim, params, batch_stats),
  )


def first_average(optim: OptimConfig, params: Params, batch_stats: BatchStats) -> Variables | None:
  """Returns the average of the weights before the first step; None where none is kept."""
  return {"params": params, "batch_stats": batch_stats} if optim.average else None


def init_opt_states(optim: OptimConfig, params: Params) -> OptState:
  """Returns the optimiser state of every replica at the start, leaves [R, ...] on the host."""
  # One program, where every leaf alone would be one.
  init = jax.jit(jax.vmap(functools.partial(init_opt_state, optim)))
  return jax.tree.map(np.asarray, init(params))


def state_shapes(
  model: Model, optim: OptimConfig, input_shape: tuple[int, ...], num_replicas: int
) -> TrainState:
  """Returns the shapes and dtypes of `init_state` for so many seeds; nothing is drawn."""
  variables = variable_shapes(model, input_shape)
  opt_state = jax.eval_shape(functools.partial(init_opt_state, optim), variables["params"])
  one = TrainState(
    jax.ShapeDtypeStruct((), np.int32),
    variables["params"],
    variables["batch_stats"],
    opt_state=opt_state,
    average=first_average(optim, variables["params"], variables["batch_stats"]),
  )
  return jax.tree.map(
    lambda leaf: jax.ShapeDtypeStruct((num_replicas, *leaf.shape), leaf.dtype), one
  )
