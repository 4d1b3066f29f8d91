"""The arms: every training of an experiment, as a named plan. The engine knows none of these names."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from sdt.arm_spec import ArmSpec, PhaseSpec, parse_own_arms, parse_phases
from sdt.config import Config
from sdt.config.schema import MethodConfig
from sdt.engine.plan import Phase, Plan
from sdt.errors import ConfigError
from sdt.inputs.order import num_batches
from sdt.scores.split import Partition, folds, random_scores, split


@dataclasses.dataclass(frozen=True)
class Setting:
  """What the arms of one run have in common.

  Attributes:
    labels: [N] int32 of the training set.
    example_ids: [N] int32.
    scores: [R, N] float, the ranking score each seed splits by; None before scoring, when only the baseline can be planned.
    partitions: per seed, by `split.policy`.
  """

  config: Config
  labels: np.ndarray
  example_ids: np.ndarray
  scores: np.ndarray | None = None
  partitions: tuple[Partition, ...] = ()

  @property
  def num_easy(self) -> int:
    """Size of A; 0 before there is one."""
    return len(self.partitions[0].easy) if self.partitions else 0

  def steps_of(self, num_examples: int) -> int:
    """Returns the optimiser steps of one pass over so many examples."""
    return num_batches(num_examples, self.config.batch_size)

  @property
  def steps_easy_rest(self) -> tuple[int, int]:
    """The optimiser steps of A and of B in a round of the method. B lasts as long as with the examples that are left out, if there are any:
    arms of equal work stay equal, and B's examples come round again for the difference.
    """
    return self.steps_of(self.num_easy), self.steps_of(len(self.labels) - self.num_easy)


# ---- subsets: [R, n] int32 positions


def _everything(setting: Setting) -> np.ndarray:
  return np.tile(np.arange(len(setting.labels), dtype=np.int32), (len(setting.config.seeds), 1))


def _half(setting: Setting) -> np.ndarray:
  orders = [np.argsort(random_scores(setting.example_ids, seed, "less_data"), kind="stable") for seed in setting.config.seeds]
  return np.stack([np.sort(order[: max(1, len(order) // 2)]) for order in orders]).astype(np.int32)


def _own(setting: Setting) -> tuple[Partition, ...]:
  return setting.partitions


def _random(setting: Setting) -> tuple[Partition, ...]:
  # Not split.policy "random": where the config asks for that, the method's own A is random, and this arm must draw another.
  draws = [random_scores(setting.example_ids, seed, "random_subset") for seed in setting.config.seeds]
  return _other_partitions(setting, draws, "top", class_balanced=setting.config.split.class_balanced)


def _matched(setting: Setting) -> tuple[Partition, ...]:
  """Returns random partitions in which A has the class counts of the seed's own A."""
  partitions = []
  for part, seed in zip(setting.partitions, setting.config.seeds, strict=True):
    draw = random_scores(setting.example_ids, seed, "class_matched_random")
    counts = np.bincount(setting.labels[part.easy], minlength=int(setting.labels.max()) + 1)
    own = np.union1d(part.easy, part.rest)
    is_easy = np.zeros(len(setting.labels), bool)
    for label, count in enumerate(counts):
      members = own[setting.labels[own] == label]
      is_easy[members[np.argsort(draw[members], kind="stable")][:count]] = True
    partitions.append(Partition(np.flatnonzero(is_easy).astype(np.int32), own[~is_easy[own]].astype(np.int32), 0, part.left_out))
  return tuple(partitions)


def _hardest(setting: Setting) -> tuple[Partition, ...]:
  scores = np.zeros((len(setting.config.seeds), len(setting.labels))) if setting.scores is None else setting.scores
  return _other_partitions(setting, scores, "bottom", class_balanced=setting.config.split.class_balanced)


def _other_partitions(setting: Setting, scores: Iterable[np.ndarray], policy: str, *, class_balanced: bool) -> tuple[Partition, ...]:
  """Returns the partitions of the same sizes by other scores [R, N] or another policy, without what the method leaves out."""
  size, cut = setting.num_easy, functools.partial(split, policy=policy, class_balanced=class_balanced)
  return tuple(
    cut(one, setting.labels, setting.example_ids, size, seed, left_out=part.left_out)
    for one, seed, part in zip(scores, setting.config.seeds, setting.partitions, strict=True)
  )


def _but_fold(setting: Setting, index: int) -> np.ndarray:
  """Returns everything but the fold of that index, counted from 0."""
  rows = [folds(setting.labels, setting.example_ids, setting.config.score.folds or 0, seed) for seed in setting.config.seeds]
  return np.stack([np.flatnonzero(row != index) for row in rows]).astype(np.int32)


_WHOLE: Mapping[str, Callable[[Setting], np.ndarray]] = {"all": _everything, "half": _half}
_PARTITIONS: Mapping[str, Callable[[Setting], tuple[Partition, ...]]] = {
  "": _own,
  "random": _random,
  "matched": _matched,
  "hardest": _hardest,
}


