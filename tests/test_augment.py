"""Augmentation and normalisation against slow NumPy twins with the same random numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sdt.config import AugmentConfig
from sdt.data.augment import augment, crop_and_flip, draw, normalise, shift_and_scale


def twin(images, offsets, flips, pad):
  out = np.zeros_like(images)
  for index, image in enumerate(images):
    padded = np.pad(image, ((pad, pad), (pad, pad), (0, 0)))
    row, column = offsets[index]
    crop = padded[row : row + image.shape[0], column : column + image.shape[1]]
    out[index] = crop[:, ::-1] if flips[index] else crop
  return out


@pytest.mark.parametrize(("shape", "pad"), [((6, 5, 7, 3), 2), ((4, 8, 8, 1), 1), ((3, 4, 4, 3), 0), ((2, 2, 2, 1), 5)])
def test_crop_and_flip_equal_the_numpy_twin(shape, pad):
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, shape, dtype=np.uint8)
  offsets = rng.integers(0, 2 * pad + 1, (shape[0], 2)).astype(np.int32)
  flips = rng.random(shape[0]) < 0.5
  ours = jax.jit(crop_and_flip, static_argnums=3)(images, jnp.asarray(offsets), jnp.asarray(flips), pad)
  assert ours.dtype == jnp.uint8
  np.testing.assert_array_equal(ours, twin(images, offsets, flips, pad))


def test_a_two_by_three_image_by_hand():
  image = np.arange(1, 7, dtype=np.uint8).reshape(1, 2, 3, 1)
  ours = crop_and_flip(image, jnp.array([[0, 2]], jnp.int32), jnp.array([True]), 1)[0, :, :, 0]
  np.testing.assert_array_equal(ours, [[0, 0, 0], [0, 3, 2]])  # up by one, right by one, then mirrored


def test_draws_are_uniform_over_offsets_and_fair_over_flips():
  offsets, flips = draw(jax.random.key(0), 5000, AugmentConfig(pad_crop=2, flip=True))
  for axis in range(2):
    counts = np.bincount(offsets[:, axis], minlength=5)
    assert len(counts) == 5
    assert ((counts - 1000) ** 2 / 1000).sum() < 18.5
  assert abs(int(flips.sum()) - 2500) < 150


def test_offsets_and_flips_are_independent():
  offsets, flips = draw(jax.random.key(1), 5000, AugmentConfig(pad_crop=2, flip=True))
  columns = [np.asarray(offsets[:, 0]), np.asarray(offsets[:, 1]), np.asarray(flips)]
  correlations = np.corrcoef(np.array(columns, float))[np.triu_indices(3, 1)]
  assert (np.abs(correlations) < 0.06).all()  # 4 standard errors


def test_switched_off_augmentation_returns_the_batch_and_features_pass_through():
  images = jnp.arange(48, dtype=jnp.uint8).reshape(1, 4, 4, 3)
  config = AugmentConfig()
  np.testing.assert_array_equal(augment(images, *draw(jax.random.key(0), 1, config), config), images)
  features = jnp.ones((3, 5))
  config = AugmentConfig(pad_crop=2, flip=True)
  np.testing.assert_array_equal(augment(features, *draw(jax.random.key(0), 3, config), config), features)


def test_normalise_equals_float64_numpy():
  rng = np.random.default_rng(1)
  images = rng.integers(0, 256, (4, 5, 6, 3), dtype=np.uint8)
  mean, std = np.array([0.4914, 0.4822, 0.4465]), np.array([0.2023, 0.1994, 0.2010])
  ours = normalise(jnp.asarray(images), *shift_and_scale(mean, std, images.dtype))
  np.testing.assert_allclose(ours, (images / 255 - mean) / std, rtol=0, atol=2e-6)
  features = rng.normal(size=(7, 3)).astype(np.float32)
  ours = normalise(jnp.asarray(features), *shift_and_scale(mean, std, features.dtype))
  np.testing.assert_allclose(ours, (features - mean) / std, rtol=0, atol=2e-5)


def test_features_far_from_zero_keep_their_digits():
  features = (1e6 + np.random.default_rng(0).normal(size=(50, 1))).astype(np.float32)
  ours = normalise(jnp.asarray(features), *shift_and_scale(np.array([1e6]), np.array([1.0]), features.dtype))
  np.testing.assert_allclose(ours, features.astype(np.float64) - 1e6, atol=1e-6)
