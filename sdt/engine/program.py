"""What is static about the compiled programs: equal programs compile to the same executable."""

import dataclasses

from sdt.config.schema import OptimConfig
from sdt.config.toolbox.pipeline import Pipeline
from sdt.devices.layout import Layout, padded_batch_size
from sdt.types import Model


@dataclasses.dataclass(frozen=True, kw_only=True)
class PassProgram:
  """What every program needs that passes over examples.

  Attributes:
    model: the network.
    layout: over which devices a batch, or the replicas, are divided.
    crop_size: pixels a side of what the network sees; None for the whole image.
    replicas: how the replicas share the program, see `map_replicas`.
    eval_batch_size: examples per batch in evaluation mode, over all devices.
  """

  model: Model
  layout: Layout
  crop_size: int | None
  replicas: str
  eval_batch_size: int

  @property
  def padded_eval_batch_size(self) -> int:
    """`eval_batch_size`, up to a multiple of the devices that share a batch."""
    return padded_batch_size(self.eval_batch_size, self.layout)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingPassProgram(PassProgram):
  """What a program needs besides if it passes over batches in training mode.

  Attributes:
    augment: the operations on training images; strengths that are arguments are 0 here.
    batch_size: training examples per batch, over all devices.
    evals_per_dispatch: evaluation batches of one dispatch.
  """

  augment: Pipeline
  batch_size: int
  evals_per_dispatch: int

  @property
  def padded_train_batch_size(self) -> int:
    """`batch_size`, up to a multiple of the devices that share a batch."""
    return padded_batch_size(self.batch_size, self.layout)


@dataclasses.dataclass(frozen=True)
class Network:
  """What one optimiser step needs to know of the network.

  Attributes:
    model: the network.
    optim: the optimiser.
    axis_name: the device axis over which a batch is divided by hand (pmap), or None.
  """

  model: Model
  optim: OptimConfig
  axis_name: str | None = None


@dataclasses.dataclass(frozen=True)
class SemiProgram:
  """What is static about phases whose steps see unlabelled examples.

  Attributes:
    name: the regulariser that learns from them, of `SEMI` in sdt/engine/semi.py.
    num_unlabelled: m, of the set.
    batch_size: U, unlabelled examples of a step, over all devices.
    strong: the operations of the strong augmentation; None where the weak ones come twice.
  """

  name: str
  num_unlabelled: int
  batch_size: int
  strong: Pipeline | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Program(TrainingPassProgram):
  """Everything static about a training program.

  Attributes:
    optim: the optimiser.
    phase_sizes: examples of each phase of a round.
    phase_steps: optimiser steps of each phase of a round.
    rounds_per_dispatch: rounds of one dispatch; 1 where a dispatch is a part of a round.
    steps_per_dispatch: optimiser steps of one dispatch, within a round.
    regularisers: those with another value than the neutral one in any phase of the plan; no others
      are computed.
    num_phases: of the sums. The most that any arm of the run has, so that all checkpoints have the
      same structure.
    num_recorded: examples whose training dynamics are recorded: the whole training set, or 0.
    course_rounds: rounds of which their label's probability is kept; 0 where it is not.
    semi: None where no phase sees unlabelled examples.
    decays_by_round: whether the decays of the plan differ between rounds.
    by_part: the regularisers that differ between the examples of a mixed phase.
    teacher: the kind of teacher that phases have, of `TEACHERS` in sdt/engine/teacher.py, or None.
    trained_rows: images that a step trains on, on average over a round; a pass without gradient
      counts a third.
  """

  optim: OptimConfig
  phase_sizes: tuple[int, ...]
  phase_steps: tuple[int, ...]
  rounds_per_dispatch: int
  steps_per_dispatch: int
  regularisers: tuple[str, ...]
  num_phases: int
  num_recorded: int
  course_rounds: int = 0
  semi: SemiProgram | None = None
  decays_by_round: bool = False
  by_part: tuple[str, ...] = ()
  teacher: str | None = None
  trained_rows: int

  @property
  def steps_per_round(self) -> int:
    return sum(self.phase_steps)

  @property
  def mixing(self) -> str | None:
    """The operation that mixes the examples of a batch, or None."""
    return self.augment.mixing or ("mixup" if "mixup_alpha" in self.regularisers else None)

  @property
  def network(self) -> Network:
    return Network(self.model, self.optim, self.layout.axis_name)
