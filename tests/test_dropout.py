"""Dropout: the layer by its definition, and in the engine on one device and on two."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from sdt.dispatch import Position
from sdt.models.layers import Dropout


def dropped(x, rate, seed=0, **options):
  return Dropout(rate, **options).apply({}, x, train=True, rngs={"dropout": jax.random.key(seed)})


def test_values_are_dropped_at_the_rate_and_the_mean_is_kept():
  x = jnp.full((50, 8, 8, 10), 3.0)
  y = np.asarray(dropped(x, 0.3))
  assert set(np.unique(y)) == {np.float32(0.0), np.float32(3.0 / 0.7)}
  share = (y == 0).mean()
  assert abs(share - 0.3) < 5 * np.sqrt(0.3 * 0.7 / y.size)
  assert abs(y.mean() - 3.0) < 0.05


def test_evaluation_and_rate_zero_change_nothing_and_need_no_key():
  x = jnp.arange(6.0).reshape(2, 3)
  assert Dropout(0.5).apply({}, x, train=False) is x
  assert Dropout(0.0).apply({}, x, train=True) is x


def test_the_gradient_passes_where_the_value_passed():
  x = jnp.ones((4, 5))
  y, gradient = jax.value_and_grad(lambda x: dropped(x, 0.5).sum())(x)
  np.testing.assert_array_equal(gradient, dropped(x, 0.5))
  assert float(y) == float(gradient.sum())


def test_two_devices_drop_what_one_drops():
  x = jnp.ones((6, 5))
  halves = jax.pmap(lambda x: dropped(x, 0.5, axis_name="data"), axis_name="data")(x.reshape(2, 3, 5))
  np.testing.assert_array_equal(halves.reshape(6, 5), dropped(x, 0.5))


def wide(**changes):
  network = {"model__name": "wrn", "model__hidden_sizes": None, "model__depth": 10, "model__widen_factor": 1, "model__dropout": 0.4}
  return tiny.config(seeds=(0,), parallel__steps_per_dispatch=3, **(network | changes))


def first_steps(of):
  made = tiny.trainer(of, tiny.everything(of, 70))
  next(made.run(Position()))
  return tiny.leaves(made.get_state()[0].params)


@pytest.mark.parametrize("mode", ["jit", "pmap"])
def test_a_wide_resnet_with_dropout_trains_on_two_devices_as_on_one(mode):
  one = wide()
  expected = first_steps(one)
  ours = first_steps(dataclasses.replace(one, parallel=dataclasses.replace(one.parallel, mode=mode, num_devices=2)))
  without = first_steps(wide(model__dropout=None))
  for name, leaf in expected.items():
    np.testing.assert_allclose(ours[name], leaf, rtol=1e-4, atol=1e-4, err_msg=name)
  assert max(np.abs(without[name] - leaf).max() for name, leaf in expected.items()) > 1e-3
