"""What operations share: the size and range of the images, and what is shown where none is."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, UInt32

from sdt.arrays import AnyArray
from sdt.types import Leaf

# What an operation has drawn for a batch: arrays [B, ...] by name.
type Drawn = dict[str, Leaf]


@dataclasses.dataclass(frozen=True)
class Frame:
  """The images of a batch without their pixels.

  Attributes:
    height, width: of every image, in pixels.
    unit: the largest value of a pixel: 255 of bytes, 1 of float images.
    fill: what is shown where no image is: black, mean or noise.
    mean: [C] float32, the mean colour in units of a pixel; None where `fill` is not mean.
  """

  height: int
  width: int
  unit: float = 255.0
  fill: str = "black"
  mean: Leaf = None

  def filling(
    self, seeds: UInt32[AnyArray, "B"], num_channels: int
  ) -> Float[Array, "*B_h_w C"] | None:
    """Returns what is shown where no image is; None for black, which is 0.

    Args:
      seeds: [B] uint32, of the noise of each image.
      num_channels: C.
    Returns:
      [1, 1, 1, C] of the mean, [B, h, w, C] of noise, uniform over the range.
    """
    if self.fill == "mean":
      return jnp.asarray(self.mean, jnp.float32)[None, None, None]
    if self.fill == "noise":
      shape = (self.height, self.width, num_channels)
      return self.unit * jax.vmap(lambda seed: jax.random.uniform(_key(seed), shape))(seeds)
    return None


def _key(seed: jax.Array) -> jax.Array:
  return jax.random.key(seed, impl="threefry2x32")


def draw_seeds(key: Key[Array, ""], num: int) -> UInt32[Array, "B"]:
  """Returns a seed for the noise of each image, so that its pixels need not be drawn here."""
  return jax.random.bits(key, (num,), jnp.uint32)


def normal_noise(
  seeds: UInt32[AnyArray, "B"], shape: tuple[int, int, int]
) -> Float[Array, "B h w C"]:
  """Returns standard normal noise of the shape (h, w, C) for each seed, float32."""
  return jax.vmap(lambda seed: jax.random.normal(_key(seed), shape, jnp.float32))(seeds)


def symmetric(
  key: Key[Array, ""], shape: tuple[int, ...], strength: float | AnyArray
) -> Float[Array, "..."]:
  """Returns strength * u with u uniform in [-1, 1), float32; `strength` is [] or [B]."""
  return jax.random.uniform(key, shape, jnp.float32, -1.0, 1.0) * beside(strength, len(shape))


def beside(values: float | AnyArray, num_axes: int) -> float | AnyArray:
  """Returns values [B] with further axes of length 1; what is no array of examples as it is."""
  if not jnp.ndim(values):
    return values
  return jnp.asarray(values).reshape(-1, *[1] * (num_axes - 1))


def of_examples(values: AnyArray) -> jax.Array:
  """Returns values [B] as [B, 1, 1, 1], beside images [B, h, w, C]."""
  return jnp.asarray(values)[:, None, None, None]
