"""Makes the batch of a step in the compiled program: gathers, augments, normalises, mixes."""

import jax
from jaxtyping import Array, Bool, Float, Int

from sdt.devices.layout import pad_batch, shard_batch
from sdt.engine.program import Program
from sdt.engine.step import Batch, StepNow
from sdt.inputs.augment import Draws, augment, draw, output_size
from sdt.inputs.device_data import DeviceData
from sdt.inputs.mixup import Mixture, mix, mixing_weight, partners
from sdt.inputs.preprocess import prepare
from sdt.types import PyTree


def make_batch(
  program: Program,
  data: DeviceData,
  now: StepNow,
  ids: Int[Array, "B"],
  mask: Bool[Array, "B"],
  offset: Int[Array, ""],
) -> Batch:
  """Returns this device's part of the batch of a step.

  Args:
    program: the static part.
    data: the data set, with the inputs of this replica where they are streamed.
    now: for its keys and regularisers (`augment_strength`, `mixup_alpha`).
    ids: [B] int32, of the examples of the whole batch.
    mask: [B] bool, which of them count.
    offset: [] int32, number of the step in the dispatch.
  """
  inputs, rows = data.train.rows_of(ids, offset)
  output = output_size(inputs.shape[1:], program.crop_size)
  strength = now.overrides.get("augment_strength")
  sizes = data.train.sizes[ids]
  draws = draw(now.keys.augment, sizes, output, config=program.augment, strength=strength)
  whole = pad_to(program.padded_train_batch_size, (ids, rows, mask, draws))

  def seen(rows: Int[Array, "b"], draws: Draws) -> Float[Array, "b ..."]:
    images = augment(inputs[rows], draws, output, config=program.augment)
    return prepare(images, data.preparation)

  if "mixup_alpha" not in now.overrides:
    ids, rows, mask, draws = shard_batch(program.layout, whole)
    return Batch(ids, seen(rows, draws), data.train.labels[ids], mask=mask)
  # The partners are found before the batch is divided, and every device makes the inputs of its
  # partners itself: no device waits for another.
  ids, rows, mask, draws = whole
  others = jax.tree.map(lambda array: array[partners(mask)], (ids, rows, draws))
  ids, rows, mask, draws, others = shard_batch(program.layout, (ids, rows, mask, draws, others))
  weight = mixing_weight(now.keys.mixup, now.overrides["mixup_alpha"])
  mixture = Mixture(data.train.labels[others[0]], weight)
  mixed = mix(seen(rows, draws), seen(*others[1:]), mixture.weight)
  return Batch(ids, mixed, data.train.labels[ids], mask=mask, mixture=mixture)


def pad_to(size: int, tree: PyTree) -> PyTree:
  """Returns the tree of arrays [B, ...] padded with zeros to [size, ...]."""
  return jax.tree.map(lambda array: pad_batch(array, size), tree)
