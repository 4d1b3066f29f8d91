"""DropConnect: weights that are 0 for one step."""

import zlib
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from sdt.models.family import HEAD
from sdt.types import Params


def drop_weights(params: Params, rate: Float[Array, ""], key: Key[Array, ""]) -> Params:
  """Returns the parameters; weights of kernels are 0 with this probability, others / (1 - rate).

  The head's stay. Each kernel's mask is a function of the key and of the kernel's path, so devices
  agree.

  Args:
    params: of one replica.
    rate: [] in [0, 1), traced or not.
    key: of the step.

  Source: Wan et al. 2013, "Regularization of Neural Networks using DropConnect", section 3.
  Differs from source: one mask for all examples of a batch, for convolutions too, and scaled in
  training; in evaluation the mean network, not a Gaussian one. With the norm `weight` the mask is
  on the direction.
  """

  def masked(path: tuple[Any, ...], leaf: jax.Array) -> jax.Array:
    name = jax.tree_util.keystr(path, simple=True, separator="/")
    if not name.endswith("/kernel") or name.startswith(f"{HEAD}/"):
      return leaf
    of_kernel = jax.random.fold_in(key, zlib.crc32(name.encode()))
    keep_rate = 1.0 - rate
    keep = jax.random.bernoulli(of_kernel, keep_rate, leaf.shape)
    return jnp.where(keep, leaf / keep_rate.astype(leaf.dtype), jnp.zeros_like(leaf))

  return jax.tree_util.tree_map_with_path(masked, params)
