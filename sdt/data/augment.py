"""Batched augmentation and normalisation, inside the compiled step. Scoring and evaluation only normalise."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sdt.config import AugmentConfig


def shift_and_scale(mean: np.ndarray, std: np.ndarray, dtype: Any) -> tuple[np.ndarray, np.ndarray]:
  """Returns what `normalise` needs, float32 [C] each: (255 mean, 1 / (255 std)) for uint8 inputs, (mean, 1 / std) for features.

  On the host: a division inside the program is rewritten or hoisted by the compiler as the loop around it permits, to other last bits.
  """
  unit = 255.0 if dtype == np.uint8 else 1.0
  return (mean.astype(np.float64) * unit).astype(np.float32), (1.0 / (std.astype(np.float64) * unit)).astype(np.float32)


def normalise(inputs: jax.Array, shift: jax.Array, scale: jax.Array) -> jax.Array:
  """Returns (x - shift) * scale, float32: (x / 255 - mean) / std of images, (x - mean) / std of features.

  Args:
    inputs: [..., C] uint8 in [0, 255], or float32 features.
    shift: [C] float32, see `shift_and_scale`. Subtracted first: features may lie far from 0, measured in their spread.
    scale: [C] float32.
  """
  broadcast = (1,) * (inputs.ndim - 1) + (-1,)
  return (inputs.astype(jnp.float32) - shift.reshape(broadcast)) * scale.reshape(broadcast)


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
  Source: He et al. 2016, section 4.2, as the field's trainers do it on raw pixels. Differs from source: padding is black, where
  the paper pads after subtracting the mean image. One gather instead of a `dynamic_slice` per image, which is ten times slower on a CPU.
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
