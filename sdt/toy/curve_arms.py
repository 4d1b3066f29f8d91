"""The arms of the toy, in the arms' language. Each seed has its points; A is the noisiest ones."""

import dataclasses
from collections.abc import Mapping

import numpy as np
from jaxtyping import Int32

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


# The arm `uniform` is in neither table: it is the candidate that the validation points choose.
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
  """The points of each seed: positions in the training split, int32, each row ascending.

  Attributes:
    subsets: name in the arms' language -> [R, n]: "all", "A", "B", "random_A", "random_B".
    validation: [R, m]; no arm trains on them.
  """

  subsets: Mapping[str, Int32[np.ndarray, "R n"]]
  validation: Int32[np.ndarray, "R m"]


def find_points(config: Config, data: Data) -> Points:
  """Returns the points of each seed; A is the `toy.num_noisy` training points with most |noise|.

  Raises:
    ConfigError: B would be empty.
  """
  curve, size = config.data.curve, config.toy.num_noisy
  if size >= curve.num_points:
    raise ConfigError(
      f"toy.num_noisy={size}: expected less than data.curve.num_points={curve.num_points}, because "
      "B would be empty; choose a smaller number"
    )
  train, validation = positions(curve, len(config.seeds))
  noise = data.train.difficulty
  if noise is None:
    noise = np.zeros(len(data.train), np.float32)
  ids = np.arange(curve.num_points)
  drawn = np.stack([random_scores(ids, seed, "random_subset") for seed in config.seeds])
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
  """Returns all arms in the order of training: no decay, the candidates, those after the choice."""
  grid = {
    candidate(decay): ArmSpec((PhaseSpec("all", decay),), UNIFORM_ASKS, "scratch")
    for decay in candidates(config)
  }
  return {**FIRST, **grid, **SPLIT}


def decays(config: Config, points: Points, chosen: float) -> dict[str, float]:
  """Returns the named decays of the arms' language, from the decay chosen for all points."""
  sizes = (points.subsets[side].shape[1] for side in ("A", "B"))
  easy, rest = (num_batches(size, config.batch_size) for size in sizes)
  method = MethodConfig(lambda_A=config.toy.lambda_ratio * chosen, lambda_B=chosen)
  mean = step_mean(easy, rest, method)
  return {"lambda_A": method.lambda_A, "lambda_B": method.lambda_B, "mean": mean}


def make_plan(arm: str, config: Config, points: Points, chosen: float) -> Plan:
  """Returns the plan of an arm of `arm_specs`.

  Args:
    arm: its name.
    config: of the toy.
    points: of all seeds.
    chosen: the decay chosen for all points; the candidates do not use it.
  """
  named = decays(config, points, chosen)
  specs = arm_specs(config)[arm].phases
  phases = tuple(_phase(spec, config, points, named=named) for spec in specs)
  return Plan(arm, phases, config.rounds)


def _phase(spec: PhaseSpec, config: Config, points: Points, named: Mapping[str, float]) -> Phase:
  ids = points.subsets[spec.subset]
  counted = [points.subsets[side] for side in ("A", "B")] if spec.steps == "round" else [ids]
  num_steps = sum(num_batches(one.shape[1], config.batch_size) for one in counted)
  decay = named[spec.decay] if isinstance(spec.decay, str) else spec.decay
  return Phase(spec.name, ids, num_steps, weight_decay=np.full(len(config.seeds), decay))
