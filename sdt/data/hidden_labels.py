"""Partial labels: a few training examples keep their label, and the others are seen without."""

import dataclasses
from collections.abc import Iterator

import numpy as np
from jaxtyping import Int, Int64

from sdt.config.schema import DataConfig
from sdt.data import seeded
from sdt.data.corrections import ids_of
from sdt.data.dataset import Data, Dataset, Duplicates, RawSplit, checksum
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
    DataError: no label would be hidden, or there are fewer than classes.
  """
  number, total = config.labelled or 0, len(drawn.labels)
  if number >= total:
    raise DataError(
      f"{where}: {KEY}={number} of {total} training examples hides no label; expected fewer, or "
      f"leave {KEY} out"
    )
  labels, ids = np.asarray(drawn.labels), ids_of(drawn)
  num_classes = len(np.unique(labels))
  if number < num_classes and not config.allow_empty_class:
    raise DataError(
      f"{where}: {KEY}={number} leaves classes without a label; expected one for each of the "
      f"{num_classes} classes, so {num_classes} or more, or data.allow_empty_class=True"
    )
  return seeded.stratified(labels, number, config.split_seed, stream="labelled", ids=ids)


def without_labels[Split: (RawSplit, Dataset)](split: Split) -> Split:
  """Returns the examples with zeros as labels, and nothing else that tells of them."""
  zeros = np.zeros(len(split.labels), np.int32)
  return dataclasses.replace(split, labels=zeros, difficulty=None, wrong_label=None)


def revealed(pool: Data, ids: Int[np.ndarray, "n"]) -> Data:
  """Returns the data of a run that knows the labels of some training examples alone.

  Nothing in it tells of another label: neither an array, nor the checksum, nor a note. Inputs are
  normalised as those of the pool.

  Args:
    pool: a set whose training labels are all there.
    ids: of the examples that keep theirs, unique, in any order; some must be left without.
  """
  is_known = np.isin(pool.train.example_ids, ids)
  known = pool.train.take(np.flatnonzero(is_known))
  rest = without_labels(pool.train.take(np.flatnonzero(~is_known)))
  return dataclasses.replace(
    pool,
    train=known,
    unlabelled=rest,
    checksum=checksum(known, pool.test, pool.class_names, unlabelled=rest),
    notes=tuple(notes(known, rest, "acquire.start, acquire.add")),
    duplicates=Duplicates(),
    label_changes=tuple(one for one in pool.label_changes if one.key.endswith("_test")),
  )


def notes(labelled: Dataset, unlabelled: Dataset | None, keys: str = KEY) -> Iterator[str]:
  """Yields what the user must be told where labels are hidden, by these keys."""
  if unlabelled is None:
    return
  total = len(labelled) + len(unlabelled)
  yield (
    f"{len(labelled)} of {total} training examples have a label ({keys}); the others are seen "
    "without, by phases with &unlabelled alone"
  )
