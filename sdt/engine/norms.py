"""Norms of parameters, gradients and updates: with BatchNorm the decay acts through them, on the
effective learning rate.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from sdt.losses import accumulator_dtype

# Up to so many numbers are summed as one vector: on a CPU a reduction per leaf takes as long to run
# and a third longer to compile. A larger state is not copied for it.
ONE_VECTOR = 2**22


def global_norm(tree: Any) -> jax.Array:
  """Returns the square root of the sum of the squares of all numbers of the tree, [] float32
  (float64 for float64 leaves).
  """
  leaves = jax.tree.leaves(tree)
  if sum(leaf.size for leaf in leaves) <= ONE_VECTOR:
    leaves = [jnp.concatenate([leaf.reshape(-1) for leaf in leaves])]
  return jnp.sqrt(jnp.sum(jnp.stack([_square(leaf) for leaf in leaves])))


def layer_names(params: Any) -> tuple[str, ...]:
  """Returns the names of the kernels in a network's parameters, which may have leading axes, such
  as "stage1_block1/conv1".
  """
  return tuple("/".join(path[:-1]) for path, _ in _kernels(params))


def layer_norms(params: Any) -> jax.Array:
  """Returns the norm of every kernel, [L] float32, in the order of `layer_names`; biases and
  BatchNorm's vectors are left out.
  """
  return jnp.stack(
    [jnp.sqrt(_square(kernel)).astype(jnp.float32) for _, kernel in _kernels(params)]
  )


def _square(leaf: jax.Array) -> jax.Array:
  return jnp.sum(jnp.square(leaf.astype(accumulator_dtype(leaf.dtype))))


def _kernels(params: Any) -> list[tuple[tuple[str, ...], Any]]:
  leaves = [
    (tuple(part.key for part in path), leaf)
    for path, leaf in jax.tree_util.tree_leaves_with_path(params)
  ]
  return [(path, leaf) for path, leaf in leaves if path[-1] == "kernel"]
