"""Makes the batch of a step in the compiled program: gathers, augments, normalises, mixes."""

import operator

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from sdt.config.toolbox.operation_blocks import SMOTE, strength_of
from sdt.devices.layout import pad_batch, padded_batch_size, shard_batch
from sdt.engine.examples import StepExamples
from sdt.engine.program import Program
from sdt.engine.semi import SEMI, Mixing, Unlabelled, draw_mixing, given
from sdt.engine.step import Batch, StepNow
from sdt.inputs.augment import output_size
from sdt.inputs.device_data import DeviceData
from sdt.inputs.operations.mixing import MIXERS, Mixture, partners
from sdt.inputs.operations.pipeline import Draws, augment, draw
from sdt.inputs.operations.smote import between
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
    now: for its keys and regularisers (`augment_strength`, the strengths of the operations).
    ids: [B] int32, of the examples of the whole batch.
    mask: [B] bool, which of them count.
    offset: [] int32, number of the step in the dispatch.
  """
  inputs, rows = data.train.rows_of(ids, offset)
  output = output_size(inputs.shape[1:], program.crop_size)
  sizes, pipeline = data.train.sizes[ids], program.augment
  strengths = {**now.overrides, **now.of_examples(program.by_part, ids)}
  draws = draw(now.keys.augment, sizes, output, pipeline=pipeline, strengths=strengths)
  whole = pad_to(program.padded_train_batch_size, (ids, rows, mask, draws))

  def seen(rows: Int[Array, "b"], draws: Draws) -> Float[Array, "b ..."]:
    near = data.train.neighbours
    # The rows of inputs with neighbours are their ids: such inputs are whole.
    own = inputs[rows] if near is None else between(inputs, rows, near, drawn=draws[SMOTE])
    images = augment(own, draws, output, pipeline=pipeline, mean=data.preparation.mean_colour)
    return prepare(images, data.preparation)

  if program.mixing is None:
    ids, rows, mask, draws = shard_batch(program.layout, whole)
    own = now.of_examples(program.by_part, ids)
    return Batch(ids, seen(rows, draws), data.train.labels[ids], mask=mask, by_example=own)
  mixer = MIXERS[program.mixing]
  # The partners are found before the batch is divided, and every device makes the inputs of its
  # partners itself: no device waits for another.
  ids, rows, mask, draws = whole
  places = [partners(mask, number + 1) for number in range(mixer.partners)]
  others = [jax.tree.map(operator.itemgetter(at), (ids, rows, draws)) for at in places]
  ids, rows, mask, draws, others = shard_batch(program.layout, (ids, rows, mask, draws, others))
  drawn = mixer.draw(now.keys.mixup, _mixing_strength(program, now), output)
  mixed = mixer.mix([seen(rows, draws), *(seen(*other[1:]) for other in others)], drawn)
  labels = tuple(data.train.labels[other[0]] for other in others)
  mixture = Mixture(labels, mixer.weights(drawn, output))
  own = now.of_examples(program.by_part, ids)
  labels = data.train.labels[ids]
  return Batch(ids, mixed, labels, mask=mask, mixture=mixture, by_example=own)


def make_unlabelled(
  program: Program, data: DeviceData, now: StepNow, examples: StepExamples, *, at: Int[Array, ""]
) -> Unlabelled:
  """Returns this device's part of the unlabelled examples of a step, augmented twice.

  Zeros where the step learns nothing from them.

  Args:
    program: the static part.
    data: the data set, with the unlabelled inputs of this replica where they are streamed.
    now: for its keys, regularisers and numbers.
    examples: of the step, the labelled and the unlabelled ones.
    at: [] int32, number of the step in the dispatch.
  """

  def make() -> Unlabelled:
    return _augmented_twice(program, data, now, examples=examples, at=at)

  nothing = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(make))
  return jax.lax.cond(given(now.semi)["acts"], make, lambda: nothing)


def _augmented_twice(
  program: Program, data: DeviceData, now: StepNow, examples: StepExamples, *, at: Int[Array, ""]
) -> Unlabelled:
  semi, split, others = given(program.semi), given(data.unlabelled), given(examples.unlabelled)
  inputs, rows = split.rows_of(others.ids, at)
  output, sizes = output_size(inputs.shape[1:], program.crop_size), split.sizes[others.ids]
  # The operations of each time, and the numbers that a phase overrides.
  weak, scale = (program.augment, now.overrides), now.overrides.get("augment_strength")
  strong = {} if scale is None else {"augment_strength": scale}
  times = (weak, weak if semi.strong is None else (semi.strong, strong))
  *keys, mixing_key = jax.random.split(now.keys.unlabelled, len(times) + 1)
  drawn = [
    draw(key, sizes, output, pipeline=pipeline, strengths=strengths)
    for key, (pipeline, strengths) in zip(keys, times, strict=True)
  ]
  mixing = _draw_mixing(program, now, examples, key=mixing_key)
  whole = pad_to(padded_batch_size(semi.batch_size, program.layout), (rows, others.mask, drawn))
  rows, mask, drawn = shard_batch(program.layout, whole)
  first, second = (
    prepare(
      augment(inputs[rows], draws, output, pipeline=pipeline, mean=data.preparation.mean_colour),
      data.preparation,
    )
    for draws, (pipeline, _) in zip(drawn, times, strict=True)
  )
  return Unlabelled(first, second, mask, mixing=mixing)


def _draw_mixing(
  program: Program, now: StepNow, examples: StepExamples, key: jax.Array
) -> Mixing | None:
  """Returns this device's part of how the batch of a step is mixed; None where it is not."""
  semi, others = given(program.semi), given(examples.unlabelled)
  if not SEMI[semi.name].mixes:
    return None
  padded = padded_batch_size(semi.batch_size, program.layout)
  whole = draw_mixing(
    key,
    (examples.mask, others.mask, others.mask),
    given(now.semi)["mixing_alpha"],
    padded=(program.padded_train_batch_size, padded, padded),
  )
  return jax.tree.map(lambda array: shard_batch(program.layout, array), whole)


def _mixing_strength(program: Program, now: StepNow) -> Float[Array, ""]:
  """Returns alpha of the mixing; `augment_strength` scales that of an operation in augment.ops."""
  alpha: jax.Array = now.overrides[strength_of(program.mixing or "")]
  if program.augment.mixing is None or "augment_strength" not in now.overrides:
    return alpha
  return alpha * now.overrides["augment_strength"]


def pad_to(size: int, tree: PyTree) -> PyTree:
  """Returns the tree of arrays [B, ...] padded with zeros to [size, ...]."""
  return jax.tree.map(lambda array: pad_batch(array, size), tree)
