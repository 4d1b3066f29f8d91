"""The networks by name, their initial values and their sizes."""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.extend.core
import jax.numpy as jnp

from sdt.config import ModelConfig
from sdt.errors import ConfigError
from sdt.models.init import declared_variables, draw_variables
from sdt.models.mlp import MLP
from sdt.models.resnet import ResNet


@dataclasses.dataclass(frozen=True)
class _Entry:
  """A network of the registry: its module, the module's arguments, and the config keys that may change them."""

  module: Callable[..., nn.Module]
  arguments: dict[str, Any]
  keys: tuple[str, ...]


def _resnet(num_blocks: int, *, bottleneck: bool = False) -> _Entry:
  arguments = {"blocks": (num_blocks,) * 3, "widths": (16, 32, 64), "bottleneck": bottleneck}
  return _Entry(ResNet, arguments, ("blocks", "widths", "shortcut", "activation"))


_ENTRIES = {
  "mlp": _Entry(MLP, {"hidden_sizes": (64, 64)}, ("hidden_sizes", "activation")),
  # Any basic ResNet, by `blocks` and `widths`; one block a stage unless they say otherwise.
  "resnet": _resnet(1),
  # He's basic-block networks: the number is the depth, 6 n + 2.
  "resnet8": _resnet(1),
  "resnet20": _resnet(3),
  "resnet56": _resnet(9),
  "resnet110": _resnet(18),
  # What the paper's trainer built under the names ResNet56 and ResNet110: bottlenecks, 83 and 164 layers.
  "paper_resnet56": _resnet(9, bottleneck=True),
  "paper_resnet110": _resnet(18, bottleneck=True),
}

MODEL_NAMES = tuple(sorted(_ENTRIES))


def make_model(
  config: ModelConfig, num_classes: int, *, dtype: Any = jnp.float32, param_dtype: Any = jnp.float32, axis_name: str | None = None
) -> nn.Module:
  """Returns the network that `config` names.

  `model.apply(variables, inputs, train=..., mask=...)` takes inputs [B, H, W, C] (an MLP also [B, D]) and returns logits [B, num_classes].

  Args:
    config: the name, and the keys that change the network of that name.
    num_classes: K.
    dtype: the type in which the layers compute; logits are float32 at least.
    param_dtype: the type of parameters and running statistics.
    axis_name: the mapped axis over which BatchNorm sums its statistics, under `pmap`.

  Raises:
    ConfigError: the name is unknown, a key does not apply to that network, or `blocks` and `widths` disagree in length.
  """
  entry = _ENTRIES.get(config.name)
  if entry is None:
    near = difflib.get_close_matches(config.name, MODEL_NAMES, n=1)
    hint = f", did you mean {near[0]!r}?" if near else ""
    raise ConfigError(f"model.name={config.name!r} is not a network{hint}; networks: {', '.join(MODEL_NAMES)}")
  given = {field.name: getattr(config, field.name) for field in dataclasses.fields(config) if field.name != "name"}
  changes = {key: value for key, value in given.items() if value is not None}
  for key, value in changes.items():
    if key not in entry.keys:
      raise ConfigError(
        f"model.{key}={value!r} does not apply to model.name={config.name!r}, whose keys are {', '.join(entry.keys)}; leave it out"
      )
  arguments = {**entry.arguments, **changes}
  if entry.module is ResNet:
    arguments |= _stages(config)
  return entry.module(num_classes=num_classes, dtype=dtype, param_dtype=param_dtype, axis_name=axis_name, **arguments)


def _stages(config: ModelConfig) -> dict[str, tuple[int, ...]]:
  """Returns the `blocks` and `widths` of a ResNet; given alone, each keeps the registry's own other one if that has a value per stage."""
  own = _ENTRIES[config.name].arguments
  blocks, widths = config.blocks or own["blocks"], config.widths or own["widths"]
  if config.name == "resnet" and config.blocks is None:
    blocks = (1,) * len(widths)
  if len(blocks) != len(widths):
    raise ConfigError(
      f"model.blocks={tuple(blocks)} and model.widths={tuple(widths)} of model.name={config.name!r} need a value per stage each; give both"
    )
  if config.shortcut == "zero_pad" and list(widths) != sorted(widths):
    raise ConfigError(
      f"model.shortcut='zero_pad' adds channels and cannot drop any: model.widths={tuple(widths)} must not fall; use 'projection'"
    )
  return {"blocks": tuple(blocks), "widths": tuple(widths)}


def init_variables(model: nn.Module, input_shape: tuple[int, ...], seed: int) -> dict[str, Any]:
  """Returns {"params": ..., "batch_stats": ...} of NumPy arrays, each drawn from (seed, its path); nothing is compiled.

  Args:
    model: from `make_model`.
    input_shape: (H, W, C), or (D,) for an MLP.
    seed: 0 or more.
  """
  return draw_variables(declared_variables(model, input_shape), seed)


def count_params(model: nn.Module, input_shape: tuple[int, ...]) -> int:
  """Returns the number of trained parameters, running statistics not among them."""
  return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(declared_variables(model, input_shape)["params"]))


def multiply_adds(model: nn.Module, input_shape: tuple[int, ...]) -> int:
  """Returns the multiply-adds of the convolutions and matrix products of one example's forward pass, counted in the traced program."""
  variables = jax.eval_shape(lambda declared: nn.meta.unbox(declared), declared_variables(model, input_shape))
  inputs = jax.ShapeDtypeStruct((1, *input_shape), jnp.float32)
  return _count_products(jax.make_jaxpr(lambda v, x: model.apply(v, x, train=False))(variables, inputs).jaxpr)


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
    for value in equation.params.values():
      inner = value.jaxpr if isinstance(value, jax.extend.core.ClosedJaxpr) else value
      if isinstance(inner, jax.extend.core.Jaxpr):
        total += _count_products(inner)
  return total
