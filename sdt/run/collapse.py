"""Collapsed trainings: those that stay at chance, what the cause may be, and what helps."""

import dataclasses
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int, Shaped

from sdt.arms.class_shares import learned_counts
from sdt.config import Config
from sdt.config.schema import DISTIL
from sdt.data.dataset import Data
from sdt.engine.plan import Phase, Plan
from sdt.run.metrics import Row, diverged_seeds
from sdt.stats.chance import Chance, chance, effective_classes

# Collapsed is what stays at chance for this share of its rounds, and for no fewer rounds and steps
# than these: the first steps of every training are at chance by right.
_SHARE, _LEAST_ROUNDS, _LEAST_STEPS = 0.2, 3, 50
# A network that learns has a lower loss than this share of the loss of chance, also where nearly
# all examples are of one class, and its accuracy no higher than that of chance.
_SHARE_OF_LOSS = 0.95
# With these the loss of a network that learns stays high.
_KEEP_LOSS_UP = frozenset((*DISTIL, "label_smoothing", "mixup_alpha", "loss_floor"))
# A phase with less than this share of the training set's effective classes may be the cause.
_FEW = 0.75


@dataclasses.dataclass(frozen=True)
class Stuck:
  """A stretch of rounds that a seed spent at chance; `accuracy` is of the last one, in training."""

  first: int
  last: int
  accuracy: float


@dataclasses.dataclass(frozen=True)
class Collapse:
  """How a seed collapsed: in training, at the end on the test set, or both.

  Attributes:
    stuck: the rounds at chance in training; None if these were too few.
    ended_at_chance: whether the final network is at chance on the test set.
    fits_training_set: whether it was above chance in the last round of training.
  """

  stuck: Stuck | None
  ended_at_chance: bool
  fits_training_set: bool = False

  def to_dict(self) -> dict[str, Any]:
    """Returns it as results.json has it."""
    rounds = None if self.stuck is None else [self.stuck.first, self.stuck.last]
    return {"stuck_in_rounds": rounds, "ended_at_chance": self.ended_at_chance}


class Fitness(NamedTuple):
  """Which networks of an arm are of use.

  Attributes:
    diverged: seeds.
    collapsed: how, by seed; those that diverged are not among them.
    fit: seeds, see `fit_seeds`.
  """

  diverged: frozenset[int]
  collapsed: Mapping[int, Collapse]
  fit: Sequence[int]


def fit_seeds(
  seeds: Iterable[int],
  diverged: Collection[int],
  collapsed: Mapping[int, Collapse],
  *,
  by_training_alone: bool,
) -> list[int]:
  """Returns the seeds whose networks are fit for use: they neither diverged nor collapsed.

  `by_training_alone`: after a selection the test set has no say in any choice, so a collapse that
  only the test set tells does not count.
  """
  unfit = {seed for seed, one in collapsed.items() if one.stuck or not by_training_alone}
  return [seed for seed in seeds if seed not in unfit and seed not in diverged]


@dataclasses.dataclass(frozen=True)
class Cause:
  """What may have made an arm collapse, and what to try; both in words."""

  text: str
  cures: tuple[str, ...]

  def __str__(self) -> str:
    return f"likely cause: {self.text}; to try in a new --workdir: {', or '.join(self.cures)}"


def largest_phase(plan: Plan) -> Phase:
  """Returns the phase with the most examples: B, where there is A. By it a training is judged."""
  return max(plan.phases, key=lambda phase: phase.example_ids.shape[1])


def _counts(phase: Phase, labels: Int[np.ndarray, "N"], replica: int) -> Int[np.ndarray, "K"]:
  """Returns the examples of each class in a phase, as its regularisers let them count."""
  return np.rint(learned_counts(phase, labels)[replica]).astype(np.int64)


def effective_classes_of(plan: Plan, labels: Int[np.ndarray, "N"]) -> dict[str, float]:
  """Returns the effective number of classes of each phase, mean over the seeds."""
  seeds = range(plan.phases[0].example_ids.shape[0])
  return {
    phase.name: math.fsum(effective_classes(_counts(phase, labels, index)) for index in seeds)
    / len(seeds)
    for phase in plan.phases
  }


