"""BatchNorm with statistics of its own for each device's part of the batch."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdt.config.schema import ModelConfig, OptimConfig
from sdt.engine.program import Network
from sdt.engine.state import Position
from sdt.engine.step import train_step
from sdt.models import init_variables, make_model
from sdt.models.norms import BatchNorm
from sdt.run.programs import Setup
from tests.support import one_step, tiny
from tests.support.many_devices import ONE, collectives, first_steps, two_phases, with_parallel
from tests.support.quick import QUICK

NUM_CHANNELS = 4


def twin(x, mask, num_groups, variables, weights):
  """Returns outputs, running statistics and gradients of sum(weights * outputs), in float64 NumPy.

  The sum is over the valid examples.

  A loop over the groups with the formulas of Ioffe and Szegedy 2015, algorithm 1 and section 3.
  """
  x, scale, bias = (
    array.astype(np.float64)
    for array in (x, variables["params"]["scale"], variables["params"]["bias"])
  )
  outputs, gradient = (
    np.zeros_like(x),
    {"x": np.zeros_like(x), "scale": np.zeros(NUM_CHANNELS), "bias": np.zeros(NUM_CHANNELS)},
  )
  moves = {"mean": np.zeros(NUM_CHANNELS), "var": np.zeros(NUM_CHANNELS)}
  for rows in np.array_split(np.arange(len(x)), num_groups):
    rows = rows[mask[rows]]
    if len(rows) == 0:
      continue
    flat, above = (array[rows].reshape(-1, NUM_CHANNELS) for array in (x, weights))
    mean, var = flat.mean(0), flat.var(0)
    spread = np.sqrt(var + 1e-5)
    normal = (flat - mean) / spread
    outputs[rows] = (normal * scale + bias).reshape(x[rows].shape)
    below = scale / spread * (above - above.mean(0) - normal * (above * normal).mean(0))
    gradient["x"][rows] = below.reshape(x[rows].shape)
    gradient["scale"] += (above * normal).sum(0)
    gradient["bias"] += above.sum(0)
    moves["mean"] += mean * len(rows) / mask.sum()
    moves["var"] += var * len(rows) / mask.sum()
  running = {
    name: (0.9 * variables["batch_stats"][name] + 0.1 * moved) for name, moved in moves.items()
  }
  return outputs, running if mask.any() else variables["batch_stats"], gradient


def drawn_case(mask, num_groups, seed):
  """Returns inputs of groups with differing means, weights of the outputs, and variables."""
  rng, num = np.random.default_rng(seed), len(mask)
  x = (
    rng.normal(size=(num, 3, 2, NUM_CHANNELS))
    + 2 * np.repeat(rng.normal(size=num_groups), num // num_groups)[:, None, None, None]
  )
  scale, bias, mean = rng.normal(size=(3, NUM_CHANNELS)).astype(np.float32)
  variables = {
    "params": {"scale": scale, "bias": bias},
    "batch_stats": {"mean": mean, "var": np.exp(mean)},
  }
  return x.astype(np.float32), rng.normal(size=x.shape).astype(np.float32), variables


def valid_sum(norm, params, batch_stats, x, mask, weights):
  """Returns the weighted sum of the valid outputs, the outputs, and the running statistics."""
  outputs, updated = norm.apply(
    {"params": params, "batch_stats": batch_stats},
    x,
    train=True,
    mask=mask,
    mutable=["batch_stats"],
  )
  return jnp.sum(jnp.where(mask[:, None, None, None], outputs * weights, 0.0)), (
    outputs,
    updated["batch_stats"],
  )


@functools.partial(jax.jit, static_argnums=0)
def run(norm, x, mask, weights, variables):
  value = jax.grad(
    lambda params, x: valid_sum(norm, params, variables["batch_stats"], x, mask, weights),
    (0, 1),
    has_aux=True,
  )
  (params, below), (outputs, running) = value(variables["params"], x)
  return outputs, running, {"x": below, **params}


def close(ours, expected, mask, name):
  np.testing.assert_allclose(
    np.asarray(ours[0])[mask], expected[0][mask], rtol=1e-3, atol=1e-3, err_msg=name
  )
  for ours_of, expected_of in zip(ours[1:], expected[1:], strict=True):
    for leaf, value in expected_of.items():
      np.testing.assert_allclose(
        ours_of[leaf], value, rtol=2e-3, atol=2e-3, err_msg=f"{name} {leaf}"
      )


@settings(max_examples=10)
@given(st.sampled_from([2, 3]), st.integers(0, 2**31), st.data())
def test_every_group_is_normalised_by_its_own_valid_examples(num_groups, seed, data):
  # At least two examples of a group, or its spread is that of six values.
  kept = [data.draw(st.sampled_from([0, 2, 3, 4])) for _ in range(num_groups)]
  mask = np.concatenate([np.arange(4) < count for count in kept])
  x, weights, variables = drawn_case(mask, num_groups, seed)
  expected = twin(x, mask, num_groups, variables, weights)
  close(
    run(BatchNorm(num_groups=num_groups), x, mask, weights, variables), expected, mask, "groups"
  )
  # What stands in excluded rows must not matter.
  x[~mask] = np.nan
  outputs, running, _ = run(BatchNorm(num_groups=num_groups), x, mask, weights, variables)
  close((outputs, running), expected[:2], mask, "with NaNs")


on_every_device = jax.pmap(
  functools.partial(run, BatchNorm(num_groups=2, axis_name="data")),
  "data",
  in_axes=(0, 0, 0, None),
)


@pytest.mark.parametrize("kept", [(3, 3), (3, 2), (2, 0), (0, 3), (0, 0)])
def test_under_pmap_every_device_is_a_group(kept):
  mask = np.concatenate([np.arange(3) < count for count in kept])
  x, weights, variables = drawn_case(mask, 2, seed=1)
  parts = [array.reshape(2, 3, *array.shape[1:]) for array in (x, mask, weights)]
  outputs, running, gradient = jax.tree.map(np.asarray, on_every_device(*parts, variables))
  ours = outputs.reshape(x.shape), {name: leaf[0] for name, leaf in running.items()}
  below = {
    "x": gradient["x"].reshape(x.shape),
    "scale": gradient["scale"].sum(0),
    "bias": gradient["bias"].sum(0),
  }
  close((*ours, below), twin(x, mask, 2, variables, weights), mask, "pmap")
  for name, leaf in running.items():
    np.testing.assert_array_equal(leaf[0], leaf[1], err_msg=f"the copies of {name}")
    if not mask.any():
      np.testing.assert_array_equal(leaf[0], variables["batch_stats"][name])


def test_with_equal_parts_the_mean_is_the_batchs_and_the_variance_lacks_the_spread_of_means():
  mask = np.ones(6, bool)
  x, weights, variables = drawn_case(mask, 2, seed=3)
  (_, whole, _), (_, parts, _) = (
    jax.tree.map(np.asarray, run(BatchNorm(num_groups=groups), x, mask, weights, variables))
    for groups in (1, 2)
  )
  np.testing.assert_allclose(parts["mean"], whole["mean"], rtol=1e-5, atol=1e-6)
  means = x.reshape(2, -1, NUM_CHANNELS).mean(1)
  np.testing.assert_allclose(whole["var"] - parts["var"], 0.1 * means.var(0), rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_a_deep_network_survives_a_group_of_padding():
  # Normalised by a variance of zero, padding would grow three hundredfold in every layer: beyond
  # float32 after sixteen of them.
  model = make_model(ModelConfig(name="resnet", blocks=(8,), widths=(4,)), 3, norm_groups=2)
  variables = init_variables(model, (4, 4, 3), 0)
  optim = OptimConfig()
  state = one_step.first_state(variables, optim)
  inputs = np.random.default_rng(0).normal(size=(4, 4, 4, 3)).astype(np.float32)
  inputs[2:] = inputs[0]
  batch = one_step.batch(inputs, np.array([0, 1, 0, 0], np.int32), np.arange(4) < 2)
  train = functools.partial(train_step, network=Network(model, optim))
  step = jax.jit(train, compiler_options=QUICK)
  after, measured = step(state, batch, one_step.now(np.float32(0.1), np.full(1, 1e-4, np.float32)))
  assert np.isfinite(measured.gradient_norm)
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(after))


# Two ResNets for two devices; the groups themselves are tested above.
@pytest.mark.slow
def test_jit_and_pmap_train_alike_by_device_and_a_step_has_one_sum_beside_the_count():
  actual = {}
  for mode in ("jit", "pmap"):
    made = two_phases(with_parallel(ONE, mode=mode, num_devices=2, batch_norm="device"))
    next(made.run(Position()))
    snapshot = made.get_state()
    actual[mode] = snapshot.state, snapshot.sums
    # A step: the number of valid examples; gradients, loss and running statistics. An evaluation
    # batch: the loss, and the counts.
    assert collectives(made) == {"all-reduce": 2 + 2}, mode
  theirs = tiny.leaves(actual["pmap"])
  for name, leaf in tiny.leaves(actual["jit"]).items():
    np.testing.assert_allclose(theirs[name], leaf, rtol=1e-5, atol=1e-5, err_msg=name)
  whole = first_steps(ONE)
  assert not np.allclose(
    actual["jit"][0].params["head"]["kernel"], whole[0].params["head"]["kernel"], rtol=1e-3
  )


@pytest.mark.parametrize("mode", ["jit", "pmap"])
def test_on_one_device_both_settings_are_one_program(mode):
  of = tiny.resnet(parallel__num_devices=1, parallel__mode=mode)
  data = tiny.data(of)
  plan = tiny.alternating(of, len(data.train), 20)
  by_device = Setup.make(with_parallel(of, batch_norm="device"), data).trainer(plan).program
  assert by_device == Setup.make(of, data).trainer(plan).program


def test_recalibration_takes_the_statistics_of_whole_batches():
  of = tiny.resnet(parallel__num_devices=2)
  data = tiny.data(of)
  programs = [
    Setup.make(with_parallel(of, batch_norm=name), data).recalibrator._program
    for name in ("device", "global")
  ]
  assert programs[0] == programs[1]
