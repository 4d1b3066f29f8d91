"""Learning-rate schedules on the clock of rounds, and one optax chain per phase over one common
optimiser state.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

from sdt.config.schema import OptimConfig
from sdt.models.family import HEAD


def _decayed_leaves(params: Any) -> Any:
  """Returns a tree of bools: True for matrices and convolution kernels, False for biases and
  BatchNorm's vectors.
  """
  return jax.tree.map(lambda leaf: leaf.ndim > 1, params)


def _chain(
  config: OptimConfig, learning_rate: Any, weight_decay: Any
) -> optax.GradientTransformation:
  mask = _decayed_leaves if config.decay_what == "weights" else None
  # The gradient of a penalty lambda * w^2 is twice lambda * w.
  decay = optax.add_decayed_weights(
    2.0 * weight_decay if config.decay_form == "penalty" else weight_decay, mask
  )
  core = (
    optax.scale_by_adam()
    if config.name == "adam"
    else optax.trace(decay=config.momentum, nesterov=config.nesterov)
  )
  first, second = (core, decay) if config.decay_form == "decoupled" else (decay, core)
  return optax.chain(first, second, optax.scale_by_learning_rate(learning_rate))


def make_chain(
  config: OptimConfig, learning_rate: Any, weight_decay: Any
) -> optax.GradientTransformation:
  """Returns the optimiser of one phase; both rates may be traced scalars, so that changing them
  recompiles nothing.

  Coupled decay adds lambda * w to the gradient before the momentum buffer (torch's SGD, the paper's
  code base); decoupled adds it after. A penalty, lambda times the sum of squares added to the loss,
  adds 2 lambda * w before it. The body, all but the head, has `config.body_rate_factor` times the
  rate; a frozen one neither decays nor has a momentum buffer. The state's structure does not depend
  on the rates, so all phases share one state and the momentum carries over.
  """
  chain = _chain(config, learning_rate, weight_decay)
  if config.body_rate_factor == 1.0:
    return chain
  body = (
    optax.set_to_zero()
    if is_body_frozen(config)
    else _chain(config, config.body_rate_factor * learning_rate, weight_decay)
  )
  return optax.partition({"head": chain, "body": body}, _parts)


def _parts(params: Any) -> dict[str, str]:
  """Returns a prefix of the tree of parameters: for each of a network's modules the part of the
  network that it belongs to.
  """
  return {module: "head" if module == HEAD else "body" for module in params}


def is_body_frozen(config: OptimConfig) -> bool:
  """Returns whether only the head is trained. The body's BatchNorm then uses its running
  statistics, and keeps them.
  """
  return config.body_rate_factor == 0.0


def trained(config: OptimConfig, params: Any) -> Any:
  """Returns the same parameters; no gradient flows to those that are frozen, nor is the backward
  pass through them computed.
  """
  if not is_body_frozen(config):
    return params
  return {
    module: value if module == HEAD else jax.lax.stop_gradient(value)
    for module, value in params.items()
  }


def init_opt_state(config: OptimConfig, params: Any) -> Any:
  """Returns the optimiser state at the start: zero momentum."""
  return make_chain(config, 0.0, 0.0).init(params)


def apply_phase_chain(
  config: OptimConfig,
  phase: jax.Array,
  grads: Any,
  opt_state: Any,
  params: Any,
  learning_rate: jax.Array,
  weight_decays: jax.Array,
) -> tuple[Any, Any]:
  """Returns (params, opt_state) after one update with the chain of `phase`.

  Args:
    phase: [] int32 in [0, P).
    learning_rate: [] float, shared by the phases of a round.
    weight_decays: [P] float, one per phase.
  """

  def branch(index: int) -> Any:
    def update(grads: Any, opt_state: Any, params: Any) -> tuple[Any, Any]:
      updates, opt_state = make_chain(config, learning_rate, weight_decays[index]).update(
        grads, opt_state, params
      )
      return jax.tree.map(jnp.add, params, updates), opt_state

    return update

  return jax.lax.switch(
    phase, [branch(index) for index in range(weight_decays.shape[0])], grads, opt_state, params
  )
