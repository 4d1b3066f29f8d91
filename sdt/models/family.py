"""An entry of the registry of networks: its module, its arguments, the keys that change them."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn

# The regularisers that act within a network in training.
RATES = ("dropout", "stochastic_depth")


def _as_given(arguments: dict[str, Any], changes: Mapping[str, Any], name: str) -> dict[str, Any]:
  del name
  return {**arguments, **changes}


@dataclasses.dataclass(frozen=True)
class Network:
  """A network of the registry.

  Attributes:
    module: the Linen class. It takes num_classes, dtype, param_dtype, axis_name and norm_groups
      beside `arguments`; its last layer is called `head`.
    arguments: of the module, which make this network.
    keys: keys of `config.ModelConfig` that may change the argument of the same name.
    combine: (arguments, changes, name) -> arguments of the module, where replacing is not enough.
      Raises ConfigError if the changes make no network.
    weights_from: name in `sdt.models.pretrained.NAMINGS` of the public checkpoints whose weights
      fit, or None.
    rates: names of `RATES` that a step may set.
  """

  module: Callable[..., nn.Module]
  arguments: dict[str, Any]
  keys: tuple[str, ...]
  combine: Callable[[dict[str, Any], Mapping[str, Any], str], dict[str, Any]] = _as_given
  weights_from: str | None = None
  rates: tuple[str, ...] = ()


# The name of the last layer of every network, in the tree of its parameters.
HEAD = "head"
