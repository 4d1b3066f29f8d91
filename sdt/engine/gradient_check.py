"""Compares the gradient of a training step with finite differences, in float64."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Float, Int

from sdt.config.schema import OptimConfig
from sdt.engine.optim import init_opt_state
from sdt.engine.program import Network
from sdt.engine.state import TrainState
from sdt.engine.step import Batch, StepKeys, StepNow, train_step
from sdt.inputs.order import dropout_key
from sdt.types import BatchStats, Model, OptState, Params, Variables

# Of the step along a direction of length 1. A shorter one is tried where the first has an error of
# more than `_DOUBTFUL`: that of a kink shrinks with the step, that of a wrong gradient does not.
LENGTHS = (1e-4, 1e-6)
_DOUBTFUL = 1e-6
# The weights are moved by so much (standard deviation) before: zeros put a ReLU onto its kink.
_MOVED = 0.01
# With these a step subtracts the gradient from the weights.
_PLAIN = OptimConfig(name="sgd", momentum=0.0, nesterov=False, weight_decay=0.0)


class Slope(NamedTuple):
  """How fast the loss rises along one direction: by the gradient, and by finite differences."""

  gradient: float
  difference: float

  @property
  def error(self) -> float:
    """The difference of both over the larger one; 0 where both are 0."""
    largest = max(abs(self.gradient), abs(self.difference))
    return abs(self.gradient - self.difference) / largest if largest else 0.0


def slopes(
  model: Model,
  variables: Variables,
  inputs: Float[np.ndarray, "B ..."],
  *,
  labels: Int[np.ndarray, "B"],
  num_drawn: int = 4,
) -> list[Slope]:
  """Returns the slope of the mean loss along the gradient and along drawn directions.

  Directions have length 1 over all weights, so that a step of 1e-4 rarely crosses the kink of a
  ReLU; where the error is large, a shorter step is made too. The gradient is that of `train_step`,
  with batch statistics and without regularisers; what dropout draws is the same at every point. It
  is checked a little beside the given weights.

  Args:
    model: computes in float64.
    variables: float32 or float64.
    inputs: as the network sees them.
    labels: of the inputs.
    num_drawn: directions that are drawn, beside that of the gradient.
  """
  # Under x64 some of JAX's own functions mix types, hence the standard promotion.
  with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
    start = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), variables)
    vector, unravel = ravel_pytree(start["params"])
    moved = _MOVED * np.random.default_rng(1).standard_normal(len(vector))
    point = np.asarray(vector) + moved
    measure = functools.partial(_loss_and_gradient, model, start["batch_stats"], unravel)
    batch = _batch(np.asarray(inputs, np.float64), labels)
    gradient = measure(point, batch)[1]
    found = []
    for direction in _directions(gradient, num_drawn):
      along = Slope(float(gradient @ direction), math.nan)
      for length in LENGTHS:
        above, below = (measure(point + side * length * direction, batch)[0] for side in (1, -1))
        along = along._replace(difference=(above - below) / (2 * length))
        if along.error <= _DOUBTFUL:
          break
      found.append(along)
  return found


def _directions(
  gradient: Float[np.ndarray, "D"], num_drawn: int
) -> Sequence[Float[np.ndarray, "D"]]:
  """Returns directions of length 1: that of the gradient, unless it is 0, then drawn ones."""
  drawn = np.random.default_rng(0).standard_normal((num_drawn, len(gradient)))
  every = [gradient, *drawn] if gradient.any() else list(drawn)
  return [one / np.linalg.norm(one) for one in every]


def _batch(inputs: Float[np.ndarray, "B ..."], labels: Int[np.ndarray, "B"]) -> Batch:
  ids = np.arange(len(labels), dtype=np.int32)
  return Batch(ids, inputs, labels.astype(np.int32), mask=np.ones(len(labels), bool))


@functools.partial(jax.jit, static_argnums=0)
def _step(network: Network, state: TrainState, batch: Batch) -> tuple[TrainState, jax.Array]:
  zero = jnp.int32(0)
  now = StepNow(
    zero,
    zero,
    zero,
    learning_rate=jnp.float64(1.0),
    weight_decays=jnp.zeros(1, jnp.float64),
    keys=StepKeys(dropout=dropout_key(0, 0, 0)),
  )
  state, measures = train_step(state, batch, now, network=network)
  return state, measures.loss / measures.count


def _loss_and_gradient(
  model: Model,
  batch_stats: BatchStats,
  unravel: Callable[..., Params],
  point: Float[np.ndarray, "D"],
  batch: Batch,
) -> tuple[float, Float[np.ndarray, "D"]]:
  """Returns the mean loss at a point, and the gradient there as a step takes it."""
  params = unravel(point)
  state = TrainState(np.int32(0), params, batch_stats, opt_state=jax.jit(_first_opt_state)(params))
  after, loss = _step(Network(model, _PLAIN), state, batch)
  return float(loss), point - np.asarray(ravel_pytree(after.params)[0])


def _first_opt_state(params: Params) -> OptState:
  return init_opt_state(_PLAIN, params)
