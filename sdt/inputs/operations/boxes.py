"""Boxes of images: those that cutout and erasing fill, and that cutmix pastes.

A box is (top, left, bottom, right), int32; bottom and right are just outside it.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Int32, Key

from sdt.arrays import AnyArray
from sdt.inputs.operations.frame import beside

# Of random erasing: tries, share of the area, ratio of the sides.
_TRIES, _LEAST_AREA, _LARGEST_AREA, _ASPECT = 10, 0.02, 1 / 3, 1 / 0.3


def inside(boxes: Int[AnyArray, "B 4"], size: tuple[int, int]) -> Bool[Array, "B h w"]:
  """Returns which pixels of images of (height, width) are in the box of each."""
  row, column = (jnp.arange(length, dtype=jnp.int32)[None] for length in size)
  rows = (row >= boxes[:, :1]) & (row < boxes[:, 2:3])
  columns = (column >= boxes[:, 1:2]) & (column < boxes[:, 3:])
  return rows[:, :, None] & columns[:, None, :]


def around(
  middles: Int[AnyArray, "B 2"], before: AnyArray, after: AnyArray, size: tuple[int, int]
) -> Int32[Array, "B 4"]:
  """Returns the boxes from middle - before to middle + after, clipped to the image.

  Args:
    middles: [B, 2] int32, row and column.
    before: [B or 1, 2 or 1] int32.
    after: likewise.
    size: (height, width) of the image.
  """
  most = jnp.asarray(size, jnp.int32)[None]
  first, end = jnp.clip(middles - before, 0, most), jnp.clip(middles + after, 0, most)
  return jnp.concatenate([first, end], axis=1)


def cutout_boxes(
  key: Key[Array, ""], num: int, side: float | AnyArray, size: tuple[int, int]
) -> Int32[Array, "B 4"]:
  """Returns squares of `side` pixels (rounded), [B, 4], whose middle is uniform in the image.

  `side` is [] or [B].

  Source: DeVries and Taylor 2017, section 3.2. Differs from source: none for even sides; the
  authors' code makes an odd one smaller by 1.
  """
  middles = jax.random.randint(key, (num, 2), 0, jnp.asarray(size, jnp.int32)[None], jnp.int32)
  whole = jnp.rint(jnp.asarray(beside(side, 2), jnp.float32)).astype(jnp.int32)
  return around(middles, whole // 2, whole - whole // 2, size=size)


def erasing_boxes(
  areas: Float[AnyArray, "T B"],
  ratios: Float[AnyArray, "T B"],
  places: Float[AnyArray, "B 2"],
  size: tuple[int, int],
) -> Int32[Array, "B 4"]:
  """Returns the first box of T tries that is smaller than the image; an empty one if none is.

  Args:
    areas: shares of the image's area.
    ratios: height / width.
    places: in [0, 1), where the box stands among its places.
    size: (height, width) of the image.
  Source: Zhong et al. 2020, algorithm 1, with ten tries as in timm. Differs from source: after
  them nothing is erased.
  """
  area = areas * float(size[0] * size[1])
  heights, widths = jnp.rint(jnp.sqrt(area * ratios)), jnp.rint(jnp.sqrt(area / ratios))
  fits = (heights < size[0]) & (widths < size[1])
  choice = jnp.argmax(fits, axis=0)[None]
  sides = jnp.stack(
    [jnp.take_along_axis(one, choice, axis=0)[0] for one in (heights, widths)], axis=1
  )
  sides = jnp.where(fits.any(axis=0)[:, None], sides, 0.0)
  most = jnp.asarray(size, jnp.float32)[None] - sides
  first = jnp.minimum(jnp.floor(places * (most + 1.0)), most)
  return jnp.concatenate([first, first + sides], axis=1).astype(jnp.int32)


def draw_erasing_boxes(key: Key[Array, ""], num: int, size: tuple[int, int]) -> Int32[Array, "B 4"]:
  """Returns random boxes of 2 to 33 % of the area, sides in a ratio of 0.3 to 3.3, [B, 4]."""
  area_key, ratio_key, place_key = jax.random.split(key, 3)
  tries = (_TRIES, num)
  areas = jax.random.uniform(area_key, tries, jnp.float32, _LEAST_AREA, _LARGEST_AREA)
  logs = jax.random.uniform(ratio_key, tries, jnp.float32, -1.0, 1.0) * math.log(_ASPECT)
  places = jax.random.uniform(place_key, (num, 2), jnp.float32)
  return erasing_boxes(areas, jnp.exp(logs), places, size=size)
