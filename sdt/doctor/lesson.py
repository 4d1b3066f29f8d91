"""Short trainings at constant rates, all by one compiled program of the engine."""

import dataclasses
import functools
from collections.abc import Mapping

import jax
import numpy as np
from jaxtyping import Int32

from sdt.arms.planning import make_plan, neutral_values
from sdt.arms.setting import Setting
from sdt.config import Config, search_space
from sdt.config.schema import MonitorConfig, ParallelConfig, StopConfig
from sdt.data.dataset import Data
from sdt.engine.optim import first_trained, numbers_of
from sdt.engine.plan import Plan, plan_arrays
from sdt.engine.state import Position, Snapshot, TrainState, zero_sums
from sdt.engine.trainer import FinishedRound, Trainer
from sdt.models.pretrained import Pretrained
from sdt.models.stages import frozen_modules
from sdt.run.programs import Setup
from sdt.run.search.trials import BASELINE, on_the_rest
from sdt.stats.learning_diagnosis import Course

STEPS = 10  # of a round
ROUNDS = 60  # at most
# So many rounds in a row without a mistake are 100 %: one alone may have missed some examples.
_PERFECT = 3
_MOST_TESTED = 1000
_ARM = "doctor"  # no arm of a run: nothing is recorded for scores
# What is off where a few batches are to be learnt by heart.
_OFF = (
  *("augment_strength", "class_balance", "dropout", "drop_connect", "label_smoothing"),
  *("loss_floor", "mixup_alpha", "stochastic_depth"),
)


@dataclasses.dataclass(frozen=True)
class Task:
  """What is learnt in one short training.

  Attributes:
    rate: the value of optim.learning_rate.
    rounds: at most, of `STEPS` steps each.
    positions: of the training examples that are learnt by heart, without decay and augmentation;
      None for the training of the config, on all.
    is_tested: whether the test set is evaluated at the end.
  """

  rate: float
  rounds: int
  positions: Int32[np.ndarray, "n"] | None = None
  is_tested: bool = False


def plain_config(config: Config) -> Config:
  """Returns the config of the baseline alone with its first seed: without scores and selection."""
  first = dataclasses.replace(search_space.without_selection(config), seeds=config.seeds[:1])
  own = on_the_rest(first, BASELINE, 1.0)
  parallel = dataclasses.replace(config.parallel, divide=ParallelConfig().divide)
  return dataclasses.replace(own, parallel=parallel, stop=StopConfig(), monitor=MonitorConfig())


