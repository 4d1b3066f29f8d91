"""The networks by name, their initial values and their sizes."""

import dataclasses
import functools
import math
from typing import Any

import flax.linen as nn
import jax
import jax.extend.core
import jax.numpy as jnp
from jax.typing import DTypeLike

from sdt.config.schema import ModelConfig
from sdt.errors import ConfigError, did_you_mean
from sdt.models import (
  alexnet,
  cait,
  densenet,
  lenet,
  mlp,
  preresnet,
  resnet,
  vgg,
  vit,
  wide_resnet,
)
from sdt.models.activations import num_pieces
from sdt.models.family import Network
from sdt.models.init import OWN, Initial, declared_variables, draw_variables
from sdt.types import Variables

# One line for each family.
NETWORKS = {
  **alexnet.NETWORKS,
  **cait.NETWORKS,
  **densenet.NETWORKS,
  **lenet.NETWORKS,
  **mlp.NETWORKS,
  **resnet.NETWORKS,
  **preresnet.NETWORKS,
  **wide_resnet.NETWORKS,
  **vgg.NETWORKS,
  **vit.NETWORKS,
}

# Keys of the model section that are not arguments of a module.
_NOT_ARGUMENTS = ("name", "pretrained", "pretrained_head", "initialisation", "start", "bias_start")

MODEL_NAMES = tuple(sorted(NETWORKS))


def make_model(
  config: ModelConfig,
  num_classes: int,
  *,
  dtype: DTypeLike = jnp.float32,
  param_dtype: DTypeLike = jnp.float32,
  axis_name: str | None = None,
  norm_groups: int = 1,
) -> nn.Module:
  """Returns the network that `config` names.

  `model.apply(variables, inputs, train=..., mask=...)` takes inputs [B, H, W, C] (an MLP also [B,
  D]) and returns logits [B, num_classes].

  Args:
    config: the name, and the keys that change the network of that name.
    num_classes: K.
    dtype: the type in which the layers compute; logits are float32 at least.
    param_dtype: the type of parameters and running statistics.
    axis_name: the mapped axis over which BatchNorm sums its statistics, under `pmap`.
    norm_groups: groups of the batch of all devices, each with its own BatchNorm statistics in
      training.

  Raises:
    ConfigError: the name is unknown, a key does not apply to that network, or the keys together
      make no network.
  """
  network = _network(config.name)
  arguments = network.combine(network.arguments, _changes(config, network), config.name)
  types = {"dtype": dtype, "param_dtype": param_dtype}
  return network.module(
    num_classes=num_classes, axis_name=axis_name, norm_groups=norm_groups, **types, **arguments
  )


def _network(name: str) -> Network:
  """Returns the entry of a network; raises a ConfigError with the nearest name if there is none."""
  if name not in NETWORKS:
    hint = did_you_mean(name, MODEL_NAMES)
    raise ConfigError(
      f"model.name={name!r} is not a network{hint} (networks: {', '.join(MODEL_NAMES)})"
    )
  return NETWORKS[name]


def _changes(config: ModelConfig, network: Network) -> dict[str, Any]:
  """Returns the keys that the config gives; raises a ConfigError with all that do not apply."""
  names = [field.name for field in dataclasses.fields(config) if field.name not in _NOT_ARGUMENTS]
  given = {name: getattr(config, name) for name in names}
  changes = {key: value for key, value in given.items() if value is not None}
  others = [key for key in changes if key not in network.keys]
  if others:
    do, them = ("does", "it") if len(others) == 1 else ("do", "them")
    raise ConfigError(
      f"{', '.join(f'model.{key}={changes[key]!r}' for key in others)} {do} not apply to "
      f"model.name={config.name!r}, whose keys are {', '.join(network.keys)}; leave {them} out, or "
      f"where the config file has {them} give "
      f"{' '.join(f'--config.model.{key}=None' for key in others)}"
    )
  activation = config.activation or "relu"
  if num_pieces(activation) > 1 and not network.takes_pieces:
    raise ConfigError(
      f"model.activation={activation!r} needs a layer of its own before every activation, which "
      f"model.name={config.name!r} has not; networks that have: {_having('takes_pieces')}"
    )
  if config.start == "fixup":
    if not network.takes_fixup:
      raise ConfigError(
        "model.start='fixup' is for residual branches of convolutions, which model.name="
        f"{config.name!r} has not; networks that have: {_having('takes_fixup')}"
      )
    changes["fixup"] = True
  return changes


