"""Mixup: each example of a batch is blended with another, and so is its loss.

Source: Zhang, Cisse, Dauphin, Lopez-Paz 2018, "mixup: Beyond Empirical Risk Minimization", section
2. One weight for a batch, as in the authors' code.
Differs from source: the partner is the next example of the batch, whose order is random already.
The authors' code permutes the batch once more.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int32, Key

from sdt.arrays import AnyArray
from sdt.types import Leaf


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Mixture:
  """What the loss must know of a mixed batch.

  Attributes:
    labels: [B] int32, those of the partners.
    weight: [] float32, of the example itself; its partner has 1 - weight.
  """

  labels: Leaf
  weight: Leaf


def partners(mask: Bool[AnyArray, "B"]) -> Int32[Array, "B"]:
  """Returns the position of each example's partner: the next valid example, in a circle.

  Args:
    mask: [B] bool; valid examples come first, as `order.phase_batches` has it.
  Returns:
    [B] int32. Padding and a lone valid example are their own partners.
  """
  position = jnp.arange(mask.shape[0], dtype=jnp.int32)
  count = jnp.maximum(jnp.sum(mask, dtype=jnp.int32), 1)
  return jnp.where(mask, (position + 1) % count, position)


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


def mix(
  inputs: Float[AnyArray, "B *rest"],
  others: Float[AnyArray, "B *rest"],
  weight: Float[Array, ""],
) -> Float[Array, "B *rest"]:
  """Returns weight * inputs + (1 - weight) * others, [B, ...]."""
  return weight * inputs + (1.0 - weight) * others
