"""An entry of the registry of networks: its module, its arguments, the keys that change them."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn

# The regularisers that act within a network in training.
RATES = ("dropout", "drop_connect", "stochastic_depth")
# Those that every network has.
OF_ALL = ("dropout", "drop_connect")
# Keys of `config.ModelConfig` that every network has.
KEYS = ("activation", "norm", "groups", "dropout")


def _as_given(arguments: dict[str, Any], changes: Mapping[str, Any], name: str) -> dict[str, Any]:
  del name
  return {**arguments, **changes}


@dataclasses.dataclass(frozen=True)
class Network:
  """A network of the registry.

  Attributes:
    module: a `FamilyModule`; its last layer is called `head`.
    arguments: of the module, which make this network.
    own_keys: keys of `config.ModelConfig`, beside `KEYS`, that may change the argument of the same
      name.
    combine: (arguments, changes, name) -> arguments of the module, where replacing is not enough.
      Raises ConfigError if the changes make no network.
    weights_from: name in `sdt.models.namings.NAMINGS` of the public checkpoints whose weights
      fit, or None.
    public_keys: those of `own_keys` that the public implementation takes too, for images of any
      number of channels; without any it has this network alone, for three channels.
    has_branches: whether it has residual branches, for stochastic depth.
    takes_fixup: whether they end in convolutions, for Fixup.
    takes_pieces: whether every activation has a layer of its own before it, for maxout.
  """

  module: Callable[..., nn.Module]
  arguments: dict[str, Any]
  own_keys: tuple[str, ...]
  combine: Callable[[dict[str, Any], Mapping[str, Any], str], dict[str, Any]] = _as_given
  weights_from: str | None = None
  public_keys: tuple[str, ...] = ()
  has_branches: bool = False
  takes_fixup: bool = False
  takes_pieces: bool = False

  @property
  def keys(self) -> tuple[str, ...]:
    """Keys of `config.ModelConfig` that may change the network."""
    return (*self.own_keys, *KEYS)

  @property
  def rates(self) -> tuple[str, ...]:
    """The names of `RATES` that a step may set."""
    return RATES if self.has_branches else OF_ALL


# The name of the last layer of every network, in the tree of its parameters.
HEAD = "head"
# The name of learned arrays that are added to or set beside the inputs, as no weights are.
EMBEDDING = "embedding"
