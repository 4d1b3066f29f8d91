"""The neighbours that SMOTE reads, and what it cannot be used on."""

import numpy as np

from sdt.arms.resampling import nearest_of_class
from sdt.config import Config
from sdt.config.toolbox.operation_blocks import SMOTE
from sdt.config.toolbox.pipeline import pipeline_of
from sdt.data.dataset import Data, image_sizes
from sdt.errors import ConfigError
from sdt.inputs.operations.smote import Neighbours
from sdt.inputs.placement import Placement

_OUT = f"leave {SMOTE} out"


def class_neighbours(
  config: Config, data: Data, placement: Placement, *, is_abstract: bool = False
) -> Neighbours | None:
  """Returns the neighbours of every training example; None where no operation reads them.

  Args:
    config: `augment.ops`.
    data: its training set is read.
    placement: where the inputs are.
    is_abstract: whether only shapes matter.

  Raises:
    ConfigError: the inputs are streamed, or there is nothing between these examples.
  """
  call = pipeline_of(config.augment).find(SMOTE)
  if call is None:
    return None
  train, number = data.train, int(call.numbers[1])
  why = _obstacle(data, placement)
  if why is not None:
    raise ConfigError(f"augment.ops: {call}: {why}")
  counts = np.bincount(train.labels)[train.labels]
  chance = (1.0 - counts / counts.max()).astype(np.float32)
  if is_abstract:
    return Neighbours(np.zeros((len(train), number), np.int32), chance)
  ids = nearest_of_class(train.inputs, train.labels, train.example_ids, number=number)
  return Neighbours(ids, chance)


def _obstacle(data: Data, placement: Placement) -> str | None:
  """Returns why SMOTE cannot be used, and what to do; None where it can."""
  train = data.train
  if train.labels.ndim != 1:
    return f"the targets are numbers, not classes; {_OUT}"
  if placement.name != "device":
    return (
      "it reads the neighbours of an example, and streamed inputs hold the batch alone; "
      f"{_OUT}, or give data.placement=device where the inputs fit"
    )
  counts = np.bincount(train.labels)
  if np.ptp(counts[counts > 0]) == 0:
    return f"all classes are equally frequent, so it would replace nothing; {_OUT}"
  if train.inputs.ndim == 4 and np.ptp(image_sizes(train), axis=0).any():
    return (
      f"the images differ in size, and nothing lies between two of them; {_OUT}, or give "
      "data.image_size"
    )
  return None
