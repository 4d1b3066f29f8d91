"""Runs a plan: cuts it into dispatches, compiles the program and runs it. It touches no files."""

import dataclasses
import time
from collections.abc import Collection, Generator
from typing import Any

import jax
import numpy as np

from sdt.devices.compile import Executable, compile_program
from sdt.devices.layout import Layout, bytes_per_device, fetch, place, place_replicas
from sdt.engine import scan
from sdt.engine.dispatch_sizes import TRAINED
from sdt.engine.plan import PlanArrays
from sdt.engine.program import Program
from sdt.engine.reads import feed_shapes, reads_from
from sdt.engine.scan import Clock
from sdt.engine.state import Position, Snapshot, Sums
from sdt.inputs.device_data import Feed
from sdt.inputs.order import num_batches
from sdt.inputs.source import Source
from sdt.scores.dynamics import no_dynamics


@dataclasses.dataclass(frozen=True)
class FinishedRound:
  """A round that has ended: its index from 0, its sums [R, ...] and the seconds it took."""

  index: int
  sums: Sums
  seconds: float


@dataclasses.dataclass(frozen=True)
class Passes:
  """Work: how many examples go once forward through a network.

  An example that is trained on counts three times (`TRAINED`).
  """

  training: int
  evaluation: int

  @property
  def total(self) -> int:
    return self.training + self.evaluation


@dataclasses.dataclass(frozen=True)
class Progress:
  """Where training stands after a dispatch.

  Attributes:
    position: what comes next.
    finished: the rounds that the dispatch has ended.
    seconds: of the dispatch.
    passes: its work, for each replica.
    waited_seconds: spent before it, waiting for streamed inputs.
  """

  position: Position
  finished: tuple[FinishedRound, ...]
  seconds: float
  passes: Passes
  waited_seconds: float = 0.0

  @property
  def evaluation_seconds(self) -> float:
    """The seconds in which the test set was evaluated, by its share of the passes.

    A dispatch that trains and evaluates is one program, so its parts cannot be timed.
    """
    return self.seconds * self.passes.evaluation / max(1, self.passes.total)


@dataclasses.dataclass(frozen=True)
class _Dispatch:
  """The next dispatch: its clock, the position after it, and how many rounds it ends."""

  clock: Clock
  after: Position
  num_rounds: int


