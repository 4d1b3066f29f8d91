"""What the plans of a run let it show, told before it trains: its decay, and its last batches."""

import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from sdt.arms.catalogue import ARMS, arm_specs
from sdt.arms.language import parse_everywhere
from sdt.arms.planning import neutral_values
from sdt.config import Config
from sdt.config.schema import OptimConfig
from sdt.config.toolbox.operation_blocks import MIXING, strength_of
from sdt.config.toolbox.training_blocks import FULL_BATCH
from sdt.engine.plan import Phase, Plan
from sdt.engine.schedule import rates_of_arm
from sdt.errors import ConfigError
from sdt.inputs.order import num_batches

# Below one time constant a weight without a gradient keeps more than a third of its size. Where the
# line is drawn is a rule of thumb, as are the two numbers below.
_LEAST_CONSTANTS = 1.0
# A batch below this share of the batch size is a noisy step at the full rate.
_SMALL = 0.25
# The smallest batches of two arms may differ by this factor.
_UNLIKE = 2.0
# A batch size fits where the last batch of every phase is at least this full.
_FULL = 0.9
_MOST_TOLD = 3
# A network that is right on fewer of its training examples has not learned them, or cannot.
_FITS = 0.9
# With these, training accuracy is that of inputs or networks that evaluation does not see.
_BLURRING = {
  *(strength_of(name) for name in MIXING),
  *("dropout", "drop_connect", "stochastic_depth"),
}

type Rates = Float[np.ndarray, "rounds ..."]


class ArmDesign(NamedTuple):
  """What is known of an arm before it trains.

  Attributes:
    arm: its name.
    decay_constants: how many time constants the decay of the weights runs for; None where the
      optimiser rescales the decay, see `decay_constants`.
    smallest_batch: the fewest examples in an optimiser step.
  """

  arm: str
  decay_constants: float | None
  smallest_batch: int

  def __str__(self) -> str:
    words = [f"smallest batch {self.smallest_batch}"]
    if self.decay_constants is not None:
      words.append(f"decay {self.decay_constants:.3g} time constants")
    return ", ".join(words)


def of_arms(plans: Iterable[Plan], config: Config) -> tuple[ArmDesign, ...]:
  """Returns the design of every plan."""
  return tuple(
    ArmDesign(
      plan.arm,
      decay_constants(plan, config.optim, rates_of_arm(config, plan.rounds, plan.steps_per_round)),
      min(smallest_batch(phase, config.batch_size) for phase in plan.phases),
    )
    for plan in plans
  )


def compared(plans: Iterable[Plan], config: Config) -> list[Plan]:
  """Returns the plans of the arms that are compared: not those that train for the scores alone."""
  return [plan for plan in plans if plan.arm in config.arms]


def decay_constants(plan: Plan, optim: OptimConfig, rates: Rates) -> float | None:
  """Returns the sum over all steps of rate x decay / (1 - momentum), mean over the seeds.

  Without gradients the weights shrink to exp(-that) of their size: it is the length of the training
  in time constants of the decay. A decoupled decay does not pass through the momentum, so nothing
  is divided; a penalty counts twice. None for optimisers that divide a coupled decay by the size of
  the gradients: there is no such constant.

  That is the sum of all planned rounds; a seed that stops early has less.

  Source: Li, Lyu and Arora 2020, "Reconciling modern deep learning with traditional optimization
  analyses", the intrinsic rate; Wang and Aitchison 2024, "How to set AdamW's weight decay".

  Args:
    plan: of the arm.
    optim: of the run; the rate is that of the body, or of the head alone where the body is frozen.
    rates: of every round, [rounds], or of every step, [rounds, steps].
  """
  if not _is_decoupled(optim) and optim.name != "sgd":
    return None
  factor = (optim.body_rate_factor or 1.0) * (2.0 if optim.decay_form == "penalty" else 1.0)
  if not _is_decoupled(optim):
    factor /= 1.0 - optim.momentum
  of_rounds = rates.reshape(len(rates), -1).astype(np.float64)
  return factor * float(np.sum(of_rounds * _decays(plan)))


def _is_decoupled(optim: OptimConfig) -> bool:
  return optim.decay_form == "decoupled" or optim.name == "adamw"