class Lesson:
  """The trainer of the short trainings, compiled when the first one runs."""

  def __init__(self, config: Config, data: Data, pretrained: Pretrained | None):
    """Takes the config of `plain_config` and its data."""
    self._config, self._data = config, data
    few = np.unique(np.linspace(0, len(data.test) - 1, _MOST_TESTED).astype(np.int32))
    small = dataclasses.replace(data, test=data.test.take(few))
    self.setup = Setup.make(config, small, pretrained=pretrained)
    self.seconds, self.passes, self.compile_secs = 0.0, 0, 0.0

  @functools.cached_property
  def _baseline(self) -> Plan:
    plan = make_plan(BASELINE, Setting.of(self._config, self._data))
    (phase,) = plan.phases
    return Plan(_ARM, (dataclasses.replace(phase, num_steps=STEPS),), ROUNDS)

  @functools.cached_property
  def _scale(self) -> float:
    """What the schedule makes of optim.learning_rate at its highest."""
    highest = float(np.max(self.setup.learning_rates(self._baseline)))
    return highest / self._config.optim.learning_rate

  @functools.cached_property
  def _trainer(self) -> Trainer:
    """The trainer whose program has every regulariser that any of the short trainings needs."""
    (phase,) = self._baseline.phases
    neutral, off = neutral_values(self._config), self._turned_off(phase.overrides)
    own = {name: value for name, value in phase.overrides.items() if value != neutral[name]}
    overrides = {**phase.overrides, **off, **own}
    plan = dataclasses.replace(
      self._baseline, phases=(dataclasses.replace(phase, overrides=overrides),)
    )
    trainer = self.setup.trainer(plan)
    trainer.set_state(self._start)
    self.compile_secs = trainer.compile()
    return trainer

  def _turned_off(self, overrides: Mapping[str, float]) -> dict[str, float]:
    neutral = neutral_values(self._config)
    off = {name: 0.0 for name in _OFF if name in overrides}
    if self.setup.pipeline.calls:
      off["augment_strength"] = 0.0
    if neutral["dropout"]:
      off["dropout"] = 0.0
    return off

  @functools.cached_property
  def _start(self) -> Snapshot:
    sums = zero_sums(
      1,
      1,
      len(self.setup.layer_names),
      has_average=self._config.optim.average > 0,
      num_steps=STEPS,
    )
    return Snapshot(self.setup.fresh_start.state, sums)

  @property
  def start(self) -> TrainState:
    """The state before the first step, leaves [1, ...], on the host."""
    return self._start.state

  @property
  def frozen(self) -> frozenset[str]:
    """The modules of the network that the config does not train."""
    return frozen_modules(self.start.params, first_trained(self._config.optim))

  def learn(self, task: Task) -> tuple[Course, TrainState]:
    """Returns the course of a short training, and the state at its end [1, ...], on the host.

    A training by heart ends as soon as three rounds in a row had no mistake; any ends where a step
    was not finite.
    """
    trainer = self._trainer
    trainer.set_state(self._start)
    self._use(trainer, task)
    losses: list[float] = []
    shares: list[float] = []
    tested = None
    for progress in trainer.run(Position(), halts_every_round=True):
      self.seconds += progress.seconds
      self.passes += progress.passes.total
      for ended in progress.finished:
        losses += _losses(ended)
        shares.append(_share(ended))
        tested = _tested(ended) if task.is_tested and ended.index + 1 == task.rounds else None
      is_perfect = task.positions is not None and shares[-_PERFECT:] == [1.0] * _PERFECT
      if len(shares) >= task.rounds or is_perfect or len(losses) < STEPS * len(shares):
        break
    state = trainer.get_state().state
    diverged = len(losses) < STEPS * len(shares)
    course = Course(
      task.rate,
      tuple(losses),
      float(np.mean(shares[-_PERFECT:])) if shares and not diverged else 0.0,
      diverged=diverged,
      test_accuracy=tested,
      unmoved=self._unmoved(state),
    )
    return course, state

  def _use(self, trainer: Trainer, task: Task) -> None:
    """Gives the trainer the numbers of a task."""
    (phase,) = self._baseline.phases
    optim = numbers_of(self._config.optim)
    if task.positions is not None:
      optim |= {"l1": 0.0} if "l1" in optim else {}
      slots = np.resize(task.positions, phase.example_ids.shape[1]).astype(np.int32)
      phase = dataclasses.replace(
        phase,
        example_ids=slots[None],
        weight_decay=np.zeros(1),
        overrides={**phase.overrides, **self._turned_off(phase.overrides)},
      )
    neutral = neutral_values(self._config)
    every = task.rounds if task.is_tested else ROUNDS
    arrays = plan_arrays(
      dataclasses.replace(self._baseline, phases=(phase,)),
      self._config.seeds,
      np.full(ROUNDS, task.rate * self._scale),
      eval_every_rounds=every,
      regularisers={name: neutral[name] for name in trainer.program.regularisers},
      optim=optim,
    )
    trainer.use_plan(arrays)

  def _unmoved(self, state: TrainState) -> tuple[str, ...]:
    """Returns the names of the kernels that are as they were at the start and are not frozen."""
    before, after = (dict(kernels_of(one)) for one in (self.start, state))
    learn = (name for name in before if name.partition("/")[0] not in self.frozen)
    return tuple(name for name in learn if np.array_equal(before[name], after[name]))


def kernels_of(state: TrainState) -> list[tuple[str, np.ndarray]]:
  """Returns (name, value) of every kernel of the first replica."""
  leaves = jax.tree_util.tree_leaves_with_path(state.params)
  named = [
    ("/".join(str(entry.key) for entry in path), np.asarray(leaf[0])) for path, leaf in leaves
  ]
  return [(name.rpartition("/")[0], leaf) for name, leaf in named if name.endswith("/kernel")]


def _losses(ended: FinishedRound) -> list[float]:
  """Returns the mean loss of every step of a round that was made."""
  num_steps = int(ended.sums.num_steps[0, 0])
  return [float(loss) for loss in ended.sums.step_losses[0, :num_steps]]


def _share(ended: FinishedRound) -> float:
  sums = ended.sums
  return float(sums.train_correct[0, 0]) / max(1, int(sums.train_count[0, 0]))


def _tested(ended: FinishedRound) -> float | None:
  count = int(ended.sums.test_count[0])
  return float(ended.sums.test_correct[0]) / count if count else None
