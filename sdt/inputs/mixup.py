"""Mixup: each example of a batch is blended with another, and the loss with the other's.

Source: Zhang, Cisse, Dauphin, Lopez-Paz 2018, "mixup: Beyond Empirical Risk Minimization", section
2. One weight a batch, as in the authors' code. Differs from source: the partner is the next example
   of the batch, whose order is random already, where their code permutes
the batch once more.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Mixture:
  """What the loss must know: the partners' labels [B] int32, and the weight [] of the own ones."""

  labels: Any
  weight: Any


def partners(mask: jax.Array) -> jax.Array:
  """Returns which example of the batch each is mixed with: the next valid one, in a circle; padding
  is its own partner.

  Args:
    mask: [B] bool; valid examples come first, as `batches.phase_batches` has it.
  Returns:
    [B] int32; a lone valid example is its own partner.
  """
  position = jnp.arange(mask.shape[0], dtype=jnp.int32)
  count = jnp.maximum(jnp.sum(mask, dtype=jnp.int32), 1)
  return jnp.where(mask, (position + 1) % count, position)


def mixing_weight(key: jax.Array, alpha: jax.Array) -> jax.Array:
  """Returns the weight of the own example, [] float32 in [0, 1], from Beta(alpha, alpha); exactly 1
  where alpha is 0.
  """
  # G / (G + H) of two gamma variates: from their logarithms, which do not underflow where alpha is
  # small.
  logs = jax.random.loggamma(key, jnp.where(alpha > 0, alpha, 1.0), (2,), jnp.float32)
  return jnp.where(alpha > 0, jax.nn.sigmoid(logs[0] - logs[1]), 1.0)


def mix(inputs: jax.Array, others: jax.Array, weight: jax.Array) -> jax.Array:
  """Returns weight * inputs + (1 - weight) * others, [B, ...]."""
  return weight * inputs + (1.0 - weight) * others