class Trainer:
  """A compiled program and the state of its replicas on the devices.

  The snapshot is what a checkpoint holds; everything else is a function of the config and the data.
  """

  def __init__(self, program: Program, source: Source, rounds: int):
    self.program, self.rounds = program, rounds
    self._source = source
    self._layout: Layout = program.layout
    self._num_evals = num_batches(source.num_test, program.padded_eval_batch_size)
    self._executables: dict[Any, Executable] = {}  # by the structure of what a dispatch is fed
    self.num_compilations = 0
    self._snapshot: Snapshot | None = None  # on the devices
    self._keeps_dynamics = True
    self._position, self._round_secs = Position(), 0.0

  @property
  def snapshot(self) -> Snapshot:
    """The state, sums and dynamics on the devices, without their position."""
    if self._snapshot is None:
      raise RuntimeError("the trainer has no state; call set_state first")
    return self._snapshot

  def set_state(self, snapshot: Snapshot) -> None:
    """Puts a snapshot [R, ...] from the host onto the devices."""
    self._position, self._round_secs = snapshot.position, snapshot.round_secs
    dynamics, program = snapshot.dynamics, self.program
    if dynamics is None and program.num_recorded:
      num_replicas = snapshot.state.step.shape[0]
      dynamics = no_dynamics(num_replicas, program.num_recorded, program.course_rounds)
    # Programs know no position, so that one executable serves all.
    arrays = Snapshot(snapshot.state, snapshot.sums, dynamics)
    self._snapshot = place_replicas(self._layout, arrays)

  @property
  def position(self) -> Position:
    """What comes next."""
    return self._position

  def get_state(self) -> Snapshot:
    """Returns the snapshot on the host, leaves [R, ...], with the position that was reached.

    Its dynamics are None unless the plan keeps them.
    """
    dynamics = self.snapshot.dynamics if self._keeps_dynamics else None
    arrays = fetch(self._layout, dataclasses.replace(self.snapshot, dynamics=dynamics))
    return dataclasses.replace(arrays, position=self._position, round_secs=self._round_secs)

  def use_plan(self, plan: PlanArrays, *, keeps_dynamics: bool = True) -> None:
    """Sets the numbers of the plan: subsets, decays, rates.

    A plan of other numbers and the same shapes may follow; the program stays as it is.

    Args:
      plan: the numbers.
      keeps_dynamics: whether its states have the training dynamics, where the program records any.
    """
    self._keeps_dynamics = keeps_dynamics
    of_replicas = place_replicas(self._layout, plan.of_replicas)
    self._plan = dataclasses.replace(of_replicas, **place(self._layout, plan.shared))
    self._host_plan = plan

  @property
  def teacher(self) -> tuple[object, object]:
    """What teaches the plan, on the host; Nones where no phase has a teacher."""
    return self._host_plan.teacher, self._host_plan.teaching

  def release_teacher(self) -> None:
    """Lets go of what teaches the plan, on the devices and on the host."""
    self._plan, self._host_plan = (
      dataclasses.replace(plan, teacher=None, teaching=None)
      for plan in (self._plan, self._host_plan)
    )

  def arguments(self, clock: Clock, feed: Feed) -> tuple[Snapshot, Feed, PlanArrays, Clock]:
    """Returns the arguments of `sdt.engine.scan.dispatch` after the program for a dispatch."""
    return self.snapshot, feed, self._plan, place(self._layout, clock)

  def _feed_shapes(self) -> list[Feed]:
    shapes = feed_shapes(self.program, num_replicas=len(self._host_plan.seeds))
    return self._source.feed_shapes(shapes)

  def compile(self) -> float:
    """Compiles the program for the state's shapes, once for each kind of feed; returns seconds."""
    if self._executables:
      return 0.0
    start, clock = time.perf_counter(), self._next(Position()).clock
    for feed in self._feed_shapes():
      self.num_compilations += 1
      executable = compile_program(
        self._layout,
        scan.dispatch,
        self.program,
        args=self.arguments(clock, feed),
        replica_axes=scan.REPLICA_AXES,
        donate=(0,),
      )
      self._executables[jax.tree.structure(feed)] = executable
    return time.perf_counter() - start

  def take_programs(self, compiled: "Trainer") -> None:
    """Takes over what a trainer of the same program has compiled for shapes alone."""
    self._executables = compiled._executables

  def memory_bytes(self) -> int:
    """Returns what the compiled programs need on a device beside their arguments, bytes.

    0 where the backend does not tell.
    """
    analyses = [executable.memory_analysis() for executable in self._executables.values()]
    return max(int(getattr(analysis, "temp_size_in_bytes", 0) or 0) for analysis in analyses)

  def streamed_bytes(self) -> int:
    """Returns what streamed inputs take on a device at most, bytes; 0 of resident ones.

    These are the steps of three dispatches, and the evaluation batches of three dispatches.
    """
    resident = bytes_per_device(self._source.data)
    return 3 * sum(bytes_per_device(feed) - resident for feed in self._feed_shapes())

  def _next(self, at: Position, at_most: int | None = None) -> _Dispatch:
    """Returns the next dispatch, of no more than `at_most` rounds."""
    program, steps_per_round = self.program, self.program.steps_per_round
    is_whole = (
      program.steps_per_dispatch >= steps_per_round
      and program.evals_per_dispatch >= self._num_evals
      and self._source.runs_whole_rounds
    )
    # A training whose inputs were streamed before may have the evaluation of a round left to do.
    if is_whole and at.step == 0 and at.eval_index == 0:
      left = self.rounds - at.round_index
      num_rounds = min(program.rounds_per_dispatch, left, at_most or self.rounds)
      clock = _clock(at, num_rounds=num_rounds, num_steps=steps_per_round, evaluates=True)
      return _Dispatch(clock, Position(at.round_index + num_rounds), num_rounds)
    num_steps = min(program.steps_per_dispatch, steps_per_round - at.step)
    clock = _clock(at, num_rounds=1, num_steps=max(0, num_steps), evaluates=num_steps <= 0)
    if num_steps > 0:
      after = Position(at.round_index, at.step + num_steps)
    else:
      after = Position(at.round_index, at.step, at.eval_index + program.evals_per_dispatch)
    num_evals = self._num_evals if self._host_plan.evaluates[at.round_index] else 0
    if after.step >= steps_per_round and after.eval_index >= num_evals:
      return _Dispatch(clock, Position(at.round_index + 1), 1)
    return _Dispatch(clock, after, 0)

  def run(
    self,
    start: Position,
    seconds_before: float = 0.0,
    halts_after: Collection[int] = (),
    *,
    halts_every_round: bool = False,
  ) -> Generator[Progress]:
    """Trains from `start` to the end of the plan, yielding after every dispatch.

    Args:
      start: where the state stands.
      seconds_before: spent on the round of `start` so far, by an earlier process.
      halts_after: rounds, from 1, at whose ends a dispatch ends too, so that the state can be had
        there; no bit of the training changes.
      halts_every_round: a dispatch ends with every round.
    """
    self.compile()
    self._position, self._round_secs = start, seconds_before
    reads = reads_from(start, self.program, self._host_plan, source=self._source)
    with self._source.feeds(reads) as next_feed:
      while self._position.round_index < self.rounds:
        at, begin = self._position, time.perf_counter()
        # One round first, so that a person soon sees that it works, and how fast.
        at_most = 1 if at == start or halts_every_round else None
        if at_most is None:
          left = (number - at.round_index for number in halts_after)
          at_most = min((count for count in left if count > 0), default=None)
        work = self._next(at, at_most)
        feed = next_feed(bool(work.clock.num_steps > 0))
        fed = time.perf_counter()
        per_round = self._dispatch(work.clock, feed)
        del feed  # what is no longer used must not stay while the next one is made
        end = time.perf_counter()
        finished = self._finished(work, per_round, self._round_secs + end - begin)
        self._round_secs = 0.0 if finished else self._round_secs + end - begin
        self._position = work.after
        passes = self._passes(work.clock)
        yield Progress(work.after, finished, end - fed, passes=passes, waited_seconds=fed - begin)

  def _finished(
    self, work: _Dispatch, per_round: Sums, seconds: float
  ) -> tuple[FinishedRound, ...]:
    """Returns the rounds that a dispatch has ended, which took so many seconds together."""
    first = int(work.clock.first_round)
    return tuple(
      FinishedRound(
        first + index,
        jax.tree.map(lambda leaf, i=index: leaf[i], per_round),
        seconds / work.num_rounds,
      )
      for index in range(work.num_rounds)
    )

  def _dispatch(self, clock: Clock, feed: Feed) -> Sums:
    """Runs one dispatch; returns the sums after each of its rounds, on the host."""
    executable = self._executables[jax.tree.structure(feed)]
    self._snapshot, per_round = executable(*self.arguments(clock, feed))
    return fetch(self._layout, per_round)

  def _passes(self, clock: Clock) -> Passes:
    program = self.program
    rounds = slice(int(clock.first_round), int(clock.first_round + clock.num_rounds))
    num_evaluations = int(clock.evaluates) * int(np.sum(self._host_plan.evaluates[rounds]))
    evaluated = num_evaluations * min(program.evals_per_dispatch, self._num_evals)
    num_steps = int(clock.num_rounds * clock.num_steps)
    networks = 2 if program.optim.average else 1  # the average of the weights is one of its own
    size = networks * program.eval_batch_size
    return Passes(TRAINED * num_steps * program.trained_rows, evaluated * size)


def _clock(at: Position, num_rounds: int, num_steps: int, *, evaluates: bool) -> Clock:
  return Clock(
    first_round=np.int32(at.round_index),
    num_rounds=np.int32(num_rounds),
    first_step=np.int32(at.step),
    num_steps=np.int32(num_steps),
    first_eval=np.int32(at.eval_index),
    evaluates=np.bool_(evaluates),
  )
