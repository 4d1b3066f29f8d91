"""The teachers of a run: the baseline's networks, as they are when they score the examples."""

import dataclasses
from collections.abc import Callable, Mapping

import jax
import numpy as np
from jaxtyping import Float, Int

from sdt.config.score_names import PROBABILITIES
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
    CheckpointError: the baseline's checkpoint is missing or damaged. Interrupted: a signal came.
  """
  kind = teacher_of(plan)
  if kind is None:
    return None
  config = context.config
  scored, temperature = config.score.at_round or config.rounds, config.distil.temperature
  own, shared, who = _TEACHING[kind](context, restore_round(context, scored).state.variables)
  best = " at most, the best of each seed" if config.stop.patience else ""
  context.display.log(
    f"{plan.arm}: its teacher is {who} after round {scored}{best}, at temperature {temperature:g}"
  )
  return Teacher(own, shared, temperature)


def _lost(context: Context) -> tuple[int, ...]:
  """Returns the seeds whose baseline diverged."""
  return metrics.diverged_seeds(read_judged(context.workdir, context.config), "baseline")


def _own(context: Context, variables: Variables) -> tuple[PyTree, PyTree, str]:
  for seed in _lost(context):
    context.display.log(
      f"warning: the teacher of seed {seed} diverged; it is as it was before that"
    )
  return variables, None, "the baseline's network of the same seed"


def _mean(context: Context, variables: Variables) -> tuple[PyTree, PyTree, str]:
  """Returns the networks that did not diverge; all of them where every one did."""
  sound = ~np.isin(np.asarray(context.config.seeds), _lost(context))
  kept = sound if sound.any() else np.ones_like(sound)
  chosen = jax.tree.map(lambda leaf: np.asarray(leaf)[kept], variables)
  return None, chosen, f"the mean of the baseline's networks of {kept.sum()} seed(s)"


def _classes(context: Context, variables: Variables) -> tuple[PyTree, PyTree, str]:
  program = dataclasses.replace(
    context.setup.score_program(), has_probabilities=True, gradients_at_once=0
  )

  def after_dispatch(done: int, total: int) -> None:
    del done, total
    context.raise_if_stopped("while a teacher is asked about every class")

  found = ScoreRunner(program, context.setup.source).scores(variables, after_dispatch)
  labels, temperature = context.data.train.labels, context.config.distil.temperature
  table = np.stack([class_means(one, labels, temperature) for one in found[PROBABILITIES]])
  return table, None, "the mean of each class under the baseline's network of the same seed"


def class_means(
  probabilities: Float[np.ndarray, "N K"], labels: Int[np.ndarray, "N"], temperature: float
) -> Float[np.ndarray, "K K"]:
  """Returns the mean of the softened probabilities of each class, float32; rows sum to 1.

  A class without an example has its own label for sure.

  Args:
    probabilities: at temperature 1. Those below 1e-38, which float32 has not, count as that.
    labels: [N] int32.
    temperature: T; softened are p^(1/T) / sum.
  """
  table = np.eye(probabilities.shape[1])
  for label in np.unique(labels):
    own = np.log(np.maximum(probabilities[labels == label].astype(np.float64), 1e-38)) / temperature
    softened = np.exp(own - own.max(axis=1, keepdims=True))
    table[label] = (softened / softened.sum(axis=1, keepdims=True)).mean(axis=0)
  return table.astype(np.float32)


# By the regulariser: what teaches each seed, what teaches all, and who that is in words.
_TEACHING: Mapping[str, Callable[[Context, Variables], tuple[PyTree, PyTree, str]]] = {
  "distil": _own,
  "distil_mean": _mean,
  "distil_classes": _classes,
}
