"""From a config and its data to programs: the network, the trainers and what sdt chooses by itself.

It touches no files.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from sdt.arms.catalogue import num_phases
from sdt.arms.planning import neutral_values
from sdt.config import Config
from sdt.config.toolbox.pipeline import Pipeline, pipeline_of
from sdt.data.dataset import Data
from sdt.devices.layout import Layout, make_layout, padded_batch_size
from sdt.engine.averages import Average
from sdt.engine.dispatch_sizes import TRAINED, DispatchSizes, RoundWork
from sdt.engine.norms import layer_names
from sdt.engine.optim import first_trained, numbers_of, static_part
from sdt.engine.plan import Plan, plan_arrays, with_parts
from sdt.engine.prediction_pass import PredictionProgram, Predictor
from sdt.engine.program import Program
from sdt.engine.recalibrate import RecalibrateProgram, Recalibrator
from sdt.engine.schedule import rates_of_arm
from sdt.engine.score_pass import ScoreProgram, ScoreRunner
from sdt.engine.state import (
  Snapshot,
  Sums,
  TrainState,
  init_state,
  start_state,
  state_shapes,
  zero_sums,
)
from sdt.engine.teacher import Teacher, teacher_of, with_teacher
from sdt.engine.trainer import Trainer
from sdt.inputs.augment import input_shape
from sdt.inputs.order import num_batches
from sdt.inputs.placement import Placement, choose_placement
from sdt.inputs.source import Source, make_source
from sdt.models import count_params, make_model
from sdt.models.pretrained import Pretrained
from sdt.models.registry import multiply_adds, variable_shapes
from sdt.run import recorded
from sdt.run.class_neighbours import class_neighbours
from sdt.run.dispatches import arm_sizes, batches_of_pass
from sdt.run.initial_weights import initial_weights
from sdt.run.semi_programs import semi_program, with_semi
from sdt.run.step_work import images_of_step, rows_of_step
from sdt.types import Model

_GRADIENT_NUMBERS = 2**26  # of all the gradients of single examples that are computed together
_PROBABILITIES = 2**24  # of all networks that one dispatch returns at most


def compute_dtype(config: Config) -> np.dtype:
  """Returns the dtype of the network's arithmetic.

  Weights, statistics, losses and scores are float32 in any case.
  """
  if config.precision == "auto":
    return jnp.dtype(jnp.float32 if jax.default_backend() == "cpu" else jnp.bfloat16)
  return jnp.dtype(config.precision)


def choose_replicas(config: Config, layout: Layout) -> str:
  """Returns how replicas share a program; see `map_replicas`.

  On CPU one after the other, which compiles one step and is bit-equal to running each alone.
  """
  if len(config.seeds) == layout.replica_parts:  # one on each device
    return "unroll"
  if config.parallel.replicas == "auto":
    return "loop" if jax.default_backend() == "cpu" else "vmap"
  return config.parallel.replicas


@dataclasses.dataclass(frozen=True)
class Setup:
  """What all programs of a run have in common.

  Attributes:
    source: the data set, ready for programs.
    placement: where the inputs are.
    choices: what sdt chose by itself; sealed with the run and kept on resume. `dispatches` grows as
      arms are prepared.
    pretrained: the weights that a training begins with, where the config names a file of them.
  """

  config: Config
  data: Data
  layout: Layout
  model: Model
  source: Source
  placement: Placement
  choices: dict[str, Any]
  pretrained: Pretrained | None
  _trainers: dict[tuple[Program, int], Trainer] = dataclasses.field(default_factory=dict)

  @classmethod
  def make(
    cls,
    config: Config,
    data: Data,
    sealed_choices: dict[str, Any] | None = None,
    *,
    pretrained: Pretrained | None = None,
    is_abstract: bool = False,
  ) -> "Setup":
    """Returns the setup, with the choices of an earlier start of the run where there was one.

    `pretrained` is what `load_inputs.load_weights` returned: a setup reads no files. See `Layout`
    for an abstract setup.
    """
    layout, dtype = make_layout(config.parallel, is_abstract=is_abstract), compute_dtype(config)
    model = make_model(
      config.model,
      len(data.class_names),
      dtype=dtype,
      axis_name=layout.axis_name,
      norm_groups=layout.batch_parts if config.parallel.batch_norm == "device" else 1,
    )
    sealed = sealed_choices or {}
    where = choose_placement(config.data, data, layout, sealed=sealed.get("placement"))
    near = class_neighbours(config, data, where, is_abstract=is_abstract)
    source = make_source(config.data, data, layout, placement=where, neighbours=near)
    chosen = {
      "replicas": choose_replicas(config, layout),
      "precision": dtype.name,
      "parallel_mode": layout.mode,
      "num_devices": layout.num_devices,
      "placement": where.name,
      "dispatches": {},
    }
    choices = (sealed_choices or chosen) | {"placement": where.name}
    return cls(config, data, layout, model, source, where, choices, pretrained)

  @property
  def replicas_per_device(self) -> int:
    """How many of the seeds each device has."""
    return len(self.config.seeds) // self.layout.replica_parts

  @property
  def pipeline(self) -> Pipeline:
    """The operations of the augmentation."""
    return pipeline_of(self.config.augment)

  @property
  def input_shape(self) -> tuple[int, ...]:
    return input_shape(self.config, self.data)

  @property
  def eval_batch_size(self) -> int:
    """Examples per scoring or evaluation batch, no more than there are."""
    return min(self.config.score.batch_size, max(len(self.data.train), len(self.data.test)))

  @property
  def _eval_batches(self) -> int:
    """Evaluation batches of the test set."""
    return num_batches(len(self.data.test), padded_batch_size(self.eval_batch_size, self.layout))

  def _multiply_adds(self, batch_size: int) -> float:
    return float(multiply_adds(self.model, self.input_shape)) * batch_size * len(self.config.seeds)

  def _dispatch_sizes(self, plan: Plan) -> DispatchSizes:
    """Returns how the arm is cut into dispatches; see `arm_sizes`."""
    config, source = self.config, self.source
    work = RoundWork(
      plan.steps_per_round,
      self._eval_batches,
      TRAINED * self._multiply_adds(rows_of_step(plan, config)),
      eval_multiply_adds=self._multiply_adds(self.eval_batch_size),
    )
    most = None
    if not source.runs_whole_rounds:
      size = images_of_step(plan, config) * self.replicas_per_device
      steps = source.most_batches("train", size)
      most = steps, source.most_batches("test", self.eval_batch_size)
    return arm_sizes(
      self.choices["dispatches"],
      plan,
      work,
      steps=config.parallel.steps_per_dispatch,
      most=most,
    )

  def learning_rates(self, plan: Plan) -> Float[np.ndarray, "rounds ..."]:
    """Returns the rate of every round, [rounds], or of every step, [rounds, steps].

    An arm of twice as many rounds has a schedule that is twice as slow.
    """
    return rates_of_arm(self.config, plan.rounds, plan.steps_per_round)

  def trainer(self, plan: Plan, teacher: Teacher | None = None) -> Trainer:
    """Returns the trainer of a plan with its teacher, compiled once for plans of equal shapes."""
    config, neutral = self.config, neutral_values(self.config)
    regularisers = plan.regularisers(neutral, self.pipeline.traced)
    program = self._program(plan, regularisers)
    key = program, plan.rounds  # the numbers of the rounds are arguments of the program too
    if key not in self._trainers:
      self._trainers[key] = Trainer(program, self.source, plan.rounds)
    trainer, rates = self._trainers[key], self.learning_rates(plan)
    every = config.eval_every_rounds
    arrays = plan_arrays(
      plan,
      config.seeds,
      rates,
      eval_every_rounds=every,
      regularisers={name: neutral[name] for name in regularisers},
      optim=numbers_of(config.optim),
    )
    arrays = with_teacher(with_parts(arrays, plan, len(self.data.train)), plan, teacher)
    keeps = recorded.records(config, self.data, plan.arm)
    trainer.use_plan(with_semi(arrays, plan, config), keeps_dynamics=keeps)
    return trainer

  def _program(self, plan: Plan, regularisers: tuple[str, ...]) -> Program:
    config, sizes = self.config, self._dispatch_sizes(plan)
    return Program(
      model=self.model,
      optim=static_part(config.optim),
      augment=self.pipeline.without_traced,
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
      regularisers=regularisers,
      num_phases=num_phases(config),
      num_recorded=recorded.num_carried(config, self.data, plan),
      course_rounds=recorded.course_rounds(config, plan.arm),
      semi=semi_program(plan, config),
      decays_by_round=plan.decay_factors is not None,
      by_part=plan.by_part,
      teacher=teacher_of(plan),
      trained_rows=rows_of_step(plan, config),
    )

  def score_program(self) -> ScoreProgram:
    """Returns the scoring program.

    It computes in float32 whatever the training does: neighbours in a ranking differ by little.
    """
    size, num_train = self.eval_batch_size, len(self.data.train)
    model = make_model(
      self.config.model,
      len(self.data.class_names),
      dtype=jnp.float32,
      axis_name=self.layout.axis_name,
    )
    has_grand = self.config.score.grand
    passes, at_once = (1.0 + TRAINED, self._gradients_at_once()) if has_grand else (1.0, 0)
    total = num_batches(num_train, padded_batch_size(size, self.layout))
    most = min(total, self.source.most_batches("train", size))
    return ScoreProgram(
      model=model,
      layout=self.layout,
      crop_size=self.config.data.crop_size,
      replicas=self.choices["replicas"],
      eval_batch_size=size,
      batches_per_dispatch=batches_of_pass(passes * self._multiply_adds(size), most),
      gradients_at_once=at_once,
      has_probabilities=self.config.score.has_probabilities,
    )

  def scorer(self) -> ScoreRunner:
    """Returns what scores the training set under networks of this run."""
    return ScoreRunner(self.score_program(), self.source)

  def predictor(self, dtype: str, average: Average | None = None) -> Predictor:
    """Returns what asks networks of this run about the test set, in the evaluation's arithmetic.

    `dtype` is that of the probabilities; `average` as of `PredictionProgram`.
    """
    return self._predictor(self.source, dtype, average)

  @functools.cached_property
  def validation_predictor(self) -> Predictor:
    """The same about the validation split, the final networks alone."""
    return self._predictor(self._validation_source, "float32", None)

  def _predictor(self, source: Source, dtype: str, average: Average | None) -> Predictor:
    passes = 1 if average is None else average.num_members
    size = self.eval_batch_size
    numbers = size * len(self.config.seeds) * len(self.data.class_names)
    batches = num_batches(source.num_test, padded_batch_size(size, self.layout))
    most = min(batches, source.most_batches("test", size), _PROBABILITIES // numbers)
    program = PredictionProgram(
      model=self.model,
      layout=self.layout,
      crop_size=self.config.data.crop_size,
      replicas=self.choices["replicas"],
      eval_batch_size=size,
      batches_per_dispatch=batches_of_pass(passes * self._multiply_adds(size), max(1, most)),
      dtype=dtype,
      average=average,
    )
    return Predictor(program, source)

  def _gradients_at_once(self) -> int:
    """Returns of how many examples the gradients, of all replicas side by side, fit together."""
    together = 1 if self.choices["replicas"] == "loop" else self.replicas_per_device
    numbers = together * count_params(self.model, self.input_shape)
    return max(1, min(self.eval_batch_size, _GRADIENT_NUMBERS // numbers))

  @functools.cached_property
  def recalibrator(self) -> Recalibrator:
    """The programs that take BatchNorm's statistics anew and evaluate with them.

    The statistics are those of whole batches, whatever the training does.
    """
    return self._recalibrator(self.source)

  @functools.cached_property
  def validator(self) -> Recalibrator:
    """The same for the validation split alone, of which only the evaluation is used."""
    return self._recalibrator(self._validation_source)

  @functools.cached_property
  def _validation_source(self) -> Source:
    """The validation split in the place of both others."""
    if (held_out := self.data.validation) is None:
      raise ValueError("these data have no validation split")
    data = dataclasses.replace(self.data, train=held_out, test=held_out)
    return make_source(self.config.data, data, self.layout, placement=self.placement)

  def _recalibrator(self, source: Source) -> Recalibrator:
    config, eval_size = self.config, min(self.eval_batch_size, source.num_test)
    total = num_batches(source.num_train, config.batch_size)
    total_evals = num_batches(source.num_test, eval_size)
    most = min(total, source.most_batches("train", config.batch_size))
    most_evals = min(total_evals, source.most_batches("test", eval_size))
    program = RecalibrateProgram(
      model=self.model.clone(norm_groups=1),
      layout=self.layout,
      augment=self.pipeline,
      crop_size=config.data.crop_size,
      replicas=self.choices["replicas"],
      batch_size=config.batch_size,
      eval_batch_size=eval_size,
      batches_per_dispatch=batches_of_pass(self._multiply_adds(config.batch_size), most),
      evals_per_dispatch=batches_of_pass(self._multiply_adds(eval_size), most_evals),
      train_from=first_trained(config.optim),
    )
    return Recalibrator(program, source)

  @property
  def state_shapes(self) -> TrainState:
    """The shapes and dtypes of a state, leaves [R, ...]; nothing is drawn."""
    replicas = len(self.config.seeds)
    return state_shapes(self.model, self.config.optim, self.input_shape, num_replicas=replicas)

  @functools.cached_property
  def fresh_start(self) -> Snapshot:
    """The start from drawn or pretrained weights, on the host.

    Every arm begins with the same weights of a seed.
    """
    weights = initial_weights(
      self.config,
      self.data,
      self.model,
      input_shape=self.input_shape,
      pretrained=self.pretrained,
    )
    return Snapshot(init_state(weights, self.config.optim), self.no_sums())

  def warm_start(self, trained: TrainState) -> Snapshot:
    """Returns the start from trained weights and statistics, with an empty momentum buffer."""
    state = start_state(self.config.optim, trained.params, trained.batch_stats)
    return Snapshot(state, self.no_sums())

  @functools.cached_property
  def layer_names(self) -> tuple[str, ...]:
    """The names of the network's kernels, whose norms are measured."""
    return layer_names(variable_shapes(self.model, self.input_shape)["params"])

  def no_sums(self, phases: int | None = None) -> Sums:
    """Returns empty sums, of so many phases or of the most that any of the run's arms has."""
    phases = phases or num_phases(self.config)
    most = num_batches(len(self.data.train), self.config.batch_size) + 1  # steps of a phase
    return zero_sums(
      len(self.config.seeds),
      phases,
      len(self.layer_names),
      has_average=self.config.optim.average > 0,
      has_guesses=self.config.data.labelled is not None,
      num_steps=phases * most if self.config.monitor.steps else None,
    )
