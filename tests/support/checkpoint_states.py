"""States that a checkpoint store saves, and what tests compare of them."""

from pathlib import Path
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax


class State(flax.struct.PyTreeNode):
  step: Any
  params: Any
  batch_stats: Any
  opt_state: Any


def make_state(seed: int, num_replicas: int = 2) -> State:
  """Returns a state like that of a training: optax NamedTuples, leaves [num_replicas, ...]."""
  rng = np.random.default_rng(seed)
  params = {
    "dense": {
      "kernel": jnp.asarray(rng.normal(size=(num_replicas, 40, 20)), jnp.float32),
      "bias": jnp.zeros((num_replicas, 20)),
    },
    "head": {"kernel": jnp.asarray(rng.normal(size=(num_replicas, 20, 3)), jnp.bfloat16)},
  }
  return State(
    step=jnp.full((num_replicas,), seed, jnp.int32),
    params=params,
    batch_stats={"mean": jnp.asarray([[np.nan, -0.0], [np.inf, 1e-45]], jnp.float32)},
    opt_state=optax.chain(
      optax.trace(0.9, nesterov=True), optax.scale_by_schedule(lambda count: 0.1)
    ).init(params),
  )


def bits(tree: Any) -> tuple[Any, list[tuple[np.dtype, tuple[int, ...], bytes]]]:
  """Returns the structure and every leaf as (dtype, shape, bytes)."""
  leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]
  return jax.tree.structure(tree), [(leaf.dtype, leaf.shape, leaf.tobytes()) for leaf in leaves]


def files_of(step: Path) -> list[Path]:
  """Returns all files of a saved step."""
  return sorted(path for path in step.rglob("*") if path.is_file())


def snapshot(directory: Path) -> dict[str, tuple[bytes, int]]:
  """Returns content and modification time of every file below a directory."""
  return {
    str(path.relative_to(directory)): (path.read_bytes(), path.stat().st_mtime_ns)
    for path in directory.rglob("*")
    if path.is_file()
  }
