"""Optimisers, clips and L1 against torch and NumPy, and what of them is traced."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sdt.config.schema import ModelConfig, OptimConfig
from sdt.engine.optim import (
  PhaseRates,
  apply_phase_chain,
  averaged,
  init_opt_state,
  numbers_of,
  static_part,
)
from sdt.engine.program import Network
from sdt.engine.step import train_step
from sdt.models import init_variables, make_model
from tests.golden import drawn, optimiser_cases
from tests.golden.optimiser_cases import CASES
from tests.support import one_step
from tests.support.places import GOLDEN
from tests.support.quick import QUICK

INPUTS, LABELS = optimiser_cases.examples(drawn.uniform)


def mean_loss(params, inputs):
  hidden = jnp.tanh(inputs @ params["hidden"]["kernel"] + params["hidden"]["bias"][None])
  logits = hidden @ params["head"]["kernel"] + params["head"]["bias"][None]
  chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), LABELS[:, None], axis=1)
  return -jnp.mean(chosen)


# Every optimiser has one form of the decay in `make test`, SGD with momentum has all; the others
# take longer than they tell.
RARE = {
  *("sgd-decoupled", "sgd-penalty", "nesterov-coupled", "nesterov-penalty", "adagrad-coupled"),
  *("adagrad-decoupled", "rmsprop-decoupled", "rmsprop-penalty", "rmsprop_momentum-coupled"),
  *("rmsprop_momentum-penalty", "adam-coupled", "adam-decoupled", "adam_betas-decoupled"),
  "adam_betas-penalty",
}


@functools.partial(jax.jit, static_argnums=0, compiler_options=QUICK)
def trained(config, params, numbers, rate, decays):
  """Returns the weights after the steps of the cases, as one vector."""
  inputs = jnp.asarray(INPUTS)

  def step(carry, phase):
    params, state = carry
    grads = jax.grad(mean_loss)(params, inputs)
    rates = PhaseRates(phase, rate, decays, optim=numbers)
    return apply_phase_chain(config, rates, grads, state, params=params), None

  phases = jnp.array(optimiser_cases.PHASES, jnp.int32)
  (params, _), _ = jax.lax.scan(step, (params, init_opt_state(config, params)), phases)
  return jnp.concatenate(
    [
      params[module][leaf].ravel()
      for module, inner in optimiser_cases.SHAPES.items()
      for leaf in inner
    ]
  )


@pytest.mark.parametrize(
  "name",
  [pytest.param(name, marks=pytest.mark.slow if name in RARE else ()) for name in CASES],
)
def test_fifty_float64_steps_equal_torch(name):
  case = CASES[name]
  config = OptimConfig(**case.optim)
  # Under x64 some of optax's own functions mix types, hence the standard promotion.
  with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
    numbers = {key: np.float64(value) for key, value in numbers_of(config).items()}
    params = optimiser_cases.params(drawn.uniform)
    ours = trained(static_part(config), params, numbers, case.rate, np.array(case.decays))
    assert ours.dtype == np.float64
    with np.load(GOLDEN / "optimisers.npz") as golden:
      # L-BFGS drives the weights to 30, as nothing holds them.
      largest = max(1.0, np.max(np.abs(golden[name])))
      np.testing.assert_allclose(ours, golden[name], rtol=0, atol=1e-10 * largest)


def update(config, params, grads, **numbers):
  """Returns the weights after one step at rate 1 without decay."""
  rates = PhaseRates(np.int32(0), np.float32(1), np.zeros(1, np.float32), optim=numbers)
  state = init_opt_state(config, params)
  return one_update(static_part(config), rates, grads, state, params=params)[0]


one_update = jax.jit(apply_phase_chain, static_argnums=0)
GRADS = {
  "a": np.array([[3.0, 0.0, -4.0], [0.0, 0.0, 0.0]], np.float32),  # norm 5, of 6 numbers
  "b": np.array([12.0, 0.0], np.float32),  # norm 12, and 13 with the other
}
CLIPPED = {  # by the formulas of tf.clip_by_*
  "value(3.5)": ([[3.0, 0.0, -3.5], [0, 0, 0]], [3.5, 0]),
  "norm(10)": ([[3.0, 0.0, -4.0], [0, 0, 0]], [10.0, 0]),
  "global_norm(6.5)": ([[1.5, 0.0, -2.0], [0, 0, 0]], [6.0, 0]),
  "global_norm(13)": ([[3.0, 0.0, -4.0], [0, 0, 0]], [12.0, 0]),
  "average_norm(0.5)": ([[1.8, 0.0, -2.4], [0, 0, 0]], [1.0, 0]),
  "value(3) norm(3)": ([[3 / 2**0.5, 0, -3 / 2**0.5], [0, 0, 0]], [3.0, 0]),
}


@pytest.mark.parametrize("clip", CLIPPED)
@pytest.mark.parametrize("factor", [1.0, 0.5])
def test_clips_are_tfs_and_a_global_norm_is_of_body_and_head_together(clip, factor):
  params = {"a": np.zeros((2, 3), np.float32), "head": np.zeros(2, np.float32)}
  grads = {"a": GRADS["a"], "head": GRADS["b"]}
  config = OptimConfig(momentum=0.0, clip=clip, body_rate_factor=factor)
  new = update(config, params, grads, **to_float32(numbers_of(config)))
  np.testing.assert_allclose(new["a"], -factor * np.array(CLIPPED[clip][0]), rtol=2e-6)
  np.testing.assert_allclose(new["head"], -np.array(CLIPPED[clip][1]), rtol=2e-6)


def to_float32(numbers):
  return {name: np.float32(value) for name, value in numbers.items()}


def test_l1_moves_every_weight_by_its_sign_and_vectors_only_where_they_decay():
  params = {"w": np.array([[2.0, -3.0, 0.0]], np.float32), "b": np.array([5.0], np.float32)}
  zeros = jax.tree.map(np.zeros_like, params)
  for what, bias in (("all", 4.75), ("weights", 5.0)):
    config = OptimConfig(momentum=0.0, l1=0.25, decay_what=what)
    new = update(config, params, zeros, l1=np.float32(0.25))
    np.testing.assert_array_equal(new["w"], [[1.75, -2.75, 0.0]])
    np.testing.assert_array_equal(new["b"], [bias])


def quadratic(hessian, minimum):
  """Returns the gradient and the Hessian of (w - m)^T H (w - m) / 2 at any w."""
  return lambda w: (hessian @ (w - minimum), hessian)


def test_newton_solves_a_quadratic_in_one_step_and_descends_where_it_bends_down():
  rng = np.random.default_rng(0)
  factors = rng.normal(size=(6, 6))
  minimum, start = rng.normal(size=6), {"w": rng.normal(size=(2, 3))}
  config = OptimConfig(name="newton", epsilon=1e-12, decay_form="decoupled")
  signs = np.linalg.qr(factors)[0]
  for curvatures in (np.arange(1.0, 7), np.array([1, -2, 3, -4, 5, 6.0])):
    hessian = signs @ np.diag(curvatures) @ signs.T
    grads, _ = quadratic(hessian, minimum)(start["w"].ravel())
    with jax.enable_x64(True):
      rates = PhaseRates(
        np.int32(0), np.float64(1), np.zeros(1), optim={"epsilon": np.float64(1e-12)}
      )
      state = init_opt_state(config, start)
      new, _ = one_update(
        static_part(config), rates, {"w": grads.reshape(2, 3)}, state, params=start, hessian=hessian
      )
    # Along each eigenvector: to the minimum, or as far away from the maximum again.
    before, after = (signs.T @ (w.ravel() - minimum) for w in (start["w"], np.asarray(new["w"])))
    np.testing.assert_allclose(after, np.where(curvatures > 0, 0.0, 2.0) * before, atol=1e-10)


def test_the_step_hands_newton_the_hessian_of_the_mean_loss_of_valid_examples():
  """A linear network with squared errors is a quadratic: one step gives least squares."""
  optim = OptimConfig(name="newton", epsilon=1e-12, decay_form="decoupled")
  linear = ModelConfig(name="mlp", hidden_sizes=())
  model = make_model(linear, 2, dtype=jnp.float64, param_dtype=jnp.float64)
  rng = np.random.default_rng(1)
  inputs, targets = rng.normal(size=(12, 3)), rng.normal(size=(12, 2))
  with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
    variables = jax.tree.map(np.float64, init_variables(model, (3,), 0))
    state = one_step.first_state(variables, optim)
    batch = one_step.batch(inputs, targets, np.arange(12) < 9)
    now = one_step.now(np.float64(1), np.zeros(1), optim={"epsilon": np.float64(1e-12)})
    network = Network(model, optim)
    state, _ = jax.jit(functools.partial(train_step, network=network))(state, batch, now)
  columns = np.hstack([inputs[:9], np.ones((9, 1))])
  expected = np.linalg.lstsq(columns, targets[:9])[0]
  head = state.params["head"]
  np.testing.assert_allclose(np.vstack([head["kernel"], head["bias"]]), expected, atol=1e-9)


def test_lbfgs_begins_anew_where_the_curvature_is_not_positive():
  config, params = OptimConfig(name="lbfgs", decay_form="decoupled"), {"w": np.array([1.0, 2.0])}
  with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):  # optax mixes integers
    rates, state = (
      PhaseRates(np.int32(0), np.float64(0.5), np.zeros(1)),
      init_opt_state(config, params),
    )
    first, state = one_update(config, rates, {"w": np.array([3.0, 4.0])}, state, params=params)
    np.testing.assert_allclose(first["w"], [0.7, 1.6])  # g / |g|, as |g| is above 1
    # The gradient has grown along the way: s y < 0. So the step is as the first.
    second, state = one_update(config, rates, {"w": np.array([6.0, 8.0])}, state, params=first)
  np.testing.assert_allclose(second["w"], [0.4, 1.2])
  (memory,) = (part for part in state if isinstance(part, optax.ScaleByLBFGSState))
  assert int(memory.count) == 1


def test_the_average_of_the_weights_is_tfs():
  steps = np.random.default_rng(2).normal(size=(40, 3)).astype(np.float32)
  ours, theirs = {"params": steps[0]}, steps[0].astype(np.float64)
  mix = jax.jit(averaged)
  for time, weights in enumerate(steps[1:]):
    ours = mix(ours, {"params": weights}, np.int32(time), np.float32(0.6))
    keep = min(0.6, (1 + time) / (10 + time))
    theirs = keep * theirs + (1 - keep) * weights
  np.testing.assert_allclose(ours["params"], theirs, rtol=1e-6)


NUMBERS = {
  "sgd": ({}, {"l1": (0.1, 0.2), "clip": ("norm(1)", "norm(2)")}),
  "adam": ({"name": "adam"}, {"betas": ((0.8, 0.9), (0.9, 0.99)), "epsilon": (1e-3, 1e-5)}),
  "rmsprop": ({"name": "rmsprop"}, {"betas": ((0.8,), (0.9,)), "average": (0.9, 0.99)}),
  "newton": ({"name": "newton", "decay_form": "decoupled"}, {"epsilon": (1.0, 2.0)}),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_other_numbers_of_an_optimiser_trace_nothing_again_and_change_the_step(name):
  kept, changes = NUMBERS[name]
  params = {"w": np.array([[1.0, -2.0]], np.float32)}
  traces = []

  @functools.partial(jax.jit, static_argnums=0)
  def step(config, rates, state):
    traces.append(config)
    hessian = jnp.eye(2, dtype=jnp.float32)
    further = {"hessian": hessian} if config.name == "newton" else {}
    return apply_phase_chain(config, rates, params, state, params=params, **further)[0]

  results = []
  for at in range(2):
    for rate, decay in ((0.1, 1e-3), (0.2, 0.0)):
      changed = {key: values[at] for key, values in changes.items()}
      config = OptimConfig(**kept, learning_rate=rate, weight_decay=decay, **changed)
      rates = PhaseRates(
        np.int32(1), np.float32(rate), np.float32([0, decay]), optim=to_float32(numbers_of(config))
      )
      with jax.numpy_dtype_promotion("standard"):  # optax's bias correction mixes types
        results.append(step(static_part(config), rates, init_opt_state(config, params)))
  assert len(traces) == 1
  assert len({tuple(np.ravel(result["w"])) for result in results}) == len(results)


def test_what_the_host_alone_reads_is_no_part_of_a_program():
  of_host = {"learning_rate": 0.5, "schedule": "cosine", "floor": 0.1, "warmup_rounds": 3}
  of_host |= {"clock": "step", "reference_batch": 8, "weight_decay": 0.1, "milestones": (1,)}
  assert static_part(OptimConfig(**of_host)) == static_part(OptimConfig())
  kept = OptimConfig(name="rmsprop", momentum=0.5, decay_form="penalty", body_rate_factor=0.5)
  assert static_part(kept) == kept


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_a_config_without_these_keys_compiles_to_the_plain_optax_chains(name):
  config = OptimConfig(name=name)
  core = {"sgd": optax.trace(decay=0.9, nesterov=False), "adam": optax.scale_by_adam()}[name]

  def plain(rates, grads, state, params):
    def chain_of(phase):
      def update(grads, state, params):
        chain = optax.chain(
          optax.add_decayed_weights(rates.weight_decays[phase]),
          core,
          optax.scale_by_learning_rate(rates.learning_rate),
        )
        updates, state = chain.update(grads, state, params)
        return jax.tree.map(jnp.add, params, updates), state

      return update

    return jax.lax.switch(rates.phase, [chain_of(0), chain_of(1)], grads, state, params)

  def ours(rates, grads, state, params):
    return apply_phase_chain(static_part(config), rates, grads, state, params=params)

  assert numbers_of(config) == {}
  rates = PhaseRates(np.int32(0), np.float32(0.1), np.zeros(2, np.float32), optim={})
  arguments = (rates, GRADS, init_opt_state(config, GRADS), GRADS)
  with jax.numpy_dtype_promotion("standard"):
    texts = [jax.jit(function).lower(*arguments).as_text() for function in (plain, ours)]
  assert texts[0].replace("jit_plain", "jit_ours") == texts[1]
