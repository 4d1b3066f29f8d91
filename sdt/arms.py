"""The arms: every training of an experiment, as a named plan. The engine knows none of these names."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Iterable

import numpy as np

from sdt.config import Config
from sdt.data.batches import num_batches
from sdt.errors import ConfigError
from sdt.plan import Phase, Plan
from sdt.split import Partition, random_scores, split


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


def _steps(setting: Setting, num_examples: int) -> int:
  return num_batches(num_examples, setting.config.batch_size)


def _everything(setting: Setting, weight_decay: float) -> tuple[Phase, ...]:
  """One phase over the whole training set at one decay."""
  num_examples, num_replicas = len(setting.labels), len(setting.config.seeds)
  ids = np.tile(np.arange(num_examples, dtype=np.int32), (num_replicas, 1))
  return (Phase("all", ids, _steps(setting, num_examples), np.full(num_replicas, weight_decay)),)


def _alternate(setting: Setting, partitions: tuple[Partition, ...], decay_easy: float, decay_rest: float) -> tuple[Phase, ...]:
  """A and B in alternation, each at its decay, in the order of `method.order`."""
  phases = []
  for name, decay in (("A", decay_easy), ("B", decay_rest)):
    ids = np.stack([part.easy if name == "A" else part.rest for part in partitions])
    phases.append(Phase(name, ids, _steps(setting, ids.shape[1]), np.full(len(partitions), decay)))
  return tuple(phases if setting.config.method.order == "easy_first" else reversed(phases))


def _step_mean(setting: Setting) -> float:
  """Returns the decay that uniform training needs for the same sum over the optimiser steps of a round.

  (T_A lambda_A + T_B lambda_B) / (T_A + T_B): to leading order in the decay the objective summed over a round is then the method's.
  """
  method = setting.config.method
  num_easy = len(setting.partitions[0].easy)
  steps_easy, steps_rest = _steps(setting, num_easy), _steps(setting, len(setting.labels) - num_easy)
  return (steps_easy * method.lambda_A + steps_rest * method.lambda_B) / (steps_easy + steps_rest)


def _other_partitions(setting: Setting, scores: np.ndarray, policy: str) -> tuple[Partition, ...]:
  """Returns the partitions of the same sizes by other scores [R, N] or another policy."""
  config, size = setting.config, len(setting.partitions[0].easy)
  return tuple(
    split(one, setting.labels, setting.example_ids, size, seed, policy=policy, class_balanced=config.split.class_balanced)
    for one, seed in zip(scores, config.seeds, strict=True)
  )


def _baseline(setting: Setting) -> tuple[Phase, ...]:
  return _everything(setting, setting.config.optim.weight_decay)


def _method(setting: Setting) -> tuple[Phase, ...]:
  return _alternate(setting, setting.partitions, setting.config.method.lambda_A, setting.config.method.lambda_B)


def _uniform_mean(setting: Setting) -> tuple[Phase, ...]:
  return _everything(setting, _step_mean(setting))


def _alternate_mean(setting: Setting) -> tuple[Phase, ...]:
  return _alternate(setting, setting.partitions, _step_mean(setting), _step_mean(setting))


def _alternate_only(setting: Setting) -> tuple[Phase, ...]:
  return _alternate(setting, setting.partitions, setting.config.optim.weight_decay, setting.config.optim.weight_decay)


def _random_subset(setting: Setting) -> tuple[Phase, ...]:
  method = setting.config.method
  # Not split.policy "random": where the config asks for that, the method's own A is random, and this arm must draw another.
  draws = np.stack([random_scores(setting.example_ids, seed, "random_subset") for seed in setting.config.seeds])
  return _alternate(setting, _other_partitions(setting, draws, "top"), method.lambda_A, method.lambda_B)


def _hardest_subset(setting: Setting) -> tuple[Phase, ...]:
  method = setting.config.method
  scores = np.zeros((len(setting.config.seeds), len(setting.labels))) if setting.scores is None else setting.scores
  return _alternate(setting, _other_partitions(setting, scores, "bottom"), method.lambda_A, method.lambda_B)


def _less_data(setting: Setting) -> tuple[Phase, ...]:
  """The baseline on a random half of the training set, as many steps: it must come out worse, or the experiment has no power."""
  num_examples = len(setting.labels)
  orders = [np.argsort(random_scores(setting.example_ids, seed, "less_data"), kind="stable") for seed in setting.config.seeds]
  halves = [np.sort(order[: max(1, num_examples // 2)]) for order in orders]
  decay = np.full(len(halves), setting.config.optim.weight_decay)
  return (Phase("half", np.stack(halves).astype(np.int32), _steps(setting, num_examples), decay),)


_ARMS: dict[str, Callable[[Setting], tuple[Phase, ...]]] = {
  "baseline": _baseline,
  "method": _method,
  "alternate_mean": _alternate_mean,
  "uniform_mean": _uniform_mean,
  "random_subset": _random_subset,
  "alternate_only": _alternate_only,
  "hardest_subset": _hardest_subset,
  "less_data": _less_data,
}
ARM_NAMES = tuple(_ARMS)


def check_arms(arms: tuple[str, ...]) -> None:
  """Raises a ConfigError where an arm is unknown, or the baseline, whose network scores the examples for the others, is missing."""
  for arm in arms:
    if arm not in _ARMS:
      near = difflib.get_close_matches(arm, ARM_NAMES, n=1)
      hint = f"; did you mean {near[0]!r}?" if near else ""
      raise ConfigError(f"arms: {arm!r} is not an arm{hint} (arms: {', '.join(ARM_NAMES)})")
  if "baseline" not in arms:
    raise ConfigError("arms: 'baseline' is missing; its network scores the training examples for all others, add it")


def make_plan(arm: str, setting: Setting) -> Plan:
  """Returns the plan of `arm`; all but the baseline need the setting's partitions.

  The method's controls start as the method does (`method.init`): a difference between them must not come from where they began. The
  baseline and `less_data`, which is compared with it, start from scratch.
  """
  init = "scratch" if arm in ("baseline", "less_data") else setting.config.method.init
  return Plan(arm, _ARMS[arm](setting), setting.config.rounds, init)


def check_equal_work(plans: Iterable[Plan]) -> None:
  """Raises a ConfigError where the rounds of two plans differ by more than one optimiser step: such a comparison would be unfair."""
  plans = sorted(plans, key=lambda plan: plan.steps_per_round)
  fewest, most = plans[0], plans[-1]
  if most.steps_per_round - fewest.steps_per_round > 1 or fewest.rounds != most.rounds:
    work = ", ".join(f"{plan.arm} {plan.rounds} rounds of {plan.steps_per_round}" for plan in (fewest, most))
    raise ConfigError(f"arms: unequal numbers of optimiser steps ({work}); rounds may differ by one step at most, leave one of the two out")


def arm_order(arms: tuple[str, ...]) -> tuple[str, ...]:
  """Returns the arms in the order of training: the baseline first, since its network scores the examples for the others."""
  return ("baseline", *(arm for arm in arms if arm != "baseline"))


def num_phases(arms: tuple[str, ...]) -> int:
  """Returns the most phases that a round of any of the arms has."""
  return 1 if arms == ("baseline",) else 2
