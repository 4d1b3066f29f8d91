"""DropConnect: weights that are 0 for one step."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from sdt.models.family import HEAD
from sdt.types import Params


def drop_weights(params: Params, rate: Float[Array, ""], key: Key[Array, ""]) -> Params:
  """Returns the parameters; weights of kernels are 0 with this probability, others / (1 - rate).

  The head's stay. The masks are a function of the key, so devices agree.

  Args:
    params: of one replica.
    rate: [] in [0, 1), traced or not.
    key: of the step.

  Source: Wan et al. 2013, "Regularization of Neural Networks using DropConnect", section 3.
  Differs from source: one mask for all examples of a batch, for convolutions too, and scaled in
  training; in evaluation the mean network, not a Gaussian one. With the norm `weight` the mask is
  on the direction.
  """
  leaves, structure = jax.tree_util.tree_flatten_with_path(params)
  names = [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in leaves]
  is_dropped = [name.endswith("/kernel") and not name.startswith(f"{HEAD}/") for name in names]
  keep_rate, first = 1.0 - rate, 0
  total = sum(leaf.size for (_, leaf), dropped in zip(leaves, is_dropped, strict=True) if dropped)
  # One drawing of one axis: every other would be one more program to compile, which takes seconds.
  keep = jax.random.bernoulli(key, keep_rate, (total,))
  found = []
  for (_, leaf), dropped in zip(leaves, is_dropped, strict=True):
    if dropped:
      mask = keep[first : first + leaf.size].reshape(leaf.shape)
      first += leaf.size
      leaf = jnp.where(mask, leaf / keep_rate.astype(leaf.dtype), jnp.zeros_like(leaf))
    found.append(leaf)
  return jax.tree_util.tree_unflatten(structure, found)
