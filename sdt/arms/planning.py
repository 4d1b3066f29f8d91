"""From an arm to its plan: which examples, how many steps, which weight decay."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from jaxtyping import Float

from sdt.arms.catalogue import num_rounds_of, spec_of
from sdt.arms.class_shares import by_class
from sdt.arms.language import PhaseSpec, parse_everywhere
from sdt.arms.setting import Setting
from sdt.arms.subsets import ids_of, is_whole, mixture_of
from sdt.config import Config
from sdt.config.schema import NEUTRAL, MethodConfig
from sdt.config.toolbox.pipeline import pipeline_of
from sdt.engine.plan import Phase, Plan
from sdt.engine.schedule import falling, rates_of_arm
from sdt.errors import ConfigError
from sdt.models.registry import own_dropout
from sdt.scores.split import random_scores


def step_mean(steps_easy: int, steps_rest: int, method: MethodConfig) -> float:
  """Returns the mean decay over the steps of a round: (T_A lambda_A + T_B lambda_B) / (T_A + T_B).

  Uniform training at this decay has, to leading order in the decay, the method's objective summed
  over a round.

  Args:
    steps_easy: T_A, optimiser steps of A in a round.
    steps_rest: T_B, those of B.
    method: has lambda_A and lambda_B.
  """
  return (steps_easy * method.lambda_A + steps_rest * method.lambda_B) / (steps_easy + steps_rest)


def _scattered(setting: Setting, num_steps: int) -> np.ndarray:
  """Returns [R, num_steps]: lambda_A at T_A random steps of the round, lambda_B at the others.

  The steps are the same in every round; their examples are not.
  """
  method, rows = setting.config.method, []
  for seed in setting.config.seeds:
    draw = random_scores(np.arange(num_steps), seed, "random_batches")
    row = np.full(num_steps, method.lambda_B)
    row[np.argsort(draw, kind="stable")[: setting.steps_easy_rest[0]]] = method.lambda_A
    rows.append(row)
  return np.stack(rows)


def _lambda_tuned(config: Config) -> float:
  if config.method.lambda_tuned is None:
    raise ConfigError(
      "method.lambda_tuned is missing, and an arm is at the tuned decay; give a number, or "
      "candidates in select.weight_decay"
    )
  return config.method.lambda_tuned


def _decay(setting: Setting, decay: str | float, num_steps: int) -> np.ndarray:
  """Returns the decay of a phase, [R] or [R, num_steps]; `decay` is a number or in `DECAYS`."""
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


def neutral_values(config: Config) -> dict[str, float]:
  """Returns what a phase has of each regulariser that neither it nor `everywhere` names.

  Of dropout and of the operations of `augment.ops` that is what the config says elsewhere.
  """
  strengths = pipeline_of(config.augment).strengths
  return {**NEUTRAL, "dropout": own_dropout(config.model), **strengths}


def _make_phase(setting: Setting, spec: PhaseSpec) -> Phase:
  ids, parts = mixture_of(setting, spec) if spec.parts else (ids_of(setting, spec.subset), None)
  is_rest = not is_whole(spec.subset) and spec.name == "B"
  lengths: Mapping[str, Callable[[], int]] = {
    "pass": lambda: setting.steps_easy_rest[1] if is_rest else setting.steps_of(ids.shape[1]),
    "all": lambda: setting.steps_of(len(setting.labels)),
    "round": lambda: sum(setting.steps_easy_rest),
  }
  num_steps = lengths[spec.steps]()
  overrides, by_part = _values(setting.config, spec)
  weight_decay = _decay(setting, spec.decay, num_steps)
  return Phase(
    spec.name,
    ids,
    num_steps,
    weight_decay=weight_decay,
    overrides=overrides,
    by_class=_of_classes(setting, ids, overrides),
    num_unlabelled=setting.num_unlabelled if spec.partner == "unlabelled" else 0,
    by_part=by_part,
    parts=parts,
  )


def values_of(config: Config, spec: PhaseSpec) -> list[dict[str, float]]:
  """Returns the values of all regularisers that a phase names, or `everywhere`, for each part."""
  everywhere, neutral = parse_everywhere(config.everywhere), neutral_values(config)
  each = [everywhere | leaf.values(config.regularise) for leaf in spec.leaves]
  names = dict.fromkeys(name for values in each for name in values)
  return [{name: one.get(name, neutral[name]) for name in names} for one in each]


def _values(
  config: Config, spec: PhaseSpec
) -> tuple[dict[str, float], dict[str, tuple[float, float]]]:
  """Returns the values that a phase has as a whole, and those that differ between its parts."""
  first, *others = values_of(config, spec)
  by_part = {
    name: (value, other[name])
    for other in others
    for name, value in first.items()
    if value != other[name]
  }
  return {name: value for name, value in first.items() if name not in by_part}, by_part


def _of_classes(
  setting: Setting, ids: np.ndarray, overrides: Mapping[str, float]
) -> dict[str, np.ndarray]:
  """Returns the numbers of the regularisers of the classes; none where labels are no classes."""
  if setting.labels.ndim != 1:
    return {}
  num_classes = setting.num_classes or int(setting.labels.max()) + 1
  return by_class(setting.labels[ids], num_classes, overrides)


def _named_apart(phases: Iterable[Phase]) -> tuple[Phase, ...]:
  """Returns the phases with distinct names: the second A of a round is A2."""
  named: list[Phase] = []
  for phase in phases:
    count = sum(other.name.rstrip("0123456789") == phase.name for other in named)
    name = phase.name if count == 0 else f"{phase.name}{count + 1}"
    named.append(dataclasses.replace(phase, name=name))
  return tuple(named)


def make_plan(arm: str, setting: Setting) -> Plan:
  """Returns the plan of `arm`; every arm but the baseline needs the setting's partitions.

  The method's controls start as the method does (`method.init`), so that no difference comes from
  the start. The baseline, and what is compared with it, start from scratch.
  """
  config, spec = setting.config, spec_of(arm, setting.config)
  phases = _named_apart(_make_phase(setting, phase) for phase in spec.phases)
  trends = [phase.trend for phase in spec.phases]
  if config.method.order == "hard_first":
    phases, trends = phases[::-1], trends[::-1]
  init = config.method.init if spec.start == "method" else spec.start
  plan = Plan(arm, phases, num_rounds_of(arm, config), init=init)
  return dataclasses.replace(plan, decay_factors=_factors(plan, trends, config))


_TRENDS: Mapping[str | None, Callable[[np.ndarray], np.ndarray]] = {
  None: np.ones_like,
  "falling": lambda falls: falls,
  "rising": lambda falls: 2.0 - falls,
}


def _factors(
  plan: Plan, trends: Sequence[str | None], config: Config
) -> Float[np.ndarray, "rounds P"] | None:
  """Returns what the decay of each phase is multiplied by in each round; None without a trend."""
  if not any(trends):
    return None
  rates = rates_of_arm(config, plan.rounds, plan.steps_per_round)
  ends = np.cumsum([phase.num_steps for phase in plan.phases])[:-1]
  # Each phase by the rates of its own steps: its sum of rate x decay stays what it is.
  of_phases = [rates] * len(trends) if rates.ndim == 1 else np.split(rates, ends, axis=1)
  return np.stack(
    [_TRENDS[trend](falling(own)) for trend, own in zip(trends, of_phases, strict=True)], axis=1
  )
