"""What a family of networks tells the registry: the names it offers, their arguments, and the
config keys that may change them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn

# The regularisers that act within a network, in training.
RATES = ("dropout", "stochastic_depth")


def _as_given(arguments: dict[str, Any], changes: Mapping[str, Any], name: str) -> dict[str, Any]:
  del name
  return {**arguments, **changes}


@dataclasses.dataclass(frozen=True)
class Network:
  """A network of the registry.

  Attributes:
    module: the Linen class. It takes num_classes, dtype, param_dtype, axis_name and norm_groups
      beside `arguments`; its head is `head`.
    arguments: those of the module that make this network.
    keys: the keys of `config.ModelConfig` that may change an argument of the same name.
    combine: (arguments, changes, name) -> the module's arguments, where more is to be done than to
      replace; raises ConfigError where the changes do not make a network.
    weights_from: the public checkpoints' naming whose weights fit (a name of
      `sdt.models.pretrained.NAMINGS`), or None.
    rates: the names of `RATES` that a step may set.
  """

  module: Callable[..., nn.Module]
  arguments: dict[str, Any]
  keys: tuple[str, ...]
  combine: Callable[[dict[str, Any], Mapping[str, Any], str], dict[str, Any]] = _as_given
  weights_from: str | None = None
  rates: tuple[str, ...] = ()


# What every network calls its last layer, in the tree of its parameters.
HEAD = "head"
