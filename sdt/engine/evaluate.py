"""Exact metrics: sums over a batch of which every example counts once, padding not at all."""

from __future__ import annotations

from typing import Any, Protocol

import jax
import jax.numpy as jnp

from sdt.devices.layout import Layout, padded_batch_size, shard_batch, sum_over
from sdt.inputs.augment import centre_crop, normalise
from sdt.inputs.order import rows_of
from sdt.losses import example_losses, is_correct


def predict(model: Any, variables: Any, inputs: jax.Array) -> jax.Array:
  """Returns logits [B, K] in evaluation mode: running BatchNorm statistics, no augmentation."""
  return model.apply(variables, inputs, train=False)


def predict_with_features(
  model: Any, variables: Any, inputs: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """Returns `predict`'s logits [B, K] and what the head makes them of, [B, D]."""
  logits, kept = model.apply(variables, inputs, train=False, mutable=["intermediates"])
  return logits, kept["intermediates"]["head"]["inputs"][0]


def batch_sums(
  logits: jax.Array, labels: jax.Array, mask: jax.Array, axis_name: str | None
) -> tuple[jax.Array, jax.Array, jax.Array]:
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
  return sum_over(
    axis_name, (jnp.sum(losses), jnp.sum(correct, dtype=jnp.int32), jnp.sum(mask, dtype=jnp.int32))
  )


def batch_positions(
  index: jax.Array, batch_size: int, num_examples: int
) -> tuple[jax.Array, jax.Array]:
  """Returns the positions [B] int32 of batch `index` in dataset order, and which of them exist, [B]
  bool; missing ones point at 0.
  """
  positions = index * batch_size + jnp.arange(batch_size, dtype=jnp.int32)
  mask = positions < num_examples
  return jnp.where(mask, positions, 0), mask


def batch_inputs(
  data: Any,
  split: str,
  positions: jax.Array,
  offset: jax.Array,
  crop_size: int | None,
  is_streamed: bool,
  layout: Layout,
) -> jax.Array:
  """Returns what the network sees of a batch in evaluation mode: the centre, normalised, not
  augmented; this device's part of it.

  Args:
    data: placed data set; see `rows_of` for its inputs.
    split: train or test.
    positions: [B] int32 of the examples in the split.
    offset: [] int32, number of the batch in the dispatch.
    crop_size: pixels a side of the centre; None for the whole image.
    is_streamed: see `rows_of`.
    layout: over which devices the batch is divided.
  """
  inputs, rows = rows_of(data[f"{split}_inputs"], offset, positions, is_streamed=is_streamed)
  positions, rows = shard_batch(layout, (positions, rows))
  return normalise(
    centre_crop(inputs[rows], data[f"{split}_sizes"][positions], crop_size),
    data["shift"],
    data["scale"],
  )


class EvalProgram(Protocol):
  """What `test_sums` must know of the program that it is a part of.

  Attributes:
    model: the network.
    layout: over which devices a batch is divided.
    crop_size: see `batch_inputs`.
    eval_batch_size: examples per batch, over all devices.
    is_streamed: see `rows_of`.
  """

  @property
  def model(self) -> Any: ...
  @property
  def layout(self) -> Layout: ...
  @property
  def crop_size(self) -> int | None: ...
  @property
  def eval_batch_size(self) -> int: ...
  @property
  def is_streamed(self) -> bool: ...


def test_sums(
  program: EvalProgram, variables: Any, data: Any, first: jax.Array, offset: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Returns `batch_sums` of evaluation batch `first + offset` of the test set; batches beyond the
  end add nothing.

  Args:
    program: the static part.
    variables: `params` and `batch_stats` of one replica.
    data: placed test set.
    first: [] int32, first batch of the dispatch.
    offset: [] int32, number of the batch in the dispatch.
  """
  layout, size = program.layout, padded_batch_size(program.eval_batch_size, program.layout)
  positions, mask = batch_positions(first + offset, size, data["test_labels"].shape[0])
  inputs = batch_inputs(
    data,
    "test",
    positions,
    offset=offset,
    crop_size=program.crop_size,
    is_streamed=program.is_streamed,
    layout=layout,
  )
  positions, mask = shard_batch(layout, (positions, mask))
  return batch_sums(
    predict(program.model, variables, inputs),
    data["test_labels"][positions],
    mask,
    axis_name=layout.axis_name,
  )
