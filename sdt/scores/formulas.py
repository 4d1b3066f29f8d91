"""The scores of one pass: how well the network fits each example, from its logits and features."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from sdt.losses import accumulator_dtype


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Outputs:
  """What a network says of examples: logits [..., K], unnormalised, and features [..., D], what its
  head reads.
  """

  logits: Any
  features: Any


def log_odds(outputs: Outputs, labels: jax.Array) -> jax.Array:
  """Returns z_y - log sum_{k != y} exp(z_k) of each example, in (-inf, inf); larger is easier.

  The same order as the softmax probability of the own label, which in float32 is exactly 1 from a
  margin of about 16 on: ranked by it, ties and so the order of the data set would decide who is
  among the easiest.

  Args:
    outputs: logits [..., K] float, K >= 2; computed in float32 at least.
    labels: [...] int32 in [0, K).
  Returns:
    [...] float32 (float64 for float64 logits), in the order of `labels`.
  Source: the logit of the paper's score. Differs from source: by this strictly increasing
  transform.
  """
  own, others = _own_and_others(outputs.logits, labels)
  return own - jax.nn.logsumexp(others, axis=-1)


def confidence(outputs: Outputs, labels: jax.Array) -> jax.Array:
  """Returns softmax(logits)[label] of each example, in [0, 1]; larger is easier. Shapes as in
  `log_odds`.

  Source: the paper, Algorithm 1, step 2. Differs from source: none; computed as the sigmoid of the
  log-odds.
  """
  return jax.nn.sigmoid(log_odds(outputs, labels))


def loss(outputs: Outputs, labels: jax.Array) -> jax.Array:
  """Returns -log softmax(logits)[label] of each example, in nats, in [0, inf); larger is harder.
  Shapes as in `log_odds`.

  Computed from the log-odds, so that a small loss is not rounded to 0 as the difference of two
  large numbers would be.
  """
  return jax.nn.softplus(-log_odds(outputs, labels))


def margin(outputs: Outputs, labels: jax.Array) -> jax.Array:
  """Returns z_y - max_{k != y} z_k of each example, in (-inf, inf); larger is easier. Shapes as in
  `log_odds`.

  Source: Pleiss et al. 2020, "Identifying Mislabeled Data using the Area Under the Margin Ranking",
  equation 1 (of one epoch).
  """
  own, others = _own_and_others(outputs.logits, labels)
  return own - jnp.max(others, axis=-1)


def normalized_margin(outputs: Outputs, labels: jax.Array) -> jax.Array:
  """Returns (p_y - max_{k != y} p_k + 1) / 2 of the softmax p, in [0, 1]; larger is easier. Shapes
  as in `log_odds`.

  Source: Northcutt, Jiang and Chuang 2021, "Confident Learning", section 2.1, shifted to [0, 1] as
  the authors' library has it.
  """
  probabilities = _softmax(outputs.logits)
  own, others = _own_and_others(probabilities, labels)
  return (own - jnp.max(others, axis=-1) + 1.0) / 2.0


def entropy(outputs: Outputs, labels: jax.Array) -> jax.Array:
  """Returns -sum_k p_k log p_k of the softmax p, in nats, in [0, log K]; larger is harder. It does
  not look at the label.
  """
  del labels
  logits = outputs.logits.astype(accumulator_dtype(outputs.logits.dtype))
  log_probabilities = jax.nn.log_softmax(logits, axis=-1)
  return -jnp.sum(jnp.exp(log_probabilities) * log_probabilities, axis=-1)


def el2n(outputs: Outputs, labels: jax.Array) -> jax.Array:
  """Returns ||softmax(logits) - onehot(label)||_2 of each example, in [0, sqrt(2)]; larger is
  harder. Shapes as in `log_odds`.

  Computed as (1 - p_y) sqrt(1 + sum of the squared shares that the other classes have of it), where
  1 - p_y is the sigmoid of minus the log-odds: as a difference it would be 0 from a margin of about
  16 on.

  Source: Paul, Ganguli and Dziugaite 2021, "Deep Learning on a Data Diet", definition 2.3. Differs
  from source: of one network, where the paper takes the mean over ten, early in training.
  """
  _, others = _own_and_others(outputs.logits, labels)
  shares = jax.nn.softmax(others, axis=-1)  # of 1 - p_y, that each other class has
  return jax.nn.sigmoid(-log_odds(outputs, labels)) * jnp.sqrt(
    1.0 + jnp.sum(jnp.square(shares), axis=-1)
  )


def grand_last_layer(outputs: Outputs, labels: jax.Array) -> jax.Array:
  """Returns the norm of the loss's gradient by the head's weights and bias, in [0, inf); larger is
  harder.

  The gradient is (p - onehot) times (features, 1), so its norm is EL2N * sqrt(||features||^2 + 1).

  Args:
    outputs: logits [..., K] and features [..., D].
    labels: [...] int32.
  Source: Paul et al. 2021, definition 2.1. Differs from source: of the last layer alone.
  """
  features = outputs.features.astype(accumulator_dtype(outputs.features.dtype))
  return el2n(outputs, labels) * jnp.sqrt(jnp.sum(jnp.square(features), axis=-1) + 1.0)


def _is_own(values: jax.Array, labels: jax.Array) -> jax.Array:
  return jax.nn.one_hot(labels, values.shape[-1], dtype=bool)


def _softmax(logits: jax.Array) -> jax.Array:
  return jax.nn.softmax(logits.astype(accumulator_dtype(logits.dtype)), axis=-1)


def _own_and_others(values: jax.Array, labels: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Returns the label's value [...] and all values [..., K] with -inf in its place, in float32 at
  least.
  """
  values = values.astype(accumulator_dtype(values.dtype))
  is_own = _is_own(values, labels)
  return jnp.sum(jnp.where(is_own, values, 0.0), axis=-1), jnp.where(is_own, -jnp.inf, values)


# The scores of a single forward pass, each a function of (outputs, labels); what they are stands in
# score_table.py.
SCORERS: Mapping[str, Callable[[Outputs, jax.Array], jax.Array]] = {
  "confidence": confidence,
  "log_odds": log_odds,
  "loss": loss,
  "margin": margin,
  "normalized_margin": normalized_margin,
  "entropy": entropy,
  "el2n": el2n,
  "grand_last_layer": grand_last_layer,
}
