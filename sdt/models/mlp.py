"""Fully connected networks."""

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from sdt.arrays import AnyArray
from sdt.losses import accumulator_dtype
from sdt.models.family import HEAD, Network
from sdt.models.layers import ACTIVATIONS, Linear, Mask
from sdt.models.recording import record


class MLP(nn.Module):
  """D -> hidden_sizes -> num_classes with an activation after each hidden layer; flattens images.

  Parameters: the sum over layers of (inputs + 1) * outputs.
  """

  num_classes: int
  hidden_sizes: tuple[int, ...] = (64, 64)
  activation: str = "relu"
  dtype: DTypeLike = jnp.float32
  param_dtype: DTypeLike = jnp.float32
  axis_name: str | None = None
  norm_groups: int = 1

  @nn.compact
  def __call__(
    self, inputs: Float[AnyArray, "B *D"], *, train: bool, mask: Mask = None
  ) -> Float[Array, "B K"]:
    """Returns logits [B, num_classes], float32 at least.

    `train` and `mask` change nothing, because no layer mixes examples.
    """
    del train, mask
    x = inputs.reshape(inputs.shape[0], -1)
    for index, size in enumerate(self.hidden_sizes):
      types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
      x = Linear(size, name=f"hidden{index + 1}", **types)(x)
      x = record(self, ACTIVATIONS[self.activation](x))
    types = {"dtype": accumulator_dtype(self.dtype), "param_dtype": self.param_dtype}
    return Linear(self.num_classes, name=HEAD, **types)(x)


NETWORKS = {"mlp": Network(MLP, {"hidden_sizes": (64, 64)}, ("hidden_sizes", "activation"))}
