"""Operations that change the colour of every pixel by itself.

Images are [B, h, w, C] float32 in [0, unit], and so are the results.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sdt.inputs.operations.frame import Frame, normal_noise, of_examples

type Images = Float[Array, "B h w C"]
type Amounts = Float[Array, "B"]

_GREY_OF_RGB = (0.2989, 0.587, 0.114)  # ITU-R BT.601, in the digits of torchvision
# Eigenvalues and eigenvectors (columns) of the colours of ImageNet in [0, 1], as published with the
# implementations of Krizhevsky et al. 2012.
_EIGENVALUES = (0.2175, 0.0188, 0.0045)
_EIGENVECTORS = (
  (-0.5675, 0.7192, 0.4009),
  (-0.5808, -0.0045, -0.8140),
  (-0.5836, -0.6948, 0.4203),
)


def grey_of(images: Images) -> Float[Array, "B h w 1"]:
  """Returns the grey of each pixel: 0.2989 R + 0.587 G + 0.114 B; of other channels their mean."""
  if images.shape[-1] != 3:
    return images.mean(axis=-1, keepdims=True)
  red, green, blue = (images[..., i : i + 1] for i in range(3))
  return _GREY_OF_RGB[0] * red + _GREY_OF_RGB[1] * green + _GREY_OF_RGB[2] * blue


def mean_grey(images: Images) -> Float[Array, "B 1 1 1"]:
  """Returns the mean of each image's greys."""
  return grey_of(images).mean(axis=(1, 2, 3), keepdims=True)


def clipped(images: Images, frame: Frame) -> Images:
  """Returns the images within their range, [0, unit]."""
  return jnp.clip(images, 0.0, frame.unit)


def blended(images: Images, other: jax.Array, factor: Amounts, frame: Frame) -> Images:
  """Returns f x + (1 - f) other within the range; f [B] may be above 1."""
  factor = of_examples(factor)
  return clipped(factor * images + (1.0 - factor) * other, frame)


def brightness(images: Images, change: Amounts, frame: Frame) -> Images:
  """Returns (1 + u) x."""
  return blended(images, jnp.zeros_like(images), 1.0 + change, frame=frame)


def contrast(images: Images, change: Amounts, frame: Frame) -> Images:
  """Returns (1 + u) x - u m, m the mean grey of the image."""
  return blended(images, mean_grey(images), 1.0 + change, frame=frame)


def saturation(images: Images, change: Amounts, frame: Frame) -> Images:
  """Returns (1 + u) x - u g, g the grey of the pixel."""
  return blended(images, grey_of(images), 1.0 + change, frame=frame)


def jitter(images: Images, changes: Float[Array, "B 3"], frame: Frame) -> Images:
  """Returns the images after brightness, contrast and saturation.

  Differs from source: the order is always this one.
  """
  for index, one in enumerate((brightness, contrast, saturation)):
    images = one(images, changes[:, index], frame)
  return images


def hue(images: Images, turn: Amounts, frame: Frame) -> Images:
  """Returns the images with another hue at the same saturation and value (HSV).

  Args:
    images: [B, h, w, 3].
    turn: [B], in turns of the circle of hues.
    frame: of the images.
  """
  red, green, blue = (images[..., index] for index in range(3))
  value, least = images.max(axis=-1), images.min(axis=-1)
  spread = value - least
  safe = jnp.where(spread > 0, spread, 1.0)
  sextant = jnp.where(
    value == red,
    (green - blue) / safe,
    jnp.where(value == green, (blue - red) / safe + 2.0, (red - green) / safe + 4.0),
  )
  sextant = sextant + 6.0 * turn[:, None, None]

  def channel(start: float) -> jax.Array:
    k = jnp.mod(start + sextant, 6.0)
    return value - spread * jnp.clip(jnp.minimum(k, 4.0 - k), 0.0, 1.0)

  return clipped(jnp.stack([channel(5.0), channel(3.0), channel(1.0)], axis=-1), frame)


def pca_colour(images: Images, amounts: Float[Array, "B 3"], frame: Frame) -> Images:
  """Returns x + sum_i a_i lambda_i p_i, with p_i and lambda_i of ImageNet's colours.

  Source: Krizhevsky et al. 2012, section 4.1. Differs from source: colours of ImageNet, whatever
  the training set; the result stays in the range of pixels.
  """
  scaled = amounts * jnp.asarray(_EIGENVALUES, jnp.float32)[None]
  shift = jnp.einsum(
    "ci,bi->bc",
    jnp.asarray(_EIGENVECTORS, jnp.float32),
    scaled,
    precision=jax.lax.Precision.HIGHEST,
  )
  return clipped(images + frame.unit * shift[:, None, None, :], frame)


def noise(images: Images, deviation: Amounts, seeds: Array, frame: Frame) -> Images:
  """Returns x + sd n within the range, n standard normal."""
  amount = of_examples(deviation * frame.unit)
  shape = (images.shape[1], images.shape[2], images.shape[3])
  return clipped(images + amount * normal_noise(seeds, shape), frame)
