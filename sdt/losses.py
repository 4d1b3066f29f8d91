"""Per-example losses and metrics: logits in, `[B]` out. Reductions are the caller's, as (sum, count)."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def accumulator_dtype(dtype: Any) -> np.dtype:
  """Returns the type of statistics, losses and scores: float32, or float64 where the network computes in float64."""
  # NumPy's own rule: jnp.promote_types refuses to mix types under strict promotion.
  return np.promote_types(dtype, np.float32)


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
  """Returns -log softmax(logits)[label] of each example, in nats, in [0, inf).

  Args:
    logits: [B, K] float, unnormalised; computed in float32 at least.
    labels: [B] int32 in [0, K).
  Returns:
    [B] float32 (float64 for float64 logits), in the order of `labels`.
  Source: the paper's loss. Differs from source: none.
  """
  logits = logits.astype(accumulator_dtype(logits.dtype))
  own = jnp.take_along_axis(logits, labels[:, None], axis=-1)[:, 0]
  return jax.nn.logsumexp(logits, axis=-1) - own


def is_correct(logits: jax.Array, labels: jax.Array) -> jax.Array:
  """Returns whether the largest logit is the label's, [B] bool; of equal logits the lowest class counts."""
  return jnp.argmax(logits, axis=-1).astype(labels.dtype) == labels
