"""The state of a training: what it holds, its shapes, and how it is made."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import numpy as np

from sdt.engine.optim import init_opt_state
from sdt.models import init_variables
from sdt.models.pretrained import Pretrained
from sdt.models.registry import variable_shapes


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
  """All that training changes, on the devices or (NumPy) on the host; in programs leaves lead with
  [R].

  `step` counts optimiser steps; a replica that diverged stops counting.
  """

  step: Any
  params: Any
  batch_stats: Any
  opt_state: Any


def init_state(
  model: Any,
  optim: Any,
  input_shape: tuple[int, ...],
  seeds: tuple[int, ...],
  pretrained: Pretrained | None = None,
) -> TrainState:
  """Returns the state before the first step on the host, leaves [R, ...]; a seed's weights do not
  depend on the other seeds.

  What `pretrained` has is the same for all seeds, the rest is drawn.
  """
  variables = [init_variables(model, input_shape, seed) for seed in seeds]
  if pretrained is not None:
    variables = [pretrained.put_into(one) for one in variables]
  stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *variables)
  opt_state = [jax.tree.map(np.asarray, init_opt_state(optim, one["params"])) for one in variables]
  return TrainState(
    step=np.zeros(len(seeds), np.int32),
    params=stacked["params"],
    batch_stats=stacked.get("batch_stats", {}),
    opt_state=jax.tree.map(lambda *leaves: np.stack(leaves), *opt_state),
  )


def state_shapes(
  model: Any, optim: Any, input_shape: tuple[int, ...], num_replicas: int
) -> TrainState:
  """Returns the shapes and dtypes of `init_state` for so many seeds; nothing is drawn."""
  variables = variable_shapes(model, input_shape)
  opt_state = jax.eval_shape(functools.partial(init_opt_state, optim), variables["params"])
  one = TrainState(
    jax.ShapeDtypeStruct((), np.int32),
    variables["params"],
    variables["batch_stats"],
    opt_state=opt_state,
  )
  return jax.tree.map(
    lambda leaf: jax.ShapeDtypeStruct((num_replicas, *leaf.shape), leaf.dtype), one
  )
