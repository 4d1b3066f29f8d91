"""Schedules and the chains of the phases, against hand-written updates."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sdt.config import OptimConfig
from sdt.optim import apply_phase_chain, init_opt_state, learning_rates


def test_the_papers_schedule_divides_by_ten_after_150_and_225_of_300_rounds():
  rates = learning_rates(OptimConfig(), 300)
  np.testing.assert_allclose(rates[[0, 149, 150, 224, 225, 299]], [0.1, 0.1, 0.01, 0.01, 0.001, 0.001], rtol=1e-12)


def test_cosine_starts_at_the_rate_and_ends_near_zero_and_constant_stays():
  cosine = learning_rates(OptimConfig(schedule="cosine"), 10)
  np.testing.assert_allclose(cosine, 0.1 * (1 + np.cos(np.pi * np.arange(10) / 10)) / 2)
  np.testing.assert_array_equal(learning_rates(OptimConfig(schedule="constant"), 3), [0.1] * 3)


def by_hand(config, grads, params, momentum, rate, decay):
  """One update as torch's SGD writes it, in float64."""
  grad = grads + decay * params if config.decay_form == "coupled" else grads
  momentum = config.momentum * momentum + grad
  step = grad + config.momentum * momentum if config.nesterov else momentum
  step = step + decay * params if config.decay_form == "decoupled" else step
  return params - rate * step, momentum


@pytest.mark.parametrize("config", [OptimConfig(), OptimConfig(nesterov=True), OptimConfig(decay_form="decoupled")])
def test_alternating_phases_share_one_momentum_buffer(config):
  rng = np.random.default_rng(0)
  params = {"w": rng.normal(size=(2, 3)).astype(np.float32)}
  state = init_opt_state(config, params)
  expected, momentum = params["w"].astype(np.float64), np.zeros((2, 3))
  decays = jnp.array([0.5, 0.01])
  update = jax.jit(lambda phase, grads, state, params: apply_phase_chain(config, phase, grads, state, params, jnp.float32(0.1), decays))
  for step in range(6):
    grads = {"w": rng.normal(size=(2, 3)).astype(np.float32)}
    phase = step % 2
    expected, momentum = by_hand(config, grads["w"], expected, momentum, 0.1, [0.5, 0.01][phase])
    params, state = update(jnp.int32(phase), grads, state, params)
  np.testing.assert_allclose(params["w"], expected, rtol=0, atol=2e-6)


def test_decay_of_weights_only_leaves_vectors_alone():
  params = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}
  config = OptimConfig(decay_what="weights", momentum=0.0)
  zeros = jax.tree.map(jnp.zeros_like, params)
  state = init_opt_state(config, params)
  new, _ = apply_phase_chain(config, jnp.int32(0), zeros, state, params, jnp.float32(1.0), jnp.array([0.25]))
  np.testing.assert_array_equal(new["kernel"], np.full((2, 2), 0.75))
  np.testing.assert_array_equal(new["bias"], np.ones(2))


def test_adam_takes_a_first_step_of_the_learning_rate():
  params = {"w": jnp.array([1.0, -2.0])}
  config = OptimConfig(name="adam")
  state = init_opt_state(config, params)
  with jax.numpy_dtype_promotion("standard"):  # optax's bias correction mixes float32 and int32
    new, _ = apply_phase_chain(config, jnp.int32(0), {"w": jnp.array([3.0, -0.5])}, state, params, jnp.float32(0.01), jnp.array([0.0]))
  np.testing.assert_allclose(new["w"], [0.99, -1.99], atol=1e-6)


def test_other_decays_and_rates_do_not_recompile():
  config, params = OptimConfig(), {"w": jnp.ones(3)}
  state = init_opt_state(config, params)
  update = jax.jit(lambda rate, decays: apply_phase_chain(config, jnp.int32(1), params, state, params, rate, decays))
  for rate, decay in ((0.1, 1e-3), (0.01, 0.0), (0.1, 2e-3)):
    update(jnp.float32(rate), jnp.array([decay, 1e-4], jnp.float32))
  assert update._cache_size() == 1
