"""The optimiser: one optax chain for each phase. Chains differ in their weight decay alone.

With the phases A and B these are the two decay chains, at lambda_A and lambda_B. They share one
optimiser state, so one momentum. `apply_phase_chain` chooses the chain of the step's phase.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from sdt.config.schema import OptimConfig
from sdt.engine import clipping
from sdt.engine.clipping import Rate
from sdt.engine.optimisers import OPTIMISERS, Numbers
from sdt.models.family import EMBEDDING, HEAD
from sdt.models.stages import frozen_modules
from sdt.types import Leaf, OptState, Params, PyTree, Variables


class PhaseRates(NamedTuple):
  """The numbers of one optimiser step.

  Attributes:
    phase: [] int32 in [0, P), whose chain updates.
    learning_rate: [] float, shared by the phases of a round.
    weight_decays: [P] float, of each phase.
    optim: what `numbers_of` names, [] float each; None for nothing.
  """

  phase: Int[Array, ""]
  learning_rate: Float[Array, ""]
  weight_decays: Float[Array, "P"]
  optim: Mapping[str, Rate] | None = None


def _decayed_leaves(params: Params) -> PyTree:
  """Returns a tree of bools: True for matrices and kernels.

  False for biases, norms, and the learned tokens and positions of transformers.
  """

  def is_decayed(path: tuple[Any, ...], leaf: Leaf) -> bool:
    return leaf.ndim > 1 and getattr(path[-1], "key", None) != EMBEDDING

  return jax.tree_util.tree_map_with_path(is_decayed, params)


def numbers_of(config: OptimConfig) -> dict[str, float]:
  """Returns the numbers of the optimiser that a program takes as arguments, by name.

  Other values of these recompile nothing. What is off or at the optimiser's own value is not among
  them: it is a constant of the program, or not in it.
  """
  betas = {f"beta{at}": beta for at, beta in enumerate(config.betas or ())}
  others = {"epsilon": config.epsilon, "l1": config.l1, "average": config.average}
  given = {name: value for name, value in others.items() if value}
  return betas | given | clipping.bounds_of(config.clip)


def static_part(config: OptimConfig) -> OptimConfig:
  """Returns the config with the numbers that no program holds at a value of their own.

  These are the learning rate and its schedule, the decay of the baseline, and `numbers_of`. Configs
  that differ in nothing else share their programs.
  """
  default = OptimConfig()
  of_host = (
    *("learning_rate", "schedule", "milestones", "decay_factor", "warmup_rounds", "floor"),
    *("cycle_rounds", "clock", "reference_batch", "weight_decay"),
  )
  return dataclasses.replace(
    config,
    betas=config.betas and (0.5,) * len(config.betas),
    epsilon=config.epsilon and 1.0,
    clip=clipping.names_of(config.clip),
    l1=1.0 if config.l1 else 0.0,
    average=0.5 if config.average else 0.0,
    **{name: getattr(default, name) for name in of_host},
  )


def _chain(
  config: OptimConfig, learning_rate: Rate, weight_decay: Rate, *, numbers: Numbers
) -> optax.GradientTransformation:
  mask = _decayed_leaves if config.decay_what == "weights" else None
  # The gradient of a penalty lambda * w^2 is twice lambda * w.
  decay = optax.add_decayed_weights(
    2.0 * weight_decay if config.decay_form == "penalty" else weight_decay, mask
  )
  core = OPTIMISERS[config.name](config, numbers)
  is_decoupled = config.decay_form == "decoupled" or config.name == "adamw"
  parts = [core, decay] if is_decoupled else [decay, core]
  if config.l1:
    l1 = _add_l1(numbers.get("l1", 0.0))
    parts.insert(0, optax.masked(l1, mask) if mask else l1)
  return optax.chain(*parts, optax.scale_by_learning_rate(learning_rate))


def _add_l1(strength: Rate) -> optax.GradientTransformation:
  """Returns what adds strength * sign(w) to the gradient, the derivative of strength * sum |w|."""
  return optax.stateless(
    lambda grads, params: jax.tree.map(
      lambda grad, leaf: grad + strength * jnp.sign(leaf), grads, params
    )
  )


def make_chain(
  config: OptimConfig, learning_rate: Rate, weight_decay: Rate, *, numbers: Numbers | None = None
) -> optax.GradientTransformationExtraArgs:
  """Returns the optimiser of one phase: clips, `optax.add_decayed_weights` and the optimiser's own.

  Both rates and the numbers may be traced scalars: a change of them recompiles nothing.
  Coupled decay adds lambda * w to the gradient before the momentum buffer, as torch's SGD does;
  decoupled adds it after. A penalty, lambda times the sum of squares added to the loss, adds
  2 lambda * w before the momentum buffer. L1 adds l1 * sign(w) there too, in every form of decay.
  What is clipped is the gradient before any of these. The body, all but the head, has
  `config.body_rate_factor` times the rate; what is frozen neither decays nor has a momentum buffer.
  The state's structure does not depend on the rates, so all phases share one state and the momentum
  carries over.

  Args:
    config: names the optimiser and its parts.
    learning_rate, weight_decay: of the step.
    numbers: what `numbers_of` names; None stands for values with which no step is made.
  """
  if numbers is None:
    numbers = dict.fromkeys(numbers_of(config), 0.0)
  chain = _chain(config, learning_rate, weight_decay, numbers=numbers)
  if config.body_rate_factor != 1.0 or config.train_from is not None:
    body = optax.set_to_zero()
    if not is_body_frozen(config):
      rate = config.body_rate_factor * learning_rate
      body = _chain(config, rate, weight_decay, numbers=numbers)
    # Without `train_from` there are two parts, as in the checkpoints of earlier runs.
    frozen = {} if config.train_from is None else {"frozen": optax.set_to_zero()}
    chain = optax.partition(
      {"head": chain, "body": body, **frozen}, functools.partial(_parts, config)
    )
  clips = clipping.clips_of(config.clip, numbers)  # of the gradient of body and head together
  return optax.with_extra_args_support(optax.chain(*clips, chain) if clips else chain)


def _parts(config: OptimConfig, params: Mapping[str, Params]) -> dict[str, str]:
  """Returns the part of each module of the network: "head", "body", or "frozen" by `train_from`."""
  parts = {module: "head" if module == HEAD else "body" for module in params}
  return parts | dict.fromkeys(frozen_modules(params, config.train_from), "frozen")


def first_trained(config: OptimConfig) -> str | None:
  """Returns the first stage of the network that is trained; None if all are.

  Before it BatchNorm uses its running statistics, and keeps them.
  """
  return HEAD if config.body_rate_factor == 0.0 else config.train_from


def is_body_frozen(config: OptimConfig) -> bool:
  """Returns whether only the head is trained."""
  return first_trained(config) == HEAD


def trained(config: OptimConfig, params: Mapping[str, Params]) -> Params:
  """Returns the parameters of the modules that are not frozen."""
  frozen = frozen_modules(params, first_trained(config))
  return {module: value for module, value in params.items() if module not in frozen}


def stop_frozen_gradients(config: OptimConfig, params: Params) -> Params:
  """Returns the same parameters; the backward pass stops at those that are frozen."""
  first = first_trained(config)
  if first is None:
    return params
  frozen = frozen_modules(params, first)
  return {
    module: jax.lax.stop_gradient(value) if module in frozen else value
    for module, value in params.items()
  }


def init_opt_state(config: OptimConfig, params: Params) -> OptState:
  """Returns the optimiser state at the start: zero momentum."""
  return make_chain(config, 0.0, 0.0).init(params)


def needs_hessian(config: OptimConfig) -> bool:
  """Returns whether `apply_phase_chain` needs the Hessian of the loss."""
  return config.name == "newton"


def apply_phase_chain(
  config: OptimConfig,
  rates: PhaseRates,
  grads: Params,
  opt_state: OptState,
  params: Params,
  *,
  hessian: Float[Array, "D D"] | None = None,
) -> tuple[Params, OptState]:
  """Returns (params, opt_state) after one update with the chain of the phase.

  There is one chain for each phase; they differ in their weight decay alone. With the phases A and
  B of Algorithm 1 these are the two decay chains, lambda_A and lambda_B. The Hessian, for Newton's
  method alone, has its rows and columns in the order of `ravel_pytree`.
  """
  further = {} if hessian is None else {"hessian": hessian}

  def chain_of(phase: int) -> Callable[..., tuple[Params, OptState]]:
    def update(grads: Params, opt_state: OptState, params: Params) -> tuple[Params, OptState]:
      decay = rates.weight_decays[phase]
      chain = make_chain(config, rates.learning_rate, decay, numbers=rates.optim or {})
      updates, opt_state = chain.update(grads, opt_state, params, **further)
      return jax.tree.map(jnp.add, params, updates), opt_state

    return update

  chains = [chain_of(phase) for phase in range(rates.weight_decays.shape[0])]
  return jax.lax.switch(rates.phase, chains, grads, opt_state, params)


def averaged(
  average: Variables, variables: Variables, step: Int[Array, ""], keep: Rate
) -> Variables:
  """Returns the exponential average of weights and running statistics after a step.

  The old value counts min(keep, (1 + t) / (10 + t)) after t steps, so that the first weights, which
  are drawn, are soon forgotten.

  Source: tf.train.ExponentialMovingAverage with `num_updates`. Differs from source: none.
  """

  def mixed(old: Float[Array, "..."], new: Float[Array, "..."]) -> Float[Array, "..."]:
    time = step.astype(new.dtype)
    kept = jnp.minimum(keep, (1.0 + time) / (10.0 + time))
    return kept * old + (1.0 - kept) * new

  return jax.tree.map(mixed, average, variables)
