"""Operations that move pixels: neighbouring ones are one warp, with one bilinear gather.

A geometric operation says where a pixel of its output comes from. Those of a group are composed
before any pixel is read, so an image is interpolated once.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from sdt.arrays import AnyArray
from sdt.inputs.operations.frame import Drawn, Frame

# [B] float32 for each of the matrix's nine entries, row by row; a constant may be a number.
type _Entries = Sequence[float | jax.Array]


class Geometric(NamedTuple):
  """A geometric operation.

  Attributes:
    num_amounts: how many numbers an example draws, each uniform in [-strength, strength].
    matrix: from the numbers [B, num_amounts] and the frame to the nine entries of the matrices that
      map a place of the output to one of the input, both (x, y, 1) in pixels from the middle of the
      image, x to the right and y down. None of an operation that is no matrix.
  """

  num_amounts: int
  matrix: Callable[[jax.Array, Frame], _Entries] | None


def _translate(shift: jax.Array, frame: Frame) -> _Entries:
  del frame
  return (1.0, 0.0, -shift[:, 0], 0.0, 1.0, -shift[:, 1], 0.0, 0.0, 1.0)


def _rotate(degrees: jax.Array, frame: Frame) -> _Entries:
  """Clockwise, as a person sees it."""
  del frame
  cos, sin = (f(jnp.deg2rad(degrees[:, 0])) for f in (jnp.cos, jnp.sin))
  return (cos, sin, 0.0, -sin, cos, 0.0, 0.0, 0.0, 1.0)


def _zoom(unit: jax.Array, frame: Frame) -> _Entries:
  del frame
  shrink = jnp.exp(-unit[:, 0])
  return (shrink, 0.0, 0.0, 0.0, shrink, 0.0, 0.0, 0.0, 1.0)


def _stretch(unit: jax.Array, frame: Frame) -> _Entries:
  del frame
  half = 0.5 * unit[:, 0]
  return (jnp.exp(-half), 0.0, 0.0, 0.0, jnp.exp(half), 0.0, 0.0, 0.0, 1.0)


def _shear(degrees: jax.Array, frame: Frame) -> _Entries:
  """The inverse of a shear along y, then along x, as torchvision's `affine` composes them."""
  del frame
  x, y = (jnp.tan(jnp.deg2rad(degrees[:, axis])) for axis in (0, 1))
  return (1.0 + x * y, x, 0.0, y, 1.0, 0.0, 0.0, 0.0, 1.0)


