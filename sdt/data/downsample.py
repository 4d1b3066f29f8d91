"""Smaller images: squares of pixels averaged, `data.downsample`."""

import dataclasses

import numpy as np
from jaxtyping import UInt8

from sdt.data.dataset import RawSplit
from sdt.errors import DataError

_PART = 4096  # images averaged together: their sums take four bytes a value


def averaged(images: UInt8[np.ndarray, "*n H W C"], factor: int) -> UInt8[np.ndarray, "*n h w C"]:
  """Returns images whose pixels are means of factor x factor pixels, halves rounded up.

  Args:
    images: [..., H, W, C] uint8; H and W are multiples of the factor.
    factor: 1 returns the images themselves.
  """
  if factor == 1:
    return images
  *first, height, width, channels = images.shape
  squares = images.reshape(*first, height // factor, factor, width // factor, factor, channels)
  sums = squares.sum(axis=(-4, -2), dtype=np.uint32)
  area = np.uint32(factor * factor)
  return ((2 * sums + area) // (2 * area)).astype(np.uint8)


def smaller(split: RawSplit, factor: int, where: str) -> RawSplit:
  """Returns the split with its images averaged; see `averaged`.

  Raises:
    DataError: the examples are no images, or their sizes differ or are no multiples of the factor.
  """
  inputs = np.asarray(split.inputs)
  if factor == 1:
    return split
  shape = inputs.shape[1:]
  if split.sizes is not None or len(shape) != 3 or shape[0] % factor or shape[1] % factor:
    what = "images of differing sizes" if split.sizes is not None else f"inputs of {list(shape)}"
    raise DataError(
      f"{where}: data.downsample={factor} and {what}: expected images whose height and width are "
      f"multiples of {factor}; leave it out"
    )
  parts = [averaged(inputs[at : at + _PART], factor) for at in range(0, len(inputs), _PART)]
  return dataclasses.replace(split, inputs=np.concatenate(parts))
