"""From a config and its data to programs: the choices that sdt makes by itself, the network, and
the trainers. It knows no files.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sdt.arms.catalogue import num_phases
from sdt.config import Config
from sdt.config.schema import NEUTRAL
from sdt.data.dataset import Data, Dataset, image_sizes
from sdt.devices import processes
from sdt.devices.layout import Layout, make_layout, padded_batch_size, place
from sdt.engine.dispatch_sizes import TRAINED, DispatchSizes, batches_within, choose_sizes
from sdt.engine.feed import NothingFed, Streamed
from sdt.engine.norms import layer_names
from sdt.engine.optim import init_opt_state
from sdt.engine.plan import Plan, plan_arrays
from sdt.engine.recalibrate import RecalibrateProgram, Recalibrator
from sdt.engine.scan import Program, Sums, zero_sums
from sdt.engine.schedule import learning_rates
from sdt.engine.score_pass import ScoreProgram, ScoreRunner
from sdt.engine.state import TrainState, init_state, state_shapes
from sdt.engine.trainer import Position, Trainer
from sdt.inputs.augment import output_size, shift_and_scale
from sdt.inputs.order import num_batches
from sdt.inputs.placement import Placement, choose_placement, most_batches
from sdt.inputs.stream import HostInputs
from sdt.losses import is_regression
from sdt.models import count_params, make_model
from sdt.models.pretrained import Pretrained
from sdt.models.registry import multiply_adds, variable_shapes
from sdt.scores.dynamics import Dynamics, no_dynamics

_GRADIENT_NUMBERS = 2**26  # of all the gradients of single examples that are computed together


def compute_dtype(config: Config) -> Any:
  """Returns the dtype of the network's arithmetic; weights, statistics, losses and scores are
  float32 in any case.
  """
  if config.precision == "auto":
    return jnp.dtype(jnp.float32 if jax.default_backend() == "cpu" else jnp.bfloat16)
  return jnp.dtype(config.precision)


def _replicas(config: Config, layout: Layout) -> str:
  """Returns how replicas share a program: on CPU one after the other, which compiles one step and
  is bit-equal to running each alone.
  """
  if len(config.seeds) == layout.replica_parts:  # one on each device
    return "unroll"
  if config.parallel.replicas == "auto":
    return "loop" if jax.default_backend() == "cpu" else "vmap"
  return config.parallel.replicas


def _batches_within(multiply_adds: float, total: int) -> int:
  """Returns how many batches a dispatch should run, see `batches_within`: on the first process's
  processors, for all processes.
  """
  return int(processes.agree(batches_within(multiply_adds, total)))


def input_shape(config: Config, data: Data) -> tuple[int, ...]:
  """Returns what the network sees of an example: (H, W, C), or (D,) of vectors."""
  shape = data.train.inputs.shape[1:]
  return shape if len(shape) == 1 else (*output_size(shape, config.data.crop_size), shape[2])


@dataclasses.dataclass(frozen=True)
class Resume:
  """Where to take a training up: its state, the sums of the round under way, its position, the
  seconds spent on that round.

  And its dynamics, where they are recorded; None stands for those before the first step too.
  """

  state: TrainState
  sums: Sums
  position: Position
  round_secs: float = 0.0
  dynamics: Dynamics | None = None


@dataclasses.dataclass(frozen=True)
class Setup:
  """What all programs of a run have in common.

  Attributes:
    device_data: the data set on the devices, an argument of every program; without inputs where
      these are streamed.
    placement: where the inputs live.
    choices: what the program chose by itself; sealed with the run and kept on resume. `dispatches`
      grows as arms are prepared.
    pretrained: the weights that a training from scratch begins with, where the config names a file
      of them.
  """

  config: Config
  data: Data
  layout: Layout
  model: Any
  device_data: Any
  placement: Placement
  choices: dict[str, Any]
  pretrained: Pretrained | None
  _trainers: dict[Program, Trainer] = dataclasses.field(default_factory=dict)

  @classmethod
  def make(
    cls,
    config: Config,
    data: Data,
    sealed_choices: dict[str, Any] | None = None,
    *,
    pretrained: Pretrained | None = None,
    is_abstract: bool = False,
  ) -> Setup:
    """Returns the setup, with the choices of an earlier start of the run where there was one; see
    `Layout` for an abstract one.

    `pretrained` is what `accept.load_weights` returned: a setup reads no files.
    """
    layout = make_layout(config.parallel, is_abstract=is_abstract)
    model = make_model(
      config.model,
      len(data.class_names),
      dtype=compute_dtype(config),
      axis_name=layout.axis_name,
      norm_groups=layout.batch_parts if config.parallel.batch_norm == "device" else 1,
    )
    where = choose_placement(
      config.data, data, layout, sealed=(sealed_choices or {}).get("placement")
    )
    arrays: dict[str, Any] = {}
    for split, dataset in (("train", data.train), ("test", data.test)):
      arrays |= {f"{split}_sizes": image_sizes(dataset), f"{split}_labels": dataset.labels}
      arrays |= {f"{split}_inputs": dataset.inputs} if where.name == "device" else {}
    shift, scale = shift_and_scale(data.mean, data.std, data.train.inputs.dtype)
    device_data = place(layout, arrays | {"shift": shift, "scale": scale})
    chosen = {
      "replicas": _replicas(config, layout),
      "precision": compute_dtype(config).name,
      "parallel_mode": layout.mode,
      "num_devices": layout.num_devices,
      "placement": where.name,
      "dispatches": {},
    }
    choices = (sealed_choices or chosen) | {"placement": where.name}
    return cls(config, data, layout, model, device_data, where, choices, pretrained)

  @property
  def is_streamed(self) -> bool:
    """Whether the inputs come with every dispatch."""
    return self.placement.name == "stream"

  @property
  def host_inputs(self) -> HostInputs | None:
    """The inputs that are streamed."""
    return HostInputs(self.data.train.inputs, self.data.test.inputs) if self.is_streamed else None

  @property
  def replicas_per_device(self) -> int:
    """How many of the seeds each device has."""
    return len(self.config.seeds) // self.layout.replica_parts

  @property
  def input_shape(self) -> tuple[int, ...]:
    return input_shape(self.config, self.data)

  @property
  def eval_batch_size(self) -> int:
    """Examples per scoring or evaluation batch, no more than there are."""
    return min(self.config.score.batch_size, max(len(self.data.train), len(self.data.test)))

  def _multiply_adds(self, batch_size: int) -> float:
    return float(multiply_adds(self.model, self.input_shape)) * batch_size * len(self.config.seeds)

  def _most_batches(self, batch_size: int, split: Dataset, replicas: int = 1) -> int:
    """Returns how many batches of a split one dispatch may be given: any number where they are on
    the devices.
    """
    return (
      most_batches(self.placement, batch_size * replicas, split.inputs)
      if self.is_streamed
      else num_batches(len(split), 1)
    )

  def _most_streamed(self) -> tuple[int, int] | None:
    """Returns how many steps, and how many evaluation batches, one dispatch may be given; None
    where inputs are not streamed.
    """
    if not self.is_streamed:
      return None
    steps = self._most_batches(self.config.batch_size, self.data.train, self.replicas_per_device)
    return steps, self._most_batches(self.eval_batch_size, self.data.test)

  def _dispatch_sizes(self, plan: Plan) -> DispatchSizes:
    """Returns how the arm is cut into dispatches: as sealed by an earlier start of the run, else as
    chosen now.

    An earlier start may have had its inputs on the devices: then its dispatches are cut to pieces
    that end wherever they ended.
    """
    dispatches, most = self.choices["dispatches"], self._most_streamed()
    sealed = dispatches.get(plan.arm)
    if sealed is not None and most is not None and sealed["steps"] < plan.steps_per_round:
      steps = next(
        steps
        for steps in range(min(most[0], sealed["steps"]), 0, -1)
        if sealed["steps"] % steps == 0
      )
      dispatches[plan.arm] = {"rounds": 1, "steps": steps, "evals": min(most[1], sealed["evals"])}
    elif (
      sealed is None or most is not None
    ):  # of whole rounds there is nothing to keep to: none of them ended in the middle of one
      sizes = choose_sizes(
        steps_per_round=plan.steps_per_round,
        evals_per_round=num_batches(
          len(self.data.test), padded_batch_size(self.eval_batch_size, self.layout)
        ),
        rounds=plan.rounds,
        step_multiply_adds=TRAINED * self._multiply_adds(self.config.batch_size),
        eval_multiply_adds=self._multiply_adds(self.eval_batch_size),
        steps=self.config.parallel.steps_per_dispatch,
        at_most=most,
      )
      dispatches[plan.arm] = dataclasses.asdict(sizes)
    dispatches[plan.arm] = processes.agree(
      dispatches[plan.arm]
    )  # they depend on this machine's processors and memory
    return DispatchSizes(**dispatches[plan.arm])

  def num_recorded(self, arm: str) -> int:
    """Returns of how many examples an arm records the training dynamics: the baseline of all, since
    they score them, another of none.
    """
    train = self.data.train
    has_any = self.config.score.dynamics and arm == "baseline" and not is_regression(train.labels)
    return len(train) if has_any else 0

  def learning_rates(self, plan: Plan) -> np.ndarray:
    """Returns the rate of every round of the plan; an arm of twice as many rounds holds each for
    twice as long.
    """
    times = max(1, plan.rounds // self.config.rounds)
    return np.repeat(learning_rates(self.config.optim, plan.rounds // times), times)

  def trainer(self, plan: Plan) -> Trainer:
    """Returns the trainer of a plan; arms whose plans have the same shapes get the same one, so
    that it is compiled once.
    """
    config, sizes = self.config, self._dispatch_sizes(plan)
    neutral = {**NEUTRAL, "dropout": config.model.dropout or NEUTRAL["dropout"]}
    program = Program(
      model=self.model,
      optim=config.optim,
      augment=config.augment,
      crop_size=config.data.crop_size,
      layout=self.layout,
      replicas=self.choices["replicas"],
      phase_sizes=tuple(phase.example_ids.shape[1] for phase in plan.phases),
      phase_steps=tuple(phase.num_steps for phase in plan.phases),
      batch_size=config.batch_size,
      eval_batch_size=self.eval_batch_size,
      rounds_per_dispatch=sizes.rounds,
      steps_per_dispatch=sizes.steps,
      evals_per_dispatch=sizes.evals,
      regularisers=plan.regularisers(neutral),
      num_phases=num_phases(config),
      num_recorded=self.num_recorded(plan.arm),
      is_streamed=self.is_streamed,
    )
    arrays = plan_arrays(
      plan,
      config.seeds,
      self.learning_rates(plan),
      eval_every_rounds=config.eval_every_rounds,
      neutral=neutral,
    )
    if program not in self._trainers:
      host = self.host_inputs
      feeder = NothingFed() if host is None else Streamed(program, host, len(config.seeds))
      self._trainers[program] = Trainer(
        program, self.device_data, plan.rounds, num_test=len(self.data.test), feeder=feeder
      )
    self._trainers[program].use_plan(arrays)
    return self._trainers[program]

  def score_program(self) -> ScoreProgram:
    """Returns the scoring program. It computes in float32 whatever the training does: neighbours in
    a ranking differ by little.
    """
    model = make_model(
      self.config.model,
      len(self.data.class_names),
      dtype=jnp.float32,
      axis_name=self.layout.axis_name,
    )
    total = num_batches(len(self.data.train), padded_batch_size(self.eval_batch_size, self.layout))
    passes, at_once = (
      (1.0 + TRAINED, self._gradients_at_once()) if self.config.score.grand else (1.0, 0)
    )
    most = min(total, self._most_batches(self.eval_batch_size, self.data.train))
    return ScoreProgram(
      model=model,
      layout=self.layout,
      crop_size=self.config.data.crop_size,
      replicas=self.choices["replicas"],
      batch_size=self.eval_batch_size,
      batches_per_dispatch=_batches_within(
        passes * self._multiply_adds(self.eval_batch_size), most
      ),
      is_streamed=self.is_streamed,
      gradients_at_once=at_once,
    )

  def scorer(self) -> ScoreRunner:
    """Returns what scores the training set under networks of this run."""
    return ScoreRunner(
      self.score_program(), self.device_data, len(self.data.train), host=self.host_inputs
    )

  def _gradients_at_once(self) -> int:
    """Returns of how many examples the gradients by all parameters, of all replicas that run side
    by side, are few enough.
    """
    together = 1 if self.choices["replicas"] == "loop" else self.replicas_per_device
    return max(
      1,
      min(
        self.eval_batch_size,
        _GRADIENT_NUMBERS // (together * count_params(self.model, self.input_shape)),
      ),
    )

  @functools.cached_property
  def recalibrator(self) -> Recalibrator:
    """The programs that take BatchNorm's statistics anew, of whole batches whatever the training
    does, and evaluate with them.
    """
    config, num_train, num_test = self.config, len(self.data.train), len(self.data.test)
    most = min(
      num_batches(num_train, config.batch_size),
      self._most_batches(config.batch_size, self.data.train),
    )
    most_evals = min(
      num_batches(num_test, self.eval_batch_size),
      self._most_batches(self.eval_batch_size, self.data.test),
    )
    program = RecalibrateProgram(
      model=self.model.clone(norm_groups=1),
      layout=self.layout,
      augment=config.augment,
      crop_size=config.data.crop_size,
      replicas=self.choices["replicas"],
      batch_size=config.batch_size,
      eval_batch_size=self.eval_batch_size,
      batches_per_dispatch=_batches_within(self._multiply_adds(config.batch_size), most),
      evals_per_dispatch=_batches_within(self._multiply_adds(self.eval_batch_size), most_evals),
      is_streamed=self.is_streamed,
    )
    return Recalibrator(
      program, self.device_data, num_train, num_test=num_test, host=self.host_inputs
    )

  @property
  def state_shapes(self) -> TrainState:
    """The shapes and dtypes of a state, leaves [R, ...]; nothing is drawn."""
    return state_shapes(
      self.model, self.config.optim, self.input_shape, num_replicas=len(self.config.seeds)
    )

  @functools.cached_property
  def fresh_start(self) -> Resume:
    """The start from drawn or pretrained weights, on the host; every arm begins with the same
    weights of a seed.
    """
    state = init_state(
      self.model,
      self.config.optim,
      self.input_shape,
      seeds=self.config.seeds,
      pretrained=self.pretrained,
    )
    return Resume(state, self.no_sums(), Position())

  def warm_start(self, trained: TrainState) -> Resume:
    """Returns the start from trained weights and statistics, with an empty momentum buffer and the
    clock at 0.
    """
    replicas = range(len(self.config.seeds))
    opt_states = [
      init_opt_state(
        self.config.optim, jax.tree.map(lambda leaf, r=replica: leaf[r], trained.params)
      )
      for replica in replicas
    ]
    opt_state = jax.tree.map(lambda *leaves: np.stack(leaves), *opt_states)
    state = TrainState(
      np.zeros_like(trained.step), trained.params, trained.batch_stats, opt_state=opt_state
    )
    return Resume(state, self.no_sums(), Position())

  @functools.cached_property
  def layer_names(self) -> tuple[str, ...]:
    """The names of the network's kernels, whose norms are measured."""
    return layer_names(variable_shapes(self.model, self.input_shape)["params"])

  def no_dynamics(self, arm: str) -> Dynamics | None:
    """Returns the dynamics of an arm before its first step; None where none are recorded."""
    num_recorded = self.num_recorded(arm)
    return no_dynamics(len(self.config.seeds), num_recorded) if num_recorded else None

  def no_sums(self, phases: int | None = None) -> Sums:
    """Returns empty sums, of so many phases or of the most that any of the run's arms has."""
    return zero_sums(
      len(self.config.seeds), phases or num_phases(self.config), len(self.layer_names)
    )
