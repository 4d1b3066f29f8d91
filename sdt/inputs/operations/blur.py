"""Operations that smooth: each pixel becomes a mean or a median of those around it.

Beyond the border the image is mirrored at its outermost pixels, so no border darkens. The windows
are static, the weights within them are not.
"""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sdt.inputs.operations.frame import Frame, of_examples

type Images = Float[Array, "B h w C"]

# The exchanges of a network that brings the median of nine to place 4.
# Source: Paeth 1990, "Median finding on a 3x3 grid", Graphics Gems.
_EXCHANGES = (
  *((1, 2), (4, 5), (7, 8), (0, 1), (3, 4), (6, 7), (1, 2), (4, 5), (7, 8), (0, 3)),
  *((5, 8), (4, 7), (3, 6), (1, 4), (2, 5), (4, 7), (4, 2), (6, 4), (4, 2)),
)


def _padded(images: Images, radius: int) -> Float[Array, "B H W C"]:
  return jnp.pad(images, ((0, 0), (radius, radius), (radius, radius), (0, 0)), mode="reflect")


def _separable(images: Images, weights: Float[Array, "B K"]) -> Images:
  """Returns the images filtered along rows and along columns; weights [B, K] sum to 1."""
  size, (height, width) = weights.shape[1], images.shape[1:3]
  padded = _padded(images, size // 2)
  of = [of_examples(weights[:, index]) for index in range(size)]
  rows = of[0] * padded[:, :height]
  for i in range(1, size):
    rows = rows + of[i] * padded[:, i : i + height]
  filtered = of[0] * rows[:, :, :width]
  for i in range(1, size):
    filtered = filtered + of[i] * rows[:, :, i : i + width]
  return filtered


def _distances(radius: int) -> jax.Array:
  return jnp.arange(-radius, radius + 1, dtype=jnp.float32)[None]


def _normed(weights: jax.Array) -> jax.Array:
  return weights / weights.sum(axis=1, keepdims=True)


def mean_blur(images: Images, side: Float[Array, "B"], frame: Frame) -> Images:
  """Returns means over squares of `side` pixels, 1 to 5; those at its edge count in part."""
  del frame
  reach = 0.5 * side[:, None] + 0.5 - jnp.abs(_distances(2))
  return _separable(images, _normed(jnp.clip(reach, 0.0, 1.0)))


def gaussian_blur(images: Images, deviation: Float[Array, "B"], frame: Frame) -> Images:
  """Returns the images under a Gaussian of this standard deviation in pixels, cut to 7 x 7."""
  del frame
  safe = jnp.where(deviation > 0, deviation, 1.0)[:, None]
  return _separable(images, _normed(jnp.exp(-0.5 * (_distances(3) / safe) ** 2)))


def _shifted(images: Images, radius: int) -> Iterator[tuple[int, int, Images]]:
  """Yields (rows down, columns right, images moved up and left by these), radius around 0."""
  height, width = images.shape[1:3]
  padded = _padded(images, radius)
  for down in range(2 * radius + 1):
    for right in range(2 * radius + 1):
      moved = padded[:, down : down + height, right : right + width]
      yield down - radius, right - radius, moved


def median_blur(images: Images, is_on: Array, frame: Frame) -> Images:
  """Returns the median of 3 x 3 pixels, each channel by itself."""
  del is_on, frame
  values = [moved for _, _, moved in _shifted(images, 1)]
  for low, high in _EXCHANGES:
    smaller, larger = (f(values[low], values[high]) for f in (jnp.minimum, jnp.maximum))
    values[low], values[high] = smaller, larger
  return values[4]


def bilateral_blur(images: Images, difference: Float[Array, "B"], frame: Frame) -> Images:
  """Returns means over 5 x 5 pixels, weighted by nearness in place and in colour.

  The weight is exp(-(p^2 + d^2 / s^2) / 2), p the distance in pixels, d that of the colours (root
  of the sum of squares over the channels) as a share of the range, s = `difference`.
  """
  safe = of_examples(jnp.where(difference > 0, difference, 1.0) * frame.unit)
  rate = -0.5 / (safe * safe)
  total, weights = jnp.zeros_like(images), jnp.zeros_like(images[..., :1])
  for down, right, moved in _shifted(images, 2):
    distance = ((moved - images) ** 2).sum(axis=-1, keepdims=True)
    weight = jnp.exp(rate * distance - 0.5 * (down * down + right * right))
    total, weights = total + weight * moved, weights + weight
  return total / weights
