"""The mean of several answers about a batch, inside one program: views, dropout, networks."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Shaped

from sdt.arrays import AnyArray
from sdt.config.toolbox.view_blocks import CENTRE, View
from sdt.devices.layout import shard_batch
from sdt.engine.evaluate import TestBatch, batch_images, batch_positions, predict
from sdt.engine.program import PassProgram
from sdt.inputs.augment import centre_crop, output_size
from sdt.inputs.device_data import DeviceData
from sdt.inputs.order import sample_key
from sdt.inputs.preprocess import Preparation, prepare
from sdt.inputs.views import Window, numbers_of, seen
from sdt.losses import accumulator_dtype
from sdt.models.mc_dropout import predict_dropping
from sdt.types import Model, PyTree, Variables


@dataclasses.dataclass(frozen=True)
class Average:
  """What a network's probabilities are averaged over. Static; one of the three has several.

  Attributes:
    views: of every image.
    samples: passes with dropout on; 0 for one without.
    networks: of one training, snapshots of it; their variables lead with an axis of this length.
  """

  views: tuple[View, ...] = (CENTRE,)
  samples: int = 0
  networks: int = 1

  @property
  def num_members(self) -> int:
    """How many answers are averaged."""
    return len(self.views) * max(1, self.samples) * self.networks


def log_mean_probabilities(
  logits_of: Callable[[Any], Float[Array, "B K"]], members: PyTree
) -> Float[Array, "B K"]:
  """Returns log of the mean of softmax(logits_of(member)) over the members, [B, K].

  It is taken of log-probabilities, so that no small probability vanishes. These are logits of the
  mean: their softmax is the mean.

  Args:
    logits_of: what is said by one member.
    members: leaves [M, ...], M at least 1.
  """

  def log_probabilities(member: PyTree) -> Float[Array, "B K"]:
    logits = logits_of(member)
    return jax.nn.log_softmax(logits.astype(accumulator_dtype(logits.dtype)), axis=-1)

  def add(total: Float[Array, "B K"], member: PyTree) -> tuple[Float[Array, "B K"], None]:
    return jnp.logaddexp(total, log_probabilities(member)), None

  count = len(jax.tree.leaves(members)[0])
  like = jax.eval_shape(log_probabilities, jax.tree.map(lambda leaf: leaf[0], members))
  total, _ = jax.lax.scan(add, jnp.full(like.shape, -jnp.inf, like.dtype), members)
  return total - math.log(count)


def log_mean_over_views(
  views: tuple[View, ...],
  images: Shaped[AnyArray, "B H W C"],
  sizes: Int[AnyArray, "B 2"],
  *,
  crop_size: int | None,
  by: Preparation,
  logits_of: Callable[[Float[Array, "B h w C"]], Float[Array, "B K"]],
) -> Float[Array, "B K"]:
  """Returns `log_mean_probabilities` over views of raw images [B, H, W, C].

  Args:
    views: at least one.
    images, sizes: see `seen`.
    crop_size: pixels a side of what the network takes; None for the whole image.
    by: how inputs are prepared.
    logits_of: what the network says of inputs.
  """
  window = Window.of(views, output_size(images.shape[1:], crop_size))
  return log_mean_probabilities(
    lambda view: logits_of(prepare(seen(images, sizes, view, window=window), by)),
    jax.tree.map(jnp.asarray, numbers_of(views)),
  )


def average_batch(
  program: PassProgram,
  average: Average,
  variables: Variables,
  *,
  data: DeviceData,
  first: Int[Array, ""],
  offset: Int[Array, ""],
) -> TestBatch:
  """Returns evaluation batch `first + offset` of the test set, with the logits of a mean.

  Args:
    program: the static part.
    average: over what.
    variables: of one replica; of several networks the leaves are [networks, ...].
    data, first, offset: as of `test_batch`.
  """
  layout, labels, by = program.layout, data.test.labels, data.preparation
  batch = first + offset
  positions, mask = batch_positions(batch, program.padded_eval_batch_size, labels.shape[0])
  images, sizes = batch_images(program, data.test, positions=positions, offset=offset)
  positions, mask = shard_batch(layout, (positions, mask))
  if average.views != (CENTRE,):
    logits = log_mean_over_views(
      average.views,
      images,
      sizes,
      crop_size=program.crop_size,
      by=by,
      logits_of=lambda inputs: predict(program.model, variables, inputs),
    )
  else:
    inputs = prepare(centre_crop(images, sizes, program.crop_size), by)
    logits = _log_mean_at_centre(program.model, average, variables, inputs=inputs, batch=batch)
  return TestBatch(logits, labels[positions], mask, axis_name=layout.axis_name)


def _log_mean_at_centre(
  model: Model,
  average: Average,
  variables: Variables,
  *,
  inputs: Float[Array, "B ..."],
  batch: Int[Array, ""],
) -> Float[Array, "B K"]:
  """Returns the logits of the mean over dropout's samples, or over networks."""
  if not average.samples:
    return log_mean_probabilities(lambda network: predict(model, network, inputs), variables)
  return log_mean_probabilities(
    lambda sample: predict_dropping(model, variables, inputs, key=sample_key(sample, batch)),
    jnp.arange(average.samples, dtype=jnp.int32),
  )
