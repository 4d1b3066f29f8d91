"""In which ways the networks of a run are asked about the test set: the centre, and what a config
adds.
"""

import dataclasses
from collections.abc import Callable

import jax
import numpy as np

from sdt.arms.catalogue import trainings
from sdt.arms.kept_rounds import snapshot_rounds
from sdt.config import Config
from sdt.config.keys.evaluate import SHIFT_STEP
from sdt.config.schema import EvaluateConfig
from sdt.config.toolbox.view_blocks import CENTRE, views_of
from sdt.engine.averages import Average
from sdt.run.context import Context
from sdt.run.saved_states import restore_round
from sdt.stages.prediction_files import FILE
from sdt.stages.train import Trainings
from sdt.types import Variables


@dataclasses.dataclass(frozen=True)
class Way:
  """A way to ask the networks of a run about the test set.

  Attributes:
    name: of the way, as results.json has it.
    file: of the answers; all have the fields of predictions.npz.
    average: over what the probabilities of a network are averaged; None for the centre, and for
      answers that are made of it.
    in_words: such as "18 views (flip shifts(1))".
  """

  name: str
  file: str
  average: Average | None
  in_words: str


SHIFTED = "prior_shift"  # answers of the centre with moved thresholds
SINGLE = Way("single", FILE, None, in_words="the final network, the centre")


def _views(config: EvaluateConfig) -> tuple[Average, str]:
  views = views_of(config.views)
  return Average(views=views), f"the mean of {len(views)} views ({config.views})"


def _dropout(config: EvaluateConfig) -> tuple[Average, str]:
  count = config.dropout_samples
  return Average(samples=count), f"the mean of {count} passes with dropout on"


def _prior_shift(config: EvaluateConfig) -> tuple[None, str]:
  largest = config.prior_shift
  return None, (
    "log p - tau log(share of the class in training), tau of each network the best of 0, "
    f"{SHIFT_STEP}, ... {largest:g} by balanced accuracy on the validation split"
  )


def _snapshots(config: EvaluateConfig) -> tuple[Average, str]:
  count = config.snapshots
  return Average(networks=count), f"the mean of the networks at the end of the last {count} cycles"


type _Make = Callable[[EvaluateConfig], tuple[Average | None, str]]
_IS_ON: dict[str, tuple[Callable[[EvaluateConfig], object], _Make]] = {
  "views": (lambda config: views_of(config.views) != (CENTRE,), _views),
  "dropout": (lambda config: config.dropout_samples, _dropout),
  "snapshots": (lambda config: config.snapshots, _snapshots),
  SHIFTED: (lambda config: config.prior_shift, _prior_shift),
}


def further_ways(config: Config) -> tuple[Way, ...]:
  """Returns the ways that a config adds to the centre, in the order of the table."""
  asked = config.evaluate
  ways = []
  for name, (is_on, make) in _IS_ON.items():
    if is_on(asked):
      average, in_words = make(asked)
      ways.append(Way(name, f"predictions_{name}.npz", average, in_words=in_words))
  return tuple(ways)


def networks_of(context: Context, runs: Trainings, arm: str, *, way: Way) -> Variables:
  """Returns the networks of an arm that are asked, leaves [R, ...] on the host.

  Of several of one training the leaves are [R, networks, ...], in the order of the rounds.

  Raises:
    CheckpointError: a checkpoint is missing or damaged.
  """
  if way.average is None or way.average.networks == 1:
    return runs.final_state(arm).variables
  index = trainings(context.config).index(arm)
  states = [
    restore_round(context, number, index).state.variables
    for number in snapshot_rounds(arm, context.config)
  ]
  stacked: Variables = jax.tree.map(lambda *leaves: np.stack(leaves, axis=1), *states)
  return stacked
