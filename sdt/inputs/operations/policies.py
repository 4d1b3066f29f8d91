"""TrivialAugment, RandAugment and AutoAugment: operations that are drawn anew for every example.

A policy draws a list of (operation, magnitude) for each example. The program computes every
operation of `CHOICES` on the whole batch, and each example takes the one that it has drawn: so a
batch needs no branches.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from sdt.arrays import AnyArray
from sdt.inputs.operations import colour
from sdt.inputs.operations.frame import Drawn, Frame, beside, draw_seeds, of_examples
from sdt.inputs.operations.geometry import bilinear

type Images = Float[Array, "B h w C"]

# What an example may draw; the first 14 are those of RandAugment and TrivialAugment. Those from
# shear_x to sharpness have a sign.
CHOICES = (
  *("identity", "shear_x", "shear_y", "translate_x", "translate_y", "rotate", "brightness"),
  *("saturation", "contrast", "sharpness", "posterise", "solarise", "autocontrast", "equalise"),
  "invert",
)
_NUMBER = {name: number for number, name in enumerate(CHOICES)}
_NUM_RANDOM = 14


class Ranges(NamedTuple):
  """The largest magnitudes of a policy.

  Attributes:
    shear: the slope.
    translate: pixels, or a share of the side where `is_share`.
    rotate: degrees.
    blend: change of brightness, saturation, contrast and sharpness.
    bits: how many of the 8 bits posterising drops.
    is_share: whether `translate` is a share of the side.
  """

  shear: float
  translate: float
  rotate: float
  blend: float
  bits: float
  is_share: bool = True


# Of TrivialAugment, the wide ones; of RandAugment and AutoAugment.
WIDE = Ranges(0.99, 32.0, 135.0, blend=0.99, bits=6.0, is_share=False)
NARROW = Ranges(0.3, 150.0 / 331.0, 30.0, blend=0.9, bits=4.0)


def magnitude_of(
  choice: Int[AnyArray, "B"], level: Float[AnyArray, "B"], ranges: Ranges, frame: Frame
) -> Float[Array, "B"]:
  """Returns the magnitude of the operation that each example has drawn, in the operation's unit.

  Args:
    choice: [B] int32, numbers of `CHOICES`.
    level: [B] float32 in [0, 1], how strong.
    ranges: of the policy.
    frame: of the images.
  Returns:
    [B] float32: slopes, pixels, degrees, changes; bits kept (8 to 0); the
    threshold of solarising, of 255.
  """
  sides = (frame.width, frame.height) if ranges.is_share else (1, 1)
  pixels = [ranges.translate * side for side in sides]
  largest = jnp.asarray(
    [0.0, ranges.shear, ranges.shear, *pixels, ranges.rotate, *[ranges.blend] * 4]
    + [0.0] * (len(CHOICES) - 10),
    jnp.float32,
  )
  magnitude = level * largest[choice]
  bits = 8.0 - jnp.rint(level * ranges.bits)
  magnitude = jnp.where(choice == _NUMBER["posterise"], bits, magnitude)
  return jnp.where(choice == _NUMBER["solarise"], 255.0 * (1.0 - level), magnitude)


def _signed(key: jax.Array, choice: jax.Array, magnitude: jax.Array) -> jax.Array:
  """Returns the magnitudes, half of those with a sign made negative."""
  has_sign = (choice >= 1) & (choice <= _NUMBER["sharpness"])
  return jnp.where(has_sign & jax.random.bernoulli(key, 0.5, choice.shape), -magnitude, magnitude)


def _drawn(key: jax.Array, choices: list[jax.Array], magnitudes: list[jax.Array]) -> Drawn:
  return {
    "choice": jnp.stack(choices, axis=1),
    "magnitude": jnp.stack(magnitudes, axis=1),
    "seeds": draw_seeds(key, choices[0].shape[0]),
  }


def draw_trivial(
  key: Key[Array, ""], num: int, probability: float | AnyArray, frame: Frame
) -> Drawn:
  """Returns one operation at a level of 0, 1, ... 30 for each example.

  Args:
    key: PRNG key.
    num: B.
    probability: that an example is changed at all.
    frame: of the images.
  Returns:
    `choice` [B, 1] int32, `magnitude` [B, 1] float32, `seeds` [B].
  Source: Mueller and Hutter 2021, algorithm 1 and table 1 (wide). Differs from source: none.
  """
  keys = jax.random.split(key, 5)
  choice = jax.random.randint(keys[0], (num,), 0, _NUM_RANDOM, jnp.int32)
  choice = jnp.where(jax.random.bernoulli(keys[1], probability, (num,)), choice, 0)
  level = jax.random.randint(keys[2], (num,), 0, 31, jnp.int32).astype(jnp.float32) / 30.0
  magnitude = _signed(keys[3], choice, magnitude_of(choice, level, WIDE, frame=frame))
  return _drawn(keys[4], [choice], [magnitude])


def draw_random(
  key: Key[Array, ""], num: int, setting: tuple[float | AnyArray, int], frame: Frame
) -> Drawn:
  """Returns `count` operations at one level for each example.

  Args:
    key: PRNG key.
    num: B.
    setting: the magnitude in [0, 30], and the count.
    frame: of the images.
  Returns:
    `choice` [B, count] int32, `magnitude` [B, count] float32, `seeds` [B].
  Source: Cubuk et al. 2020, section 3. Differs from source: at magnitude 0 nothing acts, also not
  autocontrast and equalise.
  """
  strength, count = jnp.asarray(setting[0], jnp.float32), setting[1]
  seed_key, *keys = jax.random.split(key, 2 * count + 1)
  level = jnp.broadcast_to(strength / 30.0, (num,))
  choices, magnitudes = [], []
  for index in range(count):
    choice = jax.random.randint(keys[2 * index], (num,), 0, _NUM_RANDOM, jnp.int32)
    choice = jnp.where(strength > 0, choice, 0)
    magnitude = magnitude_of(choice, level, NARROW, frame=frame)
    choices.append(choice)
    magnitudes.append(_signed(keys[2 * index + 1], choice, magnitude))
  return _drawn(seed_key, choices, magnitudes)


# The 25 pairs for CIFAR-10: operation, probability in tenths, level in ninths.
_CIFAR = """
invert 1 0 contrast 2 6; rotate 7 2 translate_x 3 9; sharpness 8 1 sharpness 9 3;
shear_y 5 8 translate_y 7 9; autocontrast 5 0 equalise 9 0; shear_y 2 7 posterise 3 7;
saturation 4 3 brightness 6 7; sharpness 3 9 brightness 7 9; equalise 6 0 equalise 5 0;
contrast 6 7 sharpness 6 5; saturation 7 7 translate_x 5 8; equalise 3 0 autocontrast 4 0;
translate_y 4 3 sharpness 2 6; brightness 9 6 saturation 2 8; solarise 5 2 invert 0 0;
equalise 2 0 autocontrast 6 0; equalise 2 0 equalise 6 0; saturation 9 9 equalise 6 0;
autocontrast 8 0 solarise 2 8; brightness 1 3 saturation 7 0; solarise 4 5 autocontrast 9 0;
translate_y 9 9 translate_y 7 9; autocontrast 9 0 solarise 8 3; equalise 8 0 invert 1 0;
translate_y 7 9 autocontrast 9 0
"""


def cifar_policy() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Returns numbers of `CHOICES` int32, probabilities and levels float32, each [25, 2]."""
  words = [pair.split() for pair in _CIFAR.replace("\n", " ").split(";")]
  names = np.array([[_NUMBER[pair[0]], _NUMBER[pair[3]]] for pair in words], np.int32)
  tenths, ninths = (
    np.array([[int(pair[at]), int(pair[at + 3])] for pair in words], np.float32) for at in (1, 2)
  )
  return names, tenths / np.float32(10), ninths / np.float32(9)


