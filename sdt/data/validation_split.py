"""A validation split: a part of the training set that stands in for the test set."""

import dataclasses

import numpy as np

from sdt.config.schema import DataConfig
from sdt.data import seeded
from sdt.data.dataset import Data, Duplicates, checksum
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
  example for training. The inputs are normalised as those of the whole training set.

  Args:
    data: its training set and what describes it are read, not its test set, its checksum, its
      notes or its duplicates.
    config: `validation_fraction`, `split_seed`.

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
  is_held_out = np.zeros(len(train), bool)
  draw = seeded.stratified(
    train.labels,
    num_held_out,
    config.split_seed,
    stream="validation split",
    leave_one=True,
    ids=train.example_ids,
  )
  is_held_out[draw] = True
  rest = train.take(np.flatnonzero(~is_held_out))
  validation = train.take(np.flatnonzero(is_held_out))
  note = (
    f"what is called test here is a validation split, {num_held_out} examples held out of the "
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
