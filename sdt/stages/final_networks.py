"""What is computed with the final networks: activation maps, recalibrated accuracies, weights."""

from collections.abc import Sequence

import jax
import numpy as np
from jaxtyping import Float

from sdt import files
from sdt.engine import activation_maps
from sdt.engine.optim import is_body_frozen
from sdt.models import make_model
from sdt.run import metrics
from sdt.run.context import Context
from sdt.stages.model_file import write_model
from sdt.stages.outline import exported_arm
from sdt.stages.train import Trainings
from sdt.types import Variables


def write_final_model(context: Context, trainings: Trainings) -> None:
  """Writes model.safetensors."""
  arm = exported_arm(context.config)
  pretrained = context.setup.pretrained
  write_model(
    context.workdir,
    context.data,
    context.config,
    arm=arm,
    state=trainings.final_state(arm),
    pretrained_checksum=None if pretrained is None else pretrained.checksum,
  )


def write_activation_maps(context: Context, trainings: Trainings) -> None:
  """Writes figures/cam.npz for the final networks of baseline and method; nothing for an MLP.

  The networks are those of the first seed that diverged in neither.
  """
  config, data = context.config, context.data
  arms = [arm for arm in ("baseline", "method") if arm in config.arms]
  rows = files.read_rows(context.workdir / metrics.FILE)
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


def recalibrated_accuracies(
  context: Context, trainings: Trainings, arms: Sequence[str]
) -> dict[str, Float[np.ndarray, "R"]]:
  """Returns each arm's test accuracy [R] with BatchNorm's statistics of the whole training set.

  Every arm ends on some part of the set, and its network has the statistics of that part. With
  those of the whole set the arms are compared like with like. {} without BatchNorm.
  """
  setup = context.setup
  batch_stats = setup.fresh_start.state.batch_stats
  if not jax.tree.leaves(batch_stats) or is_body_frozen(setup.config.optim):
    return {}
  accuracies = {}

  def after_dispatch() -> None:
    context.raise_if_stopped("before the results")

  with context.display.task("recalibrated evaluation", len(arms), "arm") as task:
    for index, arm in enumerate(arms):
      params = trainings.final_state(arm).params
      statistics = setup.recalibrator.statistics(params, batch_stats, after_dispatch)
      accuracies[arm] = setup.recalibrator.evaluate(params, statistics, after_dispatch)[1]
      task.advance(index + 1)
  return accuracies
