"""Exact metrics: sums over a batch of which every example counts once, padding not at all."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from sdt.data.augment import centre_crop, normalise
from sdt.losses import example_losses, is_correct
from sdt.parallel import Layout, padded_batch_size, shard_batch, sum_over


def predict(model: Any, variables: Any, inputs: jax.Array) -> jax.Array:
  """Returns logits [B, K] in evaluation mode: running BatchNorm statistics, no augmentation."""
  return model.apply(variables, inputs, train=False)


def predict_with_features(model: Any, variables: Any, inputs: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Returns `predict`'s logits [B, K] and what the head makes them of, [B, D]."""
  logits, kept = model.apply(variables, inputs, train=False, mutable=["intermediates"])
  return logits, kept["intermediates"]["head"]["inputs"][0]


def batch_sums(logits: jax.Array, labels: jax.Array, mask: jax.Array, axis_name: str | None) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Returns the sums over the valid examples of (loss, number correct, number of examples).

  Args:
    logits: [B, K].
    labels: [B] int32, the loss in nats; or [B, K] float, squared errors, and nothing is correct.
    mask: [B] bool, False for padding.
    axis_name: the device axis to sum over, or None.
  Returns:
    [] float32, [] int32, [] int32.
  """
  losses = jnp.where(mask, example_losses(logits, labels), 0.0)
  correct = mask & is_correct(logits, labels)
  return sum_over(axis_name, (jnp.sum(losses), jnp.sum(correct, dtype=jnp.int32), jnp.sum(mask, dtype=jnp.int32)))


def batch_positions(index: jax.Array, batch_size: int, num_examples: int) -> tuple[jax.Array, jax.Array]:
  """Returns the positions [B] int32 of batch `index` in dataset order, and which of them exist, [B] bool; missing ones point at 0."""
  positions = index * batch_size + jnp.arange(batch_size, dtype=jnp.int32)
  mask = positions < num_examples
  return jnp.where(mask, positions, 0), mask


def batch_inputs(data: Any, split: str, positions: jax.Array, crop_size: int | None) -> jax.Array:
  """Returns what the network sees of the examples at `positions` of a split in evaluation mode: the centre, normalised, not augmented."""
  images = centre_crop(data[f"{split}_inputs"][positions], data[f"{split}_sizes"][positions], crop_size)
  return normalise(images, data["shift"], data["scale"])


def test_sums(
  model: Any, variables: Any, data: Any, index: jax.Array, batch_size: int, crop_size: int | None, layout: Layout
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Returns `batch_sums` of evaluation batch `index` of the test set; batches beyond the end add nothing.

  Args:
    model: the network.
    variables: `params` and `batch_stats` of one replica.
    data: placed test set.
    index: [] int32.
    batch_size: examples per batch, over all devices.
    crop_size: see `batch_inputs`.
    layout: over which devices the batch is divided.
  """
  positions, mask = batch_positions(index, padded_batch_size(batch_size, layout), data["test_labels"].shape[0])
  positions, mask = shard_batch(layout, (positions, mask))
  logits = predict(model, variables, batch_inputs(data, "test", positions, crop_size))
  return batch_sums(logits, data["test_labels"][positions], mask, layout.axis_name)