def stuck_seeds(
  rows: Sequence[Row], plan: Plan, labels: Int[np.ndarray, "N"], seeds: Sequence[int]
) -> dict[int, Stuck]:
  """Returns the seeds that stayed at chance for a fifth of the rounds of their arm, and when.

  Looked at are accuracy and loss in training, of the arm's largest phase, in rounds that have rows.

  Args:
    rows: of metrics.jsonl, of this arm and others.
    plan: of the arm.
    labels: [N] of the training set.
    seeds: of the run.
  """
  phase, found = largest_phase(plan), {}
  in_rounds = math.ceil(_LEAST_STEPS / max(1, phase.num_steps))
  least = max(_LEAST_ROUNDS, math.ceil(_SHARE * plan.rounds), in_rounds)
  for replica, seed in enumerate(seeds):
    level, first = chance(_counts(phase, labels, replica)), None
    for row in _rows_of(rows, plan, seed):
      if not _is_at_chance(row, level):
        if not _may_be_luck(row, level):
          first = None
        continue
      first = row["round"] if first is None else first
      if row["round"] - first + 1 >= least:
        found[seed] = Stuck(first, row["round"], row["train_accuracy"])
  return found


def _rows_of(rows: Iterable[Row], plan: Plan, seed: int) -> list[Row]:
  """Returns the rows of a seed in the arm's largest phase."""
  key = plan.arm, largest_phase(plan).name, seed
  return [row for row in rows if (row["arm"], row["phase"], row["seed"]) == key]


def collapsed_seeds(
  rows: Sequence[Row],
  plan: Plan,
  data: Data,
  *,
  seeds: Sequence[int],
  recalls: Float[np.ndarray, "R K"] | None = None,
) -> dict[int, Collapse]:
  """Returns the seeds of an arm that collapsed, and how; those that diverged are not among them.

  A few test examples cannot tell a weak network from one at chance. So a network *ended at chance*
  only if its accuracy on the test set may be chance and either the last round of training was at
  chance too, or so many examples show that what it learned is of no use there
  (`Chance.rules_out`).

  Args:
    rows: of metrics.jsonl, of this arm and others.
    plan: of the arm.
    data: for the labels of both splits.
    seeds: of the run.
    recalls: [R, K] of the final networks, the share of each class of the test set that is right.
  """
  if data.train.labels.ndim != 1:  # the labels are no classes
    return {}
  stuck = stuck_seeds(rows, plan, data.train.labels, seeds=seeds)
  lost = diverged_seeds(rows, plan.arm)
  level, found = chance(np.bincount(data.test.labels)), {}
  for index, seed in enumerate(seeds):
    own = _rows_of(rows, plan, seed)
    if not own or seed in lost:
      continue
    of_phase = chance(_counts(largest_phase(plan), data.train.labels, index))
    fits = not _is_at_chance(own[-1], of_phase)
    ended = _ended_at_chance(
      level,
      _final_accuracy(rows, plan.arm, seed),
      own[-1]["train_accuracy"] if fits else None,
      recalls=None if recalls is None else recalls[index],
    )
    if ended or seed in stuck:
      found[seed] = Collapse(stuck.get(seed), ended, fits)
  return found


def _final_accuracy(rows: Iterable[Row], arm: str, seed: int) -> float | None:
  """Returns the accuracy on the test set after the last round that has a row."""
  own = [row for row in rows if (row["arm"], row["seed"], row["last_phase"]) == (arm, seed, True)]
  return own[-1]["test_accuracy"] if own else None


def _ended_at_chance(
  level: Chance | None,
  accuracy: float | None,
  train_accuracy: float | None,
  recalls: Float[np.ndarray, "K"] | None,
) -> bool:
  """Returns whether a final network is at chance on the test set; see `collapsed_seeds`.

  Args:
    level: chance on the test set.
    accuracy: on the test set.
    train_accuracy: of the last round; None if that was at chance.
    recalls: [K] the accuracy by class.
  """
  if level is None or accuracy is None or not level.explains(accuracy, recalls):
    return False
  return train_accuracy is None or level.rules_out(accuracy, train_accuracy)


def _is_at_chance(row: Row, level: Chance | None) -> bool:
  """Returns whether a row tells of a training at chance; `level` is that of its phase."""
  accuracy, loss = row["train_accuracy"], row.get("train_loss")
  if level is None or accuracy is None or loss is None or row.get("diverged"):
    return False
  if level.accuracy > 0.5 and _KEEP_LOSS_UP & row.get("overrides", {}).keys():
    return False  # neither the accuracy nor the loss can tell
  return level.explains(accuracy) and bool(loss >= _SHARE_OF_LOSS * level.loss)


