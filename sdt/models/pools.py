"""How an image is made smaller, by name: `sdt.config.toolbox.network_blocks.POOLS`."""

import functools
import math
from collections.abc import Callable, Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from sdt.arrays import AnyArray
from sdt.config.toolbox import network_blocks
from sdt.config.toolbox.parse import parse_call

# From (x, window, stride, name, train) and the numbers of the config.
type Pool = Callable[..., jax.Array]


def max_pool(
  x: Float[AnyArray, "B H W C"], window: int, stride: int, padding: int = 0
) -> Float[Array, "B h w C"]:
  """Returns the maximum over windows of `window` x `window` pixels; padding never wins.

  Args:
    x: [B, H, W, C].
    window: pixels a side.
    stride: pixels from window to window.
    padding: pixels on every side.
  """
  pads = (padding, padding)
  return nn.max_pool(x, (window, window), (stride, stride), (pads, pads))


def average_pool(
  x: Float[Array, "B H W C"], window: int, stride: int | None = None
) -> Float[Array, "B h w C"]:
  """Returns the mean over windows, by default adjoining ones, [B, H // window, W // window, C].

  Rows and columns that are left over drop out.
  """
  if stride not in (None, window):
    sizes, strides = (1, window, window, 1), (1, stride, stride, 1)
    total = lax.reduce_window(x, np.zeros((), x.dtype), lax.add, sizes, strides, "VALID")
    return total / jnp.asarray(window * window, x.dtype)
  num, height, width, channels = x.shape[0], x.shape[1] // window, x.shape[2] // window, x.shape[3]
  # Not by an index, which is a gather where the number of images is a symbol (exports).
  x = lax.slice(x, (0,) * 4, (num, height * window, width * window, channels))
  return x.reshape(num, height, window, width, window, channels).mean((2, 4))


def adaptive_average_pool(x: Float[Array, "B H W C"], size: int) -> Float[Array, "B size size C"]:
  """Returns the means over size x size windows that cover the image, whatever its size.

  Window i of an axis of n pixels is floor(i n / size) to ceil((i + 1) n / size), as in torch. An
  image of that size is returned as it is.
  """
  for axis in (1, 2):
    pixels = x.shape[axis]
    if pixels != size:
      bounds = [(i * pixels // size, -(-(i + 1) * pixels // size)) for i in range(size)]
      parts = [lax.slice_in_dim(x, *bound, axis=axis) for bound in bounds]
      x = jnp.concatenate([part.mean(axis, keepdims=True) for part in parts], axis)
  return x


class FractionalMaxPool(nn.Module):
  """Returns the maxima of 2x2 windows at drawn places, floor(size / ratio) along each axis.

  Along an axis of n pixels window i of m begins at floor((i + u) a) - floor(u a) with a =
  (n - 2) / (m - 1), the last at n - 2. In training u is uniform on [0, 1), drawn for each axis, the
  same for all examples, channels and devices; in evaluation it is 1/2. The key is
  `rngs={"dropout": key}` of `apply`. An image of fewer than 2 pixels a side stays as it is.

  Source: Graham 2014, "Fractional Max-Pooling", section 2; the places as in torch.
  Differs from source: see `POOLS` of the config; torch draws for each example and channel.
  """

  ratio: float

  @nn.compact
  def __call__(self, x: Float[Array, "B H W C"], *, train: bool) -> Float[Array, "B h w C"]:
    if min(x.shape[1:3]) < 2:
      return x
    places = jax.random.uniform(self.make_rng("dropout"), (2,)) if train else np.full(2, 0.5)
    for axis in (1, 2):
      num = max(1, math.floor(x.shape[axis] / self.ratio))
      x = maxima_at(x, window_starts(x.shape[axis], num, places[axis - 1]), axis)
    return x


def window_starts(pixels: int, num: int, place: Float[AnyArray, ""] | float) -> AnyArray:
  """Returns where the `num` windows of an axis of so many pixels begin, [num] int32.

  `place` is u in [0, 1), traced or not.
  """
  numpy = np if isinstance(place, float) else jnp
  step = np.float32((pixels - 2) / max(num - 1, 1))
  place = numpy.float32(place)
  starts = numpy.floor((np.arange(num, dtype=np.float32) + place) * step) - numpy.floor(
    place * step
  )
  return numpy.where(np.arange(num) == num - 1, np.int32(pixels - 2), starts.astype(np.int32))


def maxima_at(x: Float[Array, "B H W C"], starts: AnyArray, axis: int) -> Float[Array, "B h w C"]:
  """Returns the larger of the pixels at `starts` and at those after them, along an axis."""
  first, second = (jnp.take(x, starts + step, axis, mode="clip") for step in (0, 1))
  return jnp.maximum(first, second)


def _max(x: jax.Array, window: int, stride: int, *, name: str, train: bool) -> jax.Array:
  del name, train
  return max_pool(x, window, stride)


def _average(x: jax.Array, window: int, stride: int, *, name: str, train: bool) -> jax.Array:
  del name, train
  return average_pool(x, window, stride)


def _fractional_max(
  ratio: float, x: jax.Array, window: int, stride: int, *, name: str, train: bool
) -> jax.Array:
  del window, stride
  return FractionalMaxPool(ratio, name=name)(x, train=train)


POOLS: Mapping[str, Pool] = {
  "max": _max,
  "average": _average,
  "fractional_max": _fractional_max,
}


def pool(text: str) -> Pool:
  """Returns the function of (x, window, stride, *, name, train) that a config names."""
  call = parse_call(text, network_blocks.POOLS)
  return functools.partial(POOLS[call.name], *call.numbers)
