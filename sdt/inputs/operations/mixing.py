"""Operations that mix the examples of a batch: each with one or more partners, and so its loss.

Mixup, cutmix and RICAP differ in what they draw, in how they put the images together, and in the
share of each loss. The numbers are drawn once for a batch, as in the authors' codes. The partners
are the next examples of the batch, whose order is random already.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int32, Key

from sdt.arrays import AnyArray
from sdt.inputs.operations.boxes import around, inside
from sdt.inputs.operations.frame import Drawn
from sdt.types import Leaf


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Mixture:
  """What the loss must know of a mixed batch.

  Attributes:
    labels: [B] int32 each, those of the J partners.
    weights: [] float32 each, of the example itself and of the J partners; they sum to 1.
  """

  labels: tuple[Leaf, ...]
  weights: tuple[Leaf, ...]


class Mixer(NamedTuple):
  """A mixing operation.

  Attributes:
    partners: J, how many other examples it puts into one.
    draw: from a key, alpha [] and (height, width) to its numbers for a batch. Vectors count as
      one row.
    mix: from J + 1 batches [B, ...] and the numbers to one batch.
    weights: from the numbers and (height, width) to J + 1 weights.
  """

  partners: int
  draw: Callable[[jax.Array, AnyArray, tuple[int, int]], Drawn]
  mix: Callable[[Sequence[jax.Array], Drawn], jax.Array]
  weights: Callable[[Drawn, tuple[int, int]], tuple[jax.Array, ...]]


def partners(mask: Bool[AnyArray, "B"], ahead: int = 1) -> Int32[Array, "B"]:
  """Returns the position of each example's partner: the next valid example but `ahead` - 1.

  Args:
    mask: [B] bool; valid examples come first, as `order.phase_batches` has it.
    ahead: how many places on, in a circle.
  Returns:
    [B] int32. Padding and a lone valid example are their own partners.
  """
  position = jnp.arange(mask.shape[0], dtype=jnp.int32)
  count = jnp.maximum(jnp.sum(mask, dtype=jnp.int32), 1)
  return jnp.where(mask, (position + ahead) % count, position)


def mixing_weight(key: Key[Array, ""], alpha: Float[AnyArray, ""]) -> Float[Array, ""]:
  """Returns a weight drawn from Beta(alpha, alpha), [] float32 in [0, 1]; exactly 1 for alpha 0.

  Args:
    key: PRNG key.
    alpha: [] float, 0 or more.
  """
  # G / (G + H) of two gamma variates, from their logarithms: these do not underflow for small
  # alpha.
  logs = jax.random.loggamma(key, jnp.where(alpha > 0, alpha, 1.0), (2,), jnp.float32)
  return jnp.where(alpha > 0, jax.nn.sigmoid(logs[0] - logs[1]), 1.0)


# ---- mixup


def _draw_mixup(key: jax.Array, alpha: AnyArray, size: tuple[int, int]) -> Drawn:
  del size
  return {"weight": mixing_weight(key, alpha)}


def mixup(batches: Sequence[Array], drawn: Drawn) -> Array:
  """Returns w x + (1 - w) x' of two batches [B, ...].

  Source: Zhang, Cisse, Dauphin, Lopez-Paz 2018, "mixup: Beyond Empirical Risk Minimization",
  section 2. Differs from source: the authors' code permutes the batch once more.
  """
  inputs, others = batches
  return drawn["weight"] * inputs + (1.0 - drawn["weight"]) * others


def _mixup_weights(drawn: Drawn, size: tuple[int, int]) -> tuple[jax.Array, ...]:
  del size
  return drawn["weight"], 1.0 - drawn["weight"]


# ---- cutmix


def cutmix_box(
  weight: Float[AnyArray, ""], middle: Int32[AnyArray, "1 2"], size: tuple[int, int]
) -> Int32[Array, "1 4"]:
  """Returns the box that is pasted, [1, 4]: sides sqrt(1 - weight) of the image's, clipped to it.

  Args:
    weight: [] float, the share of the image that stays, where nothing is clipped.
    middle: [1, 2] int32, row and column.
    size: (height, width).
  Source: Yun et al. 2019, section 3.1. Differs from source: the box has its odd pixel, as in timm;
  the authors' code loses it.
  """
  share = jnp.sqrt(1.0 - weight)
  sides = jnp.floor(jnp.asarray(size, jnp.float32) * share).astype(jnp.int32)[None]
  return around(middle, sides // 2, sides - sides // 2, size=size)


def _draw_cutmix(key: jax.Array, alpha: AnyArray, size: tuple[int, int]) -> Drawn:
  weight_key, place_key = jax.random.split(key)
  most = jnp.asarray(size, jnp.int32)[None]
  middle = jax.random.randint(place_key, (1, 2), 0, most, jnp.int32)
  return {"box": cutmix_box(mixing_weight(weight_key, alpha), middle, size)}


def cutmix(batches: Sequence[Array], drawn: Drawn) -> Array:
  """Returns the first of two batches [B, h, w, C] with the box of the second."""
  inputs, others = batches
  is_pasted = inside(drawn["box"], (inputs.shape[1], inputs.shape[2]))
  return jnp.where(is_pasted[..., None], others, inputs)


def _cutmix_weights(drawn: Drawn, size: tuple[int, int]) -> tuple[jax.Array, ...]:
  """Of the clipped box, which is what is seen."""
  top, left, bottom, right = (drawn["box"][0, index] for index in range(4))
  pasted = ((bottom - top) * (right - left)).astype(jnp.float32) * (1.0 / (size[0] * size[1]))
  return 1.0 - pasted, pasted


# ---- RICAP


def _draw_ricap(key: jax.Array, alpha: AnyArray, size: tuple[int, int]) -> Drawn:
  side_key, place_key = jax.random.split(key)
  shares = jax.vmap(mixing_weight, in_axes=(0, None))(jax.random.split(side_key), alpha)
  corner = jnp.rint(shares * jnp.asarray(size, jnp.float32)).astype(jnp.int32)
  rest = jnp.asarray(size, jnp.int32) - corner
  # Of the four parts: top left, top right, bottom left, bottom right; free places of each.
  sides = jnp.stack(
    [
      jnp.stack([(corner, rest)[down][0], (corner, rest)[right][1]])
      for down in (0, 1)
      for right in (0, 1)
    ]
  )
  free = jnp.asarray(size, jnp.int32)[None] - sides
  return {"corner": corner, "places": jax.random.randint(place_key, (4, 2), 0, free + 1, jnp.int32)}


def ricap(batches: Sequence[Array], drawn: Drawn) -> Array:
  """Returns four batches [B, h, w, C] put together: a random part of each, at its corner.

  Source: Takahashi et al. 2018, section 3.1. Differs from source: none.
  """
  height, width = batches[0].shape[1:3]
  corner, places = drawn["corner"], drawn["places"]
  row, column = (jnp.arange(size, dtype=jnp.int32) for size in (height, width))

  def part(number: int) -> jax.Array:
    down, right = divmod(number, 2)
    rows = row - down * corner[0] + places[number, 0]
    columns = column - right * corner[1] + places[number, 1]
    moved = jnp.take(batches[number], rows, axis=1, mode="clip")
    return jnp.take(moved, columns, axis=2, mode="clip")

  is_top, is_left = (
    (row < corner[0])[None, :, None, None],
    (column < corner[1])[None, None, :, None],
  )
  top, bottom = (jnp.where(is_left, part(2 * d), part(2 * d + 1)) for d in (0, 1))
  return jnp.where(is_top, top, bottom)


def _ricap_weights(drawn: Drawn, size: tuple[int, int]) -> tuple[jax.Array, ...]:
  (height, width), (below, right) = drawn["corner"], jnp.asarray(size) - drawn["corner"]
  areas = (height * right, below * width, below * right)
  others = [area.astype(jnp.float32) * (1.0 / (size[0] * size[1])) for area in areas]
  return 1.0 - (others[0] + others[1] + others[2]), *others


MIXERS: Mapping[str, Mixer] = {
  "mixup": Mixer(1, _draw_mixup, mixup, weights=_mixup_weights),
  "cutmix": Mixer(1, _draw_cutmix, cutmix, weights=_cutmix_weights),
  "ricap": Mixer(3, _draw_ricap, ricap, weights=_ricap_weights),
}
