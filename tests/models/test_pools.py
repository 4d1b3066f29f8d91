"""Pooling by name, against torch; where fractional pooling looks, and that devices agree."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sdt.config.schema import ModelConfig
from sdt.errors import ConfigError
from sdt.models import init_variables, make_model
from sdt.models.pools import (
  FractionalMaxPool,
  adaptive_average_pool,
  average_pool,
  maxima_at,
  window_starts,
)
from tests.golden import drawn
from tests.support import torch_blocks

X = torch_blocks.values("x")


def test_the_mean_of_overlapping_windows_is_torchs():
  torch_blocks.check("average", lambda x: average_pool(x, 3, 2), {"x": X})


@pytest.mark.parametrize("size", [3, 5, 11])
def test_the_mean_of_windows_that_cover_the_image_is_torchs(size):
  torch_blocks.check(f"adaptive{size}", lambda x: adaptive_average_pool(x, size), {"x": X})


def test_an_image_of_the_size_asked_for_stays_as_it_is():
  x = jnp.ones((1, 6, 6, 2), jnp.float32)
  assert adaptive_average_pool(x, 6) is x


def test_fractional_pooling_at_given_places_is_torchs():
  def pool(x):
    for axis, num, place in ((1, 5, drawn.PLACES[0]), (2, 4, drawn.PLACES[1])):
      x = maxima_at(x, window_starts(x.shape[axis], num, place), axis)
    return x

  torch_blocks.check("fractional_max", pool, {"x": X})


@pytest.mark.parametrize(("pixels", "ratio"), [(32, 1.4142), (8, 1.3), (2, 2.0), (9, 2.0)])
def test_windows_lie_within_the_image_in_order_and_reach_its_end(pixels, ratio):
  num = int(pixels / ratio)
  for place in (0.0, 0.5, 0.999):
    starts = window_starts(pixels, num, place)
    assert starts.min() >= 0
    assert starts[-1] == pixels - 2
    assert (np.diff(starts) >= 1).all()


@functools.partial(jax.jit, static_argnames="train")
def pooled(x, key, train):
  return FractionalMaxPool(1.5).apply({}, x, train=train, rngs={"dropout": key})


def test_places_are_drawn_in_training_and_fixed_in_evaluation(key):
  x = np.arange(2 * 9 * 9, dtype=np.float32).reshape(2, 9, 9, 1)
  drawings = {pooled(x, jax.random.key(seed), train=True).tobytes() for seed in range(5)}
  assert len(drawings) > 1
  fixed = pooled(x, key, train=False)
  assert fixed.shape == (2, 6, 6, 1)
  np.testing.assert_array_equal(fixed, pooled(x, jax.random.key(1), train=False))
  # The same places in every example.
  drawn_places = np.asarray(pooled(x, key, train=True))
  np.testing.assert_array_equal(drawn_places[1] - drawn_places[0], 81.0)


def test_vgg_halves_by_the_root_of_two_with_fractional_pooling(key):
  keys = {"blocks": (1, 1), "widths": (4, 4)}
  model = make_model(ModelConfig(name="vgg16", pool="fractional_max", **keys), 3)
  variables = init_variables(model, (32, 32, 1), 0)
  x = np.zeros((2, 32, 32, 1), np.float32)
  apply = functools.partial(model.apply, train=True, mutable=["batch_stats", "intermediates"])
  _, kept = jax.eval_shape(lambda v, x, k: apply(v, x, rngs={"dropout": k}), variables, x, key)
  assert kept["intermediates"]["feature_map"][0].shape == (2, 15, 15, 4)


def test_a_network_that_does_not_pool_refuses_it():
  with pytest.raises(ConfigError, match=r"model.pool='average' does not apply"):
    make_model(ModelConfig(name="resnet20", pool="average"), 3)
