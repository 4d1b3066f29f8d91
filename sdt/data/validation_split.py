"""A validation split: a part of the training set, held out to choose on, in the place of the test
set.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from sdt.config.schema import DataConfig
from sdt.data import seeded
from sdt.data.dataset import Data, Dataset, checksum
from sdt.errors import ConfigError


def hold_out(data: Data, config: DataConfig) -> Data:
  """Returns the training set cut in two: its `train` is what is left, its `test` the validation
  split. Nothing of the test set is in it.

  The draw is stratified (largest remainder) and goes by `data.split_seed` and the example ids, so
  it does not depend on their order; where there is room, every class keeps an example for training.
  The inputs are normalised as those of the whole training set.

  Args:
    data: its training set and what describes it are read, not its test set, its checksum or its
      notes.
    config: `validation_fraction`, `split_seed`.

  Raises:
    ConfigError: one of the two parts would be empty.
  """
  train, fraction = data.train, config.validation_fraction
  num_held_out = round(fraction * len(train))
  if not 0 < num_held_out < len(train):
    raise ConfigError(
      f"data.validation_fraction={fraction}: of {len(train)} training examples the validation "
      f"split would get {num_held_out}; "
      "both parts need at least one, choose another value"
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
  rest, validation = (
    _take(train, np.flatnonzero(~is_held_out)),
    _take(train, np.flatnonzero(is_held_out)),
  )
  note = (
    "what "
    f"is called test here is a validation split, {num_held_out} examples held out of the "
    f"{len(train)} of the training set"
  )
  return dataclasses.replace(
    data,
    train=rest,
    test=validation,
    checksum=checksum(rest, validation, data.class_names),
    notes=(note,),
  )


def _take(dataset: Dataset, positions: np.ndarray) -> Dataset:
  """Returns the examples at `positions`, ascending, with the ids that they have."""

  def pick(array: np.ndarray) -> np.ndarray:
    taken = array[positions]
    taken.flags.writeable = False
    return taken

  files = dataset.source_files
  return Dataset(
    inputs=pick(dataset.inputs),
    labels=pick(dataset.labels),
    example_ids=pick(dataset.example_ids),
    source_files=None if files is None else tuple(files[position] for position in positions),
    difficulty=None if dataset.difficulty is None else pick(dataset.difficulty),
    wrong_label=None if dataset.wrong_label is None else pick(dataset.wrong_label),
    sizes=None if dataset.sizes is None else pick(dataset.sizes),
  )
