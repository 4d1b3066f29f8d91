"""The scores of one pass: how well the network fits each example, from its logits and features."""

import dataclasses
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from sdt.arrays import AnyArray
from sdt.losses import accumulator_dtype
from sdt.types import Leaf


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Outputs:
  """What a network computes of examples.

  Attributes:
    logits: [..., K] float, unnormalised.
    features: [..., D] float, the inputs of its head; None where no score needs them.
  """

  logits: Leaf
  features: Leaf


def log_odds(outputs: Outputs, labels: Int[AnyArray, "*B"]) -> Float[Array, "*B"]:
  """Returns z_y - log sum_{k != y} exp(z_k) of each example, in (-inf, inf); larger is easier.

  It ranks examples as the softmax probability of the label does. That probability is exactly 1 in
  float32 from a margin of about 16 on: the easiest examples would tie, and the tie breaker would
  decide.

  Args:
    outputs: logits [..., K] float, K >= 2; computed in float32 at least.
    labels: [...] int32 in [0, K).
  Returns:
    [...] float32 (float64 for float64 logits), in the order of `labels`.
  Source: the logit of the paper's score. Differs from source: by this strictly increasing
  transform.
  """
  of_label, others = _label_and_others(outputs.logits, labels)
  return of_label - jax.nn.logsumexp(others, axis=-1)


def confidence(outputs: Outputs, labels: Int[AnyArray, "*B"]) -> Float[Array, "*B"]:
  """Returns softmax(logits)[label] of each example, in [0, 1]; larger is easier.

  Shapes as in `log_odds`.

  Source: the paper, Algorithm 1, step 2. Differs from source: none; computed as the sigmoid of the
  log-odds.
  """
  return jax.nn.sigmoid(log_odds(outputs, labels))


def loss(outputs: Outputs, labels: Int[AnyArray, "*B"]) -> Float[Array, "*B"]:
  """Returns -log softmax(logits)[label] of each example, in nats, in [0, inf); larger is harder.

  Shapes as in `log_odds`. Computed from the log-odds: the difference of two large numbers would
  round a small loss to 0.
  """
  return jax.nn.softplus(-log_odds(outputs, labels))


def margin(outputs: Outputs, labels: Int[AnyArray, "*B"]) -> Float[Array, "*B"]:
  """Returns z_y - max_{k != y} z_k of each example, in (-inf, inf); larger is easier.

  Shapes as in `log_odds`.

  Source: Pleiss et al. 2020, "Identifying Mislabeled Data using the Area Under the Margin Ranking",
  equation 1 (of one epoch). Differs from source: none.
  """
  of_label, others = _label_and_others(outputs.logits, labels)
  return of_label - jnp.max(others, axis=-1)


def normalized_margin(outputs: Outputs, labels: Int[AnyArray, "*B"]) -> Float[Array, "*B"]:
  """Returns (p_y - max_{k != y} p_k + 1) / 2 of the softmax p, in [0, 1]; larger is easier.

  Shapes as in `log_odds`.

  Source: Northcutt, Jiang and Chuang 2021, "Confident Learning", section 2.1. Differs from source:
  shifted to [0, 1], as in the authors' library.
  """
  probabilities = _softmax(outputs.logits)
  of_label, others = _label_and_others(probabilities, labels)
  return (of_label - jnp.max(others, axis=-1) + 1.0) / 2.0


def entropy(outputs: Outputs, labels: Int[AnyArray, "*B"]) -> Float[Array, "*B"]:
  """Returns -sum_k p_k log p_k of the softmax p, in nats, in [0, log K]; larger is harder.

  Shapes as in `log_odds`. The label plays no part.
  """
  del labels
  logits = outputs.logits.astype(accumulator_dtype(outputs.logits.dtype))
  log_probabilities = jax.nn.log_softmax(logits, axis=-1)
  return -jnp.sum(jnp.exp(log_probabilities) * log_probabilities, axis=-1)


def el2n(outputs: Outputs, labels: Int[AnyArray, "*B"]) -> Float[Array, "*B"]:
  """Returns ||softmax(logits) - onehot(label)||_2 of each example, in [0, sqrt(2)].

  Larger is harder. Shapes as in `log_odds`.

  Computed as (1 - p_y) sqrt(1 + sum_{k != y} (p_k / (1 - p_y))^2), where 1 - p_y is the sigmoid of
  minus the log-odds. Computed as a difference, 1 - p_y would be 0 from a margin of about 16 on.

  Source: Paul, Ganguli and Dziugaite 2021, "Deep Learning on a Data Diet", definition 2.3. Differs
  from source: of one network; the paper takes the mean over ten, early in training.
  """
  _, others = _label_and_others(outputs.logits, labels)
  shares = jax.nn.softmax(others, axis=-1)  # p_k / (1 - p_y)
  return jax.nn.sigmoid(-log_odds(outputs, labels)) * jnp.sqrt(
    1.0 + jnp.sum(jnp.square(shares), axis=-1)
  )


def grand_last_layer(outputs: Outputs, labels: Int[AnyArray, "*B"]) -> Float[Array, "*B"]:
  """Returns the norm of the loss's gradient by the head's parameters: EL2N * sqrt(||h||^2 + 1).

  In [0, inf); larger is harder. h are the features: the gradient by the weights and the bias is
  (p - onehot) times (h, 1).

  Args:
    outputs: logits [..., K] and features [..., D].
    labels: [...] int32.
  Returns:
    [...] float32 (float64 for float64 outputs).
  Raises:
    ValueError: `outputs` has no features.
  Source: Paul et al. 2021, definition 2.1. Differs from source: of the last layer alone.
  """
  if outputs.features is None:
    raise ValueError("grand_last_layer needs outputs.features [..., D], the inputs of the head")
  features = outputs.features.astype(accumulator_dtype(outputs.features.dtype))
  return el2n(outputs, labels) * jnp.sqrt(jnp.sum(jnp.square(features), axis=-1) + 1.0)


def other_class(outputs: Outputs, labels: Int[AnyArray, "*B"]) -> Int[Array, "*B"]:
  """Returns the most probable class but the label's of each example, int32; a tie: the lower.

  Where the margin is below 0, it is the predicted class. Shapes as in `log_odds`.
  """
  _, others = _label_and_others(outputs.logits, labels)
  return jnp.argmax(others, axis=-1).astype(jnp.int32)


def _softmax(logits: AnyArray) -> jax.Array:
  return jax.nn.softmax(logits.astype(accumulator_dtype(logits.dtype)), axis=-1)


def _label_and_others(values: AnyArray, labels: AnyArray) -> tuple[jax.Array, jax.Array]:
  """Returns the label's value [...], and the values [..., K] with -inf for the label.

  Both are float32 at least.
  """
  values = values.astype(accumulator_dtype(values.dtype))
  is_label = jax.nn.one_hot(labels, values.shape[-1], dtype=bool)
  return jnp.sum(jnp.where(is_label, values, 0.0), axis=-1), jnp.where(is_label, -jnp.inf, values)


# The scores of a single forward pass, each a function of (outputs, labels). Their directions and
# ranges are in sdt/config/score_names.py.
SCORERS: Mapping[str, Callable[[Outputs, AnyArray], jax.Array]] = {
  "confidence": confidence,
  "log_odds": log_odds,
  "loss": loss,
  "margin": margin,
  "normalized_margin": normalized_margin,
  "entropy": entropy,
  "el2n": el2n,
  "grand_last_layer": grand_last_layer,
}
