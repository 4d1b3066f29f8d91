"""The toy experiment: noisy points of a curve, fitted with and without differentiated decay.

It trains without decay and with each decay of a grid, chooses one on the validation points, and
trains the other arms. Lifecycle, engine and checkpoints are those of every other run.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float

from sdt import files
from sdt.config import Config
from sdt.data.dataset import Data
from sdt.engine.evaluate import predict
from sdt.engine.plan import Plan
from sdt.engine.state import TrainState
from sdt.models import count_params
from sdt.report.toy_page import table_text
from sdt.run import lifecycle, metrics
from sdt.run.context import Context
from sdt.run.taken_over import Taken
from sdt.stages.model_file import RECOMMENDED, header, write_model
from sdt.stages.train import Trained, Trainings
from sdt.stats import paired
from sdt.toy import merits
from sdt.toy.curve_arms import (
  UNIFORM,
  Points,
  arm_specs,
  candidate,
  candidates,
  decays,
  find_points,
  make_plan,
)
from sdt.types import Model, Variables

# What an arm's networks say, by the name of the points: on the grid of the test set, and on every
# seed's own.
Fits = Mapping[str, np.ndarray]
MERITS = ("error", "roughness", "end_bias")


def _check(config: Config, data: Data) -> None:
  find_points(config, data)


def _outputs(config: Config, data: Data) -> list[str]:
  del data
  return ["points.npz", *(f"arms/{arm}.npz" for arm in arm_specs(config))]


def plans(config: Config, data: Data) -> tuple[int, list[Plan]]:
  """Returns the size of A and every arm's plan in order, as if the smallest decay were chosen."""
  points = find_points(config, data)
  return config.toy.num_noisy, [
    make_plan(arm, config, points, chosen=candidates(config)[0]) for arm in arm_specs(config)
  ]


def run_stages(context: Context, finished: Taken | None) -> None:
  """Runs the stages that are not done yet."""
  del finished  # a toy takes no baseline over
  config = context.config
  points, arms = find_points(config, context.data), tuple(arm_specs(config))
  trainings = Trainings.resume(context, {arm: config.rounds for arm in arms}, keep="differentiated")
  _write_points(context, points)
  plans: dict[str, Plan] = {}
  fits: dict[str, Fits] = {}
  chosen = candidates(config)[0]  # the arms before the choice do not read it
  for arm in arms:
    if arm == "differentiated":
      chosen = _choose(context, points, fits)["chosen"]
    plans[arm] = make_plan(arm, config, points, chosen=chosen)
    fits[arm] = _fit(context, plans[arm], trainings.train(plans[arm]), points=points)
  with context.timing.stage("results"):
    state = trainings.final_state("differentiated")
    _write_model(context, state)
    content = _results(context, points, plans, fits=fits)
    context.loggers.finish(content)
    files.write_json(context.workdir / "results.json", content)
  lifecycle.write_report(context)


def _write_model(context: Context, state: TrainState) -> None:
  """Writes model.safetensors: of the first seed that did not diverge, or of the first."""
  arm, seeds = "differentiated", context.config.seeds
  lost = metrics.diverged_seeds(files.read_rows(context.workdir / metrics.FILE), arm)
  index = next((index for index, seed in enumerate(seeds) if seed not in lost), 0)
  flaws = ["diverged"] if seeds[index] in lost else []
  about = header(context.data, context.config, arm=arm, seed=seeds[index], flaws=flaws)
  write_model(context.workdir / RECOMMENDED, state, index, about=about)


def _write_points(context: Context, points: Points) -> None:
  """Writes points.npz: every seed's training points, which of them are A, and the true curve."""
  data, own = context.data, points.subsets["all"]
  files.write_npz(
    context.workdir / "points.npz",
    seeds=np.asarray(context.config.seeds, np.int64),
    x=data.train.inputs[own][..., 0],
    y=data.train.labels[own][..., 0],
    in_A=np.stack(
      [np.isin(row, chosen) for row, chosen in zip(own, points.subsets["A"], strict=True)]
    ),
    grid=data.test.inputs[:, 0],
    truth=data.test.labels[:, 0],
  )


def _fit(context: Context, plan: Plan, trained: Trained, *, points: Points) -> Fits:
  """Returns what the networks at the end of an arm say at every point.

  That is on the grid [R, M], and at the training [R, n] and the validation points [R, m] of every
  seed. It is written to arms/<arm>.npz, with the ids of the arm's phases, and read from there if
  the arm was done before.
  """
  path, data = context.workdir / "arms" / f"{plan.arm}.npz", context.data
  if not trained.is_at_hand and files.is_intact(path):
    return files.read_npz(path)
  state = trained.state
  inputs = {
    "grid": np.broadcast_to(data.test.inputs, (len(state.step), *data.test.inputs.shape)),
    "train": data.train.inputs[points.subsets["all"]],
    "validation": data.train.inputs[points.validation],
  }
  model, variables = context.setup.model, state.variables
  fits = {
    name: np.asarray(_forward(model, variables, values))[..., 0] for name, values in inputs.items()
  }
  ids = {f"phase_{phase.name}": data.train.example_ids[phase.example_ids] for phase in plan.phases}
  files.write_npz(path, seeds=np.asarray(context.config.seeds, np.int64), **ids, **fits)
  return fits


