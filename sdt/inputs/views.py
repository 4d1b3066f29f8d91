"""The views of a test image, `evaluate.views`: windows that are moved, enlarged or mirrored."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Shaped

from sdt.arrays import AnyArray
from sdt.config.toolbox.view_blocks import View
from sdt.inputs.operations.crops import crop_and_flip
from sdt.inputs.operations.geometry import bilinear
from sdt.types import Leaf


class ViewNumbers(NamedTuple):
  """The numbers of views, see `View`; those of one view lack the axis V."""

  flip: Leaf  # [V] bool
  place: Leaf  # [V, 2] int32
  shift: Leaf  # [V, 2] int32
  scale: Leaf  # [V] float32


def numbers_of(views: Sequence[View]) -> ViewNumbers:
  """Returns the numbers of the views, on the host."""
  return ViewNumbers(
    np.array([view.flip for view in views], bool),
    np.array([view.place for view in views], np.int32),
    np.array([view.shift for view in views], np.int32),
    scale=np.array([view.scale for view in views], np.float32),
  )


@dataclasses.dataclass(frozen=True)
class Window:
  """What is static about some views.

  Attributes:
    size: (height, width) of what the network takes.
    pad: pixels of black that they may show beyond an image.
    is_scaled: whether any of them is enlarged or made smaller.
  """

  size: tuple[int, int]
  pad: int
  is_scaled: bool

  @classmethod
  def of(cls, views: Sequence[View], size: tuple[int, int]) -> "Window":
    return cls(size, farthest(views), any(view.scale != 1.0 for view in views))


def farthest(views: Sequence[View]) -> int:
  """Returns by how many pixels views are moved at most, along a side."""
  return max(abs(step) for view in views for step in view.shift)


def seen(
  images: Shaped[AnyArray, "B H W C"],
  sizes: Int[AnyArray, "B 2"],
  view: ViewNumbers,
  *,
  window: Window,
) -> Shaped[Array, "B h w C"]:
  """Returns what is seen of the images under one view, not yet normalised.

  Args:
    images: [B, H, W, C] uint8; an image smaller than H x W stands at the top left.
    sizes: [B, 2] int32, height and width of every image.
    view: the numbers of the view.
    window: static.
  Returns:
    [B, h, w, C] of `window.size`: uint8 where whole pixels are moved, else float32 in [0, 255].
  """
  size = jnp.asarray(window.size, jnp.int32)[None]
  first = (sizes - size) * view.place[None] // 2 + view.shift[None]
  if not window.is_scaled:
    flips = jnp.broadcast_to(view.flip, sizes.shape[:1])
    return crop_and_flip(images, first + window.pad, flips, pad=window.pad, output=window.size)
  middle = first.astype(jnp.float32) + (size.astype(jnp.float32) - 1.0) * 0.5
  rows, columns = (
    (jnp.arange(length, dtype=jnp.float32) - (length - 1) / 2) / view.scale
    for length in window.size
  )
  columns = jnp.where(view.flip, -columns, columns)
  shape = (sizes.shape[0], *window.size)
  x = jnp.broadcast_to(middle[:, 1][:, None, None] + columns[None, None, :], shape)
  y = jnp.broadcast_to(middle[:, 0][:, None, None] + rows[None, :, None], shape)
  return bilinear(images, (x, y), sizes)
