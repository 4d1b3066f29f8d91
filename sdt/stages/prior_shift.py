"""The answers of a run with thresholds that are chosen on the validation split.

`evaluate.prior_shift` is the largest strength that is tried. Each network has a strength of its
own, chosen by what it says of the validation split alone; then it changes what the network says of
the test set. See `sdt.stats.prior_shift`.
"""

from collections.abc import Iterator, Mapping

import numpy as np
from jaxtyping import Float, Float64, Int

from sdt import files
from sdt.config.keys.evaluate import SHIFT_STEP
from sdt.devices import processes
from sdt.engine.plan import Plan
from sdt.engine.prediction_pass import Said
from sdt.run import metrics
from sdt.run.context import Context
from sdt.run.stopping import read_judged
from sdt.stages.imbalance import class_shares
from sdt.stages.prediction_files import FILE, Stretch
from sdt.stages.train import Trainings
from sdt.stats import classification, prior_shift

_NUMBERS = 2**22  # of the probabilities that are in memory at a time


def shifted_answers(
  context: Context, trainings: Trainings, plans: Mapping[str, Plan]
) -> Iterator[Stretch]:
  """Yields the answers of predictions.npz, shifted, arm by arm, with the strength of each network.

  `plans` are those of the arms. A network that diverged has no answers, and the strength NaN.

  Raises:
    Interrupted: a signal came.
  """
  labels, num_classes = context.data.train.labels, len(context.data.class_names)
  rows = read_judged(context.workdir, context.config)
  for index, (arm, plan) in enumerate(plans.items()):
    diverged = metrics.diverged_seeds(rows, arm)
    shares = class_shares(plan, labels, num_classes)
    held_out = _of_validation(context, trainings, arm)  # every process runs the programs
    context.raise_if_stopped("while predicting the validation split")
    strengths = np.array(
      [
        np.nan if seed in diverged else _chosen(context, held_out[place], shares[place])
        for place, seed in enumerate(context.config.seeds)
      ]
    )
    if processes.is_first():
      stored = files.map_npz(context.workdir / FILE)
      yield from _of_test(stored, index, shares=shares, strengths=strengths)


def _of_validation(context: Context, trainings: Trainings, arm: str) -> Float[np.ndarray, "R m K"]:
  """Returns the probabilities of the validation split under the networks of an arm."""
  parts = context.setup.validation_predictor.predictions(trainings.final_state(arm).variables)
  return np.concatenate([said.probabilities for _, _, said in parts], axis=1)


def _chosen(
  context: Context, probabilities: Float[np.ndarray, "m K"], shares: Float64[np.ndarray, "K"]
) -> float:
  held_out = context.data.validation
  if held_out is None:
    raise ValueError("these data have no validation split")
  if np.ptp(shares) == 0:
    return 0.0  # of equal classes every strength leaves the answers
  tried = prior_shift.strengths(context.config.evaluate.prior_shift, SHIFT_STEP)
  return prior_shift.chosen(probabilities, held_out.labels, shares, tried=tried)


def _of_test(
  stored: files.Arrays,
  arm: int,
  *,
  shares: Float64[np.ndarray, "R K"],
  strengths: Float64[np.ndarray, "R"],
) -> Iterator[Stretch]:
  """Yields what the networks of an arm say of the test set, shifted."""
  answers = [stored[name][arm] for name in Said._fields]
  labels, (replicas, num, num_classes) = stored["label"], answers[0].shape
  size = max(1, _NUMBERS // (replicas * num_classes))
  name, weights = str(stored["arms"][arm]), str(stored["weights"][arm])
  for start in range(0, num, size):
    part = slice(start, start + size)
    said = Said(*(np.array(one[:, part]) for one in answers))
    for place in np.flatnonzero(strengths > 0):  # neither 0 nor NaN
      one = Said(*(leaf[place] for leaf in said))
      moved = _shifted(one, labels[part], shares[place], strength=float(strengths[place]))
      for leaf, new in zip(said, moved, strict=True):
        leaf[place] = new
    yield Stretch(name, start, said, weights=weights, strengths=strengths)


def _shifted(
  said: Said,
  labels: Int[np.ndarray, "n"],
  shares: Float64[np.ndarray, "K"],
  strength: float,
) -> Said:
  """Returns what one network says with its thresholds moved.

  The likelihood of a label is taken from that of its logits, so that it stays finite.
  """
  values, total = prior_shift.shifted(said.probabilities, shares, strength)
  own = said.label_log_probability.astype(np.float64) - strength * np.log(shares)[labels]
  return Said(
    np.exp(values),
    values.argmax(axis=1),
    classification.label_ranks(values, labels),
    label_log_probability=own - total,
  )