def _ids(setting: Setting, subset: str) -> np.ndarray:
  """Returns the positions [R, n] of a subset of `arm_spec.SUBSETS`."""
  if subset in _WHOLE:
    return _WHOLE[subset](setting)
  if match := re.fullmatch(r"but_fold(\d+)_all", subset):
    return _but_fold(setting, int(match[1]) - 1)
  kind, _, side = subset.rpartition("_")
  return np.stack([part.easy if side == "A" else part.rest for part in _PARTITIONS[kind](setting)])


# ---- decays: [R], or [R, num_steps]


def step_mean(steps_easy: int, steps_rest: int, method: MethodConfig) -> float:
  """Returns the decay that uniform training needs for the same sum over the optimiser steps of a round, of which A and B have so many.

  (T_A lambda_A + T_B lambda_B) / (T_A + T_B): to leading order in the decay the objective summed over a round is then the method's.
  """
  return (steps_easy * method.lambda_A + steps_rest * method.lambda_B) / (steps_easy + steps_rest)


def _scattered(setting: Setting, num_steps: int) -> np.ndarray:
  """Returns [R, num_steps]: lambda_A at T_A random places of the round, the same in every round, as the examples there are not."""
  method, rows = setting.config.method, []
  for seed in setting.config.seeds:
    places = np.argsort(random_scores(np.arange(num_steps), seed, "random_batches"), kind="stable")[: setting.steps_easy_rest[0]]
    row = np.full(num_steps, method.lambda_B)
    row[places] = method.lambda_A
    rows.append(row)
  return np.stack(rows)


def _lambda_tuned(config: Config) -> float:
  if config.method.lambda_tuned is None:
    raise ConfigError("method.lambda_tuned is missing: an arm at the tuned decay has none; give it, or candidates in select.weight_decay")
  return config.method.lambda_tuned


def _decay(setting: Setting, decay: str | float, num_steps: int) -> np.ndarray:
  """Returns the decay of a phase, a number or one of `arm_spec.DECAYS`."""
  if decay == "scattered":
    return _scattered(setting, num_steps)
  config = setting.config
  if isinstance(decay, str):
    named: Mapping[str, Callable[[], float]] = {
      "baseline": lambda: config.optim.weight_decay,
      "lambda_A": lambda: config.method.lambda_A,
      "lambda_B": lambda: config.method.lambda_B,
      "tuned": lambda: _lambda_tuned(config),
      "mean": lambda: step_mean(*setting.steps_easy_rest, config.method),
    }
    decay = named[decay]()
  return np.full(len(config.seeds), decay)


# ---- arms


def _arm(text: str, asks: str, *, start: str = "method", rounds_factor: int = 1, equal_work: bool = True) -> ArmSpec:
  return ArmSpec(parse_phases(text, "arm"), asks, start, rounds_factor, equal_work)


def _easy(regulariser: str, asks: str) -> ArmSpec:
  """Returns the arm that goes through A and B at one decay, as its control does, with one regulariser more on A."""
  return ArmSpec(parse_phases(f"A@baseline[{regulariser}] + B@baseline", "arm"), asks, control="alternate_only")


ARMS: Mapping[str, ArmSpec] = {
  "baseline": _arm("all@baseline", "the reference; its network scores", start="scratch"),
  "method": _arm("A@lambda_A + B@lambda_B", "the paper"),
  "alternate_mean": _arm("A@mean + B@mean", "does the placing of the decay matter?"),
  "uniform_mean": _arm("all@mean", "is it only more decay?"),
  "random_subset": _arm("random_A@lambda_A + random_B@lambda_B", "is the scoring needed?"),
  "alternate_only": _arm("A@baseline + B@baseline", "what does the grouping do alone?"),
  "uniform_tuned": _arm("all@tuned", "is it better than tuning one number?"),
  "class_matched_random": _arm("matched_A@lambda_A + matched_B@lambda_B", "easiness, or the balance of the classes?"),
  "hardest_subset": _arm("hardest_A@lambda_A + hardest_B@lambda_B", "the polarity"),
  "decay_steps_only": _arm("A@lambda_A[loss_weight=0] + B@lambda_B", "is the data of A needed?"),
  "drop_subset": _arm("B@lambda_B:round", "are the easy examples needed?"),
  "random_batches": _arm("all@scattered", "is the grouping by phase needed?"),
  "swap_order": _arm("B@lambda_B + A@lambda_A", "does it matter which part ends a round?"),
  "warm_start": _arm("A@lambda_A + B@lambda_B", "from the baseline's weights: as many rounds again", start="warm", equal_work=False),
  "long_baseline": _arm("all@baseline", "is it only more training?", start="scratch", rounds_factor=2, equal_work=False),
  "smooth_easy": _easy("label_smoothing", "smoothed labels on A alone?"),
  "augment_easy": _easy("augment_strength", "weaker augmentation on A alone?"),
  "mixup_easy": _easy("mixup_alpha", "mixup on A alone?"),
  "dropout_easy": _easy("dropout", "dropout on A alone?"),
  "depth_easy": _easy("stochastic_depth", "stochastic depth on A alone?"),
  "weight_easy": _easy("loss_weight", "a weaker loss on A alone?"),
  "floor_easy": _easy("loss_floor", "a floor under the loss on A alone?"),
  "less_data": _arm("half@baseline:all", "positive control: must be worse, or the experiment has no power", start="scratch"),
}
ARM_NAMES = tuple(ARMS)


