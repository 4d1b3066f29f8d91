"""Exact metrics: sums over a batch in which every example counts once and padding not at all."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Int32, Shaped

from sdt.arrays import AnyArray
from sdt.devices.layout import shard_batch, sum_over
from sdt.engine.program import PassProgram
from sdt.inputs.augment import centre_crop
from sdt.inputs.device_data import DeviceData, Split
from sdt.inputs.preprocess import prepare
from sdt.losses import example_losses, is_correct
from sdt.types import Leaf, Model, Variables


class BatchSums(NamedTuple):
  """Sums over the valid examples of a batch: [] float32, [] int32, [] int32."""

  loss: Leaf
  correct: Leaf
  count: Leaf


def predict(
  model: Model, variables: Variables, inputs: Shaped[AnyArray, "B ..."]
) -> Float[Array, "B K"]:
  """Returns logits [B, K] in evaluation mode: running BatchNorm statistics, no augmentation."""
  return model.apply(variables, inputs, train=False)


def predict_with_features(
  model: Model, variables: Variables, inputs: Shaped[AnyArray, "B ..."]
) -> tuple[Float[Array, "B K"], Float[Array, "B D"]]:
  """Returns `predict`'s logits [B, K] and the inputs of the head, [B, D]."""
  logits, kept = model.apply(variables, inputs, train=False, mutable=["intermediates"])
  return logits, kept["intermediates"]["head"]["inputs"][0]


def batch_sums(
  logits: Float[Array, "B K"],
  labels: Shaped[Array, "B ..."],
  mask: Bool[Array, "B"],
  axis_name: str | None,
) -> BatchSums:
  """Returns the sums over the valid examples of (loss, number correct, number of examples).

  Args:
    logits: [B, K].
    labels: [B] int32, the loss in nats; or [B, K] float, squared errors, and nothing is correct.
    mask: [B] bool, False for padding.
    axis_name: the device axis to sum over, or None.
  """
  losses = jnp.where(mask, example_losses(logits, labels), 0.0)
  correct = mask & is_correct(logits, labels)
  sums = jnp.sum(losses), jnp.sum(correct, dtype=jnp.int32), jnp.sum(mask, dtype=jnp.int32)
  return BatchSums(*sum_over(axis_name, sums))


def batch_positions(
  index: Int[Array, ""], batch_size: int, num_examples: int
) -> tuple[Int32[Array, "B"], Bool[Array, "B"]]:
  """Returns the positions [B] of batch `index` in dataset order, and which exist; others are 0."""
  positions = index * batch_size + jnp.arange(batch_size, dtype=jnp.int32)
  mask = positions < num_examples
  return jnp.where(mask, positions, 0), mask


def batch_images(
  program: PassProgram, split: Split, positions: Int[Array, "B"], offset: Int[Array, ""]
) -> tuple[Shaped[Array, "b ..."], Int[Array, "b 2"]]:
  """Returns the inputs of a batch as they are stored, and their sizes; see `batch_inputs`."""
  inputs, rows = split.rows_of(positions, offset)
  positions, rows = shard_batch(program.layout, (positions, rows))
  return inputs[rows], split.sizes[positions]


def batch_inputs(
  program: PassProgram,
  data: DeviceData,
  split: Split,
  positions: Int[Array, "B"],
  offset: Int[Array, ""],
) -> Float[Array, "b ..."]:
  """Returns what the network sees of a batch in evaluation mode: the centre, normalised.

  Args:
    program: says the size of the centre and over which devices the batch is divided.
    data: the data set.
    split: which of its splits.
    positions: [B] int32 of the examples in the split.
    offset: [] int32, number of the batch in the dispatch.
  Returns:
    This device's part of the batch, [b, ...].
  """
  images, sizes = batch_images(program, split, positions=positions, offset=offset)
  return prepare(centre_crop(images, sizes, program.crop_size), data.preparation)


class TestBatch(NamedTuple):
  """What a network says of an evaluation batch of the test set: `batch_sums` has the shapes."""

  logits: Leaf
  labels: Leaf
  mask: Leaf
  axis_name: str | None


def test_batch(
  program: PassProgram,
  variables: Variables,
  data: DeviceData,
  first: Int[Array, ""],
  offset: Int[Array, ""],
) -> TestBatch:
  """Returns evaluation batch `first + offset` of the test set; beyond its end nothing is valid.

  Args:
    program: the static part.
    variables: of one replica.
    data: the data set.
    first: [] int32, first batch of the dispatch.
    offset: [] int32, number of the batch in the dispatch.
  """
  layout, labels = program.layout, data.test.labels
  positions, mask = batch_positions(first + offset, program.padded_eval_batch_size, labels.shape[0])
  inputs = batch_inputs(program, data, data.test, positions=positions, offset=offset)
  positions, mask = shard_batch(layout, (positions, mask))
  logits = predict(program.model, variables, inputs)
  return TestBatch(logits, labels[positions], mask, axis_name=layout.axis_name)


def test_set_sums(
  program: PassProgram,
  variables: Variables,
  data: DeviceData,
  first: Int[Array, ""],
  offset: Int[Array, ""],
) -> BatchSums:
  """Returns `batch_sums` of a `test_batch`."""
  return batch_sums(*test_batch(program, variables, data, first=first, offset=offset))
