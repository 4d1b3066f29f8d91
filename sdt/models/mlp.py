"""Fully connected networks."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from sdt.losses import accumulator_dtype
from sdt.models.family import Network
from sdt.models.layers import ACTIVATIONS, Linear


class MLP(nn.Module):
  """D -> hidden_sizes -> num_classes, an activation after every hidden layer; images are flattened.

  Parameters: the sum over layers of (inputs + 1) * outputs.
  """

  num_classes: int
  hidden_sizes: tuple[int, ...] = (64, 64)
  activation: str = "relu"
  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32
  axis_name: str | None = None
  norm_groups: int = 1

  @nn.compact
  def __call__(self, inputs: jax.Array, *, train: bool, mask: jax.Array | None = None) -> jax.Array:
    """Returns logits [B, num_classes], float32 at least; `train` and `mask` change nothing, as no
    layer mixes examples.
    """
    del train, mask
    x = inputs.reshape(inputs.shape[0], -1)
    for index, size in enumerate(self.hidden_sizes):
      x = ACTIVATIONS[self.activation](
        Linear(size, dtype=self.dtype, param_dtype=self.param_dtype, name=f"hidden{index + 1}")(x)
      )
    return Linear(
      self.num_classes,
      dtype=accumulator_dtype(self.dtype),
      param_dtype=self.param_dtype,
      name="head",
    )(x)


NETWORKS = {"mlp": Network(MLP, {"hidden_sizes": (64, 64)}, ("hidden_sizes", "activation"))}
