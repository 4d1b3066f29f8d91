"""Float targets and a penalty through the engine, against NumPy in float64 and JAX's own
gradient.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sdt.config.schema import ModelConfig, OptimConfig
from sdt.engine.evaluate import batch_sums
from sdt.engine.optim import init_opt_state, make_chain
from sdt.engine.program import Network
from sdt.engine.step import train_step
from sdt.losses import cross_entropy, example_losses, is_correct, squared_error
from sdt.models import init_variables, make_model
from tests.support import one_step

ADAM = OptimConfig(name="adam", learning_rate=3e-3, decay_form="penalty")
RATE, DECAYS = 3e-3, (5e-2, 1e-3)


def test_the_squared_error_of_an_example_is_the_mean_over_its_outputs():
  outputs, targets = (
    np.array([[1.0, 2.0], [0.0, -3.0]], np.float32),
    np.array([[1.0, 4.0], [1.0, 0.0]], np.float32),
  )
  error = jax.jit(squared_error)
  np.testing.assert_array_equal(error(outputs, targets), [2.0, 5.0])
  assert error(outputs.astype(jnp.bfloat16), targets).dtype == np.float32


def test_integers_are_classes_and_floats_are_numbers_to_be_met():
  logits, labels, targets = (
    np.float32([[0.3], [-1.2]]),
    np.int32([0, 0]),
    np.float32([[1.0], [0.5]]),
  )
  losses, entropy, error = map(jax.jit, (example_losses, cross_entropy, squared_error))
  np.testing.assert_array_equal(losses(logits, labels), entropy(logits, labels))
  np.testing.assert_array_equal(losses(logits, targets), error(logits, targets))
  assert not np.asarray(is_correct(targets, targets)).any()
  mask = np.array([True, False])
  sums = jax.jit(functools.partial(batch_sums, axis_name=None))
  loss, correct, count = sums(logits, targets, mask)
  assert (float(loss), int(correct), int(count)) == (pytest.approx(0.49), 0, 1)


def network(dtype=jnp.float64):
  config = ModelConfig(name="mlp", hidden_sizes=(5, 4), activation="tanh")
  model = make_model(config, 1, dtype=dtype, param_dtype=dtype)
  params = jax.tree.map(
    lambda leaf: np.asarray(leaf, np.float64), init_variables(model, (1,), 3)["params"]
  )
  return model, params


def by_hand(params, batch, decay, moments, step):
  """Returns the parameters and moments after one step of Adam, in float64, derived by hand.

  The objective is the mean squared error plus decay times the sum of squares.
  """
  x, y, mask = batch
  names = ["hidden1", "hidden2", "head"]
  layers, activations = [params[name] for name in names], [x]
  for layer in layers[:-1]:
    activations.append(np.tanh(activations[-1] @ layer["kernel"] + layer["bias"]))
  outputs = activations[-1] @ layers[-1]["kernel"] + layers[-1]["bias"]
  delta = 2 * mask[:, None] * (outputs - y) / mask.sum()
  new, new_moments = {}, {}
  for name, layer, below in reversed(list(zip(names, layers, activations, strict=True))):
    grads = {"kernel": below.T @ delta, "bias": delta.sum(axis=0)}
    delta = (delta @ layer["kernel"].T) * (1 - below**2)
    for part, grad in grads.items():
      grad = grad + 2 * decay * layer[part]
      first, second = moments.get((name, part), (0.0, 0.0))
      first, second = 0.9 * first + 0.1 * grad, 0.999 * second + 0.001 * grad**2
      update = (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
      new.setdefault(name, {})[part] = layer[part] - RATE * update
      new_moments[name, part] = first, second
  return new, new_moments


def test_alternating_steps_on_a_penalised_squared_error_equal_numpy():
  rng = np.random.default_rng(1)
  with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
    model, params = network()
    state = one_step.first_state({"params": params}, ADAM)
    step_fn = jax.jit(functools.partial(train_step, network=Network(model, ADAM)))
    apply = jax.jit(functools.partial(model.apply, train=False))
    expected, moments = params, {}
    for step in range(1, 7):
      x, mask = rng.uniform(-1, 1, (6, 1)), np.arange(6) < 4 + step % 2
      y = x**2 + rng.uniform(-0.5, 0.5, (6, 1))
      phase = step % 2
      now = one_step.now(np.float64(RATE), np.array(DECAYS), phase=phase)
      state, measured = step_fn(state, one_step.batch(x, y, mask), now)
      outputs = np.asarray(apply({"params": expected}, x))
      assert float(measured.loss) == pytest.approx(
        np.sum(((outputs - y)[:, 0] ** 2)[mask]), rel=1e-12
      )
      expected, moments = by_hand(expected, (x, y, mask), DECAYS[phase], moments=moments, step=step)
  assert int(measured.correct) == 0
  jax.tree.map(
    lambda ours, theirs: np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12),
    state.params,
    expected,
  )


@pytest.mark.parametrize("name", ["adam", "sgd"])
@pytest.mark.parametrize("decay_what", ["all", "weights"])
def test_the_penalty_is_the_gradient_of_decay_times_the_sum_of_squares(name, decay_what):
  """A step with decay_form=penalty is the step without decay on the loss to which the penalty has
  been added literally.
  """
  optim = OptimConfig(
    name=name,
    momentum=0.9 if name == "sgd" else OptimConfig().momentum,
    decay_form="penalty",
    decay_what=decay_what,
  )
  with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
    _, params = network()
    data_gradient = jax.tree.map(lambda leaf: 0.1 * np.cos(leaf), params)

    def penalty(params):
      leaves = [leaf for leaf in jax.tree.leaves(params) if decay_what == "all" or leaf.ndim > 1]
      return 0.07 * sum(jnp.sum(leaf**2) for leaf in leaves)

    @functools.partial(jax.jit, static_argnums=0)
    def updates(decay, gradient):
      state = init_opt_state(optim, params)
      return make_chain(optim, 0.01, decay).update(gradient, state, params)[0]

    ours = updates(0.07, data_gradient)
    literal = jax.tree.map(np.add, data_gradient, jax.jit(jax.grad(penalty))(params))
    theirs = updates(0.0, literal)
  jax.tree.map(
    lambda one, other: np.testing.assert_allclose(one, other, rtol=0, atol=1e-14), ours, theirs
  )
