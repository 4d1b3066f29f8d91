"""What becomes of drawn weights before the first step.

By name: `sdt.config.toolbox.network_blocks.STARTS`.
"""

import functools
import re
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import traverse_util
from jaxtyping import Float

from sdt.arrays import AnyArray
from sdt.models.family import HEAD
from sdt.models.layers import MULTIPLIER, Conv, Linear
from sdt.models.norms import Bias
from sdt.types import Model, PyTree, Variables

# From (model, variables, inputs) to variables.
type Start = Callable[[Model, Variables, Float[AnyArray, "B ..."]], Variables]
# From the outputs of a layer to the mean and the spread that it is to lose, [] or [C].
type Measure = Callable[[jax.Array], tuple[jax.Array, jax.Array]]
# The names of the modules from the root to a layer.
type Path = tuple[str, ...]

# A spread below this is rounding: outputs that are alike for all examples cannot be scaled.
_LEAST = 1e-6


def _of_layer(outputs: jax.Array) -> tuple[jax.Array, jax.Array]:
  return jnp.zeros((), outputs.dtype), jnp.std(outputs)


def _of_channels(outputs: jax.Array) -> tuple[jax.Array, jax.Array]:
  axes = tuple(range(outputs.ndim - 1))
  return outputs.mean(axes), outputs.std(axes)


def _measured_start(measure: Measure) -> Start:
  """Returns the start that gives the outputs of all layers no mean and the spread 1, by `measure`.

  One pass is enough: a layer is linear in its weights, and the layers behind it already see its new
  outputs. Biases take up the means. With the norm `weight` the lengths take up the spreads.
  """

  def start(model: Model, variables: Variables, inputs: Float[AnyArray, "B ..."]) -> Variables:
    found = jax.device_get(_measures(model, measure, variables, inputs=inputs))
    layers = traverse_util.flatten_dict(variables["params"])
    for text, (mean, spread) in found.items():
      path = tuple(text.split("/"))
      factor = next((leaf for leaf in ("scale", "kernel") if (*path, leaf) in layers), None)
      if factor is not None:
        layers[*path, factor] = layers[*path, factor] / spread
      if (*path, "bias") in layers:
        layers[*path, "bias"] = layers[*path, "bias"] - mean
    return {**variables, "params": traverse_util.unflatten_dict(layers)}

  return start


@functools.partial(jax.jit, static_argnums=(0, 1))
def _measures(
  model: Model, measure: Measure, variables: Variables, inputs: Float[AnyArray, "B ..."]
) -> dict[str, tuple[jax.Array, jax.Array]]:
  """Returns by layer the mean that its bias is to lose, and the spread that divides its weights."""
  found = {}

  def interceptor(
    next_call: Callable[..., Any], args: Any, kwargs: Any, context: nn.module.InterceptorContext
  ) -> Any:
    layer, outputs = context.module, next_call(*args, **kwargs)
    if context.method_name != "__call__" or not isinstance(layer, Conv | Linear | Bias):
      return outputs
    has_bias = layer.has_variable("params", "bias")
    bias = layer.get_variable("params", "bias") if has_bias else jnp.zeros((), outputs.dtype)
    bias = jnp.broadcast_to(bias, outputs.shape)
    mean, spread = measure(outputs - bias)
    spread = jnp.where(spread < _LEAST, 1.0, spread)
    if isinstance(layer, Bias):
      spread = jnp.ones_like(spread)
    shift = mean / spread
    found["/".join(layer.path)] = shift, spread
    normal = (outputs - bias) / jnp.broadcast_to(spread, outputs.shape)
    return normal + bias - (jnp.broadcast_to(shift, outputs.shape) if has_bias else 0.0)

  plain = model.clone(dtype=jnp.float32, axis_name=None, norm_groups=1, dropout=0.0)
  rngs = {"dropout": jax.random.key(0)}
  with nn.intercept_methods(interceptor):
    plain.apply(variables, inputs, train=True, mutable=["batch_stats"], rngs=rngs)
  return found


def _fixup(model: Model, variables: Variables, inputs: Float[AnyArray, "B ..."]) -> Variables:
  """Returns the weights of a residual network that needs no norm.

  Of L branches with m convolutions each: the last convolution and the head are 0, the others of the
  branch are multiplied by L^(-1/(2m-2)).

  Source: Zhang et al. 2019, "Fixup Initialization", section 3. Differs from source: see `STARTS` of
  the config.
  """
  del model, inputs
  params: dict[str, Any] = dict(variables["params"])
  branches = [name for name, inner in params.items() if MULTIPLIER in inner]
  for name in branches:
    convolutions = [inner for inner in params[name] if re.fullmatch(r"conv\d+", inner)]
    last = max(convolutions)
    factor = len(branches) ** (-1 / (2 * len(convolutions) - 2))
    scaled = {
      conv: _times(params[name][conv], 0.0 if conv == last else factor) for conv in convolutions
    }
    params[name] = params[name] | scaled
  params[HEAD] = _times(params[HEAD], 0.0)
  return {**variables, "params": params}


def _times(tree: PyTree, factor: float) -> PyTree:
  return jax.tree.map(lambda leaf: leaf * np.asarray(factor, leaf.dtype), tree)


STARTS: Mapping[str, Start] = {
  "lsuv": _measured_start(_of_layer),
  "data": _measured_start(_of_channels),
  "fixup": _fixup,
}
