"""The optimiser: one optax chain for each phase. Chains differ in their weight decay alone.

With the phases A and B these are the two decay chains, at lambda_A and lambda_B. They share one
optimiser state, so one momentum. `apply_phase_chain` chooses the chain of the step's phase.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from sdt.config.schema import OptimConfig
from sdt.models.family import HEAD
from sdt.types import OptState, Params, PyTree

# A number that is static or traced.
type Rate = float | Float[Array, ""]


class PhaseRates(NamedTuple):
  """The numbers of one optimiser step.

  Attributes:
    phase: [] int32 in [0, P), whose chain updates.
    learning_rate: [] float, shared by the phases of a round.
    weight_decays: [P] float, of each phase.
  """

  phase: Int[Array, ""]
  learning_rate: Float[Array, ""]
  weight_decays: Float[Array, "P"]


def _decayed_leaves(params: Params) -> PyTree:
  """Returns a tree of bools: True for matrices and kernels, False for biases and BatchNorm."""
  return jax.tree.map(lambda leaf: leaf.ndim > 1, params)


def _chain(
  config: OptimConfig, learning_rate: Rate, weight_decay: Rate
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
  config: OptimConfig, learning_rate: Rate, weight_decay: Rate
) -> optax.GradientTransformation:
  """Returns the optimiser of one phase: `optax.add_decayed_weights` and SGD with momentum, or Adam.

  Both rates may be traced scalars: a change of them recompiles nothing.
  Coupled decay adds lambda * w to the gradient before the momentum buffer, as torch's SGD does;
  decoupled adds it after. A penalty, lambda times the sum of squares added to the loss, adds
  2 lambda * w before the momentum buffer. The body, all but the head, has `config.body_rate_factor`
  times the rate; a frozen one neither decays nor has a momentum buffer. The state's structure does
  not depend on the rates, so all phases share one state and the momentum carries over.
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


def _parts(params: Mapping[str, Params]) -> dict[str, str]:
  """Returns for each module of the network the part that it belongs to, "head" or "body"."""
  return {module: "head" if module == HEAD else "body" for module in params}


def is_body_frozen(config: OptimConfig) -> bool:
  """Returns whether only the head is trained.

  Then BatchNorm in the body uses its running statistics, and keeps them.
  """
  return config.body_rate_factor == 0.0


def stop_frozen_gradients(config: OptimConfig, params: Params) -> Params:
  """Returns the same parameters; the backward pass stops at those that are frozen."""
  if not is_body_frozen(config):
    return params
  return {
    module: value if module == HEAD else jax.lax.stop_gradient(value)
    for module, value in params.items()
  }


def init_opt_state(config: OptimConfig, params: Params) -> OptState:
  """Returns the optimiser state at the start: zero momentum."""
  return make_chain(config, 0.0, 0.0).init(params)


def apply_phase_chain(
  config: OptimConfig, rates: PhaseRates, grads: Params, opt_state: OptState, params: Params
) -> tuple[Params, OptState]:
  """Returns (params, opt_state) after one update with the chain of the phase.

  There is one chain for each phase; they differ in their weight decay alone. With the phases A and
  B of Algorithm 1 these are the two decay chains, lambda_A and lambda_B.
  """

  def chain_of(phase: int) -> Callable[..., tuple[Params, OptState]]:
    def update(grads: Params, opt_state: OptState, params: Params) -> tuple[Params, OptState]:
      chain = make_chain(config, rates.learning_rate, rates.weight_decays[phase])
      updates, opt_state = chain.update(grads, opt_state, params)
      return jax.tree.map(jnp.add, params, updates), opt_state

    return update

  chains = [chain_of(phase) for phase in range(rates.weight_decays.shape[0])]
  return jax.lax.switch(rates.phase, chains, grads, opt_state, params)