def _projective(tilt: jax.Array, frame: Frame) -> _Entries:
  return (
    *(1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
    *(tilt[:, 0] * (2.0 / frame.width), tilt[:, 1] * (2.0 / frame.height), 1.0),
  )


GEOMETRY: Mapping[str, Geometric] = {
  "translate": Geometric(2, _translate),
  "rotate": Geometric(1, _rotate),
  "zoom": Geometric(1, _zoom),
  "shear": Geometric(2, _shear),
  "stretch": Geometric(1, _stretch),
  "lens": Geometric(1, None),
  "projective": Geometric(2, _projective),
}
# Of these the strength s is a factor of up to 1 + s: the numbers drawn are logarithms of factors.
LOGARITHMIC = ("zoom", "stretch")
MIRRORS = ("flip", "vertical_flip")


def _matrices(entries: _Entries, num: int) -> Float[Array, "B 3 3"]:
  columns = [jnp.broadcast_to(jnp.asarray(entry, jnp.float32), (num,)) for entry in entries]
  return jnp.stack(columns, axis=1).reshape(num, 3, 3)


def matrices(name: str, drawn: Drawn, frame: Frame) -> Float[Array, "B 3 3"]:
  """Returns the matrices of an operation, from places of its output to places of its input.

  Args:
    name: of `GEOMETRY`, but lens; or of `MIRRORS`.
    drawn: its numbers: `amount` [B, num_amounts] float, or `is_on` [B] bool of a mirror.
    frame: of the images.
  """
  if name in MIRRORS:
    sign = jnp.where(drawn["is_on"], -1.0, 1.0)
    x, y = (sign, 1.0) if name == "flip" else (1.0, sign)
    return _matrices((x, 0.0, 0.0, 0.0, y, 0.0, 0.0, 0.0, 1.0), sign.shape[0])
  matrix, amount = GEOMETRY[name].matrix, drawn["amount"]
  if matrix is None:
    raise ValueError(f"{name} is no matrix")
  return _matrices(matrix(amount, frame), amount.shape[0])


type _Places = tuple[jax.Array, jax.Array]  # x and y, [B, h, w] or [1, h, w]


def _applied(matrix: jax.Array | None, places: _Places, *, is_projective: bool) -> _Places:
  if matrix is None:
    return places
  x, y = places
  m = [[matrix[:, row, column][:, None, None] for column in range(3)] for row in range(3)]
  u, v = (m[row][0] * x + m[row][1] * y + m[row][2] for row in range(2))
  if is_projective:
    depth = m[2][0] * x + m[2][1] * y + m[2][2]
    u, v = u / depth, v / depth
  return u, v


def _bent(bend: jax.Array, places: _Places, frame: Frame) -> _Places:
  """Radial distortion: a place at r of half the diagonal shows the one at r (1 + k r^2)."""
  x, y = places
  half_diagonal_squared = (frame.height**2 + frame.width**2) / 4.0
  factor = 1.0 + bend[:, None, None] * ((x * x + y * y) * (1.0 / half_diagonal_squared))
  return x * factor, y * factor


def source_places(names: Sequence[str], draws: Mapping[str, Drawn], frame: Frame) -> _Places:
  """Returns where each pixel of the output of a group comes from: x and y, [B, h, w] float32.

  Args:
    names: the group's operations, in order.
    draws: their numbers.
    frame: of the output.
  Returns:
    pixels from the middle of the input.
  """
  column, row = (
    jnp.arange(size, dtype=jnp.float32) - (size - 1) / 2 for size in (frame.width, frame.height)
  )
  shape = (1, frame.height, frame.width)
  places = (
    jnp.broadcast_to(column[None, None, :], shape),
    jnp.broadcast_to(row[None, :, None], shape),
  )
  is_projective, matrix = "projective" in names, None
  # From the output back to the input: the last operation comes first.
  for name in reversed(names):
    if name == "lens":
      places = _applied(matrix, places, is_projective=is_projective)
      places, matrix = _bent(draws[name]["amount"][:, 0], places, frame), None
      continue
    one = matrices(name, draws[name], frame)
    matrix = one if matrix is None else _product(one, matrix)
  return _applied(matrix, places, is_projective=is_projective)


def _product(left: jax.Array, right: jax.Array) -> jax.Array:
  return jnp.einsum("bij,bjk->bik", left, right, precision=jax.lax.Precision.HIGHEST)


def bilinear(
  images: AnyArray,
  places: tuple[Float[AnyArray, "#B h w"], Float[AnyArray, "#B h w"]],
  sizes: Int[AnyArray, "B 2"],
  *,
  filling: AnyArray | None = None,
) -> Float[Array, "B h w C"]:
  """Returns the images at places between their pixels, float32.

  Args:
    images: [B, H, W, C] uint8 or float; an image smaller than H x W stands at the top left.
    places: x and y in pixels, [B, h, w]; (0, 0) is the middle of the first pixel.
    sizes: [B, 2] int32, height and width of every image.
    filling: what stands around the images, [B or 1, h or 1, w or 1, C]; None for 0.
  Returns:
    [B, h, w, C] in the units of the images, bilinear: whole places give exact pixels.
  """
  num, height, width, num_channels = images.shape
  x, y = (jnp.broadcast_to(place, (num, *place.shape[1:])) for place in places)
  left, top = jnp.floor(x), jnp.floor(y)
  flat = jnp.asarray(images).reshape(num, height * width, num_channels)
  weights, parts = [], []
  for down in (0, 1):
    for right in (0, 1):
      column, row = left.astype(jnp.int32) + right, top.astype(jnp.int32) + down
      inside = (column >= 0) & (row >= 0)
      inside &= (row < sizes[:, 0][:, None, None]) & (column < sizes[:, 1][:, None, None])
      weight = jnp.abs((x - left) - (1 - right)) * jnp.abs((y - top) - (1 - down))
      weights.append(jnp.where(inside, weight, 0.0))
      index = jnp.clip(row, 0, height - 1) * width + jnp.clip(column, 0, width - 1)
      parts.append(weights[-1][..., None] * _pixels(flat, index))
  shown = parts[0] + parts[1] + parts[2] + parts[3]
  if filling is None:
    return shown
  total = weights[0] + weights[1] + weights[2] + weights[3]
  return shown + (1.0 - total)[..., None] * filling


def _pixels(flat: jax.Array, index: jax.Array) -> jax.Array:
  """Returns pixels [B, h, w, C] float32 of images [B, H * W, C] by their numbers [B, h, w]."""

  # Mapped over the examples: with the example as another index, the compiler sends all images to
  # every device.
  def of_one(image: jax.Array, index: jax.Array) -> jax.Array:
    return image.at[index].get(mode="promise_in_bounds")

  return jax.vmap(of_one)(flat, index).astype(jnp.float32)