def draw_auto(key: Key[Array, ""], num: int, factor: float | AnyArray, frame: Frame) -> Drawn:
  """Returns one of the 25 pairs for each example, each operation with its own probability.

  Args:
    key: PRNG key.
    num: B.
    factor: in [0, 1], of the probabilities.
    frame: of the images.
  Returns:
    `choice` [B, 2] int32, `magnitude` [B, 2] float32, `seeds` [B].
  Source: Cubuk et al. 2019, table 7. Differs from source: the 25 pairs alone; the paper combines
  them with cutout.
  """
  names, probabilities, levels = map(jnp.asarray, cifar_policy())
  pair_key, chance_key, sign_key, seed_key = jax.random.split(key, 4)
  pair = jax.random.randint(pair_key, (num,), 0, len(names), jnp.int32)
  chance = probabilities[pair] * beside(factor, 2)
  acts = jax.random.uniform(chance_key, (num, 2), jnp.float32) < chance
  choices, magnitudes = [], []
  for index, key_of_sign in enumerate(jax.random.split(sign_key, 2)):
    choice = jnp.where(acts[:, index], names[pair, index], 0)
    magnitude = magnitude_of(choice, levels[pair, index], NARROW, frame=frame)
    choices.append(choice)
    magnitudes.append(_signed(key_of_sign, choice, magnitude))
  return _drawn(seed_key, choices, magnitudes)


def apply_choices(images: Images, drawn: Drawn, frame: Frame) -> Images:
  """Returns the images after the operations that each has drawn, one after the other."""
  for index in range(drawn["choice"].shape[1]):
    images = one_choice(
      images,
      drawn["choice"][:, index],
      drawn["magnitude"][:, index],
      frame=frame,
      filling=frame.filling(drawn["seeds"], images.shape[-1]),
    )
  return images


