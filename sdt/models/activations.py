"""The functions after the layers, by name: `sdt.config.toolbox.network_blocks.ACTIVATIONS`."""

import functools
from collections.abc import Callable, Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from sdt.config.toolbox import network_blocks
from sdt.config.toolbox.parse import parse_call
from sdt.models import init

type Activation = Callable[[jax.Array], jax.Array]
# From a name for its parameters, their type and the numbers of the config.
type Maker = Callable[..., Activation]

PRELU_START = 0.25


class PReLU(nn.Module):
  """Returns x above 0, slope * x below, with a learned slope for each channel (the last axis).

  Source: He et al. 2015, "Delving Deep into Rectifiers", equation 1. Differs from source: none; as
  in torch, the slope at 0 is that of below.
  """

  param_dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, "*shape C"]) -> Float[Array, "*shape C"]:
    start = init.Initializer("constant", offset=PRELU_START)
    slope = self.param("slope", start, (x.shape[-1],), self.param_dtype)
    slope = slope.astype(x.dtype).reshape((1,) * (x.ndim - 1) + (-1,))
    return jnp.where(x > 0, x, slope * x)


def maxout(x: Float[Array, "*shape D"], pieces: int) -> Float[Array, "*shape C"]:
  """Returns the maximum over so many neighbouring channels, D / pieces of them.

  Source: Goodfellow et al. 2013, "Maxout Networks", equation 1. Differs from source: none.
  """
  return x.reshape(*x.shape[:-1], x.shape[-1] // pieces, pieces).max(-1)


def _plain(function: Activation) -> Maker:
  def maker(name: str, param_dtype: DTypeLike) -> Activation:
    del name, param_dtype
    return function

  return maker


def _prelu(name: str, param_dtype: DTypeLike) -> Activation:
  return PReLU(param_dtype, name=name)


def _maxout(name: str, param_dtype: DTypeLike, pieces: float) -> Activation:
  del name, param_dtype
  return functools.partial(maxout, pieces=int(pieces))


# As in torch: the exact gelu, slope 0.01 of leaky_relu, alpha 1 of elu.
ACTIVATIONS: Mapping[str, Maker] = {
  "relu": _plain(jax.nn.relu),
  "tanh": _plain(jnp.tanh),
  "gelu": _plain(functools.partial(jax.nn.gelu, approximate=False)),
  "silu": _plain(jax.nn.silu),
  "leaky_relu": _plain(jax.nn.leaky_relu),
  "elu": _plain(jax.nn.elu),
  "sigmoid": _plain(jax.nn.sigmoid),
  "selu": _plain(jax.nn.selu),
  "prelu": _prelu,
  "maxout": _maxout,
}


def activation(text: str, name: str, param_dtype: DTypeLike) -> Activation:
  """Returns the function that a config names, within a module that is being called.

  Args:
    text: such as `relu` or `maxout(3)`.
    name: of the parameters, where it has any.
    param_dtype: their type.
  """
  call = parse_call(text, network_blocks.ACTIVATIONS)
  return ACTIVATIONS[call.name](name, param_dtype, *call.numbers)


def num_pieces(text: str) -> int:
  """Returns how many outputs of a layer the activation takes for one of its own."""
  call = parse_call(text, network_blocks.ACTIVATIONS)
  return int(call.numbers[0]) if call.name == "maxout" else 1
