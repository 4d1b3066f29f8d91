"""A validation split: a part of the training set that stands in for the test set."""

import dataclasses

import numpy as np
from jaxtyping import Bool

from sdt.config.schema import DataConfig
from sdt.data import pretext, seeded
from sdt.data.dataset import Data, Dataset, Duplicates, checksum
from sdt.errors import ConfigError


def with_validation(data: Data, config: DataConfig) -> Data:
  """Returns the data with a part of the training split held out as `validation`, see `hold_out`.

  The test set and the checksum, which is that of the whole set, stay.

  Raises:
    ConfigError: one of the two parts would be empty.
  """
  cut = hold_out(data, config)
  note = (
    f"{len(cut.test)} of the {len(data.train)} training examples are a validation split: "
    "nothing trains on them"
  )
  return dataclasses.replace(data, train=cut.train, validation=cut.test, notes=(*data.notes, note))


def hold_out(data: Data, config: DataConfig) -> Data:
  """Returns the training set cut in two: `test` is the validation split, `train` is the rest.

  Nothing of the test set is in it. The draw is stratified (largest remainder) and depends on
  `data.split_seed` and the example ids, not on their order. Where possible, every class keeps an
  example for training. Of a pretext task an image is held out with all its turns. The inputs are
  normalised as those of the whole training set.

  Args:
    data: its training set and what describes it are read, not its test set, its checksum, its
      notes or its duplicates.
    config: `validation_fraction`, `split_seed`, `pretext`.

  Raises:
    ConfigError: one of the two parts would be empty.
  """
  train, fraction = data.train, config.validation_fraction
  num_held_out = round(fraction * len(train))
  if not 0 < num_held_out < len(train):
    raise ConfigError(
      f"data.validation_fraction={fraction}: of {len(train)} training examples the validation "
      f"split would get {num_held_out}; both parts need at least one, choose another value"
    )
  is_held_out = _drawn(train, num_held_out, config)
  rest = train.take(np.flatnonzero(~is_held_out))
  validation = train.take(np.flatnonzero(is_held_out))
  note = (
    f"what is called test here is a validation split, {len(validation)} examples held out of the "
    f"{len(train)} of the training set"
  )
  return dataclasses.replace(
    data,
    train=rest,
    test=validation,
    checksum=checksum(rest, validation, data.class_names, unlabelled=data.unlabelled),
    notes=(note,),
    duplicates=Duplicates(),
    label_changes=tuple(one for one in data.label_changes if not one.key.endswith("_test")),
  )


def _drawn(train: Dataset, num: int, config: DataConfig) -> Bool[np.ndarray, "N"]:
  """Returns which examples are held out, about `num`."""
  labels, ids = train.labels, train.example_ids
  if config.pretext is not None:
    ids = pretext.images_of(ids)  # every image has all labels
    unique, first = np.unique(ids, return_index=True)
    labels, num = np.zeros_like(labels[first]), round(num * len(unique) / len(ids))
    num = max(1, min(num, len(unique) - 1))
  else:
    unique = ids
  draw = seeded.stratified(
    labels, num, config.split_seed, stream="validation split", leave_one=True, ids=unique
  )
  return np.isin(ids, unique[draw])
