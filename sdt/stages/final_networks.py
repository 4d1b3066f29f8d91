"""What is done with the final networks: activation maps, recalibrated accuracies, weights."""

from collections.abc import Mapping

import jax
import numpy as np
from jaxtyping import Float

from sdt import files
from sdt.engine import activation_maps
from sdt.engine.optim import is_body_frozen
from sdt.engine.plan import Plan
from sdt.engine.state import TrainState
from sdt.models import make_model
from sdt.run import metrics
from sdt.run.context import Context
from sdt.run.stopping import read_judged
from sdt.stages.model_file import RECOMMENDED, file_of, header, write_model
from sdt.stages.predictions import Predicted, fitness_of
from sdt.stages.train import Trainings
from sdt.types import Variables


def write_activation_maps(context: Context, trainings: Trainings) -> None:
  """Writes figures/cam.npz for the final networks of baseline and method; nothing for an MLP.

  The networks are those of the first seed that diverged in neither.
  """
  config, data = context.config, context.data
  arms = [arm for arm in ("baseline", "method") if arm in config.arms]
  rows = read_judged(context.workdir, context.config)
  lost = {seed for arm in arms for seed in metrics.diverged_seeds(rows, arm)}
  replica = next((index for index, seed in enumerate(config.seeds) if seed not in lost), None)
  if replica is None or data.test.inputs.ndim != 4:
    return
  networks: dict[str, Variables] = {}
  for arm in arms:
    state = trainings.final_state(arm)
    networks[arm] = jax.tree.map(lambda leaf: leaf[replica], state.variables)
  content = activation_maps.maps_of_test_images(
    make_model(config.model, len(data.class_names)),
    networks,
    data,
    settings=activation_maps.MapSettings(
      config.data.crop_size,
      seed=config.seeds[replica],
      batch_size=min(64, context.setup.eval_batch_size),
    ),
    after_batch=lambda: context.raise_if_stopped("while drawing class activation maps"),
  )
  if content is not None:
    files.write_npz(context.workdir / "figures" / "cam.npz", **content)


def finish_arms(
  context: Context,
  trainings: Trainings,
  plans: Mapping[str, Plan],
  predicted: Mapping[str, Predicted],
) -> dict[str, Float[np.ndarray, "R"]]:
  """Writes what is missing of models/, and returns each arm's recalibrated accuracies.

  There are none of networks without BatchNorm.
  """
  recalibrated = {}
  with context.display.task("final networks", len(plans), "arm") as task:
    for index, (arm, plan) in enumerate(plans.items()):
      state = trainings.final_state(arm)
      accuracies = _recalibrated(context, state)
      if accuracies is not None:
        recalibrated[arm] = accuracies
      _write_models(context, plan, state, predicted=predicted[arm])
      task.advance(index + 1)
  return recalibrated


def _recalibrated(context: Context, state: TrainState) -> Float[np.ndarray, "R"] | None:
  """Returns the accuracies of an arm with BatchNorm's statistics of the whole training set.

  Every arm ends on some part of the training set, and BatchNorm has the statistics of that part.
  With those of the whole set the arms are compared like with like.
  """
  setup = context.setup

  def after_dispatch() -> None:
    context.raise_if_stopped("before the results")

  fresh = setup.fresh_start.state.batch_stats
  if not jax.tree.leaves(fresh) or is_body_frozen(setup.config.optim):
    return None
  statistics = setup.recalibrator.statistics(state.params, fresh, after_dispatch)
  _, accuracies = setup.recalibrator.evaluate(state.params, statistics, after_dispatch)
  return accuracies


def _write_models(context: Context, plan: Plan, state: TrainState, predicted: Predicted) -> None:
  """Writes the weights of every seed of an arm, as far as they are missing."""
  config, pretrained = context.config, context.setup.pretrained
  fitness = fitness_of(
    read_judged(context.workdir, context.config),
    plan,
    context.data,
    config=config,
    predicted=predicted,
    by_training_alone="selected" in context.setup.choices,
  )
  for replica, seed in enumerate(config.seeds):
    flaws = []
    if seed not in fitness.fit:
      flaws = ["diverged" if seed in fitness.diverged else "collapsed"]
    about = header(
      context.data,
      config,
      arm=plan.arm,
      seed=seed,
      flaws=flaws,
      pretrained_checksum=None if pretrained is None else pretrained.checksum,
    )
    path, steps = context.workdir / file_of(plan.arm, seed), context.data.steps
    write_model(path, state, replica, about=about, steps=steps)


def write_networks(context: Context, plan: Plan, state: TrainState) -> None:
  """Writes the weights of every seed of an arm, of which nothing is known but its training."""
  diverged = metrics.diverged_seeds(read_judged(context.workdir, context.config), plan.arm)
  for replica, seed in enumerate(context.config.seeds):
    flaws = ["diverged"] if seed in diverged else []
    about = header(context.data, context.config, arm=plan.arm, seed=seed, flaws=flaws)
    path = context.workdir / file_of(plan.arm, seed)
    write_model(path, state, replica, about=about, steps=context.data.steps)


def write_recommended(context: Context, source: str | None) -> None:
  """Writes model.safetensors, the copy of a file of models/; None: no network is fit for it."""
  path = context.workdir / RECOMMENDED
  if source is not None:
    files.write_bytes(path, files.read_bytes_verified(context.workdir / source))
  elif files.is_intact(path):  # an earlier start has left it
    files.remove(path)
