"""Schedules and the chains of the phases, against hand-written updates."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sdt.config.schema import OptimConfig
from sdt.engine.optim import PhaseRates, apply_phase_chain, init_opt_state, stop_frozen_gradients
from sdt.engine.program import Network
from sdt.engine.schedule import learning_rates
from sdt.engine.step import train_step
from sdt.models import init_variables, make_model
from tests.support import one_step, tiny


def test_the_papers_schedule_divides_by_ten_after_150_and_225_of_300_rounds():
  rates = learning_rates(OptimConfig(), 300)
  np.testing.assert_allclose(
    rates[[0, 149, 150, 224, 225, 299]], [0.1, 0.1, 0.01, 0.01, 0.001, 0.001], rtol=1e-12
  )


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


@pytest.mark.parametrize(
  "config", [OptimConfig(), OptimConfig(nesterov=True), OptimConfig(decay_form="decoupled")]
)
def test_alternating_phases_share_one_momentum_buffer(config):
  rng = np.random.default_rng(0)
  params = {"w": rng.normal(size=(2, 3)).astype(np.float32)}
  state = init_opt_state(config, params)
  expected, momentum = params["w"].astype(np.float64), np.zeros((2, 3))
  decays = jnp.array([0.5, 0.01])
  update = jax.jit(
    lambda phase, grads, state, params: apply_phase_chain(
      config, PhaseRates(phase, jnp.float32(0.1), decays), grads, state, params=params
    )
  )
  for step in range(6):
    grads = {"w": rng.normal(size=(2, 3)).astype(np.float32)}
    phase = step % 2
    expected, momentum = by_hand(config, grads["w"], expected, momentum, 0.1, [0.5, 0.01][phase])
    params, state = update(jnp.int32(phase), grads, state, params)
  np.testing.assert_allclose(params["w"], expected, rtol=0, atol=2e-6)


one_update = jax.jit(apply_phase_chain, static_argnums=0)


def rates_of(phase, rate, decays):
  return PhaseRates(np.int32(phase), np.float32(rate), np.array(decays, np.float32))


def test_decay_of_weights_only_leaves_vectors_alone():
  params = {"kernel": np.ones((2, 2), np.float32), "bias": np.ones(2, np.float32)}
  config = OptimConfig(decay_what="weights", momentum=0.0)
  zeros = jax.tree.map(np.zeros_like, params)
  state = init_opt_state(config, params)
  new, _ = one_update(config, rates_of(0, 1.0, [0.25]), zeros, state, params=params)
  np.testing.assert_array_equal(new["kernel"], np.full((2, 2), 0.75))
  np.testing.assert_array_equal(new["bias"], np.ones(2))


def test_adam_takes_a_first_step_of_the_learning_rate():
  params = {"w": np.array([1.0, -2.0], np.float32)}
  config = OptimConfig(name="adam")
  state = init_opt_state(config, params)
  with jax.numpy_dtype_promotion("standard"):  # optax's bias correction mixes float32 and int32
    grads = {"w": np.array([3.0, -0.5], np.float32)}
    new, _ = one_update(config, rates_of(0, 0.01, [0.0]), grads, state, params=params)
  np.testing.assert_allclose(new["w"], [0.99, -1.99], atol=1e-6)


def test_other_decays_and_rates_do_not_recompile():
  config, params = OptimConfig(), {"w": np.ones(3, np.float32)}
  state = init_opt_state(config, params)
  update = jax.jit(
    lambda rate, decays: apply_phase_chain(
      config, PhaseRates(jnp.int32(1), rate, decays), params, state, params=params
    )
  )
  for rate, decay in ((0.1, 1e-3), (0.01, 0.0), (0.1, 2e-3)):
    update(jnp.float32(rate), jnp.array([decay, 1e-4], jnp.float32))
  assert update._cache_size() == 1


def draw_tree(seed):
  """Returns a tree like a network's: two modules of a body and the head, of matrices and
  vectors.
  """
  rng = np.random.default_rng(seed)
  shapes = {
    "stem": {"kernel": (3, 2), "scale": (2,)},
    "headless": {"kernel": (2, 2)},
    "head": {"kernel": (2, 3), "bias": (3,)},
  }
  return {
    module: {leaf: rng.normal(size=shape).astype(np.float32) for leaf, shape in inner.items()}
    for module, inner in shapes.items()
  }


class Twin:
  """Fine-tuning by hand, in float64: one parameter array at a time, as the formulas of SGD with
  momentum and of Adam have it.
  """

  def __init__(self, config, params):
    self.config, self.params = (
      config,
      {path: leaf.astype(np.float64) for path, leaf in tiny.leaves(params).items()},
    )
    self.first = {path: np.zeros(leaf.shape) for path, leaf in self.params.items()}
    self.second, self.count = dict(self.first), 0

  def update(self, grads, rate, decay):
    config = self.config
    self.count += 1
    for path, grad in tiny.leaves(grads).items():
      own_rate = rate * (1.0 if path.startswith("['head']") else config.body_rate_factor)
      if own_rate == 0.0:
        continue
      weights = self.params[path]
      decayed = (
        decay * weights
        if config.decay_what == "all" or weights.ndim > 1
        else np.zeros_like(weights)
      )
      grad = grad + decayed if config.decay_form == "coupled" else grad
      if config.name == "adam":
        self.first[path] = 0.9 * self.first[path] + 0.1 * grad
        self.second[path] = 0.999 * self.second[path] + 0.001 * grad**2
        step = (
          self.first[path]
          / (1 - 0.9**self.count)
          / (np.sqrt(self.second[path] / (1 - 0.999**self.count)) + 1e-8)
        )
      else:
        self.first[path] = config.momentum * self.first[path] + grad
        step = grad + config.momentum * self.first[path] if config.nesterov else self.first[path]
      step = step + decayed if config.decay_form == "decoupled" else step
      self.params[path] = weights - own_rate * step


@pytest.mark.parametrize("factor", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("name", ["sgd", "nesterov", "adam"])
@pytest.mark.parametrize("decay_form", ["coupled", "decoupled"])
@pytest.mark.parametrize("decay_what", ["all", "weights"])
def test_the_body_has_its_own_rate_in_every_optimiser(factor, name, decay_form, decay_what):
  kind = {"sgd": {}, "nesterov": {"nesterov": True}, "adam": {"name": "adam"}}[name]
  config = OptimConfig(
    body_rate_factor=factor, decay_form=decay_form, decay_what=decay_what, **kind
  )
  params = jax.tree.map(jnp.asarray, draw_tree(0))
  twin, state = Twin(config, params), init_opt_state(config, params)
  update = jax.jit(
    lambda rates, grads, state, params: apply_phase_chain(
      config, rates, grads, state, params=params
    )
  )
  start = params
  for step in range(4):
    grads, rate, decays = draw_tree(step + 1), (0.1, 0.02)[step // 2], [0.5, 0.01]
    twin.update(grads, rate, decays[step % 2])
    with jax.numpy_dtype_promotion("standard" if name == "adam" else "strict"):  # see above
      params, state = update(rates_of(step % 2, rate, decays), grads, state, params)
  assert jax.tree.structure(params) == jax.tree.structure(start)
  for path, leaf in tiny.leaves(params).items():
    np.testing.assert_allclose(leaf, twin.params[path], rtol=0, atol=5e-6, err_msg=path)
  if factor == 0.0:
    tiny.assert_equal(
      {key: params[key] for key in ("stem", "headless")},
      {key: start[key] for key in ("stem", "headless")},
    )
  assert update._cache_size() == 1


def test_an_unchanged_rate_keeps_the_states_structure_and_a_frozen_body_has_no_momentum():
  params = draw_tree(0)

  def state_of(**changes):
    return init_opt_state(OptimConfig(**changes), params)

  plain = optax.chain(
    optax.add_decayed_weights(0.0), optax.trace(0.9), optax.scale_by_learning_rate(0.1)
  ).init(params)
  assert jax.tree.structure(state_of(body_rate_factor=1.0)) == jax.tree.structure(plain)
  assert sorted(leaf.shape for leaf in jax.tree.leaves(state_of(body_rate_factor=0.5))) == sorted(
    leaf.shape for leaf in jax.tree.leaves(params)
  )
  assert sorted(leaf.shape for leaf in jax.tree.leaves(state_of(body_rate_factor=0.0))) == [
    (2, 3),
    (3,),
  ]


def test_no_gradient_flows_to_a_frozen_body():
  params = draw_tree(0)

  @functools.partial(jax.jit, static_argnums=1)
  @jax.grad
  def gradient(params, config):
    return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(stop_frozen_gradients(config, params)))

  for factor, body in ((0.0, 0.0), (0.1, 2.0), (1.0, 2.0)):
    grads = gradient(params, OptimConfig(body_rate_factor=factor))
    for path, grad in tiny.leaves(grads).items():
      np.testing.assert_allclose(
        grad,
        (2.0 if path.startswith("['head']") else body) * tiny.leaves(params)[path],
        err_msg=path,
      )


def test_a_frozen_body_costs_no_backward_pass():
  def flops(function, *args):
    return jax.jit(function).lower(*args).cost_analysis()["flops"]

  cost = {}
  for factor in (0.0, 1.0):
    of = tiny.resnet(optim__body_rate_factor=factor)
    model = make_model(of.model, 3)
    variables, inputs = init_variables(model, (8, 8, 3), 0), np.zeros((4, 8, 8, 3), np.float32)
    state = one_step.first_state(variables, of.optim)
    batch = one_step.batch(inputs, np.zeros(4, np.int32), np.ones(4, bool))
    now = one_step.now(np.float32(0.1), np.ones(1, np.float32))
    step = functools.partial(train_step, network=Network(model, of.optim))
    cost[factor] = flops(step, state, batch, now)
  forward = flops(lambda v, x: model.apply(v, x, train=False), variables, inputs)
  assert forward < cost[0.0] < 1.02 * forward  # the norms and the update of a network that small
  assert cost[1.0] > 2.5 * forward


# A frozen body in a whole run: tests/stages/test_finetuning_runs.py.
@pytest.mark.parametrize(
  ("factor", "mode"),
  [
    (0.1, "jit"),
    pytest.param(0.0, "jit", marks=pytest.mark.slow),
    pytest.param(0.0, "pmap", marks=pytest.mark.slow),
  ],
)
def test_a_training_moves_the_head_and_the_body_only_where_it_is_not_frozen(factor, mode):
  of = tiny.resnet(
    optim__body_rate_factor=factor,
    parallel__mode=mode,
    parallel__num_devices=2 if mode == "pmap" else 1,
    rounds=2,
    seeds=(0,),
  )
  data = tiny.data(of)
  plan = tiny.alternating(of, 70, 7)
  start = tiny.trainer(of, plan, data).get_state().state
  end, _ = tiny.train(of, plan, data)
  before, after = (
    tiny.leaves((start.params, start.batch_stats)),
    tiny.leaves((end.params, end.batch_stats)),
  )
  for path, leaf in after.items():
    has_moved = not np.array_equal(leaf, before[path])
    assert has_moved == (factor > 0.0 or "['head']" in path), path