def arm_specs(config: Config) -> dict[str, ArmSpec]:
  """Returns the arms that the config may name: the shipped ones and its own.

  Raises:
    ConfigError: an arm of `own_arms` is not in the language of sdt/arm_spec.py.
  """
  return {**ARMS, **parse_own_arms(config.own_arms, (*ARMS, *fold_arms(config)))}


def fold_arms(config: Config) -> tuple[str, ...]:
  """Returns the names of the trainings that `score.folds` asks for: fold_1, ...; none where no arm needs scores."""
  return tuple(f"fold_{number}" for number in range(1, (config.score.folds or 0) + 1)) if len(config.arms) > 1 else ()


def scoring_arms(config: Config) -> tuple[str, ...]:
  """Returns the trainings that come before the scores: the baseline, and those on all but a fold. The latter have no results."""
  return ("baseline", *fold_arms(config))


def trainings(config: Config) -> tuple[str, ...]:
  """Returns every training of a run in its order, which is also that of the checkpoints."""
  return (*scoring_arms(config), *arm_order(config.arms)[1:])


def _spec_of(arm: str, config: Config) -> ArmSpec:
  """Returns an arm of the config, or the training on all but a fold, which is the baseline's on fewer examples."""
  without = {
    name: ArmSpec((PhaseSpec(f"but_fold{number}_all", "baseline"),), "scores of what it has not seen", "scratch", 1, False)
    for number, name in enumerate(fold_arms(config), start=1)
  }
  return without[arm] if arm in without else arm_specs(config)[arm]


def _make_phase(setting: Setting, spec: PhaseSpec) -> Phase:
  ids = _ids(setting, spec.subset)
  is_rest = spec.subset not in _WHOLE and spec.name == "B"
  lengths: Mapping[str, Callable[[], int]] = {
    "pass": lambda: setting.steps_easy_rest[1] if is_rest else setting.steps_of(ids.shape[1]),
    "all": lambda: setting.steps_of(len(setting.labels)),
    "round": lambda: sum(setting.steps_easy_rest),
  }
  num_steps = lengths[spec.steps]()
  overrides = {name: getattr(setting.config.regularise, name) if value is None else value for name, value in spec.overrides}
  return Phase(spec.name, ids, num_steps, _decay(setting, spec.decay, num_steps), overrides)


def _named_apart(phases: Iterable[Phase]) -> tuple[Phase, ...]:
  """Returns the phases with names that differ: the second A of a round is A2."""
  named: list[Phase] = []
  for phase in phases:
    count = sum(other.name.rstrip("0123456789") == phase.name for other in named)
    named.append(phase if count == 0 else dataclasses.replace(phase, name=f"{phase.name}{count + 1}"))
  return tuple(named)


def make_plan(arm: str, setting: Setting) -> Plan:
  """Returns the plan of `arm`; all but the baseline need the setting's partitions.

  The method's controls start as the method does (`method.init`): a difference between them must not come from where they began. The
  baseline, and what is compared with it, start from scratch.
  """
  config, spec = setting.config, _spec_of(arm, setting.config)
  phases = _named_apart(_make_phase(setting, phase) for phase in spec.phases)
  if config.method.order == "hard_first":
    phases = phases[::-1]
  init = config.method.init if spec.start == "method" else spec.start
  return Plan(arm, phases, num_rounds_of(arm, config), init)


def num_rounds_of(arm: str, config: Config) -> int:
  """Returns how many rounds `arm` trains; where they are twice as many, each learning rate holds for twice as long."""
  return config.rounds * _spec_of(arm, config).rounds_factor


def check_equal_work(plans: Iterable[Plan], config: Config) -> None:
  """Raises a ConfigError where the rounds of two plans differ by more than one optimiser step: such a comparison would be unfair.

  Arms that do more by their nature (`warm_start`, `long_baseline`) are left out; they say so where their results stand.
  """
  specs = arm_specs(config)
  equal = sorted((plan for plan in plans if specs[plan.arm].equal_work), key=lambda plan: plan.steps_per_round)
  fewest, most = equal[0], equal[-1]
  if most.steps_per_round - fewest.steps_per_round > 1 or fewest.rounds != most.rounds:
    work = ", ".join(f"{plan.arm} {plan.rounds} rounds of {plan.steps_per_round}" for plan in (fewest, most))
    raise ConfigError(f"arms: unequal numbers of optimiser steps ({work}); rounds may differ by one step at most, leave one of the two out")


def arm_order(arms: tuple[str, ...]) -> tuple[str, ...]:
  """Returns the arms in the order of training: the baseline first, since its network scores the examples for the others."""
  return ("baseline", *(arm for arm in arms if arm != "baseline"))


def num_phases(config: Config) -> int:
  """Returns the most phases that a round of any of the arms has."""
  specs = arm_specs(config)
  return max(len(specs[arm].phases) for arm in config.arms)