def one_choice(
  images: Images,
  choice: Int[AnyArray, "B"],
  magnitude: Float[AnyArray, "B"],
  *,
  frame: Frame,
  filling: AnyArray | None = None,
) -> Images:
  """Returns each image after its operation of `CHOICES` at its magnitude.

  Args:
    images: [B, h, w, C] float32 in [0, unit].
    choice: [B] int32.
    magnitude: [B] float32, in the operation's unit.
    frame: of the images.
    filling: see `bilinear`.
  """

  def has(*names: str) -> jax.Array:
    return of_examples(jnp.isin(choice, jnp.asarray([_NUMBER[name] for name in names])))

  warped = _warped(images, choice, magnitude, frame=frame, filling=filling)
  blends = ("brightness", "saturation", "contrast", "sharpness")
  byte = frame.unit / 255.0
  steps, whole = of_examples(jnp.exp2(8.0 - magnitude)) * byte, jnp.rint(images / byte) * byte
  results = (
    (("shear_x", "shear_y", "translate_x", "translate_y", "rotate"), warped),
    (
      blends,
      colour.blended(images, _faded(images, has), jnp.asarray(1.0 + magnitude), frame=frame),
    ),
    (("posterise",), jnp.floor(whole / steps) * steps),
    (("solarise",), jnp.where(whole >= of_examples(magnitude) * byte, frame.unit - images, images)),
    (("autocontrast",), _autocontrast(images, frame)),
    (("equalise",), _equalise(images, frame)),
    (("invert",), frame.unit - images),
  )
  changed = images
  for names, result in results:
    changed = jnp.where(has(*names), result, changed)
  return changed


def _warped(
  images: Images,
  choice: AnyArray,
  magnitude: AnyArray,
  *,
  frame: Frame,
  filling: AnyArray | None,
) -> Images:
  """Returns the images after the geometric operation of each; shears are about the middle."""

  def of(name: str) -> jax.Array:
    return jnp.where(choice == _NUMBER[name], magnitude, 0.0)[:, None, None]

  angle = jnp.deg2rad(of("rotate"))
  x = (jnp.arange(frame.width, dtype=jnp.float32) - (frame.width - 1) / 2)[None, None, :]
  y = (jnp.arange(frame.height, dtype=jnp.float32) - (frame.height - 1) / 2)[None, :, None]
  cos, sin = jnp.cos(angle), jnp.sin(angle)
  places = (
    cos * x + (sin + of("shear_x")) * y - of("translate_x") + (frame.width - 1) / 2,
    (of("shear_y") - sin) * x + cos * y - of("translate_y") + (frame.height - 1) / 2,
  )
  sizes = jnp.broadcast_to(jnp.asarray([[frame.height, frame.width]], jnp.int32), (len(images), 2))
  return bilinear(images, places, sizes, filling=filling)


def _faded(images: Images, has: Callable[..., jax.Array]) -> Images:
  """Returns what brightness, saturation, contrast and sharpness blend each image with."""
  faded = jnp.where(has("saturation"), colour.grey_of(images), 0.0)
  faded = jnp.where(has("contrast"), colour.mean_grey(images), faded)
  return jnp.where(has("sharpness"), _smooth(images), faded)


def _smooth(images: Images) -> Images:
  """Returns (5 x + the eight around it) / 13; pixels of the border are as they were."""
  height, width = images.shape[1:3]
  padded = jnp.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
  total = 4.0 * images
  for down in range(3):
    for right in range(3):
      total = total + padded[:, down : down + height, right : right + width]
  row, column = (jnp.arange(size) for size in (height, width))
  inner = ((row > 0) & (row < height - 1))[:, None] & ((column > 0) & (column < width - 1))[None]
  return jnp.where(inner[None, :, :, None], total / 13.0, images)


def _autocontrast(images: Images, frame: Frame) -> Images:
  """Returns the images, each channel stretched to the whole range; constant ones as they are."""
  low, high = (f(images, axis=(1, 2), keepdims=True) for f in (jnp.min, jnp.max))
  spread = jnp.where(high > low, high - low, 1.0)
  return jnp.where(high > low, (images - low) * (frame.unit / spread), images)


def _equalise(images: Images, frame: Frame) -> Images:
  """Returns the images with each channel's 256 levels about equally frequent, as Pillow does it."""
  num, height, width, channels = images.shape
  levels = jnp.rint(images * (255.0 / frame.unit)).astype(jnp.int32)
  levels = jnp.clip(levels, 0, 255).transpose(0, 3, 1, 2).reshape(num, channels, -1)

  def table(values: jax.Array) -> jax.Array:
    counts = jnp.zeros(256, jnp.int32).at[values].add(1, mode="promise_in_bounds")
    last = counts[values.max()]
    step = (values.size - last) // 255
    safe = jnp.maximum(step, 1)
    before = jnp.cumsum(counts) - counts
    new = jnp.clip((before + safe // 2) // safe, 0, 255)
    new = jnp.where(step > 0, new, jnp.arange(256, dtype=jnp.int32))
    return new[values]

  new = jax.vmap(jax.vmap(table))(levels).reshape(num, channels, height, width)
  return new.transpose(0, 2, 3, 1).astype(jnp.float32) * (frame.unit / 255.0)
