"""Which examples the steps of a round see: their ids, and their inputs where these are streamed."""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from sdt.devices.compile import map_replicas
from sdt.engine.plan import PlanArrays
from sdt.engine.program import Program
from sdt.inputs.device_data import DispatchBatches, Feed, Split, Steps
from sdt.inputs.order import Draw, order_key, phase_batches, unlabelled_batches
from sdt.types import Leaf


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class StepExamples:
  """The examples of one step of each replica: ids and masks, [R, B], and streamed inputs."""

  ids: Leaf
  mask: Leaf
  inputs: DispatchBatches | None  # of all steps of the dispatch, [R, T, B, ...]
  unlabelled: "StepExamples | None" = None  # [R, U]

  def in_place_of(self, split: Split) -> Split:
    """Returns the split with the streamed inputs of these steps; as it is where there are none."""
    if self.inputs is None:
      return split
    return dataclasses.replace(split, inputs=self.inputs)


def round_ids(
  program: Program, plan: PlanArrays, round_index: Int[Array, ""]
) -> tuple[Int[Array, "S B"], Bool[Array, "S B"]]:
  """Returns the ids [S, B] of the examples of every step of a round, and which of them count.

  The steps of the first phase come first. `plan` is that of one replica, without the axis [R].
  """
  ids, masks = [], []
  for phase, (size, steps) in enumerate(zip(program.phase_sizes, program.phase_steps, strict=True)):
    key = order_key(plan.seeds, phase, round_index)
    draw = None
    if plan.draws is not None:
      draw = Draw(plan.draws[phase], plan.overrides["class_balance"][phase] != 0)
    positions, mask = phase_batches(key, size, steps, batch_size=program.batch_size, draw=draw)
    ids.append(plan.example_ids[phase][positions])
    masks.append(mask)
  return jnp.concatenate(ids), jnp.concatenate(masks)


def round_unlabelled(
  program: Program, plan: PlanArrays, round_index: Int[Array, ""]
) -> tuple[Int[Array, "S U"], Bool[Array, "S U"]]:
  """Returns the same of the unlabelled examples that every step of a round may see."""
  semi = program.semi
  if semi is None:
    raise ValueError("no phase of this program sees unlabelled examples")
  of_phases = [
    unlabelled_batches(
      plan.seeds,
      phase,
      round_index,
      num_examples=semi.num_unlabelled,
      num_steps=steps,
      batch_size=semi.batch_size,
    )
    for phase, steps in enumerate(program.phase_steps)
  ]
  ids, masks = zip(*of_phases, strict=True)
  return jnp.concatenate(ids), jnp.concatenate(masks)


def examples_of_steps(
  program: Program, feed: Feed, plan: PlanArrays, round_index: Int[Array, ""]
) -> Callable[[Int[Array, ""]], StepExamples]:
  """Returns the function from the number of a step to its examples.

  The number counts from the start of the round, or of streamed inputs of the dispatch. `plan` has
  only the numbers of the replicas.
  """

  def of_split(
    steps: Steps | None, of_round: Callable[..., tuple]
  ) -> Callable[[Int[Array, ""]], StepExamples]:
    if steps is not None:
      inputs = DispatchBatches(steps.inputs)
      return lambda at: StepExamples(steps.ids[:, at], steps.masks[:, at], inputs)
    of_one = functools.partial(of_round, program, round_index=round_index)
    ids, masks = map_replicas(program.replicas, of_one)(plan)
    return lambda at: StepExamples(ids[:, at], masks[:, at], None)

  steps = feed.steps
  labelled = of_split(steps, round_ids)
  if program.semi is None:
    return labelled
  unlabelled = of_split(None if steps is None else steps.unlabelled, round_unlabelled)
  return lambda at: dataclasses.replace(labelled(at), unlabelled=unlabelled(at))
