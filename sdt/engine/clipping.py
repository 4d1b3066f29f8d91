"""Clips gradients, before L1 and weight decay are added to them."""

import types
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from sdt.config.toolbox.parse import parse_calls
from sdt.config.toolbox.training_blocks import CLIPS as TABLE

# A number that is static or traced.
type Rate = float | Float[Array, ""]


def _of_arrays(
  factor_of: Callable[[Float[Array, "..."]], Float[Array, ""]],
) -> optax.GradientTransformation:
  """Returns what multiplies the gradient of each array by a factor of its own."""
  return optax.stateless(
    lambda grads, params: jax.tree.map(lambda grad: grad * factor_of(grad), grads)
  )


def _norm(grad: Float[Array, "..."]) -> Float[Array, ""]:
  return jnp.sqrt(jnp.sum(jnp.square(grad)))


def clip_by_norm(most: Rate) -> optax.GradientTransformation:
  """Returns what multiplies the gradient g of each array by x / max(|g|, x)."""
  return _of_arrays(lambda grad: most / jnp.maximum(_norm(grad), most))


def clip_by_average_norm(most: Rate) -> optax.GradientTransformation:
  """Returns what multiplies the gradient g of each array of n numbers by x / max(|g| / n, x).

  Source: tf.clip_by_average_norm. Differs from source: none.
  """
  return _of_arrays(lambda grad: most / jnp.maximum(_norm(grad) / grad.size, most))


# By the names of the table in sdt/config/toolbox/training_blocks.py.
CLIPS: Mapping[str, Callable[[Rate], optax.GradientTransformation]] = types.MappingProxyType(
  {
    "value": optax.clip,
    "norm": clip_by_norm,
    "global_norm": optax.clip_by_global_norm,
    "average_norm": clip_by_average_norm,
  }
)


def clips_of(text: str, numbers: Mapping[str, Rate]) -> tuple[optax.GradientTransformation, ...]:
  """Returns the clips that a text names, in order; `numbers` has their bounds, "clip0" and on."""
  calls = parse_calls(text, TABLE)
  return tuple(CLIPS[call.name](numbers[f"clip{at}"]) for at, call in enumerate(calls))


def bounds_of(text: str) -> dict[str, float]:
  """Returns the bounds of the clips that a text names, "clip0" and on."""
  return {f"clip{at}": call.numbers[0] for at, call in enumerate(parse_calls(text, TABLE))}


def names_of(text: str) -> str:
  """Returns the text with other bounds, the same for all that name the same clips."""
  return " ".join(f"{call.name}(1)" for call in parse_calls(text, TABLE))