def formula(optim: OptimConfig) -> str:
  """Returns in words what `decay_constants` sums over the steps."""
  if _is_decoupled(optim):
    return "rate x decay"
  return f"{'2 x ' * (optim.decay_form == 'penalty')}rate x decay / (1 - momentum)"


def _decays(plan: Plan) -> Float[np.ndarray, "rounds S"]:
  """Returns the decay of every step of every round, mean over the seeds."""
  means = [np.asarray(phase.weight_decay, np.float64).mean(axis=0) for phase in plan.phases]
  factors = np.stack([plan.factors_of(index) for index in range(plan.rounds)])
  of_phases = [
    factors[:, place, None] * np.broadcast_to(mean, (phase.num_steps,))
    for place, (phase, mean) in enumerate(zip(plan.phases, means, strict=True))
  ]
  return np.concatenate(of_phases, axis=1)


def smallest_batch(phase: Phase, batch_size: int) -> int:
  """Returns the fewest examples in a step of a phase: of its last batch, if it comes to it."""
  size = phase.example_ids.shape[1]
  whole = phase.num_steps >= num_batches(size, batch_size)
  return _last_batch(size, batch_size) if whole else batch_size


def _last_batch(size: int, batch_size: int) -> int:
  return size % batch_size or min(size, batch_size)


def fitting_batch_sizes(plans: Iterable[Plan], near: int, num: int = _MOST_TOLD) -> list[int]:
  """Returns the batch sizes nearest to `near`, from a half to twice it, that fit all phases.

  Such a size divides the examples of every phase, or leaves a last batch that is nine tenths full.
  Nearest first, by their ratio; the smaller of two that are equally near.
  """
  fullness = _fullness(plans)
  return [one for one in _candidates(plans, near) if fullness(one) >= _FULL][:num]


def _sizes(plans: Iterable[Plan]) -> set[int]:
  """Returns the numbers of examples of all phases."""
  return {phase.example_ids.shape[1] for plan in plans for phase in plan.phases}


def _candidates(plans: Iterable[Plan], near: int) -> list[int]:
  """Returns the batch sizes from a half of `near` to twice it, nearest first, by their ratio."""
  largest = max(1, min(2 * near, max(_sizes(plans), default=1)))
  smallest = min(max(1, math.ceil(near / 2)), largest)
  sizes = range(smallest, largest + 1)
  return sorted(sizes, key=lambda one: (abs(math.log(one / near)), one))


def _fullness(plans: Iterable[Plan]) -> Callable[[int], float]:
  """Returns the function from a batch size to how full the smallest last batch is, in (0, 1]."""
  sizes = _sizes(plans)
  return lambda one: min((_last_batch(size, one) / one for size in sizes), default=1.0)


def fitted(config: Config, plans: Sequence[Plan]) -> tuple[Config, str]:
  """Returns the config at the batch size nearest to its own that fits all parts, and what to tell.

  Where none from a half to twice it fits, the one whose smallest last batch is fullest.

  Args:
    config: of a run whose `fit_batch` is on; that of the result is not.
    plans: of its arms.
  """
  near, plans = config.batch_size, compared(plans, config) or plans
  fit, fullness = fitting_batch_sizes(plans, near, 1), _fullness(plans)
  size = fit[0] if fit else max(_candidates(plans, near), key=fullness)
  how = f"the nearest to {near} for the sizes of all parts"
  if not fit:
    how = (
      f"no number from a half to twice {near} fits all parts; at this one the smallest last batch "
      f"is fullest, {100 * fullness(size):.0f} %"
    )
  note = f"batch_size=auto: {size}, {how}"
  return dataclasses.replace(config, batch_size=size, fit_batch=False), note


def warnings_of(
  designs: Sequence[ArmDesign], plans: Sequence[Plan], config: Config
) -> tuple[str, ...]:
  """Returns what the plans of a run will keep it from showing, a sentence each without its stop."""
  return (*_of_decay(designs, plans, config), *_of_batches(designs, plans, config))


def underfit_warning(train_accuracy: float | None, config: Config) -> str | None:
  """Returns what a baseline that does not fit its training set keeps a run from showing.

  Returns None where it fits, and where the accuracy in training does not tell: with mixed inputs,
  and with networks that drop values.

  Args:
    train_accuracy: in [0, 1], of the last round or of the best; None if not known.
    config: of the run.
  """
  values = neutral_values(config) | parse_everywhere(config.everywhere)
  is_blurred = any(values.get(name) for name in _BLURRING)
  if train_accuracy is None or train_accuracy >= _FITS or is_blurred:
    return None
  return (
    f"the baseline is right on {100 * train_accuracy:.0f} % of its training examples at the end: "
    "it is underfit, or many labels are wrong. Arms may then differ in how fast they learn, "
    "and not in what a regulariser does to a network that fits; more rounds, a larger network or "
    "weaker augmentation help"
  )


