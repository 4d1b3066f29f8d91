"""The teachers of a run: the baseline's networks, as they are when they score the examples."""

import dataclasses
from collections.abc import Callable, Mapping

import jax
import numpy as np
from jaxtyping import Float

from sdt.engine.plan import Plan
from sdt.engine.score_pass import ScoreRunner
from sdt.engine.teacher import Teacher, teacher_of
from sdt.run import metrics
from sdt.run.context import Context
from sdt.run.saved_states import restore_round
from sdt.run.stopping import read_judged
from sdt.types import PyTree, Variables


def teacher_for(context: Context, plan: Plan) -> Teacher | None:
  """Returns what teaches the phases of a plan; None where no phase learns from a teacher.

  Raises:
    CheckpointError: the baseline's checkpoint is missing or damaged.
  """
  kind = teacher_of(plan)
  if kind is None:
    return None
  config = context.config
  scored, temperature = config.score.at_round or config.rounds, config.distil.temperature
  own, shared, who = _TEACHING[kind](context, restore_round(context, scored).state.variables)
  context.display.log(
    f"{plan.arm}: its teacher is {who} after round {scored}, at temperature {temperature:g}"
  )
  return Teacher(own, shared, temperature)


def _own(context: Context, variables: Variables) -> tuple[PyTree, PyTree, str]:
  del context
  return variables, None, "the baseline's network of the same seed"


def _mean(context: Context, variables: Variables) -> tuple[PyTree, PyTree, str]:
  """Returns the networks that did not diverge; all of them where every one did."""
  seeds = np.asarray(context.config.seeds)
  lost = metrics.diverged_seeds(read_judged(context.workdir, context.config), "baseline")
  sound = ~np.isin(seeds, lost)
  kept = sound if sound.any() else np.ones_like(sound)
  chosen = jax.tree.map(lambda leaf: np.asarray(leaf)[kept], variables)
  return None, chosen, f"the mean of the baseline's networks of {kept.sum()} seed(s)"


def _classes(context: Context, variables: Variables) -> tuple[PyTree, PyTree, str]:
  program = dataclasses.replace(
    context.setup.score_program(), has_probabilities=True, gradients_at_once=0
  )
  runner = ScoreRunner(program, context.setup.source)
  found = runner.scores(variables)["probabilities"]
  labels = context.data.train.labels
  table = class_means(found, labels, context.config.distil.temperature)
  return table, None, "the mean of each class under the baseline's network of the same seed"


def class_means(
  probabilities: Float[np.ndarray, "R N K"], labels: np.ndarray, temperature: float
) -> Float[np.ndarray, "R K K"]:
  """Returns the mean of the softened probabilities of each class, float32; rows sum to 1.

  A class without an example has its own label for sure.

  Args:
    probabilities: at temperature 1.
    labels: [N] int32.
    temperature: T; softened are p^(1/T) / sum.
  """
  softened = probabilities.astype(np.float64) ** (1.0 / temperature)
  softened /= softened.sum(axis=-1, keepdims=True)
  num_classes = softened.shape[-1]
  table = np.tile(np.eye(num_classes), (len(softened), 1, 1))
  for label in np.unique(labels):
    table[:, label] = softened[:, labels == label].mean(axis=1)
  return table.astype(np.float32)


# By the regulariser: what teaches each seed, what teaches all, and who that is in words.
_TEACHING: Mapping[str, Callable[[Context, Variables], tuple[PyTree, PyTree, str]]] = {
  "distil": _own,
  "distil_mean": _mean,
  "distil_classes": _classes,
}
