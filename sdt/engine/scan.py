"""Algorithm 1, step 4, as one compiled function: a scan over rounds; each goes through A, then B.

A round is the paper's epochs 2k and 2k + 1. `dispatch` maps over seeds, `_run_rounds` scans over
rounds, `_run_steps` over the steps of a round, and `_replica_step` is one step of one seed. A plan
is data: its phases say which examples, how many steps and which weight decay. The baseline, the
method and every control are plans that `dispatch` runs.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

from sdt.devices.compile import map_replicas
from sdt.devices.layout import gather_batch
from sdt.engine.batch import make_batch, make_unlabelled
from sdt.engine.evaluate import test_set_sums
from sdt.engine.examples import StepExamples, examples_of_steps
from sdt.engine.norms import layer_norms
from sdt.engine.plan import PlanArrays
from sdt.engine.program import Program
from sdt.engine.semi import given, now_of
from sdt.engine.state import Snapshot, Sums, TrainState
from sdt.engine.step import Batch, Measures, StepKeys, StepNow, is_finite, train_step
from sdt.engine.teacher import taught
from sdt.inputs.device_data import Feed
from sdt.inputs.order import augment_key, dropout_key, mixup_key, unlabelled_key
from sdt.scores.dynamics import Dynamics, record, see
from sdt.types import Leaf, Params, PyTree

# Which axis of each result of `dispatch` is that of the replicas.
REPLICA_AXES = (0, 1)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Clock:
  """Which part of the plan one dispatch runs; int32 scalars, `evaluates` a bool."""

  first_round: Leaf
  num_rounds: Leaf
  first_step: Leaf
  num_steps: Leaf
  first_eval: Leaf
  evaluates: Leaf


@dataclasses.dataclass(frozen=True)
class Work:
  """What one dispatch works on; the same for all of its rounds and steps."""

  program: Program
  feed: Feed
  plan: PlanArrays
  clock: Clock


class StepPlace(NamedTuple):
  """Where a step is in the plan; the same for all replicas.

  Attributes:
    step: [] int32, from 0 over all rounds.
    offset: [] int32, from 0 in the dispatch.
    phase: [] int32.
    step_in_phase: [] int32, from 0.
    ends_phase: [] bool, whether it is the last of its phase.
    learning_rate: [] float32.
    optim: further numbers of the optimiser by name, [] float32 each.
    decay_factors: [P] float32, of this round; None where the decays are those of every round.
    semi: what `now_of` of sdt/engine/semi.py returns; None where no phase sees unlabelled examples.
    teaching: what `taught` of sdt/engine/teacher.py reads; None where no phase has a teacher.
  """

  step: Leaf
  offset: Leaf
  phase: Leaf
  step_in_phase: Leaf
  ends_phase: Leaf
  learning_rate: Leaf
  optim: Mapping[str, Leaf] | None
  decay_factors: Leaf | None = None
  semi: Mapping[str, Leaf] | None = None
  teaching: Mapping[str, PyTree] | None = None


def dispatch(
  program: Program, snapshot: Snapshot, feed: Feed, plan: PlanArrays, clock: Clock
) -> tuple[Snapshot, Sums]:
  """Runs one part of a plan: the compiled function of the engine.

  Args:
    program: the static part.
    snapshot: leaves [R, ...]. Its sums are those of the round under way; they are set to zero
      at a round's first step.
    feed: the data set. By what it holds, the program trains, evaluates, or does both.
    plan: the numbers of the plan.
    clock: `num_rounds` whole rounds from `first_round`, or (where a round does not fit a dispatch)
      some of its steps, or some of its evaluation batches.
  Returns:
    The new snapshot, and the sums as they stood after each of the rounds, leaves
    [rounds_per_dispatch, R, ...].
  """
  work = Work(program, feed, plan, clock=clock)
  if program.replicas != "loop":
    return _run_rounds(work, snapshot)

  # One replica after the other, each for the whole dispatch: the step is compiled once, and states
  # are copied once per dispatch.
  def one_replica(replica: tuple) -> tuple[Snapshot, Sums]:
    of_one, own_plan, own_steps = jax.tree.map(lambda leaf: leaf[None], replica)
    own = dataclasses.replace(
      work,
      plan=dataclasses.replace(own_plan, **plan.shared),
      feed=dataclasses.replace(feed, steps=own_steps),
    )
    of_one, per_round = _run_rounds(own, of_one)
    first = jax.tree.map(lambda leaf: leaf[0], of_one)
    return first, jax.tree.map(lambda leaf: leaf[:, 0], per_round)

  snapshot, per_round = jax.lax.map(one_replica, (snapshot, plan.of_replicas, feed.steps))
  return snapshot, jax.tree.map(lambda leaf: leaf.swapaxes(0, 1), per_round)


def _run_rounds(work: Work, snapshot: Snapshot) -> tuple[Snapshot, Sums]:
  """Runs the rounds of a dispatch: the scan over rounds. See `dispatch` for what it returns."""
  program, clock = work.program, work.clock

  def body(snapshot: Snapshot, offset: Int[Array, ""]) -> tuple[Snapshot, Sums]:
    run_round = functools.partial(_run_round, work, clock.first_round + offset)
    if program.rounds_per_dispatch == 1:
      snapshot = run_round(snapshot)
    else:
      snapshot = _if(offset < clock.num_rounds, run_round, snapshot)
    return snapshot, snapshot.sums

  return jax.lax.scan(body, snapshot, jnp.arange(program.rounds_per_dispatch, dtype=jnp.int32))


def _run_round(work: Work, round_index: Int[Array, ""], snapshot: Snapshot) -> Snapshot:
  """Runs one round, or a part of one: the steps of A and of B, then the evaluation."""
  clock = work.clock
  begins = (clock.first_step == 0) & (clock.num_steps > 0)
  empty = jax.tree.map(lambda leaf: jnp.where(begins, jnp.zeros_like(leaf), leaf), snapshot.sums)
  snapshot = dataclasses.replace(snapshot, sums=empty)
  if work.feed.trains:
    run_steps = functools.partial(_run_steps, work, round_index)
    snapshot = _if(clock.num_steps > 0, run_steps, snapshot)
  if work.feed.evaluates:
    is_due = clock.evaluates & work.plan.evaluates[round_index]
    snapshot = _if(is_due, functools.partial(_run_evals, work), snapshot)
  return snapshot


def _if(
  condition: Bool[Array, ""], function: Callable[[Snapshot], Snapshot], snapshot: Snapshot
) -> Snapshot:
  """Returns the snapshot after the function where the condition holds, else as it is."""
  return jax.lax.cond(condition, function, lambda unchanged: unchanged, snapshot)


def _run_steps(work: Work, round_index: Int[Array, ""], snapshot: Snapshot) -> Snapshot:
  """Runs steps [first_step, first_step + num_steps) of a round: one scan, phase after phase.

  Its body updates with the chain of the step's phase: lambda_A in the steps of A, lambda_B in those
  of B.
  """
  program, clock, steps = work.program, work.clock, work.feed.steps
  plan = work.plan.of_replicas
  examples_of = examples_of_steps(program, work.feed, plan, round_index=round_index)
  phase_of_step, step_in_phase, ends_phase = map(jnp.asarray, _phases(program))
  rates, factors = work.plan.learning_rates, work.plan.decay_factors
  teaching = work.plan.teaching

  def run(offset: Int[Array, ""], snapshot: Snapshot) -> Snapshot:
    index = clock.first_step + offset
    place = StepPlace(
      round_index * program.steps_per_round + index,
      offset,
      phase_of_step[index],
      step_in_phase=step_in_phase[index],
      ends_phase=ends_phase[index],
      learning_rate=rates[round_index] if rates.ndim == 1 else rates[round_index, index],
      optim=work.plan.optim,
      decay_factors=None if factors is None else factors[round_index],
      semi=work.plan.semi,
      teaching=teaching and {**teaching, "acts": teaching["acts"][phase_of_step[index]]},
    )
    step_fn = functools.partial(_replica_step, work, place)
    examples = examples_of(index if steps is None else offset)
    return map_replicas(program.replicas, step_fn)(snapshot, plan, examples)

  def body(snapshot: Snapshot, offset: Int[Array, ""]) -> tuple[Snapshot, None]:
    if program.steps_per_round % program.steps_per_dispatch == 0:
      return run(offset, snapshot), None
    return _if(offset < clock.num_steps, functools.partial(run, offset), snapshot), None

  return jax.lax.scan(body, snapshot, jnp.arange(program.steps_per_dispatch, dtype=jnp.int32))[0]


def _phases(
  program: Program,
) -> tuple[Int[np.ndarray, "S"], Int[np.ndarray, "S"], Bool[np.ndarray, "S"]]:
  """Returns for each step of a round its phase, its number in it, and whether it is the last."""
  steps = program.phase_steps
  return (
    np.repeat(np.arange(len(steps)), steps).astype(np.int32),
    np.concatenate([np.arange(count) for count in steps]).astype(np.int32),
    np.isin(np.arange(program.steps_per_round) + 1, np.cumsum(steps)),
  )


def _replica_step(
  work: Work, place: StepPlace, snapshot: Snapshot, plan: PlanArrays, examples: StepExamples
) -> Snapshot:
  """Runs one step of one replica, whose leaves have no axis [R].

  The replica stays as it is if the update is not finite, or was not in an earlier step.
  """
  program, data, others = work.program, work.feed.data, examples.unlabelled
  data = dataclasses.replace(data, train=examples.in_place_of(data.train))
  now = _step_now(program, place, plan)
  batch = make_batch(program, data, now, ids=examples.ids, mask=examples.mask, offset=place.offset)
  if others is not None:
    data = dataclasses.replace(data, unlabelled=others.in_place_of(given(data.unlabelled)))
    made = make_unlabelled(program, data, now, examples=examples, at=place.offset)
    batch = dataclasses.replace(batch, unlabelled=made)
  if program.teacher is not None:
    said = taught(program.teacher, program.model, batch, own=plan.teacher, teaching=place.teaching)
    batch = dataclasses.replace(batch, taught=said)
  state, measures = train_step(snapshot.state, batch, now, network=program.network)
  alive = (
    (snapshot.state.step == now.step)
    & jnp.isfinite(measures.loss)
    & is_finite((state.params, state.batch_stats, state.opt_state))
  )
  sums = _add_step(snapshot.sums, measures, place, params=state.params)
  if sums.step_losses is not None:
    in_round = place.step % np.int32(program.steps_per_round)
    sums = _keep_loss(sums, measures, in_round)
  dynamics = snapshot.dynamics
  if dynamics is not None:
    dynamics = _record_step(program, dynamics, batch, measures=measures, now=now, alive=alive)
  state, sums = jax.tree.map(
    lambda new, old: jnp.where(alive, new, old), (state, sums), (snapshot.state, snapshot.sums)
  )
  return Snapshot(state, sums, dynamics)


def _step_now(program: Program, place: StepPlace, plan: PlanArrays) -> StepNow:
  """Returns the numbers of a step of one replica; `plan` has no axis [R]."""
  seed, phase, step = plan.seeds, place.phase, place.step
  overrides = {name: plan.overrides[name][phase] for name in program.regularisers}
  mixup = None if program.mixing is None else mixup_key(seed, phase, step)
  unlabelled = None if program.semi is None else unlabelled_key(seed, phase, step)
  decays = [
    decay[jnp.minimum(place.step_in_phase, decay.shape[0] - 1)] for decay in plan.weight_decays
  ]
  stacked = jnp.stack(decays)
  return StepNow(
    phase,
    place.step_in_phase,
    step,
    learning_rate=place.learning_rate,
    weight_decays=stacked if place.decay_factors is None else stacked * place.decay_factors,
    optim=place.optim or {},
    overrides=overrides,
    keys=StepKeys(
      augment_key(seed, phase, step), mixup, dropout_key(seed, phase, step), unlabelled=unlabelled
    ),
    semi=None if place.semi is None else now_of(place.semi, phase, step),
    parts=None if plan.parts is None else plan.parts[phase],
  )


def _add_step(sums: Sums, measures: Measures, place: StepPlace, params: Params) -> Sums:
  """Returns the sums with what a step has measured, and the norms of its kernels after a phase."""
  phase = place.phase
  guesses_used = sums.guesses_used
  if measures.guesses_used is not None and guesses_used is not None:
    guesses_used = guesses_used.at[phase].add(measures.guesses_used)
  return dataclasses.replace(
    sums,
    guesses_used=guesses_used,
    train_loss=sums.train_loss.at[phase].add(measures.loss),
    train_correct=sums.train_correct.at[phase].add(measures.correct),
    train_count=sums.train_count.at[phase].add(measures.count),
    gradient_norm=sums.gradient_norm.at[phase].add(measures.gradient_norm),
    update_norm=sums.update_norm.at[phase].add(measures.update_norm),
    num_steps=sums.num_steps.at[phase].add(1),
    weight_norms=jax.lax.cond(
      place.ends_phase,
      lambda: sums.weight_norms.at[phase].set(layer_norms(params)),
      lambda: sums.weight_norms,
    ),
  )


def _keep_loss(sums: Sums, measures: Measures, index: Int[Array, ""]) -> Sums:
  """Returns the sums with the mean loss of step `index` of the round."""
  count = jnp.maximum(measures.count, 1).astype(measures.loss.dtype)
  loss = (measures.loss / count).astype(sums.step_losses.dtype)
  return dataclasses.replace(sums, step_losses=sums.step_losses.at[index].set(loss))


def _record_step(
  program: Program,
  dynamics: Dynamics,
  batch: Batch,
  measures: Measures,
  now: StepNow,
  alive: Bool[Array, ""],
) -> Dynamics:
  """Returns the training dynamics with what a step has shown of the examples of its batch."""
  seen = (batch.ids, batch.mask & alive, see(measures.logits, batch.labels))
  gather = functools.partial(gather_batch, program.layout)
  round_number = now.step // program.steps_per_round + 1
  return record(dynamics, round_number, *jax.tree.map(gather, seen))


def _run_evals(work: Work, snapshot: Snapshot) -> Snapshot:
  """Evaluates test batches [first_eval, first_eval + evals_per_dispatch): a scan over batches."""
  program = work.program

  def body(sums: Sums, offset: Int[Array, ""]) -> tuple[Sums, None]:
    eval_fn = functools.partial(_replica_eval, work, offset)
    return map_replicas(program.replicas, eval_fn)(snapshot.state, sums), None

  offsets = jnp.arange(program.evals_per_dispatch, dtype=jnp.int32)
  return dataclasses.replace(snapshot, sums=jax.lax.scan(body, snapshot.sums, offsets)[0])


def _replica_eval(work: Work, offset: Int[Array, ""], state: TrainState, sums: Sums) -> Sums:
  """Adds evaluation batch `offset` of the dispatch to the sums of one replica.

  Batches beyond the end of the test set add nothing.
  """
  data, first = work.feed.data, work.clock.first_eval
  new = test_set_sums(work.program, state.variables, data, first=first, offset=offset)
  average = sums.average
  if state.average is not None and average is not None:
    of_average = test_set_sums(work.program, state.average, data, first=first, offset=offset)
    average = jax.tree.map(jnp.add, average, of_average)
  return dataclasses.replace(
    sums,
    test_loss=sums.test_loss + new.loss,
    test_correct=sums.test_correct + new.correct,
    test_count=sums.test_count + new.count,
    average=average,
  )
