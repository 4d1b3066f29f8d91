"""Batched augmentation and normalisation, inside the compiled step. Scoring and evaluation only normalise."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from sdt.config import AugmentConfig


def normalise(inputs: jax.Array, mean: jax.Array, std: jax.Array, dtype: Any) -> jax.Array:
  """Returns (x / 255 - mean) / std of uint8 images, (x - mean) / std of float features, as `dtype`.

  Args:
    inputs: [..., C] uint8 in [0, 255], or float32 features.
    mean: [C] float32, in units of pixel / 255 (or of the feature).
    std: [C] float32, the same units, positive.
  """
  unit = 255.0 if inputs.dtype == jnp.uint8 else 1.0
  scale = 1.0 / (std.astype(dtype) * unit)
  offset = -mean.astype(dtype) / std.astype(dtype)
  broadcast = (1,) * (inputs.ndim - 1) + (-1,)
  return inputs.astype(dtype) * scale.reshape(broadcast) + offset.reshape(broadcast)


def draw(key: jax.Array, batch_size: int, config: AugmentConfig) -> tuple[jax.Array, jax.Array]:
  """Returns the random numbers of one batch: crop offsets [B, 2] int32 in [0, 2 * pad], flips [B] bool.

  Drawn for the whole batch before it is divided over devices, so that the number of devices changes nothing.
  """
  crop_key, flip_key = jax.random.split(key)
  offsets = jax.random.randint(crop_key, (batch_size, 2), 0, 2 * config.pad_crop + 1, jnp.int32)
  flips = jax.random.bernoulli(flip_key, 0.5, (batch_size,)) if config.flip else jnp.zeros((batch_size,), bool)
  return offsets, flips


def crop_and_flip(images: jax.Array, offsets: jax.Array, flips: jax.Array, pad: int) -> jax.Array:
  """Returns the images zero-padded by `pad` pixels, cropped back to their size at `offsets`, and mirrored where `flips`.

  Args:
    images: [B, H, W, C] uint8. Zero is black: the padding is laid before normalisation.
    offsets: [B, 2] int32 in [0, 2 * pad]: first row and first column of the crop in the padded image.
    flips: [B] bool.
    pad: pixels on each side.
  Returns:
    [B, H, W, C] uint8.
  Source: He et al. 2016, section 4.2. Differs from source: none. One gather instead of a `dynamic_slice` per image, which is an order of
  magnitude slower in a loop on CPU.
  """
  batch_size, height, width, _ = images.shape
  padded = jnp.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
  column = jnp.arange(width, dtype=jnp.int32)[None, :]
  columns = offsets[:, 1:] + jnp.where(flips[:, None], width - 1 - column, column)
  rows = offsets[:, :1] + jnp.arange(height, dtype=jnp.int32)[None, :]
  example = jnp.arange(batch_size, dtype=jnp.int32)[:, None, None]
  return padded.at[example, rows[:, :, None], columns[:, None, :]].get(mode="promise_in_bounds")


def augment(inputs: jax.Array, offsets: jax.Array, flips: jax.Array, config: AugmentConfig) -> jax.Array:
  """Returns the augmented batch, same shape and dtype; features ([B, D]) and switched-off augmentation pass through."""
  if inputs.ndim != 4 or not (config.pad_crop or config.flip):
    return inputs
  return crop_and_flip(inputs, offsets, flips, config.pad_crop)
