"""The teacher of a step: what networks that were trained before say of the same inputs.

Each kind is a row of `TEACHERS`. Teachers run in evaluation mode and are not trained.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sdt.engine.evaluate import predict
from sdt.engine.plan import Plan, PlanArrays
from sdt.engine.step import Batch, Taught
from sdt.losses import accumulator_dtype
from sdt.types import Model, PyTree, Variables


class Teacher(NamedTuple):
  """What teaches the phases of a plan, as arguments of its program.

  Attributes:
    own: what differs between replicas, leaves [R, ...]; None where all have the same.
    shared: what is the same for all; None where each has its own.
    temperature: T, above 0.
  """

  own: PyTree
  shared: PyTree
  temperature: float


class Says(Protocol):
  """What a teacher says of a batch: probabilities [B, K] that sum to 1."""

  def __call__(
    self, model: Model, what: PyTree, batch: Batch, *, temperature: Float[Array, ""]
  ) -> Float[Array, "B K"]: ...


class Kind(NamedTuple):
  """A kind of teacher.

  Attributes:
    probabilities: what it says.
    passes: how often it goes forward through a network, from the number of seeds.
    stand_in: (own, shared) of the right shapes, from the networks' variables [R, ...] and K.
  """

  probabilities: Says
  passes: Callable[[int], int]
  stand_in: Callable[[Variables, int], tuple[PyTree, PyTree]]


def _softened(logits: Float[Array, "B K"], temperature: Float[Array, ""]) -> Float[Array, "B K"]:
  exact = logits.astype(accumulator_dtype(logits.dtype))
  return jax.nn.softmax(exact / temperature.astype(exact.dtype), axis=-1)


def _of_network(
  model: Model, what: PyTree, batch: Batch, *, temperature: Float[Array, ""]
) -> Float[Array, "B K"]:
  return _softened(predict(model, what, batch.inputs), temperature)


def _of_networks(
  model: Model, what: PyTree, batch: Batch, *, temperature: Float[Array, ""]
) -> Float[Array, "B K"]:
  count = len(jax.tree.leaves(what)[0])
  # One after the other by hand: XLA on CPUs is slow at convolutions within a loop.
  each = (jax.tree.map(lambda leaf, at=at: leaf[at], what) for at in range(count))
  total = sum(_of_network(model, network, batch, temperature=temperature) for network in each)
  return jnp.asarray(total) / count


def _of_classes(
  model: Model, what: PyTree, batch: Batch, *, temperature: Float[Array, ""]
) -> Float[Array, "B K"]:
  """Returns the row of each label; of a mixed example the rows of its labels by their weights."""
  del model, temperature  # the table is at this temperature
  if batch.mixture is None:
    return jnp.asarray(what[batch.labels])
  labels = (batch.labels, *batch.mixture.labels)
  weights = (jnp.asarray(weight).astype(what.dtype) for weight in batch.mixture.weights)
  return jnp.asarray(
    sum(
      jnp.broadcast_to(weight, one.shape)[:, None] * what[one]
      for weight, one in zip(weights, labels, strict=True)
    )
  )


def _table_shape(variables: Variables, num_classes: int) -> tuple[PyTree, PyTree]:
  count = len(jax.tree.leaves(variables)[0])
  return np.full((count, num_classes, num_classes), 1.0 / num_classes, np.float32), None


# By the regulariser that is the share of the loss.
TEACHERS: Mapping[str, Kind] = {
  "distil": Kind(_of_network, lambda seeds: 1, lambda variables, num_classes: (variables, None)),
  "distil_mean": Kind(
    _of_networks, lambda seeds: seeds, lambda variables, num_classes: (None, variables)
  ),
  "distil_classes": Kind(_of_classes, lambda seeds: 0, _table_shape),
}


def teacher_of(plan: Plan) -> str | None:
  """Returns from which kind of teacher, of `TEACHERS`, phases of the plan learn; None for none."""
  asked = {name for phase in plan.phases for name, value in phase.overrides.items() if value}
  return next((name for name in TEACHERS if name in asked.union(plan.by_part)), None)


def with_teacher(arrays: PlanArrays, plan: Plan, teacher: Teacher | None) -> PlanArrays:
  """Returns the numbers of a plan with its teacher; as they are where no phase has one.

  Raises:
    ValueError: a phase learns from a teacher, and there is none.
  """
  kind = teacher_of(plan)
  if kind is None:
    return arrays
  if teacher is None:
    raise ValueError(f"the plan of {plan.arm} has phases with a teacher, and none was given")
  acts = [any(phase.by_part.get(kind, (phase.overrides.get(kind, 0.0),))) for phase in plan.phases]
  teaching = {
    "acts": np.asarray(acts, np.bool_),
    "temperature": np.asarray(teacher.temperature, np.float32),
    "shared": teacher.shared,
  }
  return dataclasses.replace(arrays, teacher=teacher.own, teaching=teaching)


def taught(kind: str, model: Model, batch: Batch, *, own: PyTree, teaching: PyTree) -> Taught:
  """Returns what the teacher says of this device's part of a batch.

  Zeros in a phase without a teacher, where nothing is asked.

  Args:
    kind: of `TEACHERS`.
    model: the network.
    batch: of the step.
    own: what teaches this replica; None where all have the same.
    teaching: "acts" [], whether the phase learns from it, "temperature" [] and "shared".
  """
  what, temperature = teaching["shared"] if own is None else own, teaching["temperature"]

  def ask() -> Float[Array, "B K"]:
    return TEACHERS[kind].probabilities(model, what, batch, temperature=temperature)

  like = jax.eval_shape(ask)
  nothing = jnp.zeros(like.shape, like.dtype)
  return Taught(jax.lax.cond(teaching["acts"], ask, lambda: nothing), temperature)
