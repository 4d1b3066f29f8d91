"""How long a run will take: its passes through the network, and the time that one takes here."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from contextlib import closing

import jax

from sdt.arms.catalogue import fold_arms, scoring_arms
from sdt.arms.distil_checks import teachers_of
from sdt.engine.dispatch_sizes import TRAINED, estimated_secs
from sdt.engine.optim import is_body_frozen
from sdt.engine.plan import Plan
from sdt.engine.state import Position
from sdt.engine.trainer import Progress, Trainer
from sdt.inputs.order import num_batches
from sdt.models.registry import multiply_adds
from sdt.run.programs import Setup
from sdt.run.rehearsal import rehearsal
from sdt.run.step_work import rows_of_step
from sdt.stages.ways import further_ways

# A trial runs dispatches for so long after the first; where the first alone took longer than the
# second number, it is the trial.
_TRIAL_SECS, _LONG_SECS = 1.5, 6.0
# The programs that score, recalibrate and evaluate compile in about a third of a training program's
# time each.
_OTHER_PROGRAMS = 1.0
SECS_AROUND = 8.0  # start, report and files; measured with two seeds on two cores


@dataclasses.dataclass(frozen=True)
class Pace:
  """How fast a machine is at one network.

  Attributes:
    pass_secs: of one example, once forward, through the networks of all seeds.
    compile_secs: of a training program; None where nothing was compiled.
  """

  pass_secs: float
  compile_secs: float | None = None


@dataclasses.dataclass(frozen=True)
class Forecast:
  """The seconds of a run: training, scoring, compiling, and the whole."""

  training: float
  scoring: float
  compiling: float
  num_programs: int

  @property
  def total(self) -> float:
    return self.training + self.scoring + self.compiling + SECS_AROUND


def guess_pace(setup: Setup) -> Pace:
  """Returns the pace by the multiply-adds alone: nothing is run. On CPUs it has been right to
  within a factor of 3.
  """
  products = float(multiply_adds(setup.model, setup.input_shape)) * len(setup.config.seeds)
  passes = TRAINED * setup.config.batch_size
  return Pace(estimated_secs(products * passes) / passes)


def measure_pace(setup: Setup, plan: Plan, compiled: Trainer, compile_secs: float) -> Pace:
  """Returns the pace of some dispatches of a plan, from fresh weights on; nothing of them is kept.

  Args:
    setup: with its data on the devices.
    plan: to train.
    compiled: a trainer of that plan with its program, of the same setup or of an abstract one.
    compile_secs: what compiling it took.
  """
  trainer = rehearsal(setup, plan)
  trainer.take_programs(compiled)
  trainer.set_state(setup.fresh_start)
  with closing(trainer.run(Position())) as running:
    trial = [next(running)]
  secs, at = _seconds(trial), trial[0].position
  if secs < _LONG_SECS and at.round_index < plan.rounds:
    # The first is slower than the rest. A dispatch may have many rounds, which nobody can
    # interrupt: no more than the trial needs.
    halt, trial = at.round_index + math.ceil(_TRIAL_SECS / max(secs, 1e-3)), []
    with closing(trainer.run(at, halts_after=(halt,))) as running:
      for progress in running:
        trial.append(progress)
        if _seconds(trial) >= _TRIAL_SECS or progress.position.round_index >= halt:
          break
  return Pace(_seconds(trial) / sum(progress.passes.total for progress in trial), compile_secs)


def _seconds(trial: Sequence[Progress]) -> float:
  return sum(progress.waited_seconds + progress.seconds for progress in trial)


def training_passes(setup: Setup, plans: Sequence[Plan]) -> int:
  """Returns the passes of each seed in which these plans train and evaluate."""
  config, size = setup.config, setup.eval_batch_size
  evaluation = num_batches(len(setup.data.test), size) * size

  def of_plan(plan: Plan) -> int:
    num_evaluations = math.ceil(plan.rounds / config.eval_every_rounds)
    return (
      plan.rounds * plan.steps_per_round * rows_of_step(plan, config) * TRAINED
      + num_evaluations * evaluation
    )

  return sum(map(of_plan, plans))


def scoring_passes(setup: Setup, has_baseline: bool) -> int:
  """Returns the passes of each seed that score the training set and predict the test set.

  The final networks are evaluated again with statistics of the whole training set.

  Args:
    setup: of the run.
    has_baseline: whether baseline and folds are taken over from another run, scored as they are.
  """
  config, num_train, num_test = setup.config, len(setup.data.train), len(setup.data.test)
  answers = 1 + sum(way.average.num_members for way in further_ways(config) if way.average)
  passes = len(config.arms) * num_test * answers
  if config.evaluate.prior_shift and setup.data.validation is not None:
    passes += len(config.arms) * len(setup.data.validation)
  if len(config.arms) > 1 and not has_baseline:
    passes += len(scoring_arms(config)) * num_train * (1 + TRAINED * config.score.grand)
  passes += len(teachers_of(config)["distil_classes"]) * num_train
  if jax.tree.leaves(setup.state_shapes.batch_stats) and not is_body_frozen(config.optim):
    passes += len(config.arms) * (num_train + num_test)
  return passes


def forecast(setup: Setup, plans: Sequence[Plan], pace: Pace, has_baseline: bool) -> Forecast:
  """Returns how long the run will take at this pace.

  Args:
    setup: of the run.
    plans: of every training, in the order of `trainings`.
    pace: of this machine.
    has_baseline: whether baseline and folds are taken over from another run.
  """
  trained = plans[1 + len(fold_arms(setup.config)) :] if has_baseline else plans
  num_programs = len({id(rehearsal(setup, plan)) for plan in trained})
  return Forecast(
    training=training_passes(setup, trained) * pace.pass_secs,
    scoring=scoring_passes(setup, has_baseline) * pace.pass_secs,
    compiling=(pace.compile_secs or 0.0) * (num_programs + _OTHER_PROGRAMS),
    num_programs=num_programs,
  )
