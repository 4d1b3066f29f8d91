"""Norms of parameters, gradients and updates.

With BatchNorm the weight decay acts through the norms, on the effective learning rate.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Float32

from sdt.losses import accumulator_dtype
from sdt.types import Leaf, Params, PyTree

# Up to so many numbers are summed as one vector: on a CPU a reduction for each leaf takes as long
# to run and a third longer to compile. Larger trees are not copied for that.
ONE_VECTOR = 2**22


def global_norm(tree: PyTree) -> Float[Array, ""]:
  """Returns the root of the sum of the squares of all numbers, [] float32 (float64 for float64)."""
  leaves = jax.tree.leaves(tree)
  if sum(leaf.size for leaf in leaves) <= ONE_VECTOR:
    leaves = [jnp.concatenate([leaf.reshape(-1) for leaf in leaves])]
  return jnp.sqrt(jnp.sum(jnp.stack([_square(leaf) for leaf in leaves])))


def layer_names(params: Params) -> tuple[str, ...]:
  """Returns the names of the kernels of a network, such as "stage1_block1/conv1"."""
  return tuple("/".join(path[:-1]) for path, _ in _kernels(params))


def layer_norms(params: Params) -> Float32[Array, "L"]:
  """Returns the norm of every kernel, [L], in the order of `layer_names`.

  Biases and the vectors of BatchNorm are left out.
  """
  return jnp.stack(
    [jnp.sqrt(_square(kernel)).astype(jnp.float32) for _, kernel in _kernels(params)]
  )


def _square(leaf: Float[Array, "..."]) -> Float[Array, ""]:
  return jnp.sum(jnp.square(leaf.astype(accumulator_dtype(leaf.dtype))))


def _kernels(params: Params) -> list[tuple[tuple[str, ...], Leaf]]:
  leaves = [
    (tuple(part.key for part in path), leaf)
    for path, leaf in jax.tree_util.tree_leaves_with_path(params)
  ]
  return [(path, leaf) for path, leaf in leaves if path[-1] == "kernel"]
