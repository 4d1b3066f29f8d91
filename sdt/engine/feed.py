"""What every dispatch of a training is given beside what lies on the devices: nothing, or its
batches, read by the host.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import threading
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import jax
import numpy as np

from sdt.devices import processes
from sdt.devices.layout import padded_batch_size, place, place_replicas
from sdt.engine.plan import PlanArrays
from sdt.engine.scan import Feed, Program, Steps, round_ids
from sdt.inputs.order import num_batches
from sdt.inputs.stream import HostInputs, ascending, read_ahead, rows_at


class Feeder(Protocol):
  """Where the feeds of a training come from."""

  def shapes(self) -> list[Feed]:
    """Returns the shapes of one feed of each kind, placed: there is one compiled program
    for each.
    """

  def feeding(
    self, plan: PlanArrays, start: tuple[int, int, int]
  ) -> contextlib.AbstractContextManager[Any]:
    """Returns a context in which a function of (whether the next dispatch trains, or else
    evaluates) returns its feed.

    Args:
      plan: on the host.
      start: round, step in it and evaluation batch at which the training stands.
    """


class NothingFed:
  """The feeder of trainings whose inputs lie on the devices."""

  def shapes(self) -> list[Feed]:
    return [Feed()]

  @contextlib.contextmanager
  def feeding(
    self, plan: PlanArrays, start: tuple[int, int, int]
  ) -> Iterator[Callable[[bool], Feed]]:
    yield lambda trains: Feed()


class Streamed:
  """The feeder of trainings whose inputs are streamed: steps and evaluations are separate
  dispatches, each with its own readers.

  Args:
    program: of the training.
    host: the inputs.
    num_replicas: R.
  """

  def __init__(self, program: Program, host: HostInputs, num_replicas: int):
    self._program, self._host, self._num_replicas = program, host, num_replicas
    self._eval_size = padded_batch_size(program.eval_batch_size, program.layout)
    self._num_evals = num_batches(len(host.test), self._eval_size)

  def shapes(self) -> list[Feed]:
    program, shape = self._program, jax.ShapeDtypeStruct
    of_steps = (self._num_replicas, program.steps_per_dispatch, program.batch_size)
    of_evals = (program.evals_per_dispatch, self._eval_size)
    train, test = self._host.train, self._host.test
    steps = Steps(
      shape(of_steps, np.int32),
      shape(of_steps, np.bool_),
      shape((*of_steps, *train.shape[1:]), train.dtype),
    )
    layout = dataclasses.replace(program.layout, is_abstract=True)
    test_inputs = shape((*of_evals, *test.shape[1:]), test.dtype)
    return [Feed(steps=place_replicas(layout, steps)), Feed(test_inputs=place(layout, test_inputs))]

  @contextlib.contextmanager
  def feeding(
    self, plan: PlanArrays, start: tuple[int, int, int]
  ) -> Iterator[Callable[[bool], Feed]]:
    first_round, first_step, first_eval = start
    program, order = self._program, _Order(self._program, plan)
    steps, evals, per_round = (
      program.steps_per_dispatch,
      program.evals_per_dispatch,
      program.steps_per_round,
    )
    trained, evaluated = (
      [],
      [],
    )  # (round, first step) and the first evaluation batch of every dispatch
    for index in range(first_round, len(plan.evaluates)):
      trained += [(index, at) for at in range(first_step, per_round, steps)]
      evaluated += list(range(first_eval, self._num_evals, evals)) if plan.evaluates[index] else []
      first_step = first_eval = 0

    def read_steps(dispatch: int) -> Steps:
      round_index, at = trained[dispatch]
      ids, masks = order.of_steps(round_index, np.minimum(at + np.arange(steps), per_round - 1))
      return Steps(ids, masks, rows_at(self._host.train, ids))

    def read_evals(dispatch: int) -> np.ndarray:
      return rows_at(
        self._host.test, ascending(self._eval_size)(evaluated[dispatch] + np.arange(evals))
      )

    put, put_replicas = (
      functools.partial(place, program.layout),
      functools.partial(place_replicas, program.layout),
    )
    with (
      read_ahead(
        read_steps,
        len(trained),
        lambda group: Feed(steps=put_replicas(group)),
        what="the training inputs",
      ) as train_feeds,
      read_ahead(
        read_evals,
        len(evaluated),
        lambda group: Feed(test_inputs=put(group)),
        what="the test inputs",
      ) as eval_feeds,
    ):
      # A process that cannot read ends all of them, before any begins a dispatch in which it would
      # wait for the others.
      yield lambda trains: processes.on_all(
        functools.partial(next, train_feeds if trains else eval_feeds)
      )


class _Order:
  """Which examples the steps of a plan see, on the host: by the function of the program, so that
  there is but one.
  """

  def __init__(self, program: Program, plan: PlanArrays):
    def ids_of_round(plan: PlanArrays, round_index: jax.Array) -> tuple[jax.Array, jax.Array]:
      return jax.vmap(lambda one: round_ids(program, one, round_index))(plan)

    self._plan = plan.of_replicas
    self._ids_of_round, self._device = jax.jit(ids_of_round), _host_device()
    self._lock = threading.Lock()
    self._rounds: dict[int, tuple[np.ndarray, np.ndarray]] = {}

  def of_steps(self, round_index: int, steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the ids [R, T, B] of the examples of some steps [T] of a round, and which of them
    count.
    """
    with self._lock:  # the readers ask at the same time; one makes the order of the round
      if round_index not in self._rounds:
        with jax.default_device(self._device):
          made = jax.device_get(self._ids_of_round(self._plan, np.int32(round_index)))
        self._rounds = {
          index: ids for index, ids in self._rounds.items() if index == round_index - 1
        } | {round_index: made}
      ids, masks = self._rounds[round_index]
    return ids[:, steps], masks[:, steps]


def _host_device() -> Any:
  """Returns a device that computes on the host, so that the order waits for no program; the default
  where the user allows no other.
  """
  try:
    return jax.local_devices(backend="cpu")[0]
  except RuntimeError:
    return jax.local_devices()[0]