def _having(what: str) -> str:
  return ", ".join(name for name in MODEL_NAMES if getattr(NETWORKS[name], what))


def own_dropout(config: ModelConfig) -> float:
  """Returns the share of values that the network of a config drops where no phase says otherwise.

  Raises:
    ConfigError: see `make_model`.
  """
  own: float = _network(config.name).arguments.get("dropout", 0.0)
  return own if config.dropout is None else config.dropout


def init_variables(
  model: nn.Module, input_shape: tuple[int, ...], seed: int, initial: Initial = OWN
) -> Variables:
  """Returns {"params": ..., "batch_stats": ...} of NumPy arrays, each drawn from (seed, its path).

  Nothing is compiled.

  Args:
    model: from `make_model`.
    input_shape: (H, W, C), or (D,) for an MLP.
    seed: 0 or more.
    initial: the values of a config, in place of the network's own.
  """
  return draw_variables(declared_variables(model, input_shape), seed, initial)


# Cached: tracing a network of 164 layers takes seconds, and a run asks several times.
@functools.lru_cache(maxsize=8)
def variable_shapes(model: nn.Module, input_shape: tuple[int, ...]) -> Variables:
  """Returns the shapes and dtypes of `init_variables`, as `jax.ShapeDtypeStruct`s."""
  declared = declared_variables(model, input_shape)
  shapes: Variables = jax.eval_shape(lambda boxes: nn.meta.unbox(boxes), declared)
  return shapes


def count_params(model: nn.Module, input_shape: tuple[int, ...]) -> int:
  """Returns the number of trained parameters, without the running statistics."""
  params = variable_shapes(model, input_shape)["params"]
  return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))


@functools.lru_cache(maxsize=8)
def multiply_adds(model: nn.Module, input_shape: tuple[int, ...]) -> int:
  """Returns the multiply-adds of the products and convolutions in the forward pass of one example.

  They are counted in the traced program.
  """
  variables = variable_shapes(model, input_shape)
  inputs = jax.ShapeDtypeStruct((1, *input_shape), jnp.float32)
  forward = jax.make_jaxpr(lambda v, x: model.apply(v, x, train=False))
  return _count_products(forward(variables, inputs).jaxpr)


def _count_products(jaxpr: jax.extend.core.Jaxpr) -> int:
  total = 0
  for equation in jaxpr.eqns:
    out_size = math.prod(_shape(equation.outvars[0]))
    if equation.primitive.name == "conv_general_dilated":
      # Each output value sums over the kernel's window and input channels.
      total += out_size * math.prod(_shape(equation.invars[1])[:3])
    elif equation.primitive.name == "dot_general":
      (contracted, _), _ = equation.params["dimension_numbers"]
      total += out_size * math.prod(_shape(equation.invars[0])[axis] for axis in contracted)
    # Of the branches of a condition, or of the platforms: the longest.
    branches = equation.params.get("branches", ())
    total += max((_count_products(branch.jaxpr) for branch in branches), default=0)
    for value in equation.params.values():
      inner = value.jaxpr if isinstance(value, jax.extend.core.ClosedJaxpr) else value
      if isinstance(inner, jax.extend.core.Jaxpr):
        total += _count_products(inner)
  return total


def _shape(variable: jax.extend.core.Var | jax.extend.core.Literal) -> tuple[int, ...]:
  """Returns the shape of an array of a jaxpr; that of anything else is empty."""
  return getattr(variable.aval, "shape", ())
