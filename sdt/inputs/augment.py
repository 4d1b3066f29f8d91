"""Augmentation and normalisation of a batch inside the compiled step.

Scoring and evaluation only normalise.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Float32, Int, Key, Shaped, UInt8

from sdt.arrays import AnyArray
from sdt.config.schema import AugmentConfig
from sdt.types import Leaf

# Random-resized-crop tries so many boxes before it takes the largest one in the middle.
_BOX_TRIES = 10


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


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Draws:
  """The random numbers of one batch; None where an augmentation is off.

  Attributes:
    offsets: [B, 2] int32, first row and first column of the crop in the zero-padded image.
    boxes: [B, 4] int32, the part of the image that random-resized-crop enlarges: top, left, height,
      width.
    flips: [B] bool, which images are mirrored.
  """

  offsets: Leaf
  boxes: Leaf
  flips: Leaf


def output_size(shape: tuple[int, ...], crop_size: int | None) -> tuple[int, int]:
  """Returns the (height, width) that the network sees of an example: the crop's, or the example's.

  Args:
    shape: of an example, [H, W, C], or [D], which counts as one row.
    crop_size: pixels a side, or None.
  """
  if crop_size is not None:
    return crop_size, crop_size
  return (shape[0], shape[1]) if len(shape) == 3 else (1, shape[0])


def draw(
  key: Key[Array, ""],
  sizes: Int[AnyArray, "B 2"],
  output: tuple[int, int],
  config: AugmentConfig,
  strength: Float[AnyArray, ""] | None = None,
) -> Draws:
  """Returns the random numbers of one batch.

  They are drawn for the whole batch before it is divided over devices, so the number of devices
  changes nothing.

  Args:
    key: PRNG key.
    sizes: [B, 2] int32, height and width of every image.
    output: (height, width) after the crop; no larger than any padded image.
    config: which augmentations are on.
    strength: [] float in [0, 1], None for 1. It multiplies the probability of a flip, and the
      distance of each edge of the crop (or box) from its place in evaluation, rounded to pixels.
  """
  batch_size = sizes.shape[0]
  crop_key, flip_key = jax.random.split(key)
  offsets: AnyArray | None = None
  boxes: AnyArray | None = None
  if config.resized_crop_area is not None:
    boxes = _draw_boxes(
      crop_key, sizes, config.resized_crop_area, aspect=config.resized_crop_aspect
    )
    if strength is not None:
      top_left = (sizes - _pixels(output)) // 2
      first = _scaled(boxes[:, :2], top_left, strength)
      end = _scaled(boxes[:, :2] + boxes[:, 2:], top_left + _pixels(output), strength)
      boxes = jnp.concatenate([first, end - first], axis=1)
  else:
    num_places = sizes + (2 * config.pad_crop + 1) - _pixels(output)
    offsets = jax.random.randint(crop_key, (batch_size, 2), 0, num_places, jnp.int32)
    if strength is not None:
      offsets = _scaled(offsets, (sizes - _pixels(output)) // 2 + config.pad_crop, strength)
  chance = 0.5 if strength is None else 0.5 * strength
  flips = (
    jax.random.bernoulli(flip_key, chance, (batch_size,))
    if config.flip
    else jnp.zeros((batch_size,), bool)
  )
  return Draws(offsets, boxes, flips)


def _pixels(output: tuple[int, int]) -> jax.Array:
  """Returns (height, width) as [1, 2] int32."""
  return jnp.asarray(output, jnp.int32)[None]


def _scaled(drawn: AnyArray, middle: AnyArray, strength: AnyArray) -> AnyArray:
  """Returns middle + strength * (drawn - middle) in whole pixels, int32.

  Halves always go up, so no box shrinks to nothing.
  """
  return middle + jnp.floor(strength * (drawn - middle).astype(jnp.float32) + 0.5).astype(jnp.int32)


def _draw_boxes(key: jax.Array, sizes: AnyArray, least_area: float, aspect: float) -> jax.Array:
  """Returns boxes [B, 4] of random-resized-crop: uniform area, log of the aspect and position.

  Args:
    key: PRNG key.
    sizes: [B, 2] int32.
    least_area: the smallest share of the image's area; the largest is 1.
    aspect: width / height is within [1 / aspect, aspect].
  Source: Szegedy et al. 2015, "Going Deeper with Convolutions", section 6, as the field's trainers
  do it: ten tries, then the largest box in the middle with an allowed aspect. Differs from source:
  none.
  """
  area_key, ratio_key, place_key = jax.random.split(key, 3)
  height, width = (sizes[:, axis].astype(jnp.float32)[None] for axis in (0, 1))
  tries = (_BOX_TRIES, sizes.shape[0])
  area = jax.random.uniform(area_key, tries, jnp.float32, least_area, 1.0) * height * width
  ratio = jnp.exp(jax.random.uniform(ratio_key, tries, jnp.float32, -1.0, 1.0) * math.log(aspect))
  box_heights, box_widths = jnp.rint(jnp.sqrt(area / ratio)), jnp.rint(jnp.sqrt(area * ratio))
  fits = (box_heights >= 1) & (box_widths >= 1) & (box_heights <= height) & (box_widths <= width)
  # The last candidate always fits: the whole image, or its largest part with an allowed aspect.
  largest_height = jnp.minimum(height, jnp.rint(width * aspect))
  largest_width = jnp.minimum(width, jnp.rint(height * aspect))
  fits = jnp.concatenate([fits, jnp.ones_like(fits[:1])])
  choice = jnp.argmax(fits, axis=0)[None]

  def chosen(tried: jax.Array, largest: jax.Array) -> jax.Array:
    candidates = jnp.concatenate([tried, largest])
    return jnp.take_along_axis(candidates, choice, axis=0)[0].astype(jnp.int32)

  box_height, box_width = chosen(box_heights, largest_height), chosen(box_widths, largest_width)
  free = sizes - jnp.stack([box_height, box_width], axis=1)
  place = jax.random.randint(place_key, free.shape, 0, free + 1, jnp.int32)
  place = jnp.where(choice[0][:, None] == _BOX_TRIES, free // 2, place)
  return jnp.concatenate([place, box_height[:, None], box_width[:, None]], axis=1)


def crop_and_flip(
  images: UInt8[AnyArray, "B H W C"],
  offsets: Int[AnyArray, "B 2"],
  flips: Bool[AnyArray, "B"],
  pad: int,
  output: tuple[int, int],
) -> UInt8[Array, "B h w C"]:
  """Returns the images zero-padded by `pad`, cropped to `output` at `offsets`, mirrored by `flips`.

  Args:
    images: [B, H, W, C] uint8. Zero is black: images are padded before normalisation. An image
      smaller than H x W stands at the top left; the zeros around it serve as its padding.
    offsets: [B, 2] int32 in [0, size + 2 * pad - output]: first row and first column of the crop in
      the padded image.
    flips: [B] bool.
    pad: pixels on each side.
    output: (height, width) of the crop.
  Returns:
    [B, *output, C] uint8.
  Source: He et al. 2016, section 4.2, as the field's trainers do it on raw pixels. Differs from
  source: padding is black; the paper pads after subtracting the mean image. One gather, because a
  `dynamic_slice` for each image is ten times slower on a CPU.
  """
  height, width = output
  padded = jnp.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
  column = jnp.arange(width, dtype=jnp.int32)[None, :]
  columns = offsets[:, 1:] + jnp.where(flips[:, None], width - 1 - column, column)
  rows = offsets[:, :1] + jnp.arange(height, dtype=jnp.int32)[None, :]

  # Mapped over the examples: with the example as a third index, the compiler sends all images to
  # every device.
  def pixels(image: jax.Array, rows: AnyArray, columns: AnyArray) -> jax.Array:
    return image.at[rows[:, None], columns[None]].get(mode="promise_in_bounds")

  return jax.vmap(pixels)(padded, rows, columns)


def resize_boxes(
  images: UInt8[AnyArray, "B H W C"],
  boxes: Int[AnyArray, "B 4"],
  flips: Bool[AnyArray, "B"],
  output: tuple[int, int],
) -> Float32[Array, "B h w C"]:
  """Returns the boxes of the images, scaled to `output` and mirrored where `flips` is True.

  Args:
    images: [B, H, W, C] uint8.
    boxes: [B, 4] int32, top, left, height, width, within the image.
    flips: [B] bool.
    output: (height, width).
  Returns:
    [B, *output, C] float32 in [0, 255]: bilinear with antialiasing as in Pillow and torch, but not
      rounded to whole numbers.
  Source: the triangle filter, as wide as a source or an output pixel, whichever is larger. Computed
  as two batched matrix products, which are fast on every accelerator.
  """
  rows = _triangle_weights(boxes[:, 0], boxes[:, 2], images.shape[1], out_size=output[0])
  columns = _triangle_weights(boxes[:, 1], boxes[:, 3], images.shape[2], out_size=output[1])
  columns = jnp.where(flips[:, None, None], columns[:, ::-1], columns)
  tall = jnp.einsum(
    "boh,bhwc->bowc", rows, images.astype(jnp.float32), precision=jax.lax.Precision.HIGHEST
  )
  return jnp.einsum("bpw,bowc->bopc", columns, tall, precision=jax.lax.Precision.HIGHEST)


def _triangle_weights(start: AnyArray, length: AnyArray, in_size: int, out_size: int) -> jax.Array:
  """Returns weights [B, out_size, in_size] that scale pixels [start, start + length) to out_size.

  Each row of weights sums to 1.
  """
  # Padding of the batch has length 0: it does not count, but must stay finite.
  length = jnp.maximum(length, 1)[:, None, None]
  scale = length.astype(jnp.float32) / out_size
  centre = (jnp.arange(out_size, dtype=jnp.float32)[None, :, None] + 0.5) * scale
  pixel = jnp.arange(in_size, dtype=jnp.int32)[None, None, :] - start[:, None, None]
  distance = jnp.abs(pixel.astype(jnp.float32) + 0.5 - centre) / jnp.maximum(scale, 1.0)
  weights = jnp.where((pixel >= 0) & (pixel < length), jnp.maximum(0.0, 1.0 - distance), 0.0)
  return weights / weights.sum(axis=-1, keepdims=True)


def augment(
  inputs: Shaped[AnyArray, "B *rest"], draws: Draws, output: tuple[int, int], config: AugmentConfig
) -> Shaped[Array, "B *out"]:
  """Returns the augmented batch [B, *output, C]; unchanged for features, or without augmentation.

  Args:
    inputs: [B, H, W, C] uint8 images, or [B, D] features.
    draws: from `draw`.
    output: (height, width) after the crop.
    config: which augmentations are on.
  """
  if inputs.ndim != 4:
    return jnp.asarray(inputs)
  if draws.boxes is not None:
    return resize_boxes(inputs, draws.boxes, draws.flips, output=output)
  if not (config.pad_crop or config.flip) and output == inputs.shape[1:3]:
    return jnp.asarray(inputs)
  return crop_and_flip(inputs, draws.offsets, draws.flips, pad=config.pad_crop, output=output)


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
