"""Batched augmentation and normalisation, inside the compiled step. Scoring and evaluation only
normalise.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sdt.config.schema import AugmentConfig

# Boxes of random-resized-crop that are tried before the largest one in the middle is taken.
_BOX_TRIES = 10


def shift_and_scale(mean: np.ndarray, std: np.ndarray, dtype: Any) -> tuple[np.ndarray, np.ndarray]:
  """Returns what `normalise` needs, float32 [C] each: (255 mean, 1 / (255 std)) for uint8 inputs,
  (mean, 1 / std) for features.

  On the host: a division inside the program is rewritten or hoisted by the compiler as the loop
  around it permits, to other last bits.
  """
  unit = 255.0 if dtype == np.uint8 else 1.0
  return (mean.astype(np.float64) * unit).astype(np.float32), (
    1.0 / (std.astype(np.float64) * unit)
  ).astype(np.float32)


def normalise(inputs: jax.Array, shift: jax.Array, scale: jax.Array) -> jax.Array:
  """Returns (x - shift) * scale, float32: (x / 255 - mean) / std of images, (x - mean) / std of
  features.

  Args:
    inputs: [..., C] uint8 in [0, 255], or float32 features.
    shift: [C] float32, see `shift_and_scale`. Subtracted first: features may lie far from 0,
      measured in their spread.
    scale: [C] float32.
  """
  broadcast = (1,) * (inputs.ndim - 1) + (-1,)
  return (inputs.astype(jnp.float32) - shift.reshape(broadcast)) * scale.reshape(broadcast)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Draws:
  """The random numbers of one batch; what is switched off is None.

  Attributes:
    offsets: [B, 2] int32, first row and first column of the crop in the zero-padded image.
    boxes: [B, 4] int32, the part of the image that random-resized-crop enlarges: top, left, height,
      width.
    flips: [B] bool, which images are mirrored.
  """

  offsets: Any
  boxes: Any
  flips: Any


def output_size(shape: tuple[int, ...], crop_size: int | None) -> tuple[int, int]:
  """Returns the (height, width) that the network sees of examples of this shape, [H, W, C] or [D]
  (one row): of the crop, or all of it.
  """
  if crop_size is not None:
    return crop_size, crop_size
  return (shape[0], shape[1]) if len(shape) == 3 else (1, shape[0])


def draw(
  key: jax.Array,
  sizes: jax.Array,
  output: tuple[int, int],
  config: AugmentConfig,
  strength: jax.Array | None = None,
) -> Draws:
  """Returns the random numbers of one batch.

  Drawn for the whole batch before it is divided over devices, so that the number of devices changes
  nothing.

  Args:
    key: PRNG key.
    sizes: [B, 2] int32, height and width of every image.
    output: (height, width) after the crop; no larger than any padded image.
    config: what is switched on.
    strength: [] float in [0, 1]: times the probability of a flip and the distance of each edge of
      the crop, or of the box, from where evaluation has it (rounded to pixels); None is 1.
  """
  batch_size = sizes.shape[0]
  crop_key, flip_key = jax.random.split(key)
  offsets = boxes = None
  if config.resized_crop_area is not None:
    boxes = _draw_boxes(
      crop_key, sizes, config.resized_crop_area, aspect=config.resized_crop_aspect
    )
    if strength is not None:
      top_left = (sizes - jnp.asarray(output, jnp.int32)[None]) // 2
      first = _scaled(boxes[:, :2], top_left, strength)
      end = _scaled(
        boxes[:, :2] + boxes[:, 2:], top_left + jnp.asarray(output, jnp.int32)[None], strength
      )
      boxes = jnp.concatenate([first, end - first], axis=1)
  else:
    room = sizes + (2 * config.pad_crop + 1) - jnp.asarray(output, jnp.int32)[None]
    offsets = jax.random.randint(crop_key, (batch_size, 2), 0, room, jnp.int32)
    if strength is not None:
      offsets = _scaled(
        offsets, (sizes - jnp.asarray(output, jnp.int32)[None]) // 2 + config.pad_crop, strength
      )
  chance = 0.5 if strength is None else 0.5 * strength
  flips = (
    jax.random.bernoulli(flip_key, chance, (batch_size,))
    if config.flip
    else jnp.zeros((batch_size,), bool)
  )
  return Draws(offsets, boxes, flips)


def _scaled(drawn: jax.Array, middle: jax.Array, strength: jax.Array) -> jax.Array:
  """Returns middle + strength * (drawn - middle) in whole pixels, int32; halves go up everywhere,
  so that no box shrinks to nothing.
  """
  return middle + jnp.floor(strength * (drawn - middle).astype(jnp.float32) + 0.5).astype(jnp.int32)


def _draw_boxes(key: jax.Array, sizes: jax.Array, least_area: float, aspect: float) -> jax.Array:
  """Returns boxes [B, 4] of random-resized-crop: area uniform, logarithm of the sides' ratio
  uniform, position uniform.

  Args:
    key: PRNG key.
    sizes: [B, 2] int32.
    least_area: the smallest share of the image's area; the largest is 1.
    aspect: width / height is within [1 / aspect, aspect].
  Source: Szegedy et al. 2015, "Going Deeper with Convolutions", section 6, as the field's trainers
  do it: ten tries, then the largest box in the middle whose sides' ratio is allowed. Differs from
  source: none.
  """
  area_key, ratio_key, place_key = jax.random.split(key, 3)
  height, width = (sizes[:, axis].astype(jnp.float32)[None] for axis in (0, 1))
  tries = (_BOX_TRIES, sizes.shape[0])
  area = jax.random.uniform(area_key, tries, jnp.float32, least_area, 1.0) * height * width
  ratio = jnp.exp(jax.random.uniform(ratio_key, tries, jnp.float32, -1.0, 1.0) * math.log(aspect))
  box_heights, box_widths = jnp.rint(jnp.sqrt(area / ratio)), jnp.rint(jnp.sqrt(area * ratio))
  fits = (box_heights >= 1) & (box_widths >= 1) & (box_heights <= height) & (box_widths <= width)
  # The last candidate, which always fits: the image itself, or its largest part that is neither too
  # wide nor too high.
  largest_height, largest_width = (
    jnp.minimum(height, jnp.rint(width * aspect)),
    jnp.minimum(width, jnp.rint(height * aspect)),
  )
  fits = jnp.concatenate([fits, jnp.ones_like(fits[:1])])
  first = jnp.argmax(fits, axis=0)[None]
  box_height = jnp.take_along_axis(jnp.concatenate([box_heights, largest_height]), first, axis=0)[
    0
  ].astype(jnp.int32)
  box_width = jnp.take_along_axis(jnp.concatenate([box_widths, largest_width]), first, axis=0)[
    0
  ].astype(jnp.int32)
  room = sizes - jnp.stack([box_height, box_width], axis=1)
  place = jax.random.randint(place_key, room.shape, 0, room + 1, jnp.int32)
  place = jnp.where(first[0][:, None] == _BOX_TRIES, room // 2, place)
  return jnp.concatenate([place, box_height[:, None], box_width[:, None]], axis=1)


def crop_and_flip(
  images: jax.Array, offsets: jax.Array, flips: jax.Array, pad: int, output: tuple[int, int]
) -> jax.Array:
  """Returns the images zero-padded by `pad` pixels, cropped to `output` at `offsets`, and mirrored
  where `flips`.

  Args:
    images: [B, H, W, C] uint8. Zero is black: the padding is laid before normalisation. An image
      smaller than H x W stands at the top left and has zeros around it, which serve as its padding.
    offsets: [B, 2] int32 in [0, size + 2 * pad - output]: first row and first column of the crop in
      the padded image.
    flips: [B] bool.
    pad: pixels on each side.
    output: (height, width) of the crop.
  Returns:
    [B, *output, C] uint8.
  Source: He et al. 2016, section 4.2, as the field's trainers do it on raw pixels. Differs from
  source: padding is black, where the paper pads after subtracting the mean image. One gather
  instead of a `dynamic_slice` per image, which is ten times slower on a CPU.
  """
  height, width = output
  padded = jnp.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
  column = jnp.arange(width, dtype=jnp.int32)[None, :]
  columns = offsets[:, 1:] + jnp.where(flips[:, None], width - 1 - column, column)
  rows = offsets[:, :1] + jnp.arange(height, dtype=jnp.int32)[None, :]

  # Mapped over the examples: with their numbers as a third index the compiler sends every device
  # the images of all.
  def pixels(image: jax.Array, rows: jax.Array, columns: jax.Array) -> jax.Array:
    return image.at[rows[:, None], columns[None]].get(mode="promise_in_bounds")

  return jax.vmap(pixels)(padded, rows, columns)


def resize_boxes(
  images: jax.Array, boxes: jax.Array, flips: jax.Array, output: tuple[int, int]
) -> jax.Array:
  """Returns the boxes of the images, scaled to `output` and mirrored where `flips`.

  Args:
    images: [B, H, W, C] uint8.
    boxes: [B, 4] int32, top, left, height, width, within the image.
    flips: [B] bool.
    output: (height, width).
  Returns:
    [B, *output, C] float32 in [0, 255]: bilinear with antialiasing, as Pillow and torch have it,
      but not rounded to whole numbers.
  Source: the triangle filter, as wide as a source or an output pixel, whichever is larger. Two
  batched matrix products, which every accelerator does well.
  """
  rows = _triangle_weights(boxes[:, 0], boxes[:, 2], images.shape[1], out_size=output[0])
  columns = _triangle_weights(boxes[:, 1], boxes[:, 3], images.shape[2], out_size=output[1])
  columns = jnp.where(flips[:, None, None], columns[:, ::-1], columns)
  tall = jnp.einsum(
    "boh,bhwc->bowc", rows, images.astype(jnp.float32), precision=jax.lax.Precision.HIGHEST
  )
  return jnp.einsum("bpw,bowc->bopc", columns, tall, precision=jax.lax.Precision.HIGHEST)


def _triangle_weights(
  start: jax.Array, length: jax.Array, in_size: int, out_size: int
) -> jax.Array:
  """Returns weights [B, out_size, in_size], rows sum to 1, that scale the pixels [start, start +
  length) of a line to out_size.
  """
  # A padded row of the batch has length 0; it does not count, but must stay finite.
  length = jnp.maximum(length, 1)[:, None, None]
  scale = length.astype(jnp.float32) / out_size
  centre = (jnp.arange(out_size, dtype=jnp.float32)[None, :, None] + 0.5) * scale
  pixel = jnp.arange(in_size, dtype=jnp.int32)[None, None, :] - start[:, None, None]
  distance = jnp.abs(pixel.astype(jnp.float32) + 0.5 - centre) / jnp.maximum(scale, 1.0)
  weights = jnp.where((pixel >= 0) & (pixel < length), jnp.maximum(0.0, 1.0 - distance), 0.0)
  return weights / weights.sum(axis=-1, keepdims=True)


def augment(
  inputs: jax.Array, draws: Draws, output: tuple[int, int], config: AugmentConfig
) -> jax.Array:
  """Returns the augmented batch [B, *output, C]; features ([B, D]) and switched-off augmentation
  pass through.
  """
  if inputs.ndim != 4:
    return inputs
  if draws.boxes is not None:
    return resize_boxes(inputs, draws.boxes, draws.flips, output=output)
  if not (config.pad_crop or config.flip) and output == inputs.shape[1:3]:
    return inputs
  return crop_and_flip(inputs, draws.offsets, draws.flips, pad=config.pad_crop, output=output)


def centre_crop(images: jax.Array, sizes: jax.Array, crop_size: int | None) -> jax.Array:
  """Returns the middle of every image, [B, crop_size, crop_size, C]; the images themselves (or
  vectors) where `crop_size` is None.

  Args:
    images: [B, H, W, C] uint8.
    sizes: [B, 2] int32, height and width of every image, at least crop_size.
    crop_size: pixels a side, or None.
  """
  if crop_size is None:
    return images
  offsets = (sizes - crop_size) // 2
  return crop_and_flip(
    images, offsets, jnp.zeros(offsets.shape[:1], bool), pad=0, output=(crop_size, crop_size)
  )
