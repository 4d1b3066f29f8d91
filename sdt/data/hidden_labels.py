"""Partial labels: a few training examples keep their label, and the others are seen without."""

import dataclasses
from collections.abc import Iterator

import numpy as np
from jaxtyping import Int64

from sdt.config.schema import DataConfig
from sdt.data import seeded
from sdt.data.corrections import ids_of
from sdt.data.dataset import Dataset, RawSplit
from sdt.errors import DataError

KEY = "data.labelled"


def labelled_positions(
  drawn: RawSplit, config: DataConfig, where: str = KEY
) -> Int64[np.ndarray, "n"]:
  """Returns the positions of the examples that keep their label, ascending.

  The draw is stratified, by `data.split_seed` and the example ids: a class that is given more
  labels keeps those that it had.

  Args:
    drawn: the training examples in use, with the labels of the set.
    config: `labelled`, `split_seed`.
    where: what messages call the set.

  Raises:
    DataError: no label would be hidden.
  """
  number, total = config.labelled or 0, len(drawn.labels)
  if number >= total:
    raise DataError(
      f"{where}: {KEY}={number} of {total} training examples hides no label; expected fewer, or "
      f"leave {KEY} out"
    )
  labels, ids = np.asarray(drawn.labels), ids_of(drawn)
  return seeded.stratified(labels, number, config.split_seed, stream="labelled", ids=ids)


def without_labels(split: RawSplit) -> RawSplit:
  """Returns the examples with zeros as labels, and nothing else that tells of them."""
  zeros = np.zeros(len(split.labels), np.int32)
  return dataclasses.replace(split, labels=zeros, difficulty=None, wrong_label=None)


def notes(labelled: Dataset, unlabelled: Dataset | None) -> Iterator[str]:
  """Yields what the user must be told where labels are hidden."""
  if unlabelled is None:
    return
  total = len(labelled) + len(unlabelled)
  yield (
    f"{len(labelled)} of {total} training examples have a label ({KEY}); the others are seen "
    "without, by phases with &unlabelled alone"
  )