def _of_decay(designs: Sequence[ArmDesign], plans: Sequence[Plan], config: Config) -> list[str]:
  """Returns a sentence where two arms have different decays, and both run for too short a time."""
  decays = {plan.arm: tuple(np.unique(np.round(_decays(plan), 12)).tolist()) for plan in plans}
  known = {one.arm: one.decay_constants for one in designs if one.decay_constants is not None}
  short = {arm: value for arm, value in known.items() if value < _LEAST_CONSTANTS}
  if len({decays[arm] for arm in short}) < 2:
    return []
  most = max(short, key=short.__getitem__)
  lost = -100 * math.expm1(-short[most])
  return [
    f"what weight decay does can hardly be seen in {', '.join(short)}: {formula(config.optim)}, "
    f"summed over the steps, is {short[most]:.2g} at most (arm {most}), so that a weight without a "
    f"gradient loses {lost:.2g} % of its size; more rounds, a higher learning rate or a stronger "
    "decay change that"
  ]


def _of_batches(designs: Sequence[ArmDesign], plans: Sequence[Plan], config: Config) -> list[str]:
  if config.optim.name in FULL_BATCH or not designs:
    return []
  least = min(designs, key=lambda one: one.smallest_batch)
  most = max(designs, key=lambda one: one.smallest_batch)
  if most.smallest_batch > _UNLIKE * least.smallest_batch:
    found = (
      f"the smallest batch of a round is {least.smallest_batch} in arm {least.arm} and "
      f"{most.smallest_batch} in arm {most.arm}, at batch_size={config.batch_size}: a step on few "
      "examples at the full rate is noise, and these arms differ by it too"
    )
  elif least.smallest_batch < _SMALL * config.batch_size:
    found = (
      f"the smallest batch of a round has {least.smallest_batch} examples (arm {least.arm}) at "
      f"batch_size={config.batch_size}: a step on few examples at the full rate is noise"
    )
  else:
    return []
  sizes = ", ".join(map(str, fitting_batch_sizes(plans, config.batch_size)))
  cure = (
    f"batch sizes that fit all parts: {sizes}"
    if sizes
    else ("no batch size near it fits all parts; a smaller one, or another size of A, may")
  )
  return [f"{found}; {cure}"]


def described(plans: Sequence[Plan], config: Config) -> dict[str, Any]:
  """Returns the `design` entry of results.json, of the arms that are compared."""
  plans = compared(plans, config)
  designs = of_arms(plans, config)
  return {
    "formula": formula(config.optim),
    "arms": {
      one.arm: {"decay_constants": one.decay_constants, "smallest_batch": one.smallest_batch}
      for one in designs
    },
    "warnings": list(warnings_of(designs, plans, config)),
  }


def check_equal_work(plans: Iterable[Plan], config: Config) -> None:
  """Raises a ConfigError if the rounds of two plans differ by more than one optimiser step.

  Their comparison would be unfair. Arms that do more by design (`warm_start`, `long_baseline`) are
  not checked; the results say so beside them.
  """
  specs = arm_specs(config)
  equal = sorted(
    (plan for plan in plans if specs[plan.arm].equal_work), key=lambda plan: plan.steps_per_round
  )
  if not equal:
    return
  fewest, most = equal[0], equal[-1]
  if most.steps_per_round - fewest.steps_per_round > 1 or fewest.rounds != most.rounds:
    work = ", ".join(
      f"{plan.arm} {plan.rounds} rounds of {plan.steps_per_round}" for plan in (fewest, most)
    )
    cure = "leave one of the two out"
    if fewest.arm not in ARMS and fewest.rounds == most.rounds:
      cure = (
        "end a phase of your arm with ':all' for as many steps as a pass over the whole training "
        f"set has, or {cure}"
      )
    raise ConfigError(
      f"arms: unequal numbers of optimiser steps ({work}); rounds may differ by one step at most: "
      f"{cure}"
    )
