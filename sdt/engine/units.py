"""Dead and saturated units, and how far activations spread, by layer: one pass over one batch."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Shaped

from sdt.arrays import AnyArray
from sdt.data.dataset import Data, image_sizes
from sdt.engine.evaluate import predict
from sdt.engine.state import TrainState
from sdt.inputs.augment import centre_crop
from sdt.inputs.order import dropout_key
from sdt.inputs.preprocess import Preparation, prepare
from sdt.models.recording import recorded_activations
from sdt.types import Model, Variables

# Which examples: drawn once, the same for all networks.
_STREAM = 0x0A17
# Outputs of a unit that differ by less are the same.
_STILL = 1e-6
# The limits of functions that have two, and the share of the way to them that counts as saturated.
LIMITS = {"tanh": (-1.0, 1.0), "sigmoid": (0.0, 1.0)}
_NEAR = 0.01


class LayerUnits(NamedTuple):
  """What one layer's activation function gives for a batch; a unit is a channel or a column.

  Attributes:
    dead: share of the units whose output is the same for all examples and places, within 1e-6.
    saturated: share of the outputs within 1 % of the way between the function's two limits of one
      of them; NaN for functions without two limits.
    mean: of all outputs.
    sd: of all outputs.
  """

  dead: Float[AnyArray, "..."]
  saturated: Float[AnyArray, "..."]
  mean: Float[AnyArray, "..."]
  sd: Float[AnyArray, "..."]


def layer_units(outputs: Float[Array, "B *rest C"], activation: str) -> LayerUnits:
  """Returns the figures of one layer, float32 [] each; see `LayerUnits`."""
  values = outputs.astype(jnp.float32).reshape(-1, outputs.shape[-1])
  span = jnp.max(values, axis=0) - jnp.min(values, axis=0)
  saturated = jnp.full((), jnp.nan, jnp.float32)
  if activation in LIMITS:
    low, high = LIMITS[activation]
    margin = _NEAR * (high - low)
    at_limit = (values < low + margin) | (values > high - margin)
    saturated = jnp.mean(at_limit.astype(jnp.float32))
  dead = jnp.mean((span <= _STILL).astype(jnp.float32))
  return LayerUnits(dead, saturated, jnp.mean(values), sd=jnp.std(values))


@functools.partial(jax.jit, static_argnums=(0, 1), static_argnames="in_training")
def _units(
  model: Model,
  activation: str,
  variables: Variables,
  inputs: Shaped[Array, "B ..."],
  *,
  in_training: bool,
) -> list[LayerUnits]:
  with recorded_activations() as seen:
    _run(model, variables, inputs, in_training=in_training)
  return [layer_units(outputs, activation) for _, outputs in seen]


def _run(
  model: Model, variables: Variables, inputs: Shaped[Array, "B ..."], *, in_training: bool
) -> Array:
  """Returns the logits [B, K] in evaluation mode, or in training mode with batch statistics."""
  if not in_training:
    return predict(model, variables, inputs)
  mask, keys = jnp.ones(len(inputs), bool), {"dropout": dropout_key(0, 0, 0)}
  logits, _ = model.apply(
    variables, inputs, train=True, mask=mask, mutable=["batch_stats"], rngs=keys
  )
  return logits


def batch_of(data: Data, crop_size: int | None, size: int) -> Float32[np.ndarray, "B ..."]:
  """Returns up to `size` drawn training examples as the network sees them, without augmentation."""
  train = data.train
  drawn = np.random.default_rng(_STREAM).permutation(len(train))[:size]
  positions = np.sort(drawn)
  by = Preparation.of(data.mean, data.std, data.steps, dtype=train.inputs.dtype)

  def seen(inputs: Shaped[Array, "B ..."], sizes: Shaped[Array, "B 2"]) -> Array:
    return prepare(centre_crop(inputs, sizes, crop_size), by)

  return np.asarray(jax.jit(seen)(train.inputs[positions], image_sizes(train)[positions]))


def units_of(
  model: Model,
  activation: str,
  state: TrainState,
  *,
  inputs: Float32[np.ndarray, "B ..."],
  in_training: bool = False,
) -> list[list[dict[str, float | str]]]:
  """Returns for each network [R] its layers in the order of the calls, as metrics.jsonl has them.

  Args:
    model: computes in float32.
    activation: the name of its function.
    state: leaves [R, ...], on the host.
    inputs: of `batch_of`.
    in_training: whether the network runs in training mode, with the statistics of the batch, as a
      network needs whose running statistics are those of no data.
  """
  names = _layer_names(model, state, inputs)
  networks: list[list[dict[str, float | str]]] = []
  for replica in range(len(state.step)):
    variables = jax.tree.map(lambda leaf, r=replica: leaf[r], state.variables)
    layers = jax.device_get(
      _units(model, activation, variables, inputs=inputs, in_training=in_training)
    )
    figures = ({key: float(value) for key, value in one._asdict().items()} for one in layers)
    networks.append([{"layer": name, **of} for name, of in zip(names, figures, strict=True)])
  return networks


def _layer_names(
  model: Model, state: TrainState, inputs: Float32[np.ndarray, "B ..."]
) -> list[str]:
  """Returns a name for every call of an activation function: its number and its module."""
  names: list[str] = []

  def trace(variables: Variables) -> Array:
    with recorded_activations() as seen:
      logits = predict(model, variables, inputs)
    names.extend(f"{number} {path}".strip() for number, (path, _) in enumerate(seen, start=1))
    return logits

  jax.eval_shape(trace, jax.tree.map(lambda leaf: leaf[0], state.variables))
  return names
