"""What the plans of a run let it show, told before it trains: its decay, and its last batches."""

import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from sdt.config import Config
from sdt.config.schema import OptimConfig
from sdt.config.toolbox.training_blocks import FULL_BATCH
from sdt.engine.plan import Phase, Plan

# Below one time constant a decay has hardly changed the size of the weights.
_LEAST_CONSTANTS = 1.0
# A batch below this share of the batch size is a noisy step at the full rate.
_SMALL = 0.25
# The smallest batches of two arms may differ by this factor.
_UNLIKE = 2.0
# A batch size fits where the last batch of every phase is at least this full.
_FULL = 0.9
_MOST_TOLD = 3
# A network below this accuracy in training is judged by how fast it learns: controls had no power
# at 69 % (docs/results/controls_cifar10_small.md), and had it at 97 % (decay_digits.md).
_FITS = 0.9

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


def compared(plans: Iterable[Plan], config: Config) -> list[Plan]:
  """Returns the plans of the arms that are compared: not those that train for the scores alone."""
  return [plan for plan in plans if plan.arm in config.arms]


def of_arms(
  plans: Iterable[Plan], config: Config, rates_of: Callable[[Plan], Rates]
) -> tuple[ArmDesign, ...]:
  """Returns the design of every arm; `rates_of` gives the learning rates of a plan."""
  return tuple(
    ArmDesign(
      plan.arm,
      decay_constants(plan, config.optim, rates_of(plan)),
      min(smallest_batch(phase, config.batch_size) for phase in plan.phases),
    )
    for plan in plans
  )


def decay_constants(plan: Plan, optim: OptimConfig, rates: Rates) -> float | None:
  """Returns the sum over all steps of rate x decay / (1 - momentum), mean over the seeds.

  Without gradients the weights shrink to exp(-that) of their size: it is the length of the training
  in time constants of the decay. A decoupled decay does not pass through the momentum, so nothing
  is divided; a penalty counts twice. None for optimisers that divide a coupled decay by the size of
  the gradients: there is no such constant.

  Source: Li, Lyu and Arora 2020, "Reconciling modern deep learning with traditional optimization
  analyses", the intrinsic rate; Wang and Aitchison 2024, "How to set AdamW's weight decay".

  Args:
    plan: of the arm.
    optim: of the run; the rate is that of the body, or of the head alone where the body is frozen.
    rates: of every round, [rounds], or of every step, [rounds, steps].
  """
  is_decoupled = optim.decay_form == "decoupled" or optim.name == "adamw"
  if optim.name != "sgd" and not is_decoupled:
    return None
  factor = (optim.body_rate_factor or 1.0) * (2.0 if optim.decay_form == "penalty" else 1.0)
  if not is_decoupled:
    factor /= 1.0 - optim.momentum
  of_rounds = rates.reshape(len(rates), -1).astype(np.float64)
  return factor * float(np.sum(of_rounds * _decays(plan)))


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
  return _last_batch(size, batch_size) if phase.num_steps >= -(-size // batch_size) else batch_size


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
  sizes = range(min(max(1, math.ceil(near / 2)), largest), largest + 1)
  return sorted(sizes, key=lambda one: (abs(math.log(one / near)), one))


def _fullness(plans: Iterable[Plan]) -> Callable[[int], float]:
  """Returns the function from a batch size to how full the smallest last batch is, in (0, 1]."""
  sizes = _sizes(plans)
  return lambda one: min((_last_batch(size, one) / one for size in sizes), default=1.0)


def fitted(config: Config, plans: Sequence[Plan]) -> Config:
  """Returns the config at the batch size nearest to its own that fits all parts.

  Where none from a half to twice it fits, the one whose smallest last batch is fullest.

  Args:
    config: of the run; returned as it is unless its `fit_batch` is on, which the result's is not.
    plans: of its arms.
  """
  if not config.fit_batch:
    return config
  near, plans = config.batch_size, compared(plans, config) or plans
  fit = fitting_batch_sizes(plans, near, 1) or [max(_candidates(plans, near), key=_fullness(plans))]
  return dataclasses.replace(config, batch_size=fit[0], fit_batch=False)


def note_of_fit(asked: Config, config: Config) -> list[str]:
  """Returns what a run says of the batch size that `fitted` chose; [] where the user chose it."""
  if not asked.fit_batch:
    return []
  return [
    f"batch_size=auto: {config.batch_size}, the nearest to {asked.batch_size} for the sizes of all "
    "parts"
  ]


def warnings_of(
  designs: Sequence[ArmDesign], plans: Sequence[Plan], config: Config
) -> tuple[str, ...]:
  """Returns what the plans of a run will keep it from showing, a sentence each without its stop."""
  return (*_of_decay(designs), *_of_batches(designs, plans, config))


def underfit_warning(train_accuracy: float | None) -> str | None:
  """Returns what a baseline that does not fit its training set keeps a run from showing.

  Returns None where it fits. `train_accuracy`: in [0, 1], of the last round; None if not known.
  """
  if train_accuracy is None or train_accuracy >= _FITS:
    return None
  return (
    f"the baseline is right on {100 * train_accuracy:.0f} % of its training examples in its last "
    "round: it is underfit, or many labels are wrong. Arms then differ in how fast they learn, and "
    "what a regulariser does to a network that fits cannot be seen; more rounds, a larger network "
    "or weaker augmentation help"
  )


def _of_decay(designs: Sequence[ArmDesign]) -> list[str]:
  known = {one.arm: one.decay_constants for one in designs if one.decay_constants is not None}
  most = max(known, key=known.__getitem__, default=None)
  if most is None or len(known) < 2 or not 0.0 < known[most] < _LEAST_CONSTANTS:
    return []
  return [
    "this run cannot show what weight decay does: rate x decay / (1 - momentum), summed over the "
    f"steps, is {known[most]:.2g} at most (arm {most}), and below 1 the decay has hardly changed "
    "the weights; more rounds, a higher learning rate or a stronger decay raise it"
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
      "examples at the full rate costs accuracy, so that these arms differ by it too"
    )
  elif least.smallest_batch < _SMALL * config.batch_size:
    found = (
      f"the smallest batch of a round has {least.smallest_batch} examples (arm {least.arm}) at "
      f"batch_size={config.batch_size}: a step on few examples at the full rate costs accuracy"
    )
  else:
    return []
  fit = fitting_batch_sizes(plans, config.batch_size)
  sizes = ", ".join(map(str, fit))
  cure = (
    f"batch sizes that fit all parts: {sizes}" if fit else "no batch size near it fits all parts"
  )
  return [f"{found}; {cure}"]


def described(
  plans: Sequence[Plan], config: Config, rates_of: Callable[[Plan], Rates]
) -> dict[str, Any]:
  """Returns the `design` entry of results.json."""
  designs = of_arms(plans, config, rates_of)
  return {
    "arms": {
      one.arm: {"decay_constants": one.decay_constants, "smallest_batch": one.smallest_batch}
      for one in designs
    },
    "warnings": list(warnings_of(designs, plans, config)),
  }
