"""Which part of an image is seen: random crops, random boxes that are enlarged, mirrored images.

Whole pixels are moved by one integer gather; boxes are scaled by two matrix products.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Float32, Int, Int32, Key, Shaped

from sdt.arrays import AnyArray
from sdt.inputs.operations.frame import beside

# Random-resized-crop tries so many boxes before it takes the largest one in the middle.
_BOX_TRIES = 10


def draw_offsets(
  key: Key[Array, ""],
  sizes: Int[AnyArray, "B 2"],
  output: tuple[int, int],
  *,
  pad: int,
  strength: Float[AnyArray, "*B"] | None = None,
) -> Int32[Array, "B 2"]:
  """Returns the first row and column of each crop in the padded image, [B, 2] int32, uniform.

  Args:
    key: PRNG key.
    sizes: [B, 2] int32, height and width of every image.
    output: (height, width) of the crop; no larger than any padded image.
    pad: pixels on each side.
    strength: [] or [B] float in [0, 1], None for 1. It scales the distance of the crop from the
      middle.
  """
  num_places = sizes + (2 * pad + 1) - _pixels(output)
  offsets = jax.random.randint(key, (sizes.shape[0], 2), 0, num_places, jnp.int32)
  if strength is None:
    return offsets
  return _scaled(offsets, (sizes - _pixels(output)) // 2 + pad, strength)


def draw_boxes(
  key: Key[Array, ""],
  sizes: Int[AnyArray, "B 2"],
  output: tuple[int, int],
  *,
  setting: tuple[float | Float[AnyArray, "*A"], float],
  strength: Float[AnyArray, "*B"] | None = None,
) -> Int32[Array, "B 4"]:
  """Returns the boxes of random-resized-crop, [B, 4] int32: top, left, height, width.

  Args:
    key: PRNG key.
    sizes: [B, 2] int32.
    output: (height, width) after the crop.
    setting: the least share of the area in (0, 1], [] or [B], and the largest ratio of the sides.
    strength: [] or [B] float in [0, 1], None for 1. It scales the distance of each edge from its
      place in evaluation, rounded to pixels.
  """
  least_area, aspect = setting
  boxes = _draw_boxes(key, sizes, least_area, aspect=aspect)
  if strength is None:
    return boxes
  top_left = (sizes - _pixels(output)) // 2
  first = _scaled(boxes[:, :2], top_left, strength)
  end = _scaled(boxes[:, :2] + boxes[:, 2:], top_left + _pixels(output), strength)
  return jnp.concatenate([first, end - first], axis=1)


def _pixels(output: tuple[int, int]) -> jax.Array:
  """Returns (height, width) as [1, 2] int32."""
  return jnp.asarray(output, jnp.int32)[None]


def _scaled(drawn: AnyArray, middle: AnyArray, strength: AnyArray) -> jax.Array:
  """Returns middle + strength * (drawn - middle) in whole pixels, int32.

  Halves always go up, so no box shrinks to nothing.
  """
  moved = jnp.floor(beside(strength, 2) * (drawn - middle).astype(jnp.float32) + 0.5).astype(
    jnp.int32
  )
  return jnp.asarray(middle) + moved


def _draw_boxes(
  key: jax.Array, sizes: AnyArray, least_area: float | AnyArray, aspect: float
) -> jax.Array:
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
  images: Shaped[AnyArray, "B H W C"],
  offsets: Int[AnyArray, "B 2"],
  flips: Bool[AnyArray, "B"],
  *,
  pad: int,
  output: tuple[int, int],
  upside_down: Bool[AnyArray, "B"] | None = None,
) -> Shaped[Array, "B h w C"]:
  """Returns the images zero-padded by `pad`, cropped to `output` at `offsets`, mirrored by `flips`.

  Args:
    images: [B, H, W, C] uint8 or float. Zero is black: images are padded before normalisation. An
      image smaller than H x W stands at the top left; the zeros around it serve as its padding.
    offsets: [B, 2] int32 in [0, size + 2 * pad - output]: first row and first column of the crop in
      the padded image.
    flips: [B] bool.
    pad: pixels on each side.
    output: (height, width) of the crop.
    upside_down: [B] bool, which are mirrored top-bottom; None for none.
  Returns:
    [B, *output, C] in the type of the images.
  Source: He et al. 2016, section 4.2, as the field's trainers do it on raw pixels. Differs from
  source: padding is black; the paper pads after subtracting the mean image. One gather, because a
  `dynamic_slice` for each image is ten times slower on a CPU.
  """
  height, width = output
  padded = jnp.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
  column = jnp.arange(width, dtype=jnp.int32)[None, :]
  columns = offsets[:, 1:] + jnp.where(flips[:, None], width - 1 - column, column)
  row = jnp.arange(height, dtype=jnp.int32)[None, :]
  if upside_down is not None:
    row = jnp.where(upside_down[:, None], height - 1 - row, row)
  rows = offsets[:, :1] + row

  # Mapped over the examples: with the example as a third index, the compiler sends all images to
  # every device.
  def pixels(image: jax.Array, rows: AnyArray, columns: AnyArray) -> jax.Array:
    return image.at[rows[:, None], columns[None]].get(mode="promise_in_bounds")

  return jax.vmap(pixels)(padded, rows, columns)


def resize_boxes(
  images: Shaped[AnyArray, "B H W C"],
  boxes: Int[AnyArray, "B 4"],
  flips: Bool[AnyArray, "B"],
  *,
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