def _may_be_luck(row: Row, level: Chance | None) -> bool:
  """Returns whether a row is so little above chance that it ends no stretch of rounds at chance.

  Of many rounds at chance, some are above what a single one rarely exceeds.
  """
  near = None if level is None else dataclasses.replace(level, ceiling=level.lucky)
  return _is_at_chance(row, near)


def likely_cause(
  plan: Plan, labels: Int[np.ndarray, "N"], config: Config, *, fits_training_set: bool = False
) -> Cause:
  """Returns what may have made an arm collapse, and which keys may help.

  `fits_training_set`: it was never at chance in training, only on the test set.
  """
  if fits_training_set:
    return Cause(
      "the network fits the training set and not the test set: are the two of the same classes, "
      "with the same labels?",
      (
        "look at the images of both",
        f"--config.optim.learning_rate below {config.optim.learning_rate:g}",
      ),
    )
  whole, cures = effective_classes(np.bincount(labels)), []
  of_phases = effective_classes_of(plan, labels)
  poorest = min(of_phases, key=of_phases.__getitem__)
  if of_phases[poorest] < _FEW * whole:
    text = (
      f"{poorest} has {of_phases[poorest]:.1f} classes in effect, the training set {whole:.1f}: "
      "steps at a high rate on few classes can destroy a network"
    )
    if not config.split.class_balanced and config.split.policy != "threshold":
      cures.append("--config.split.class_balanced=True")
    if config.method.order == "easy_first" and len(plan.phases) > 1:
      cures.append("--config.method.order=hard_first (B first)")
  else:
    text = (
      "no phase lacks classes, so the learning rate may be too high, or "
      f"{config.rounds} rounds too few"
    )
    cures.append(f"--config.rounds above {config.rounds}")
  rate = config.optim.learning_rate
  return Cause(text, (*cures, f"--config.optim.learning_rate below {rate:g}"))


def collapse_in_words(arms: Mapping[str, Mapping[str, Any]]) -> str:
  """Returns which arms of results.json collapsed, why perhaps, and what to try; "" for none."""
  hit = {arm: entry for arm, entry in arms.items() if entry["collapsed"]}
  if not hit:
    return ""
  named = "; ".join(
    f"{arm}, {len(entry['collapsed'])} of {len(entry['accuracy'])} seeds "
    f"({', '.join(map(str, entry['collapsed']))})"
    for arm, entry in hit.items()
  )
  causes = {
    entry["collapse"]["likely_cause"]: ", or ".join(entry["collapse"]["cures"])
    for entry in hit.values()
  }
  reasons = " ".join(
    f"Likely cause: {cause}; to try in a new --workdir: {cures}." for cause, cures in causes.items()
  )
  return f"Collapsed to chance: {named}. {reasons}"


class Watch:
  """Tells of every seed of an arm that collapses, once and while it happens."""

  def __init__(
    self,
    plan: Plan,
    labels: Shaped[np.ndarray, "N ..."],
    config: Config,
    *,
    log: Callable[[str], None],
    earlier: Iterable[Row] = (),
  ):
    """Begins with the rows of an earlier start, whose news were told then."""
    self._plan, self._labels, self._config, self._log = plan, labels, config, log
    self._rows = [row for row in earlier if row["arm"] == plan.arm]
    self._told = set(self._stuck())

  def _stuck(self) -> Mapping[int, Stuck]:
    if self._labels.ndim != 1:  # the labels are no classes
      return {}
    return stuck_seeds(self._rows, self._plan, self._labels, seeds=self._config.seeds)

  def see(self, rows: Iterable[Row]) -> None:
    """Takes the rows of further rounds."""
    self._rows += rows
    for seed, stuck in self._stuck().items():
      if seed not in self._told:
        self._told.add(seed)
        self._log(
          f"collapsed: {self._plan.arm}, seed {seed}: in rounds {stuck.first} to {stuck.last} "
          f"training was no better than chance ({100 * stuck.accuracy:.2f} % right in phase "
          f"{largest_phase(self._plan).name}); "
          f"{likely_cause(self._plan, self._labels, self._config)}"
        )
