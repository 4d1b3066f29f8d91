"""Which examples the dispatches of a training use: for inputs that are read ahead."""

import dataclasses
import functools
import threading
from collections.abc import Callable

import jax
import numpy as np
from jaxtyping import Array, Bool, Int

from sdt.engine.examples import round_ids, round_unlabelled
from sdt.engine.plan import PlanArrays
from sdt.engine.program import Program
from sdt.engine.state import Position
from sdt.inputs.order import num_batches
from sdt.inputs.source import FeedShapes, Reads, Source, StepIds
from sdt.inputs.stream import ascending


def feed_shapes(program: Program, num_replicas: int) -> FeedShapes:
  """Returns the shapes of the steps and of the evaluation batches of one dispatch."""
  semi, steps = program.semi, program.steps_per_dispatch
  return FeedShapes(
    steps=(num_replicas, steps, program.batch_size),
    batches=(program.evals_per_dispatch, program.padded_eval_batch_size),
    unlabelled=None if semi is None else (num_replicas, steps, semi.batch_size),
  )


def reads_from(start: Position, program: Program, plan: PlanArrays, source: Source) -> Reads:
  """Returns what the dispatches from `start` to the end of the plan read, `plan` on the host."""
  steps, evals = program.steps_per_dispatch, program.evals_per_dispatch
  per_round, eval_size = program.steps_per_round, program.padded_eval_batch_size
  num_evals = num_batches(source.num_test, eval_size)
  trained: list[tuple[int, int]] = []  # round and first step of every dispatch that trains
  evaluated: list[int] = []  # first evaluation batch of every dispatch that evaluates
  first_step, first_eval = start.step, start.eval_index
  for index in range(start.round_index, len(plan.evaluates)):
    trained += [(index, at) for at in range(first_step, per_round, steps)]
    evaluated += range(first_eval, num_evals, evals) if plan.evaluates[index] else ()
    first_step = first_eval = 0

  def steps_of(order: _Order, dispatch: int) -> StepIds:
    round_index, at = trained[dispatch]
    return order.of_steps(round_index, np.minimum(at + np.arange(steps), per_round - 1))

  def batches_of(dispatch: int) -> Int[np.ndarray, "G B"]:
    return ascending(eval_size)(evaluated[dispatch] + np.arange(evals))

  of_labelled, unlabelled = functools.partial(steps_of, _Order(program, plan, round_ids)), None
  if program.semi is not None:
    unlabelled = functools.partial(steps_of, _Order(program, plan, round_unlabelled))
  return Reads(len(trained), of_labelled, len(evaluated), batches=batches_of, unlabelled=unlabelled)


class _Order:
  """Which examples the steps of a plan see, on the host; computed by the program's own function."""

  def __init__(self, program: Program, plan: PlanArrays, of_round: Callable[..., tuple]):
    def ids_of_round(
      plan: PlanArrays, round_index: Int[Array, ""]
    ) -> tuple[Int[Array, "R S B"], Bool[Array, "R S B"]]:
      return jax.vmap(functools.partial(of_round, program, round_index=round_index))(plan)

    self._plan = dataclasses.replace(plan.of_replicas, teacher=None)  # large, and not asked here
    self._ids_of_round, self._device = jax.jit(ids_of_round), _host_device()
    self._lock = threading.Lock()
    self._rounds: dict[int, tuple[np.ndarray, np.ndarray]] = {}

  def of_steps(self, round_index: int, steps: Int[np.ndarray, "T"]) -> StepIds:
    """Returns the ids [R, T, B] of the examples of some steps [T] of a round, and which count."""
    with self._lock:  # the readers ask at the same time; one makes the order of the round
      if round_index not in self._rounds:
        with jax.default_device(self._device):
          made = jax.device_get(self._ids_of_round(self._plan, np.int32(round_index)))
        kept = {index: ids for index, ids in self._rounds.items() if index == round_index - 1}
        self._rounds = kept | {round_index: made}
      ids, masks = self._rounds[round_index]
    return ids[:, steps], masks[:, steps]


def _host_device() -> jax.Device:
  """Returns a device that computes on the host, so that the order waits for no program.

  Where the user allows no CPU device, it is the default device.
  """
  try:
    return jax.local_devices(backend="cpu")[0]
  except RuntimeError:
    return jax.local_devices()[0]