@functools.partial(jax.jit, static_argnums=0)
def _forward(
  model: Model, variables: Variables, inputs: Float[Array, "R n D"]
) -> Float[Array, "R n K"]:
  """Returns what every network says at its own points; compiled once for all arms."""
  return jax.vmap(functools.partial(predict, model))(variables, inputs)


def _diverged(context: Context) -> dict[str, tuple[int, ...]]:
  """Returns the seeds that diverged, by arm."""
  rows = files.read_rows(context.workdir / metrics.FILE)
  return {arm: metrics.diverged_seeds(rows, arm) for arm in arm_specs(context.config)}


def _per_seed(config: Config, values: np.ndarray, lost: Sequence[int]) -> paired.PerSeed:
  """Returns [R] values with mean and sd; None for the seeds that diverged."""
  return paired.per_seed(
    {
      seed: None if seed in lost else value
      for seed, value in zip(config.seeds, values.tolist(), strict=True)
    }
  )


def _choose(context: Context, points: Points, fits: Mapping[str, Fits]) -> dict[str, Any]:
  """Returns the entry `selection` of results.json: the decay with the smallest mean error.

  The error is that on the validation points, over all seeds.
  """
  config, lost = context.config, _diverged(context)
  lambdas, targets = candidates(config), context.data.train.labels[points.validation][..., 0]
  errors = [
    _per_seed(config, merits.squared_error(fits[arm]["validation"], targets), lost[arm])
    for arm in map(candidate, lambdas)
  ]
  choice = merits.choose(np.array([list(own["per_seed"].values()) for own in errors], np.float64))
  chosen = lambdas[choice.index]
  return {
    "lambdas": lambdas,
    "arms": [candidate(one) for one in lambdas],
    "validation_error": errors,
    "chosen": chosen,
    "at_edge": choice.at_edge,
    "decays": decays(config, points, chosen),
  }


def _arm_result(
  context: Context, plan: Plan, fits: Fits, points: Points, lost: Sequence[int]
) -> dict[str, Any]:
  """Returns the entry of one arm: its merits and its training error, per seed with mean and sd."""
  config, data = context.config, context.data
  truth = data.test.labels[:, 0]
  figures = {
    "error": merits.squared_error(fits["grid"], truth),
    "roughness": merits.roughness(fits["grid"]),
    "end_bias": merits.end_bias(fits["grid"], truth),
    "train_error": merits.squared_error(
      fits["train"], data.train.labels[points.subsets["all"]][..., 0]
    ),
  }
  own = {name: _per_seed(config, values, lost) for name, values in figures.items()}
  decay = {phase.name: float(phase.weight_decay[0]) for phase in plan.phases}
  return {"asks": arm_specs(config)[plan.arm].asks, "decay": decay, **own, "diverged": lost}


def _results(
  context: Context, points: Points, made: Mapping[str, Plan], fits: Mapping[str, Fits]
) -> dict[str, Any]:
  """Returns the content of results.json (docs/artifacts.md)."""
  setup = context.setup
  config, data, selection = setup.config, setup.data, _choose(context, points, fits)
  chosen, lost = candidate(selection["chosen"]), _diverged(context)
  named = {
    name: arm
    for arm in made
    if (name := UNIFORM if arm == chosen else arm) not in selection["arms"]
  }
  arms = {
    name: _arm_result(context, made[arm], fits[arm], points=points, lost=lost[arm])
    for name, arm in named.items()
  }
  noise_variance = config.data.curve.noise**2 / 3
  return {
    "experiment": "toy",
    "data": {name: getattr(data, name) for name in ("name", "variant", "checksum", "notes")}
    | {"noise_variance": noise_variance},
    "model": {
      "name": config.model.name,
      "hidden_sizes": config.model.hidden_sizes,
      "num_params": count_params(setup.model, setup.input_shape),
      "layers": setup.layer_names,
    },
    "seeds": config.seeds,
    "rounds": config.rounds,
    "num_points": config.data.curve.num_points,
    "num_noisy": config.toy.num_noisy,
    "steps_per_round": {
      name: {phase.name: phase.num_steps for phase in made[arm].phases}
      for name, arm in named.items()
    },
    "selection": selection,
    "arms": arms,
    "contrasts": {
      name: _contrast(arms["differentiated"], entry)
      for name, entry in arms.items()
      if name != "differentiated"
    },
    "truth": {"roughness": float(merits.roughness(data.test.labels[None, :, 0])[0])},
    "checks": merits.checks(arms, noise_variance),
  }


def _contrast(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the sign tests of (c) minus another arm, one for each merit.

  Of the bias its size counts.
  """

  def sizes(entry: Mapping[str, Any], merit: str) -> list[float | None]:
    return [None if value is None else abs(value) for value in entry[merit]["per_seed"].values()]

  return {merit: merits.sign_test(sizes(first, merit), sizes(second, merit)) for merit in MERITS}


EXPERIMENT = lifecycle.Experiment(
  check=_check, outputs=_outputs, plans=plans, stages=run_stages, table=table_text
)
