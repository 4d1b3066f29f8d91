"""Writes suspects_test.csv and figures/review_test.npz: test images whose label looks wrong."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int

from sdt import files
from sdt.data import seeded
from sdt.data.dataset import Dataset
from sdt.devices import processes
from sdt.report.read import RANDOM_COLUMN
from sdt.report.read import TEST_REVIEW_IMAGES as IMAGES
from sdt.report.read import TEST_SUSPECTS as TABLE
from sdt.run.context import Context
from sdt.scores.suspects import Suspects, find
from sdt.stages import suspect_files
from sdt.stages.prediction_files import FILE

# Test images that are drawn at random: what is wrong among them says how many of all are.
NUM_RANDOM = 100
_ROWS = 4096  # of the probabilities, read at a time
_LEAST = 1e-7  # a smaller probability may have been rounded to 0
# What a network prefers by a hair may be equal once it is rounded.
_HAIR = 1e-12


def write_test_suspects(context: Context, content: Mapping[str, Any]) -> None:
  """Writes both files by the recommended arm's networks; nothing where no network is fit.

  They have not seen the test images, as the networks out of fold have not seen theirs.

  Args:
    context: of the run.
    content: of results.json, `recommended` and `arms`.
  """
  arm, data, workdir = content["recommended"]["arm"], context.data, context.workdir
  if arm is None or len(data.class_names) < 2 or not processes.is_first():
    return
  suspects = suspects_of(files.map_npz(workdir / FILE), arm, content["arms"][arm]["fit"])
  is_random = random_sample(data.test, context.config.data.split_seed)
  reviewed = data.reviewed_ids(of_test=True)
  further = [
    (RANDOM_COLUMN, is_random.astype(int).tolist()),
    *suspect_files.reviewed_column(data.test, reviewed),
  ]
  suspect_files.write_table(workdir / TABLE, data.test, data, suspects=suspects, further=further)
  # Where not all images fit, the random ones come first.
  order = suspects.order
  shown = np.concatenate([order[is_random[order]], order[~is_random[order]]])
  suspect_files.write_images(
    workdir / IMAGES,
    data.test,
    shown[: suspect_files.MOST_IMAGES],
    crop_size=context.config.data.crop_size,
  )


def random_sample(split: Dataset, seed: int) -> Bool[np.ndarray, "n"]:
  """Returns which examples are drawn: `NUM_RANDOM` of them, by their ids and the seed alone."""
  order = np.argsort(seeded.bits(seed, "review of the test set", split.example_ids), kind="stable")
  is_drawn = np.zeros(len(split), bool)
  is_drawn[order[:NUM_RANDOM]] = True
  return is_drawn


def suspects_of(stored: files.Arrays, arm: str, seeds: Sequence[int]) -> Suspects:
  """Returns the test examples as suspects, by what an arm's networks say of them.

  Args:
    stored: content of predictions.npz.
    arm: whose networks.
    seeds: which of them, at least one.
  """
  at, there, labels = stored["arms"].tolist().index(arm), stored["seeds"].tolist(), stored["label"]
  margins, others = [], []
  for seed in seeds:
    place = there.index(seed)
    predicted = stored["predicted"][at, place]
    margin, other = _against_label(stored["probabilities"][at, place], labels, predicted)
    margins.append(margin)
    others.append(other)
  sound = np.ones(len(margins), bool)
  return find({"margin": np.stack(margins)}, np.stack(others), sound, has_folds=True)


def _against_label(
  probabilities: np.ndarray, labels: Int[np.ndarray, "n"], predicted: Int[np.ndarray, "n"]
) -> tuple[Float64[np.ndarray, "n"], Int[np.ndarray, "n"]]:
  """Returns log(p_label / p_other) of each example, and the most probable other class."""
  margin, other = np.empty(len(labels)), np.empty(len(labels), np.int64)
  for start in range(0, len(labels), _ROWS):
    part = slice(start, start + _ROWS)
    values = np.log(np.maximum(probabilities[part].astype(np.float64), _LEAST))
    rows = np.arange(len(values))
    own = values[rows, labels[part]]
    values[rows, labels[part]] = -np.inf
    margin[part], other[part] = own - values.max(axis=1), values.argmax(axis=1)
  is_wrong = predicted != labels
  margin = np.where(is_wrong, np.minimum(margin, -_HAIR), margin)
  return margin, np.where(is_wrong, predicted, other)
