"""In place of a published set that is not on this machine: its sizes without its images, enough to
describe and compile a run.
"""

from __future__ import annotations

import numpy as np

from sdt.config.schema import DataConfig
from sdt.data.dataset import Data, Dataset
from sdt.data.published.catalogue import SIZES
from sdt.data.readers.images import LONGEST


def stand_in(config: DataConfig) -> Data | None:
  """Returns the set that `config` names in its published sizes, every pixel and label zero; None
  where its sizes are not known.

  It takes no memory for images: each array is one zero, seen as often as its shape says. Images of
  differing sizes have the largest size that `data.image_size` and `data.resize` allow.
  """
  sizes = SIZES.get(config.name)
  shape = None if sizes is None else _image_shape(config, sizes.image_shape)
  if sizes is None or shape is None:
    return None
  num_classes = (
    sizes.num_coarse_classes
    if config.labels == "coarse" and sizes.num_coarse_classes
    else sizes.num_classes
  )
  return Data(
    train=_empty(min(config.num_train or sizes.num_train, sizes.num_train), shape),
    test=_empty(min(config.num_test or sizes.num_test, sizes.num_test), shape),
    class_names=tuple(f"class {label}" for label in range(num_classes)),
    name=config.name,
    variant="not found",
    checksum="",
    mean=np.zeros(shape[2], np.float32),
    std=np.ones(shape[2], np.float32),
  )


def _image_shape(
  config: DataConfig, published: tuple[int, int, int] | None
) -> tuple[int, int, int] | None:
  if config.image_size is None:
    return published
  longest = config.image_size if config.resize == "stretch" else int(LONGEST * config.image_size)
  return longest, longest, 3


def _empty(num: int, shape: tuple[int, int, int]) -> Dataset:
  images = np.broadcast_to(np.zeros((), np.uint8), (num, *shape))
  return Dataset(images, np.zeros(num, np.int32), np.arange(num, dtype=np.int32))
