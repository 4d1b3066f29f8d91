"""The arms of the toy, in the language of the other arms; every seed has points of its own, and A
is its noisiest.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from sdt.arms.language import ArmSpec, PhaseSpec, parse_phases
from sdt.arms.planning import step_mean
from sdt.config import Config
from sdt.config.schema import MethodConfig
from sdt.data.dataset import Data
from sdt.data.readers.curve import positions
from sdt.engine.plan import Phase, Plan
from sdt.errors import ConfigError
from sdt.inputs.order import num_batches
from sdt.scores.split import random_scores


def _arm(text: str, asks: str) -> ArmSpec:
  return ArmSpec(parse_phases(text, "arm"), asks, "scratch")


# `uniform` is not among them: it is the candidate that the validation points choose.
FIRST: Mapping[str, ArmSpec] = {
  "no_decay": _arm("all@0", "(a): what does the network do by itself?")
}
UNIFORM = "uniform"
UNIFORM_ASKS = "(b): one decay for all points, the best of the grid on the validation points"
SPLIT: Mapping[str, ArmSpec] = {
  "differentiated": _arm(
    "A@lambda_A + B@lambda_B", "(c): the paper; more decay on the noisiest points"
  ),
  "uniform_mean": _arm("all@mean", "is it only more decay?"),
  "alternate_mean": _arm("A@mean + B@mean", "does the placing of the decay matter?"),
  "alternate_equal": _arm("A@lambda_B + B@lambda_B", "what does the grouping do alone?"),
  "random_subset": _arm("random_A@lambda_A + random_B@lambda_B", "must A be the noisiest?"),
  "drop_subset": _arm("B@lambda_B:round", "what if the noisiest points are left out?"),
}
ARM_NAMES = (*FIRST, UNIFORM, *SPLIT)


@dataclasses.dataclass(frozen=True)
class Points:
  """Whose points are whose: positions in the training split, int32, each row ascending.

  Attributes:
    subsets: by name as the arms' language has them, [R, n] each: "all", "A", "B", "random_A",
      "random_B".
    validation: [R, m], in no arm.
  """

  subsets: Mapping[str, np.ndarray]
  validation: np.ndarray


def find_points(config: Config, data: Data) -> Points:
  """Returns every seed's points: A is the `toy.num_noisy` of its training points with the largest
  |noise|.

  Raises:
    ConfigError: B would be empty.
  """
  curve, size = config.data.curve, config.toy.num_noisy
  if size >= curve.num_points:
    raise ConfigError(
      f"toy.num_noisy={size}: expected less than data.curve.num_points={curve.num_points}; B "
      "would be empty"
    )
  train, validation = positions(curve, len(config.seeds))
  noise = (
    np.zeros(len(data.train), np.float32)
    if data.train.difficulty is None
    else data.train.difficulty
  )
  drawn = np.stack(
    [random_scores(np.arange(curve.num_points), seed, "random_subset") for seed in config.seeds]
  )
  subsets = {"all": train}
  for name, scores in (("", noise[train]), ("random_", drawn)):
    order = np.argsort(-scores, axis=1, kind="stable")
    for side, chosen in (("A", order[:, :size]), ("B", order[:, size:])):
      subsets[name + side] = np.take_along_axis(train, np.sort(chosen, axis=1), axis=1)
  return Points(subsets, validation)


def candidate(decay: float) -> str:
  """Returns the name of the arm that has this decay on all points."""
  return f"{UNIFORM}_{decay:g}"


def candidates(config: Config) -> tuple[float, ...]:
  """Returns the decays to choose from, ascending."""
  return tuple(sorted(config.toy.lambdas))


def arm_specs(config: Config) -> dict[str, ArmSpec]:
  """Returns every arm in the order of training: no decay, the candidates, then those that need the
  chosen decay.
  """
  grid = {
    candidate(decay): ArmSpec((PhaseSpec("all", decay),), UNIFORM_ASKS, "scratch")
    for decay in candidates(config)
  }
  return {**FIRST, **grid, **SPLIT}


def decays(config: Config, points: Points, chosen: float) -> dict[str, float]:
  """Returns the named decays of the arms' language, from the one chosen for all points."""
  easy, rest = (
    num_batches(points.subsets[side].shape[1], config.batch_size) for side in ("A", "B")
  )
  method = MethodConfig(lambda_A=config.toy.lambda_ratio * chosen, lambda_B=chosen)
  return {
    "lambda_A": method.lambda_A,
    "lambda_B": method.lambda_B,
    "mean": step_mean(easy, rest, method),
  }


def make_plan(arm: str, config: Config, points: Points, chosen: float) -> Plan:
  """Returns the plan of an arm of `arm_specs`; `chosen` is the decay chosen for all points, which
  the candidates do not need.
  """
  named = decays(config, points, chosen)
  return Plan(
    arm,
    tuple(_phase(spec, config, points, named=named) for spec in arm_specs(config)[arm].phases),
    config.rounds,
  )


def _phase(spec: PhaseSpec, config: Config, points: Points, named: Mapping[str, float]) -> Phase:
  ids = points.subsets[spec.subset]
  of_steps = [points.subsets[side] for side in ("A", "B")] if spec.steps == "round" else [ids]
  num_steps = sum(num_batches(own.shape[1], config.batch_size) for own in of_steps)
  decay = named[spec.decay] if isinstance(spec.decay, str) else spec.decay
  return Phase(spec.name, ids, num_steps, weight_decay=np.full(len(config.seeds), decay))
