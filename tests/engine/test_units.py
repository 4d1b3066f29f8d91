"""Dead and saturated units and the spread of activations, against NumPy."""

import dataclasses

import jax
import numpy as np
import pytest

from sdt.engine.units import batch_of, layer_units, units_of
from sdt.inputs.preprocess import Preparation, prepare
from sdt.run.programs import Setup
from tests.support import tiny


def test_the_units_of_a_layer_are_counted_as_numpy_counts_them():
  rng = np.random.default_rng(0)
  outputs = np.tanh(3 * rng.normal(size=(6, 2, 2, 5))).astype(np.float32)
  outputs[..., 1] = 0.25
  found = jax.jit(layer_units, static_argnums=1)(outputs, "tanh")
  flat = outputs.reshape(-1, 5).astype(np.float64)
  assert found.dead == pytest.approx(1 / 5)
  assert found.saturated == pytest.approx(np.mean(np.abs(flat) > 0.98))
  np.testing.assert_allclose([found.mean, found.sd], [flat.mean(), flat.std()], rtol=1e-5)
  assert np.isnan(jax.jit(layer_units, static_argnums=1)(outputs, "relu").saturated)


def test_the_batch_is_drawn_prepared_and_the_same_for_all():
  config = tiny.config(data__normalise="pixel")
  data = tiny.data(config)
  by = Preparation.of(data.mean, data.std, data.steps, dtype=np.uint8)
  everything = np.asarray(jax.jit(prepare)(data.train.inputs, by))
  batch = batch_of(data, None, 16)
  rows = [np.flatnonzero((everything == one).all(axis=(1, 2, 3))) for one in batch]
  assert all(len(row) == 1 for row in rows)
  np.testing.assert_array_equal(batch, batch_of(data, None, 16))


def test_planted_dead_units_are_found_in_their_layer_and_seed():
  config = tiny.config(model__hidden_sizes=(16, 8))
  data = tiny.data(config)
  setup = Setup.make(config, data)
  state = setup.fresh_start.state
  params = jax.tree.map(np.array, state.params)
  params["hidden2"]["kernel"][1, :, :3] = 0
  params["hidden2"]["bias"][1, :3] = -1
  batch = batch_of(data, None, 16)
  state = dataclasses.replace(state, params=params)
  first, second = units_of(setup.model, "relu", state, inputs=batch)
  assert [layer["layer"] for layer in first] == ["1", "2"]
  inputs = batch.reshape(len(batch), -1).astype(np.float64)
  for seed, layers in enumerate((first, second)):
    x = inputs
    for name, layer in zip(("hidden1", "hidden2"), layers, strict=True):
      kernel, bias = params[name]["kernel"][seed], params[name]["bias"][seed]
      x = np.maximum(x @ kernel + bias, 0)
      assert layer["dead"] == pytest.approx(np.mean(np.ptp(x, axis=0) == 0))
      np.testing.assert_allclose([layer["mean"], layer["sd"]], [x.mean(), x.std()], rtol=1e-4)
  assert second[1]["dead"] >= 3 / 8 > first[1]["dead"]


def test_every_activation_of_a_residual_network_has_a_row_with_its_place():
  config = tiny.resnet(seeds=(0,))
  data = tiny.data(config)
  setup = Setup.make(config, data)
  state = setup.fresh_start.state
  (layers,) = units_of(setup.model, "relu", state, inputs=batch_of(data, None, 16))
  names = [layer["layer"] for layer in layers]
  assert [name.split()[0] for name in names] == [str(n + 1) for n in range(len(names))]
  assert len(names) == 3
  assert len({name.partition(" ")[2] for name in names}) > 1
