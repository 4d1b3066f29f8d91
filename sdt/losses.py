"""Losses and correctness of each example: network outputs in, `[B]` out, not reduced."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int, Shaped

from sdt.arrays import AnyArray


def accumulator_dtype(dtype: DTypeLike) -> np.dtype:
  """Returns the type of statistics, losses and scores: float64 for a float64 network, else float32.

  Args:
    dtype: in which the network computes.
  """
  # NumPy's own rule: jnp.promote_types refuses to mix types under strict promotion.
  return np.promote_types(dtype, np.float32)


def cross_entropy(logits: Float[AnyArray, "B K"], labels: Int[AnyArray, "B"]) -> Float[Array, "B"]:
  """Returns -log softmax(logits)[label] of each example, in nats, in [0, inf).

  Args:
    logits: [B, K] float, unnormalised; computed in float32 at least.
    labels: [B] int32 in [0, K).
  Returns:
    [B] float32 (float64 for float64 logits), in the order of `labels`.
  Source: the paper's loss. Differs from source: none.
  """
  logits = logits.astype(accumulator_dtype(logits.dtype))
  label_logits = jnp.take_along_axis(logits, labels[:, None], axis=-1)[:, 0]
  return jax.nn.logsumexp(logits, axis=-1) - label_logits


def smoothed_cross_entropy(
  logits: Float[AnyArray, "B K"], labels: Int[AnyArray, "B"], smoothing: Float[Array, "*B"]
) -> Float[Array, "B"]:
  """Returns (1 - s) * cross-entropy of the label + s * mean cross-entropy of the K classes.

  In nats.

  Args:
    logits: [B, K] float, unnormalised; computed in float32 at least.
    labels: [B] int32 in [0, K).
    smoothing: [] or [B] float, s in [0, 1).
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


def taught_cross_entropy(
  logits: Float[AnyArray, "B K"],
  probabilities: Float[AnyArray, "B K"],
  temperature: Float[Array, ""],
) -> Float[Array, "B"]:
  """Returns -T^2 sum_k q_k log softmax(logits / T)_k of each example, in nats.

  Args:
    logits: [B, K] float, unnormalised; computed in float32 at least.
    probabilities: [B, K] float, q, the teacher's at the same temperature.
    temperature: [] float, T above 0.
  Returns:
    [B] float32 (float64 for float64 logits).
  Source: Hinton et al. 2015, "Distilling the Knowledge in a Neural Network", section 2, whose
  factor T^2 keeps the gradient's size at any T. Differs from source: none.
  """
  logits = logits.astype(accumulator_dtype(logits.dtype))
  scale = temperature.astype(logits.dtype)
  log_softened = jax.nn.log_softmax(logits / scale, axis=-1)
  return -jnp.square(scale) * jnp.sum(probabilities.astype(logits.dtype) * log_softened, axis=-1)


def squared_error(
  outputs: Float[AnyArray, "B D"], targets: Float[AnyArray, "B D"]
) -> Float[Array, "B"]:
  """Returns the squared error of each example: the mean over its D outputs, in [0, inf).

  The unit is that of the targets, squared.

  Args:
    outputs: [B, D] float; computed in float32 at least.
    targets: [B, D] float.
  Returns:
    [B] float32 (float64 for float64 outputs), in the order of `targets`.
  Source: the paper's introduction, whose toy minimises it. Differs from source: none.
  """
  dtype = accumulator_dtype(outputs.dtype)
  return jnp.mean(jnp.square(outputs.astype(dtype) - targets.astype(dtype)), axis=-1)


def example_losses(
  outputs: Float[AnyArray, "B K"], targets: Shaped[AnyArray, "B *D"]
) -> Float[Array, "B"]:
  """Returns the loss of each example: `squared_error` of float targets, else `cross_entropy`.

  Args:
    outputs: [B, K] float.
    targets: [B] int32 classes, or [B, K] float.
  """
  if is_regression(targets):
    return squared_error(outputs, targets)
  return cross_entropy(outputs, targets)


def is_regression(targets: Shaped[AnyArray, "..."]) -> bool:
  """Returns whether the targets are numbers to predict (a float dtype), and not classes."""
  return bool(np.issubdtype(targets.dtype, np.floating))


def is_correct(
  outputs: Float[AnyArray, "B K"], targets: Shaped[AnyArray, "B *D"]
) -> Bool[Array, "B"]:
  """Returns whether the largest logit is the label's; among equal logits the lowest class counts.

  Float targets are never met: all False.
  """
  if is_regression(targets):
    return jnp.zeros(outputs.shape[:-1], bool)
  return jnp.argmax(outputs, axis=-1).astype(targets.dtype) == targets
