"""The engine: the training step, scanned over the steps and rounds of a plan, for several replicas
at once. It knows no files.

A *plan* is data: its phases say which examples, how many steps, which weight decay. The baseline,
the method and every control are plans run by `dispatch`, the one compiled function.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sdt.config.schema import AugmentConfig, OptimConfig
from sdt.devices.compile import map_replicas
from sdt.devices.layout import Layout, gather_batch, pad_batch, padded_batch_size, shard_batch
from sdt.engine.evaluate import test_sums
from sdt.engine.norms import layer_norms
from sdt.engine.plan import PlanArrays
from sdt.engine.state import TrainState
from sdt.engine.step import is_finite, train_step
from sdt.inputs.augment import Draws, augment, draw, normalise, output_size
from sdt.inputs.mixup import Mixture, mix, mixing_weight, partners
from sdt.inputs.order import augment_key, dropout_key, mixup_key, order_key, phase_batches, rows_of
from sdt.scores.dynamics import Dynamics, record, see


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Sums:
  """Running sums of the current round of one replica: per phase [P] in training mode, and over the
  test set [] in evaluation mode.

  The norms are sums over `num_steps` steps, but for `weight_norms` [P, L]: of every kernel at the
  end of the phase, 0 before.
  """

  train_loss: Any
  train_correct: Any
  train_count: Any
  test_loss: Any
  test_correct: Any
  test_count: Any
  gradient_norm: Any
  update_norm: Any
  num_steps: Any
  weight_norms: Any


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Clock:
  """Which part of the plan one dispatch runs; int32 scalars, `evaluates` a bool."""

  first_round: Any
  num_rounds: Any
  first_step: Any
  num_steps: Any
  first_eval: Any
  evaluates: Any


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Steps:
  """The batches of the steps of one dispatch, T steps: what `round_ids` says of them, and their
  inputs.
  """

  ids: Any  # [R, T, B] int32
  masks: Any  # [R, T, B] bool
  inputs: Any  # [R, T, B, ...]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Feed:
  """What a dispatch gets where the inputs are streamed: either the batches of its steps, or of its
  evaluation; nothing otherwise.
  """

  steps: Any = None  # Steps
  test_inputs: Any = None  # [evals_per_dispatch, eval_batch_size, ...]


@dataclasses.dataclass(frozen=True)
class Program:
  """Everything static about a training program; equal programs compile to the same executable."""

  model: Any
  optim: OptimConfig
  augment: AugmentConfig
  crop_size: int | None
  layout: Layout
  replicas: str
  phase_sizes: tuple[int, ...]
  phase_steps: tuple[int, ...]
  batch_size: int
  eval_batch_size: int
  rounds_per_dispatch: int
  steps_per_dispatch: int
  evals_per_dispatch: int
  regularisers: tuple[
    str, ...
  ]  # those that are not neutral in every phase of the plan; no others are computed
  # of the sums: the most that any arm of the run has, so that one checkpoint structure serves all
  num_phases: int
  num_recorded: int  # examples whose training dynamics are recorded: the whole training set, or 0
  is_streamed: bool  # the inputs come with every dispatch and do not lie on the devices

  @property
  def steps_per_round(self) -> int:
    return sum(self.phase_steps)


def zero_sums(num_replicas: int, num_phases: int, num_layers: int) -> Sums:
  """Returns empty sums on the host, leading axis [R]."""
  per_phase, scalar = (num_replicas, num_phases), (num_replicas,)
  return Sums(
    np.zeros(per_phase, np.float32),
    np.zeros(per_phase, np.int32),
    np.zeros(per_phase, np.int32),
    test_loss=np.zeros(scalar, np.float32),
    test_correct=np.zeros(scalar, np.int32),
    test_count=np.zeros(scalar, np.int32),
    gradient_norm=np.zeros(per_phase, np.float32),
    update_norm=np.zeros(per_phase, np.float32),
    num_steps=np.zeros(per_phase, np.int32),
    weight_norms=np.zeros((*per_phase, num_layers), np.float32),
  )


def round_ids(
  program: Program, plan: PlanArrays, round_index: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """Returns the ids [S, B] of the examples of every step of the round, and which count, of one
  replica (no leading axis in `plan`).
  """
  ids, masks = [], []
  for phase, (size, steps) in enumerate(zip(program.phase_sizes, program.phase_steps, strict=True)):
    positions, mask = phase_batches(
      order_key(plan.seeds, phase, round_index), size, steps, batch_size=program.batch_size
    )
    ids.append(plan.example_ids[phase][positions])
    masks.append(mask)
  return jnp.concatenate(ids), jnp.concatenate(masks)


def _batch(
  program: Program,
  data: Any,
  now: Any,
  seed: jax.Array,
  overrides: Mapping[str, jax.Array],
  ids: jax.Array,
  mask: jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array, Mixture | None]:
  """Returns this device's part of a batch: ids [B], mask [B], the inputs, augmented, normalised and
  mixed, and how they are mixed.
  """
  phase, _, step, _, offset = now
  source, rows = rows_of(data["train_inputs"], offset, ids, is_streamed=program.is_streamed)
  output = output_size(source.shape[1:], program.crop_size)
  strength = overrides.get("augment_strength")
  draws = draw(
    augment_key(seed, phase, step),
    data["train_sizes"][ids],
    output,
    config=program.augment,
    strength=strength,
  )
  size = padded_batch_size(program.batch_size, program.layout)
  ids, rows, mask, draws = jax.tree.map(
    lambda array: pad_batch(array, size), (ids, rows, mask, draws)
  )

  def inputs_of(rows: jax.Array, draws: Draws) -> jax.Array:
    return normalise(
      augment(source[rows], draws, output, config=program.augment), data["shift"], data["scale"]
    )

  if "mixup_alpha" not in overrides:
    ids, rows, mask, draws = shard_batch(program.layout, (ids, rows, mask, draws))
    return ids, mask, inputs_of(rows, draws), None
  # Partners are found before the batch is divided, and every device makes its own of theirs: it
  # need not ask the others.
  others = jax.tree.map(lambda array: array[partners(mask)], (ids, rows, draws))
  ids, rows, mask, draws, others = shard_batch(program.layout, (ids, rows, mask, draws, others))
  mixture = Mixture(
    data["train_labels"][others[0]],
    mixing_weight(mixup_key(seed, phase, step), overrides["mixup_alpha"]),
  )
  return ids, mask, mix(inputs_of(rows, draws), inputs_of(*others[1:]), mixture.weight), mixture


def _replica_step(
  program: Program,
  data: Any,
  now: Any,
  rate: jax.Array,
  state: TrainState,
  sums: Sums,
  dynamics: Dynamics | None,
  plan: PlanArrays,
  ids: jax.Array,
  mask: jax.Array,
  inputs: jax.Array | None,
) -> tuple[TrainState, Sums, Dynamics | None]:
  """One step of one replica: gather, augment, normalise, update; frozen if the update is not finite
  or was not before.

  `inputs` are those of the batches of the dispatch, where they are streamed.
  """
  phase, step_in_phase, step, ends_phase, _ = now
  data = data if inputs is None else data | {"train_inputs": inputs}
  overrides = {name: plan.overrides[name][phase] for name in program.regularisers}
  ids, mask, batch, mixture = _batch(
    program, data, now, seed=plan.seeds, overrides=overrides, ids=ids, mask=mask
  )
  labels = data["train_labels"][ids]
  decays = jnp.stack(
    [decay[jnp.minimum(step_in_phase, decay.shape[0] - 1)] for decay in plan.weight_decays]
  )
  new_state, measured = train_step(
    state,
    batch,
    labels,
    mask=mask,
    learning_rate=rate,
    weight_decays=decays,
    phase=phase,
    overrides=overrides,
    model=program.model,
    optim=program.optim,
    axis_name=program.layout.axis_name,
    dropout_key=dropout_key(plan.seeds, phase, step),
    mixture=mixture,
  )
  alive = (
    (state.step == step)
    & jnp.isfinite(measured.loss)
    & is_finite((new_state.params, new_state.batch_stats, new_state.opt_state))
  )
  new_sums = dataclasses.replace(
    sums,
    train_loss=sums.train_loss.at[phase].add(measured.loss),
    train_correct=sums.train_correct.at[phase].add(measured.correct),
    train_count=sums.train_count.at[phase].add(measured.count),
    gradient_norm=sums.gradient_norm.at[phase].add(measured.gradient_norm),
    update_norm=sums.update_norm.at[phase].add(measured.update_norm),
    num_steps=sums.num_steps.at[phase].add(1),
    weight_norms=jax.lax.cond(
      ends_phase,
      lambda: sums.weight_norms.at[phase].set(layer_norms(new_state.params)),
      lambda: sums.weight_norms,
    ),
  )
  if dynamics is not None:
    seen = (ids, mask & alive, see(measured.logits, labels))
    dynamics = record(
      dynamics,
      step // program.steps_per_round + 1,
      *jax.tree.map(functools.partial(gather_batch, program.layout), seen),
    )
  new_state, new_sums = jax.tree.map(
    lambda new, old: jnp.where(alive, new, old), (new_state, new_sums), (state, sums)
  )
  return new_state, new_sums, dynamics


def _replica_eval(
  program: Program, data: Any, clock: Clock, offset: jax.Array, state: TrainState, sums: Sums
) -> Sums:
  """Adds evaluation batch `offset` of the dispatch to the sums of one replica; batches beyond the
  end of the test set add nothing.
  """
  variables = {"params": state.params, "batch_stats": state.batch_stats}
  loss, correct, count = test_sums(program, variables, data, first=clock.first_eval, offset=offset)
  return dataclasses.replace(
    sums,
    test_loss=sums.test_loss + loss,
    test_correct=sums.test_correct + correct,
    test_count=sums.test_count + count,
  )


def _run_steps(
  program: Program,
  data: Any,
  plan: PlanArrays,
  clock: Clock,
  steps: Steps | None,
  round_index: jax.Array,
  carry: Any,
) -> Any:
  """Runs steps [first_step, first_step + num_steps) of a round: one scan, whose body updates with
  the chain of the step's phase.
  """
  replica_plan = plan.of_replicas
  if steps is None:
    ids, masks = map_replicas(program.replicas, lambda one: round_ids(program, one, round_index))(
      replica_plan
    )
  else:
    ids, masks = steps.ids, steps.masks
  phase_of_step = jnp.asarray(
    np.repeat(np.arange(len(program.phase_steps)), program.phase_steps).astype(np.int32)
  )
  step_in_phase = jnp.asarray(
    np.concatenate([np.arange(count) for count in program.phase_steps]).astype(np.int32)
  )
  ends_phase = jnp.asarray(
    np.isin(np.arange(program.steps_per_round) + 1, np.cumsum(program.phase_steps))
  )

  def run(carry: Any, index: jax.Array, offset: jax.Array) -> Any:
    step = round_index * program.steps_per_round + index
    now = (phase_of_step[index], step_in_phase[index], step, ends_phase[index], offset)
    step_fn = functools.partial(_replica_step, program, data, now, plan.learning_rates[round_index])
    if steps is None:
      return map_replicas(program.replicas, step_fn)(
        *carry, replica_plan, ids[:, index], masks[:, index], None
      )
    return map_replicas(program.replicas, step_fn)(
      *carry, replica_plan, ids[:, offset], masks[:, offset], steps.inputs
    )

  def body(carry: Any, offset: jax.Array) -> tuple[Any, None]:
    index = clock.first_step + offset
    if program.steps_per_round % program.steps_per_dispatch == 0:
      return run(carry, index, offset), None
    return jax.lax.cond(
      offset < clock.num_steps, lambda c: run(c, index, offset), lambda c: c, carry
    ), None

  return jax.lax.scan(body, carry, jnp.arange(program.steps_per_dispatch, dtype=jnp.int32))[0]


def _run_evals(program: Program, data: Any, clock: Clock, carry: Any) -> Any:
  """Evaluates test batches [first_eval, first_eval + evals_per_dispatch)."""
  state, sums, dynamics = carry

  def body(sums: Sums, offset: jax.Array) -> tuple[Sums, None]:
    eval_fn = functools.partial(_replica_eval, program, data, clock, offset)
    return map_replicas(program.replicas, eval_fn)(state, sums), None

  return (
    state,
    jax.lax.scan(body, sums, jnp.arange(program.evals_per_dispatch, dtype=jnp.int32))[0],
    dynamics,
  )


# Which axis of each result of `dispatch` is that of the replicas.
REPLICA_AXES = (0, 0, 0, 1)


def dispatch(
  program: Program,
  state: TrainState,
  sums: Sums,
  dynamics: Dynamics | None,
  data: Any,
  plan: PlanArrays,
  clock: Clock,
  feed: Feed,
) -> tuple[TrainState, Sums, Dynamics | None, Sums]:
  """Runs one part of a plan: the compiled function of the engine.

  Args:
    state: leaves [R, ...].
    sums: of the round under way, leaves [R, ...]; they start afresh at a round's first step.
    dynamics: of the training so far, leaves [R, N]; None where the program records none.
    data: train_inputs [N, ...], train_sizes [N, 2], train_labels [N], the same of `test_`, shift
      [C], scale [C]; no inputs where they are streamed.
    clock: `num_rounds` whole rounds from `first_round`, or (where a round does not fit a dispatch)
      some of its steps, or some of its evaluation batches.
    feed: streamed inputs. It says by what it holds whether the program trains or evaluates: one
      that does both would have to be given both.
  Returns:
    The new state, sums and dynamics, and the sums as they stood after each of the rounds, leaves
    [rounds_per_dispatch, R, ...].
  """
  if feed.test_inputs is not None:
    data = data | {"test_inputs": feed.test_inputs}
  if program.replicas != "loop":
    return _dispatch(
      program, (state, sums, dynamics), data, plan=plan, clock=clock, steps=feed.steps
    )

  # One replica after the other, each for the whole dispatch: the step is compiled once, and states
  # are copied once per dispatch.
  def one_replica(replica: Any) -> Any:
    *carry, own, steps = jax.tree.map(lambda leaf: leaf[None], replica)
    own = dataclasses.replace(own, learning_rates=plan.learning_rates, evaluates=plan.evaluates)
    *carry, per_round = _dispatch(program, tuple(carry), data, plan=own, clock=clock, steps=steps)
    return *jax.tree.map(lambda leaf: leaf[0], carry), jax.tree.map(
      lambda leaf: leaf[:, 0], per_round
    )

  replicas = (state, sums, dynamics, plan.of_replicas, feed.steps)
  state, sums, dynamics, per_round = jax.lax.map(one_replica, replicas)
  return state, sums, dynamics, jax.tree.map(lambda leaf: leaf.swapaxes(0, 1), per_round)


def _dispatch(
  program: Program, carry: Any, data: Any, plan: PlanArrays, clock: Clock, steps: Steps | None
) -> tuple[TrainState, Sums, Dynamics | None, Sums]:
  """`dispatch` for the replicas that the leading axis holds."""
  trains, evaluates = not program.is_streamed or steps is not None, "test_inputs" in data

  def run_round(carry: Any, round_index: jax.Array) -> Any:
    begins = (clock.first_step == 0) & (clock.num_steps > 0)
    state, sums, dynamics = carry
    carry = (
      state,
      jax.tree.map(lambda leaf: jnp.where(begins, jnp.zeros_like(leaf), leaf), sums),
      dynamics,
    )
    if trains:
      run = functools.partial(_run_steps, program, data, plan, clock, steps, round_index)
      carry = jax.lax.cond(clock.num_steps > 0, run, lambda c: c, carry)
    if evaluates:
      is_due = clock.evaluates & plan.evaluates[round_index]
      carry = jax.lax.cond(
        is_due, lambda c: _run_evals(program, data, clock, carry=c), lambda c: c, carry
      )
    return carry

  def body(carry: Any, offset: jax.Array) -> Any:
    round_index = clock.first_round + offset
    if program.rounds_per_dispatch == 1:
      carry = run_round(carry, round_index)
    else:
      carry = jax.lax.cond(
        offset < clock.num_rounds, lambda c: run_round(c, round_index), lambda c: c, carry
      )
    return carry, carry[1]

  (state, sums, dynamics), per_round = jax.lax.scan(
    body, carry, jnp.arange(program.rounds_per_dispatch, dtype=jnp.int32)
  )
  return state, sums, dynamics, per_round
