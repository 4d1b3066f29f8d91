"""One training step on its own: its batch, its numbers and a state to begin with."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sdt.config.schema import OptimConfig
from sdt.engine.optim import init_opt_state
from sdt.engine.state import TrainState
from sdt.engine.step import Batch, StepKeys, StepNow, train_step
from sdt.inputs.operations.mixing import Mixture
from sdt.types import Variables
from tests.support.quick import QUICK

# `train_step` of (state, batch, now, network=...): one program for each network and kind of batch.
step = jax.jit(train_step, static_argnames="network", compiler_options=QUICK)


def first_state(variables: Variables, optim: OptimConfig) -> TrainState:
  """Returns the state of one replica before its first step."""
  params, batch_stats = variables["params"], variables.get("batch_stats", {})
  # One program, where each shape of a parameter would be one.
  opt_state = jax.jit(functools.partial(init_opt_state, optim))(params)
  return TrainState(np.int32(0), params, batch_stats, opt_state=opt_state)


def batch(inputs: Any, labels: Any, mask: Any, mixture: Mixture | None = None) -> Batch:
  ids = np.arange(len(labels), dtype=np.int32)
  made = Batch(ids, inputs, labels, mask=mask, mixture=mixture)
  return jax.tree.map(jnp.asarray, made)


def now(
  learning_rate: Any,
  weight_decays: Any,
  phase: int = 0,
  overrides: Mapping[str, Any] | None = None,
  *,
  optim: Mapping[str, Any] | None = None,
) -> StepNow:
  """Returns the numbers of a step without dropout; the rate and the decays [P] give the dtype."""
  made = StepNow(
    np.int32(phase),
    np.int32(0),
    np.int32(0),
    learning_rate=learning_rate,
    weight_decays=weight_decays,
    optim=optim or {},
    overrides=overrides or {},
    keys=StepKeys(),
  )
  return jax.tree.map(jnp.asarray, made)
