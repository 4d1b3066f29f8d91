"""A stand-in for a published set that is not on this machine, to describe and compile a run."""

import dataclasses

import numpy as np

from sdt.config.schema import DataConfig
from sdt.data import imbalance, preprocess
from sdt.data.dataset import Data, Dataset
from sdt.data.pretext import ROTATIONS
from sdt.data.published.catalogue import SIZES
from sdt.data.readers.decoding import LONGEST


def stand_in(config: DataConfig) -> Data | None:
  """Returns the set that `config` names, in its published sizes, with all pixels and labels zero.

  The labels are zero where nothing asks for classes: `data.imbalance` does.

  None where its sizes are not known. The images take no memory: each array repeats one zero. Where
  images differ in size, they have the largest size that `data.image_size` and `data.resize` allow.
  """
  sizes = SIZES.get(config.name)
  shape = None if sizes is None else _image_shape(config, sizes.image_shape)
  if sizes is None or shape is None:
    return None
  num_classes = sizes.num_classes
  if config.labels == "coarse" and sizes.num_coarse_classes:
    num_classes = sizes.num_coarse_classes
  fitted = preprocess.stand_in(config.normalise, shape)
  num_train = min(config.num_train or sizes.num_train, sizes.num_train)
  num_test = min(config.num_test or sizes.num_test, sizes.num_test)
  if config.pretext is not None:
    num_classes, num_train, num_test = len(ROTATIONS), 4 * num_train, 4 * num_test
  train = _graded(_imbalanced(_empty(num_train, shape), num_classes, config), config)
  unlabelled, known = None, config.labelled
  if known is not None and known < len(train):
    unlabelled = _empty(len(train) - known, shape)
    kept = (train.inputs[:known], train.labels[:known], train.example_ids[:known])
    train = Dataset(*kept)
  return Data(
    train=train,
    test=_empty(num_test, shape),
    class_names=tuple(f"class {label}" for label in range(num_classes)),
    name=config.name,
    variant="not found",
    checksum="",
    unlabelled=unlabelled,
    **fitted._asdict(),
  )


def _imbalanced(train: Dataset, num_classes: int, config: DataConfig) -> Dataset:
  """Returns the part that `data.imbalance` keeps, with its classes, if all are equally frequent."""
  if config.imbalance is None:
    return train
  labels = np.arange(len(train), dtype=np.int32) % num_classes
  kept = imbalance.positions(labels, train.example_ids, num_classes, config=config)
  rest = _empty(len(kept), train.inputs.shape[1:])
  return dataclasses.replace(rest, labels=labels[kept], example_ids=train.example_ids[kept])


def _graded(train: Dataset, config: DataConfig) -> Dataset:
  """Returns the examples with as many wrong labels as are made, where the data say which they are.

  Of a file of labels nobody knows how many; here it has none.
  """
  share = config.wrong_label_fraction
  if not share and config.labels_file is None:
    return train
  wrong = np.arange(len(train)) < round(share * len(train))
  return dataclasses.replace(train, wrong_label=wrong)


def _image_shape(
  config: DataConfig, published: tuple[int, int, int] | None
) -> tuple[int, int, int] | None:
  """Returns (height, width, channels) as the network's inputs have them, None if not known."""
  if config.image_size is None:
    if published is None:
      return None
    height, width, channels = published
    return height // config.downsample, width // config.downsample, channels
  longest = config.image_size if config.resize == "stretch" else int(LONGEST * config.image_size)
  longest //= config.downsample
  return longest, longest, 3


def _empty(num: int, shape: tuple[int, ...]) -> Dataset:
  images = np.broadcast_to(np.zeros((), np.uint8), (num, *shape))
  return Dataset(images, np.zeros(num, np.int32), np.arange(num, dtype=np.int32))
