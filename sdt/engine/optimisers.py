"""The optimisers by name: from a gradient to a step, without rate, decay and clipping."""

import types
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from sdt.config.schema import OptimConfig
from sdt.engine.clipping import Rate
from sdt.types import OptState, Params

# L-BFGS: how many differences it keeps, and their least product, as in torch.
_MEMORY = 10
_LEAST_CURVATURE = 1e-10
# Of Newton's method; with 1e-3 a small network leaves its minimum again after a few steps.
_DAMPING = 0.1

# Traced numbers by name, see `sdt.engine.optim.numbers_of`.
type Numbers = Mapping[str, Rate]
type Optimiser = Callable[[OptimConfig, Numbers], optax.GradientTransformation]


def _momentum(config: OptimConfig, numbers: Numbers) -> optax.GradientTransformation:
  del numbers
  return optax.trace(decay=config.momentum, nesterov=config.nesterov)


def _adagrad(config: OptimConfig, numbers: Numbers) -> optax.GradientTransformation:
  """Returns steps of g / (sqrt(sum of g^2) + epsilon).

  optax adds epsilon under the root: with torch's 1e-10 that is another step where g is small.
  """
  del config
  epsilon = numbers.get("epsilon", 1e-10)

  def update(
    grads: Params, state: optax.ScaleByRssState, params: Params
  ) -> tuple[Params, optax.ScaleByRssState]:
    del params
    sums = jax.tree.map(lambda total, grad: total + grad * grad, state.sum_of_squares, grads)
    steps = jax.tree.map(lambda grad, total: grad / (jnp.sqrt(total) + epsilon), grads, sums)
    return steps, optax.ScaleByRssState(sums)

  return optax.GradientTransformation(
    optax.scale_by_rss(initial_accumulator_value=0.0).init, update
  )


def _rmsprop(config: OptimConfig, numbers: Numbers) -> optax.GradientTransformation:
  # torch's; optax has 0.9, and adds epsilon under the root
  decay, epsilon = numbers.get("beta0", 0.99), numbers.get("epsilon", 1e-8)
  scale = optax.scale_by_rms(decay=decay, eps=epsilon, eps_in_sqrt=False)
  return optax.chain(scale, optax.trace(config.momentum)) if config.momentum else scale


def _adam(config: OptimConfig, numbers: Numbers) -> optax.GradientTransformation:
  del config
  names = {"beta0": "b1", "beta1": "b2", "epsilon": "eps"}
  return optax.scale_by_adam(**{to: numbers[name] for name, to in names.items() if name in numbers})


def _lbfgs(config: OptimConfig, numbers: Numbers) -> optax.GradientTransformation:
  """Returns optax's L-BFGS, whose memory begins anew where the curvature is not positive.

  optax keeps such a difference, as its line search never makes one; torch leaves it out.
  """
  del config, numbers
  inner = optax.scale_by_lbfgs(memory_size=_MEMORY)

  def update(
    grads: Params, state: optax.ScaleByLBFGSState, params: Params
  ) -> tuple[Params, optax.ScaleByLBFGSState]:
    moved = optax.tree.sub(params, state.params)
    product = optax.tree.vdot(optax.tree.sub(grads, state.updates), moved)
    keeps = (state.count == 0) | (product > _LEAST_CURVATURE)
    state = jax.tree.map(lambda old, new: jnp.where(keeps, old, new), state, inner.init(params))
    return inner.update(grads, state, params)

  return optax.GradientTransformation(inner.init, update)


def _newton(config: OptimConfig, numbers: Numbers) -> optax.GradientTransformation:
  """Returns steps of (|H| + damping)^-1 g; `update` takes the Hessian H [D, D] as `hessian`."""
  del config
  damping = numbers.get("epsilon", _DAMPING)

  def update(
    grads: Params,
    state: OptState,
    params: Params,
    *,
    hessian: Float[Array, "D D"],
    **_: object,
  ) -> tuple[Params, OptState]:
    del params
    grad, unravel = ravel_pytree(grads)
    values, vectors = jnp.linalg.eigh(hessian)
    step = vectors @ ((vectors.T @ grad) / (jnp.abs(values) + damping))
    return unravel(step), state

  return optax.GradientTransformationExtraArgs(optax.init_empty_state, update)


# By the names of the table in sdt/config/toolbox/training_blocks.py, which has the sources.
OPTIMISERS: Mapping[str, Optimiser] = types.MappingProxyType(
  {
    "sgd": _momentum,
    "adagrad": _adagrad,
    "rmsprop": _rmsprop,
    "adam": _adam,
    "adamw": _adam,
    "lbfgs": _lbfgs,
    "newton": _newton,
  }
)
