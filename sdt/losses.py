"""Per-example losses and metrics: logits in, `[B]` out. Reductions are the caller's, as (sum,
count).
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def accumulator_dtype(dtype: Any) -> np.dtype:
  """Returns the type of statistics, losses and scores: float32, or float64 where the network
  computes in float64.
  """
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


def smoothed_cross_entropy(logits: jax.Array, labels: jax.Array, smoothing: jax.Array) -> jax.Array:
  """Returns (1 - s) * cross-entropy of the label + s * mean over the K classes of the cross-entropy
  of each, in nats.

  Args:
    logits: [B, K] float, unnormalised; computed in float32 at least.
    labels: [B] int32 in [0, K).
    smoothing: [] float, s in [0, 1).
  Returns:
    [B] float32 (float64 for float64 logits).
  Source: Szegedy et al. 2016, "Rethinking the Inception Architecture for Computer Vision", section
  7, with the uniform distribution over all classes, the label among them. Differs from source:
  none.
  """
  logits = logits.astype(accumulator_dtype(logits.dtype))
  share = smoothing.astype(logits.dtype)
  uniform = jax.nn.logsumexp(logits, axis=-1) - logits.mean(axis=-1)
  return (1.0 - share) * cross_entropy(logits, labels) + share * uniform


def squared_error(outputs: jax.Array, targets: jax.Array) -> jax.Array:
  """Returns the squared error of each example, the mean over its outputs, in [0, inf), in the
  targets' unit squared.

  Args:
    outputs: [B, D] float; computed in float32 at least.
    targets: [B, D] float.
  Returns:
    [B] float32 (float64 for float64 outputs), in the order of `targets`.
  Source: the paper's introduction, whose toy minimises it. Differs from source: none.
  """
  dtype = accumulator_dtype(outputs.dtype)
  return jnp.mean(jnp.square(outputs.astype(dtype) - targets.astype(dtype)), axis=-1)


def example_losses(outputs: jax.Array, targets: jax.Array) -> jax.Array:
  """Returns the loss of each example, [B]: `cross_entropy` of classes (integers), `squared_error`
  of floats.
  """
  return (
    squared_error(outputs, targets) if is_regression(targets) else cross_entropy(outputs, targets)
  )


def is_regression(targets: Any) -> bool:
  """Returns whether the targets are numbers to be met and not classes, by their dtype."""
  return bool(np.issubdtype(targets.dtype, np.floating))


def is_correct(outputs: jax.Array, targets: jax.Array) -> jax.Array:
  """Returns whether the largest logit is the label's, [B] bool; of equal logits the lowest class
  counts. No float target is ever met.
  """
  if is_regression(targets):
    return jnp.zeros(outputs.shape[:-1], bool)
  return jnp.argmax(outputs, axis=-1).astype(targets.dtype) == targets
