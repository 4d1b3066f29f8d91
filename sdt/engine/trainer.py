"""Cuts a plan into dispatches, compiles the program and runs it: the host side of the engine. It
knows no files.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Generator
from typing import Any

import jax
import numpy as np

from sdt.devices.compile import compile_program
from sdt.devices.layout import (
  Layout,
  bytes_per_device,
  fetch,
  padded_batch_size,
  place,
  place_replicas,
)
from sdt.engine import scan
from sdt.engine.dispatch_sizes import TRAINED
from sdt.engine.feed import Feeder, NothingFed
from sdt.engine.norms import layer_names
from sdt.engine.plan import PlanArrays
from sdt.engine.scan import Clock, Feed, Program, Sums, zero_sums
from sdt.engine.state import TrainState
from sdt.inputs.order import num_batches
from sdt.scores.dynamics import Dynamics, no_dynamics


@dataclasses.dataclass(frozen=True)
class Position:
  """What comes next: step `step` of round `round_index` (both from 0), or its evaluation batch
  `eval_index` once `step` is past the end.
  """

  round_index: int = 0
  step: int = 0
  eval_index: int = 0


@dataclasses.dataclass(frozen=True)
class FinishedRound:
  """A round that has ended: its index from 0, its sums [R, ...] and the seconds it took."""

  index: int
  sums: Sums
  seconds: float


@dataclasses.dataclass(frozen=True)
class Passes:
  """Work, as the number of examples that go forward through a network once; one that is trained on
  counts three times (`TRAINED`).
  """

  training: int
  evaluation: int

  @property
  def total(self) -> int:
    return self.training + self.evaluation


@dataclasses.dataclass(frozen=True)
class Progress:
  """Where training stands after a dispatch, its work for each replica, its seconds, and those it
  waited for streamed inputs before.
  """

  position: Position
  finished: tuple[FinishedRound, ...]
  seconds: float
  passes: Passes
  waited_seconds: float = 0.0

  @property
  def evaluation_seconds(self) -> float:
    """The seconds in which the test set was evaluated: by the passes, since a dispatch that trains
    and evaluates is one program.
    """
    return self.seconds * self.passes.evaluation / max(1, self.passes.total)


class Trainer:
  """A compiled program and the state of its replicas on the devices.

  `state`, `sums` and (where the program records them) `dynamics` are what a checkpoint holds;
  everything else is a function of the config and the data.
  """

  def __init__(
    self, program: Program, data: Any, rounds: int, num_test: int, feeder: Feeder | None = None
  ):
    self.program, self.rounds = program, rounds
    self._data, self._feeder = data, feeder or NothingFed()
    self._layout: Layout = program.layout
    self._num_evals = num_batches(
      num_test, padded_batch_size(program.eval_batch_size, program.layout)
    )
    self._executables: dict[Any, Any] = {}  # by what a dispatch is fed
    self.num_compilations = 0
    self.state: Any = None
    self.sums: Any = None
    self.dynamics: Any = None

  def set_state(
    self, state: TrainState, sums: Sums | None = None, dynamics: Dynamics | None = None
  ) -> None:
    """Puts a state [R, ...] from the host onto the devices; without sums and dynamics they start
    empty.
    """
    (num_replicas,) = state.step.shape
    if dynamics is None and self.program.num_recorded:
      dynamics = no_dynamics(num_replicas, self.program.num_recorded)
    sums = (
      zero_sums(num_replicas, self.program.num_phases, len(layer_names(state.params)))
      if sums is None
      else sums
    )
    self.state, self.sums, self.dynamics = place_replicas(self._layout, (state, sums, dynamics))

  def get_state(self) -> tuple[TrainState, Sums, Dynamics | None]:
    """Returns (state, sums, dynamics) on the host, leaves [R, ...]."""
    return fetch(self._layout, (self.state, self.sums, self.dynamics))

  def use_plan(self, plan: PlanArrays) -> None:
    """Sets the numbers of the plan: subsets, decays, rates. Others of the same shapes may follow;
    the program stays as it is.
    """
    of_rounds = place(
      self._layout, {"learning_rates": plan.learning_rates, "evaluates": plan.evaluates}
    )
    self._plan, self._host_plan = (
      dataclasses.replace(place_replicas(self._layout, plan.of_replicas), **of_rounds),
      plan,
    )

  def arguments(self, clock: Clock, feed: Feed) -> tuple[Any, ...]:
    """Returns the arguments of `sdt.engine.scan.dispatch` after the program for a dispatch."""
    return (
      self.state,
      self.sums,
      self.dynamics,
      self._data,
      self._plan,
      place(self._layout, clock),
      feed,
    )

  def compile(self) -> float:
    """Compiles the program for the state's shapes, once for each kind of feed; returns the seconds
    it took.
    """
    if self._executables:
      return 0.0
    start, clock = time.perf_counter(), self._clock(Position())[0]
    function = functools.partial(scan.dispatch, self.program)
    for feed in self._feeder.shapes():
      self.num_compilations += 1
      executable = compile_program(
        self._layout,
        function,
        self.arguments(clock, feed),
        replica_axes=scan.REPLICA_AXES,
        donate=(0, 1, 2),
      )
      self._executables[jax.tree.structure(feed)] = executable
    return time.perf_counter() - start

  def take_programs(self, compiled: Trainer) -> None:
    """Takes over what a trainer of the same program has compiled, for whose shapes it had no arrays
    (an abstract layout).
    """
    self._executables = compiled._executables

  def memory_bytes(self) -> int:
    """Returns what the compiled programs need on a device beside their arguments, bytes; 0 where
    the backend does not tell.
    """
    analyses = [executable.memory_analysis() for executable in self._executables.values()]
    return max(int(getattr(analysis, "temp_size_in_bytes", 0) or 0) for analysis in analyses)

  def streamed_bytes(self) -> int:
    """Returns what streamed inputs take on a device at most, bytes: three dispatches' steps, three
    dispatches' evaluation batches.
    """
    return 3 * bytes_per_device(self._feeder.shapes())

  def _clock(self, at: Position, at_most: int | None = None) -> tuple[Clock, Position, int]:
    """Returns the clock of the next dispatch, the position after it, and how many rounds (no more
    than `at_most`) it ends.
    """
    steps_per_round, sizes = self.program.steps_per_round, self.program
    is_whole = (
      sizes.steps_per_dispatch >= steps_per_round and sizes.evals_per_dispatch >= self._num_evals
    )
    begins = (
      at.step == 0 and at.eval_index == 0
    )  # where inputs were streamed before, the evaluation of a round may be left
    if is_whole and begins and not self.program.is_streamed:
      num_rounds = min(
        sizes.rounds_per_dispatch, self.rounds - at.round_index, at_most or self.rounds
      )
      clock = _clock_arrays(
        at.round_index, num_rounds, 0, num_steps=steps_per_round, first_eval=0, evaluates=True
      )
      return clock, Position(at.round_index + num_rounds), num_rounds
    num_steps = min(sizes.steps_per_dispatch, steps_per_round - at.step)
    if num_steps > 0:
      after = Position(at.round_index, at.step + num_steps)
      clock = _clock_arrays(
        at.round_index, 1, at.step, num_steps=num_steps, first_eval=0, evaluates=False
      )
    else:
      after = Position(at.round_index, at.step, at.eval_index + sizes.evals_per_dispatch)
      clock = _clock_arrays(
        at.round_index, 1, at.step, num_steps=0, first_eval=at.eval_index, evaluates=True
      )
    left = self._num_evals if self._host_plan.evaluates[at.round_index] else 0
    if after.step >= steps_per_round and after.eval_index >= left:
      return clock, Position(at.round_index + 1), 1
    return clock, after, 0

  def run(
    self, start: Position, seconds_before: float = 0.0, halt_after: int | None = None
  ) -> Generator[Progress]:
    """Trains from `start` to the end of the plan, yielding after every dispatch.

    Args:
      start: where the state stands.
      seconds_before: spent on the round of `start` so far, by an earlier process.
      halt_after: a round, from 1, at whose end a dispatch ends too, so that the state can be had
        there; no bit of the training changes.
    """
    self.compile()
    at, round_secs = start, seconds_before
    with self._feeder.feeding(
      self._host_plan, (start.round_index, start.step, start.eval_index)
    ) as next_feed:
      while at.round_index < self.rounds:
        begin = time.perf_counter()
        # One round first, so that a person soon sees that it works, and how fast.
        at_most = 1 if at == start else None
        if at_most is None and halt_after is not None and at.round_index < halt_after:
          at_most = halt_after - at.round_index
        clock, after, num_rounds = self._clock(at, at_most)
        feed = next_feed(clock.num_steps > 0)
        fed = time.perf_counter()
        per_round = self._dispatch(clock, feed)
        del feed  # what is no longer used must not stay while the next one is made
        end = time.perf_counter()
        round_secs += end - begin
        finished = tuple(
          FinishedRound(
            at.round_index + index,
            jax.tree.map(lambda leaf, i=index: leaf[i], per_round),
            round_secs / num_rounds,
          )
          for index in range(num_rounds)
        )
        at, round_secs = after, 0.0 if finished else round_secs
        yield Progress(
          at, finished, end - fed, passes=self._passes(clock), waited_seconds=fed - begin
        )

  def _dispatch(self, clock: Clock, feed: Feed) -> Sums:
    """Runs one dispatch; returns the sums after each of its rounds, on the host."""
    executable = self._executables[jax.tree.structure(feed)]
    self.state, self.sums, self.dynamics, per_round = executable(*self.arguments(clock, feed))
    return fetch(self._layout, per_round)

  def _passes(self, clock: Clock) -> Passes:
    program = self.program
    rounds = slice(int(clock.first_round), int(clock.first_round + clock.num_rounds))
    num_evaluations = int(clock.evaluates) * int(np.sum(self._host_plan.evaluates[rounds]))
    evaluated = (
      num_evaluations * min(program.evals_per_dispatch, self._num_evals) * program.eval_batch_size
    )
    return Passes(TRAINED * int(clock.num_rounds * clock.num_steps) * program.batch_size, evaluated)


def _clock_arrays(
  first_round: int,
  num_rounds: int,
  first_step: int,
  num_steps: int,
  first_eval: int,
  evaluates: bool,
) -> Clock:
  return Clock(
    first_round=np.int32(first_round),
    num_rounds=np.int32(num_rounds),
    first_step=np.int32(first_step),
    num_steps=np.int32(num_steps),
    first_eval=np.int32(first_eval),
    evaluates=np.bool_(evaluates),
  )
