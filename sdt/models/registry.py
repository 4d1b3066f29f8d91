"""The networks by name, their initial values and their sizes."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

import flax.linen as nn
import jax
import jax.extend.core
import jax.numpy as jnp

from sdt.config.schema import ModelConfig
from sdt.errors import ConfigError, did_you_mean
from sdt.models import densenet, mlp, preresnet, resnet, vgg, wide_resnet
from sdt.models.init import declared_variables, draw_variables

# One line a family.
NETWORKS = {
  **densenet.NETWORKS,
  **mlp.NETWORKS,
  **resnet.NETWORKS,
  **preresnet.NETWORKS,
  **wide_resnet.NETWORKS,
  **vgg.NETWORKS,
}

# Keys of the model section that are no arguments of a module.
_NOT_ARGUMENTS = ("pretrained", "pretrained_head")

MODEL_NAMES = tuple(sorted(NETWORKS))


def make_model(
  config: ModelConfig,
  num_classes: int,
  *,
  dtype: Any = jnp.float32,
  param_dtype: Any = jnp.float32,
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
    norm_groups: of the batch of all devices, each with BatchNorm statistics of its own in training.

  Raises:
    ConfigError: the name is unknown, a key does not apply to that network, or the keys do not make
      a network together.
  """
  entry = NETWORKS.get(config.name)
  if entry is None:
    hint = did_you_mean(config.name, MODEL_NAMES)
    raise ConfigError(
      f"model.name={config.name!r} is not a network{hint} (networks: {', '.join(MODEL_NAMES)})"
    )
  others = ("name", *_NOT_ARGUMENTS)
  given = {
    field.name: getattr(config, field.name)
    for field in dataclasses.fields(config)
    if field.name not in others
  }
  changes = {key: value for key, value in given.items() if value is not None}
  for key, value in changes.items():
    if key not in entry.keys:
      raise ConfigError(
        f"model.{key}={value!r} does not apply to model.name={config.name!r}, whose keys are "
        f"{', '.join(entry.keys)}; leave it out, or "
        f"where the config file has it give --config.model.{key}=None"
      )
  arguments = entry.combine(entry.arguments, changes, config.name)
  types = {"dtype": dtype, "param_dtype": param_dtype}
  return entry.module(
    num_classes=num_classes, axis_name=axis_name, norm_groups=norm_groups, **types, **arguments
  )


def init_variables(model: nn.Module, input_shape: tuple[int, ...], seed: int) -> dict[str, Any]:
  """Returns {"params": ..., "batch_stats": ...} of NumPy arrays, each drawn from (seed, its path);
  nothing is compiled.

  Args:
    model: from `make_model`.
    input_shape: (H, W, C), or (D,) for an MLP.
    seed: 0 or more.
  """
  return draw_variables(declared_variables(model, input_shape), seed)


@functools.lru_cache(
  maxsize=8
)  # tracing a network of 164 layers takes seconds, and its sizes are asked for several times
def variable_shapes(model: nn.Module, input_shape: tuple[int, ...]) -> dict[str, Any]:
  """Returns the shapes and dtypes of `init_variables`, as `jax.ShapeDtypeStruct`s."""
  shapes: dict[str, Any] = jax.eval_shape(
    lambda declared: nn.meta.unbox(declared), declared_variables(model, input_shape)
  )
  return shapes


def count_params(model: nn.Module, input_shape: tuple[int, ...]) -> int:
  """Returns the number of trained parameters, running statistics not among them."""
  return sum(
    math.prod(leaf.shape) for leaf in jax.tree.leaves(variable_shapes(model, input_shape)["params"])
  )


@functools.lru_cache(maxsize=8)
def multiply_adds(model: nn.Module, input_shape: tuple[int, ...]) -> int:
  """Returns the multiply-adds of the convolutions and matrix products of one example's forward
  pass, counted in the traced program.
  """
  variables = variable_shapes(model, input_shape)
  inputs = jax.ShapeDtypeStruct((1, *input_shape), jnp.float32)
  return _count_products(
    jax.make_jaxpr(lambda v, x: model.apply(v, x, train=False))(variables, inputs).jaxpr
  )


def _count_products(jaxpr: Any) -> int:
  total = 0
  for equation in jaxpr.eqns:
    out_size = math.prod(getattr(equation.outvars[0].aval, "shape", ()))
    if equation.primitive.name == "conv_general_dilated":
      # Each output value sums over the kernel's window and input channels.
      total += out_size * math.prod(equation.invars[1].aval.shape[:3])
    elif equation.primitive.name == "dot_general":
      (contracted, _), _ = equation.params["dimension_numbers"]
      total += out_size * math.prod(equation.invars[0].aval.shape[axis] for axis in contracted)
    # What differs by platform, or by a condition: the longest of them.
    total += max(
      (_count_products(branch.jaxpr) for branch in equation.params.get("branches", ())), default=0
    )
    for value in equation.params.values():
      inner = value.jaxpr if isinstance(value, jax.extend.core.ClosedJaxpr) else value
      if isinstance(inner, jax.extend.core.Jaxpr):
        total += _count_products(inner)
  return total
