"""Dropout and stochastic depth: the layers, their rates by phase, and the engine on two devices."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sdt.config.schema import ModelConfig
from sdt.engine.state import Position
from sdt.models import init_variables, make_model
from sdt.models.drop_connect import drop_weights
from sdt.models.layers import Dropout
from sdt.run.programs import Setup
from tests.support import tiny
from tests.support.networks import SMALLEST, named
from tests.support.quick import only


# The key is an argument everywhere: XLA would draw from a constant one as it compiles, slowly.
@functools.partial(jax.jit, static_argnums=1, static_argnames=("axis_name", "per_example"))
def dropped(x, rate, key, **options):
  return Dropout(rate, **options).apply({}, x, train=True, rngs={"dropout": key})


def dropped_on_two_devices(x, rate, key, **options):
  halves = x.reshape(2, len(x) // 2, *x.shape[1:])
  of_half = functools.partial(dropped, axis_name="data", **options)
  drop = jax.pmap(of_half, "data", in_axes=(0, None, None), static_broadcasted_argnums=1)
  return np.asarray(drop(halves, rate, key)).reshape(x.shape)


def test_values_are_dropped_at_the_rate_and_the_mean_is_kept(key):
  x = np.full((50, 8, 8, 10), 3.0, np.float32)
  y = np.asarray(dropped(x, 0.3, key))
  assert set(np.unique(y)) == {np.float32(0.0), np.float32(3.0 / 0.7)}
  share = (y == 0).mean()
  assert abs(share - 0.3) < 5 * np.sqrt(0.3 * 0.7 / y.size)
  assert abs(y.mean() - 3.0) < 0.05


def test_evaluation_and_rate_zero_change_nothing_and_need_no_key():
  x = jnp.asarray(np.arange(6.0, dtype=np.float32).reshape(2, 3))
  assert Dropout(0.5).apply({}, x, train=False) is x
  assert Dropout(0.0).apply({}, x, train=True) is x


def test_the_gradient_passes_where_the_value_passed(key):
  x = np.ones((4, 5), np.float32)
  y, gradient = jax.jit(jax.value_and_grad(lambda x, key: dropped(x, 0.5, key).sum()))(x, key)
  np.testing.assert_array_equal(gradient, dropped(x, 0.5, key))
  assert float(y) == float(np.asarray(gradient).sum())


def test_two_devices_drop_what_one_drops(key):
  x = np.ones((6, 5), np.float32)
  np.testing.assert_array_equal(dropped_on_two_devices(x, 0.5, key), dropped(x, 0.5, key))


def test_a_rate_of_the_call_takes_the_place_of_the_layers_own_and_may_be_traced(key):
  x = jnp.asarray(np.arange(1.0, 61.0, dtype=np.float32).reshape(6, 10))

  @jax.jit
  def given(rate, key):
    return Dropout(0.9).apply({}, x, train=True, rate=rate, rngs={"dropout": key})

  np.testing.assert_allclose(given(np.float32(0.3), key), dropped(x, 0.3, key), rtol=1e-6)
  np.testing.assert_array_equal(given(np.float32(0.0), key), x)
  assert Dropout(0.9).apply({}, x, train=False, rate=jnp.float32(0.3)) is x


def test_whole_examples_drop_together_the_same_on_two_devices(key):
  x = np.ones((400, 2, 3, 5), np.float32)
  y = np.asarray(dropped(x, 0.25, key, per_example=True))
  kept = y[:, 0, 0, 0] > 0
  np.testing.assert_allclose(
    y, np.broadcast_to(np.where(kept, 1 / 0.75, 0.0)[:, None, None, None], y.shape), rtol=1e-6
  )
  assert abs(kept.mean() - 0.75) < 0.1
  np.testing.assert_array_equal(dropped_on_two_devices(x, 0.25, key, per_example=True), y)


@pytest.mark.parametrize("name", only(["resnet"], ["resnet", "preresnet", "wrn"]))
def test_branches_drop_more_often_the_deeper_they_are_and_evaluation_and_parameters_stay(name, key):
  of = (
    ModelConfig(name, depth=10, widen_factor=1)
    if name == "wrn"
    else ModelConfig(name, widths=(4, 4, 4))
  )
  model, inputs = (
    make_model(of, 3),
    np.random.default_rng(0).normal(size=(600, 4, 4, 3)).astype(np.float32),
  )
  variables = init_variables(model, (4, 4, 3), 0)
  keyed = {"rngs": {"dropout": key}, "rates": {"stochastic_depth": np.float32(0.6)}}
  evaluate = jax.jit(functools.partial(model.apply, train=False))
  with_rates, without = (evaluate(variables, inputs, **more) for more in (keyed, {}))
  np.testing.assert_array_equal(with_rates, without)
  assert "branch" not in "".join(tiny.leaves(variables))

  @jax.jit
  def forward(variables, keyed):
    return model.apply(
      variables,
      inputs,
      train=True,
      mutable=["batch_stats", "intermediates"],
      capture_intermediates=True,
      **keyed,
    )[1]

  seen = {
    name: group
    for name, group in forward(variables, keyed)["intermediates"].items()
    if name.startswith("stage")
  }
  assert len(seen) == 3
  for depth, block in zip((1 / 3, 2 / 3, 1.0), (seen[name] for name in sorted(seen)), strict=True):
    branch = np.asarray(block["branch"]["__call__"][0])
    full = np.asarray(block["norm2" if name == "resnet" else "conv2"]["__call__"][0])
    gone = ~branch.any(axis=(1, 2, 3))
    rate = 0.6 * depth
    assert abs(gone.mean() - rate) < 4 * np.sqrt(rate * (1 - rate) / len(gone))
    np.testing.assert_allclose(branch[~gone], full[~gone] / (1 - rate), rtol=1e-5)
  # Of the last block only the shortcut is left then.
  shortcut = np.asarray(
    block["shortcut_norm" if name == "resnet" else "shortcut_conv"]["__call__"][0]
  )
  shortcut = np.maximum(shortcut, 0) if name == "resnet" else shortcut
  np.testing.assert_array_equal(np.asarray(block["__call__"][0])[gone], shortcut[gone])


def trained(name, key, rates, **keys):
  """Returns the logits of four examples in training mode, and in evaluation mode."""
  model = make_model(ModelConfig(name, **keys, dropout=0.0), 3)
  inputs = np.random.default_rng(0).normal(size=(4, 8, 8, 1)).astype(np.float32)
  variables = init_variables(model, (8, 8, 1), 0)

  @jax.jit
  def both(variables, key, rates):
    more = {"rngs": {"dropout": key}, "rates": rates}
    logits, _ = model.apply(variables, inputs, train=True, mutable=["batch_stats"], **more)
    return logits, model.apply(variables, inputs, train=False, **more)

  found = [both(variables, key, {"dropout": np.float32(rate)}) for rate in rates]
  return [np.asarray(logits) for logits, _ in found], [np.asarray(logits) for _, logits in found]


# The others are with the slow tests: each is a program to compile.
@pytest.mark.parametrize(
  "name",
  [
    pytest.param(name, marks=() if name in ("alexnet", "mlp", "resnet") else pytest.mark.slow)
    for name in SMALLEST
  ],
)
def test_every_family_drops_values_in_training_alone_at_a_traced_rate(name, key):
  training, evaluation = trained(name, key, (0.0, 0.5), **SMALLEST[name])
  assert np.abs(training[0] - training[1]).max() > 1e-3
  np.testing.assert_array_equal(*evaluation)


def test_drop_connect_sets_weights_to_zero_at_the_rate_but_the_heads(key):
  of = ModelConfig(name="vgg16", blocks=(1, 1), widths=(32, 32))
  params = init_variables(make_model(of, 3), (8, 8, 1), 0)["params"]
  drop = jax.jit(drop_weights)
  found = drop(params, np.float32(0.3), key)
  for path, leaf in named(found).items():
    before = named(params)[path]
    if not path.endswith("kernel") or path.startswith("head"):
      np.testing.assert_array_equal(leaf, before)
      continue
    gone = leaf == 0
    assert abs(gone.mean() - 0.3) < 5 * np.sqrt(0.21 / leaf.size)
    np.testing.assert_allclose(leaf[~gone], before[~gone] / 0.7, rtol=1e-6)
  kernels = [found[f"stage{stage}_conv1"]["kernel"] == 0 for stage in (1, 2)]
  assert (kernels[0].ravel() != kernels[1].ravel()[: kernels[0].size]).any()
  assert tiny.leaves(drop(params, np.float32(0.0), key)).keys() == tiny.leaves(params).keys()
  tiny.assert_equal(drop(params, np.float32(0.0), key), params)


def wide(**changes):
  network = {
    "model__name": "wrn",
    "model__hidden_sizes": None,
    "model__depth": 10,
    "model__widen_factor": 1,
    "model__dropout": 0.4,
  }
  return tiny.config(seeds=(0,), parallel__steps_per_dispatch=3, **(network | changes))


@functools.cache
def first_steps(of, **overrides):
  plan = tiny.everything(of, 70)
  made = tiny.trainer(
    of,
    dataclasses.replace(plan, phases=(dataclasses.replace(plan.phases[0], overrides=overrides),)),
  )
  next(made.run(Position()))
  return tiny.leaves(made.get_state().state.params)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["jit", "pmap"])
def test_a_wide_resnet_with_dropout_and_stochastic_depth_trains_on_two_devices_as_on_one(mode):
  one, rates = wide(model__dropout=None), {"dropout": 0.4, "stochastic_depth": 0.5}
  expected = first_steps(one, **rates)
  ours = first_steps(
    dataclasses.replace(one, parallel=dataclasses.replace(one.parallel, mode=mode, num_devices=2)),
    **rates,
  )
  without = first_steps(one)
  for name, leaf in expected.items():
    np.testing.assert_allclose(ours[name], leaf, rtol=1e-4, atol=1e-4, err_msg=name)
  assert max(np.abs(without[name] - leaf).max() for name, leaf in expected.items()) > 1e-3


@pytest.mark.slow
def test_drop_connect_drops_the_same_weights_on_two_devices_as_on_one():
  one = tiny.config(seeds=(0,), parallel__steps_per_dispatch=3)
  two = dataclasses.replace(
    one, parallel=dataclasses.replace(one.parallel, mode="pmap", num_devices=2)
  )
  expected, ours, without = (
    first_steps(of, **rates)
    for of, rates in ((one, {"drop_connect": 0.4}), (two, {"drop_connect": 0.4}), (one, {}))
  )
  for name, leaf in expected.items():
    np.testing.assert_allclose(ours[name], leaf, rtol=1e-4, atol=1e-5, err_msg=name)
  assert max(np.abs(without[name] - leaf).max() for name, leaf in expected.items()) > 1e-3


def test_where_a_network_drops_anyway_a_phase_without_an_override_keeps_its_rate():
  of = wide()
  setup, plan = Setup.make(of, tiny.data(of)), tiny.alternating(of, 70, 20)
  for rate, asked in ((0.4, ()), (0.0, ("dropout",))):
    of_seed = dataclasses.replace(
      plan,
      phases=(dataclasses.replace(plan.phases[0], overrides={"dropout": rate}), plan.phases[1]),
    )
    made = setup.trainer(of_seed)
    assert made.program.regularisers == asked
  np.testing.assert_array_equal(made._plan.overrides["dropout"], np.float32([[0.0, 0.4]]))
