"""What an image is to a network without augmentation: its middle, normalised.

Scoring and evaluation see images so. `sdt/inputs/operations/` is what training does besides.
"""

import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Float32, Int, Shaped

from sdt.arrays import AnyArray
from sdt.config import Config
from sdt.data.dataset import Data
from sdt.inputs.operations.crops import crop_and_flip


def shift_and_scale(
  mean: Float[np.ndarray, "*s"], std: Float[np.ndarray, "*s"], dtype: DTypeLike
) -> tuple[Float32[np.ndarray, "*s"], Float32[np.ndarray, "*s"]]:
  """Returns (255 mean, 1 / (255 std)) for uint8 inputs, (mean, 1 / std) for features.

  Computed on the host: the compiler rewrites or hoists a division inside the program, depending on
  the loop around it, and the last bits differ.

  Args:
    mean: [C] or [H, W, C] float, in units of pixel / 255, or in those of the features.
    std: float like `mean`.
    dtype: of the inputs.
  Returns:
    shift and scale for `normalise`, float32 like `mean`.
  """
  unit = 255.0 if dtype == np.uint8 else 1.0
  shift, scale = mean.astype(np.float64) * unit, 1.0 / (std.astype(np.float64) * unit)
  return shift.astype(np.float32), scale.astype(np.float32)


def normalise(
  inputs: Shaped[AnyArray, "*rest C"],
  shift: Float32[AnyArray, "*s"],
  scale: Float32[AnyArray, "*s"],
) -> Float32[Array, "*rest C"]:
  """Returns (x - shift) * scale in float32: (x / 255 - mean) / std of images.

  Of features: (x - mean) / std.

  Args:
    inputs: [..., C] uint8 in [0, 255], or float32 features.
    shift: [C] or [H, W, C] float32, see `shift_and_scale`. It is subtracted first, because features
      may lie many standard deviations from 0.
    scale: float32 like `shift`.
  """
  broadcast = (1,) * (inputs.ndim - shift.ndim) + shift.shape
  return (jnp.asarray(inputs).astype(jnp.float32) - shift.reshape(broadcast)) * scale.reshape(
    broadcast
  )


def output_size(shape: tuple[int, ...], crop_size: int | None) -> tuple[int, int]:
  """Returns the (height, width) that the network sees of an example: the crop's, or the example's.

  Args:
    shape: of an example, [H, W, C], or [D], which counts as one row.
    crop_size: pixels a side, or None.
  """
  if crop_size is not None:
    return crop_size, crop_size
  return (shape[0], shape[1]) if len(shape) == 3 else (1, shape[0])


def input_shape(config: Config, data: Data) -> tuple[int, ...]:
  """Returns what the network sees of an example: (H, W, C), or (D,) of vectors."""
  shape = data.train.inputs.shape[1:]
  return shape if len(shape) == 1 else (*output_size(shape, config.data.crop_size), shape[2])


def centre_crop(
  images: Shaped[AnyArray, "B *rest"], sizes: Int[AnyArray, "B 2"], crop_size: int | None
) -> Shaped[Array, "B *out"]:
  """Returns the middle of every image, [B, crop_size, crop_size, C].

  Args:
    images: [B, H, W, C] uint8; without `crop_size` also vectors [B, D]; these are returned as is.
    sizes: [B, 2] int32, height and width of every image, at least crop_size.
    crop_size: pixels a side, or None.
  """
  if crop_size is None:
    return jnp.asarray(images)
  offsets = (sizes - crop_size) // 2
  no_flips = jnp.zeros(offsets.shape[:1], bool)
  return crop_and_flip(images, offsets, no_flips, pad=0, output=(crop_size, crop_size))
