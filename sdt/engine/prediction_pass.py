"""The pass over the test set at the end: what every network says of every test example."""

import dataclasses
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from sdt.devices.compile import Executable, compile_program, map_replicas
from sdt.devices.layout import fetch, gather_batch, place, place_replicas
from sdt.engine.averages import Average, average_batch
from sdt.engine.evaluate import test_batch
from sdt.engine.program import PassProgram
from sdt.inputs.device_data import DeviceData
from sdt.inputs.order import num_batches
from sdt.inputs.source import Source
from sdt.inputs.stream import ascending
from sdt.losses import accumulator_dtype, cross_entropy
from sdt.stats.classification import comes_before
from sdt.types import Leaf, Variables


class Said(NamedTuple):
  """What R networks say of m test examples, in the order of the data set.

  Attributes:
    probabilities: [R, m, K] float32 or float16. That of the predicted class is the largest;
      rounding may make others equal to it.
    predicted: [R, m] int32, the class of the largest logit, of equal ones the lowest, as in the
      evaluation.
    label_rank: [R, m] int32, how many classes come before the label: those of a larger logit, and
      those of an equal logit and a lower number. It is 0 where the answer is right. Where a logit
      is NaN, see `stats.classification.comes_before`.
    label_log_probability: [R, m] float32, minus the loss of the example.
  """

  probabilities: Leaf
  predicted: Leaf
  label_rank: Leaf
  label_log_probability: Leaf


@dataclasses.dataclass(frozen=True, kw_only=True)
class PredictionProgram(PassProgram):
  """Everything static about the program.

  Attributes:
    batches_per_dispatch: batches of one dispatch.
    dtype: of the probabilities that it returns, float32 or float16.
    average: over what they are averaged; None for the final network's of the centre.
  """

  batches_per_dispatch: int
  dtype: str
  average: Average | None = None


def said_of(logits: Float[Array, "B K"], labels: Int[Array, "B"], dtype: str) -> Said:
  """Returns what logits say, without the axis of the networks; `dtype` is of the probabilities."""
  own = jnp.take_along_axis(logits, labels[:, None], axis=-1)
  predicted = jnp.argmax(logits, axis=-1).astype(jnp.int32)
  # That of the predicted class is exp(0) / sum, so that none is larger.
  probabilities = jax.nn.softmax(logits.astype(accumulator_dtype(logits.dtype)), axis=-1)
  return Said(
    probabilities.astype(dtype),
    predicted,
    jnp.sum(comes_before(logits, own, labels), axis=-1, dtype=jnp.int32),
    label_log_probability=-cross_entropy(logits, labels).astype(jnp.float32),
  )


def predict_dispatch(
  program: PredictionProgram, variables: Variables, data: DeviceData, first: Int[Array, ""]
) -> Said:
  """Returns what is said of batches `first` to `+ batches_per_dispatch`, leaves [G, R, B, ...].

  Examples beyond the end of the test set are padding.
  """

  def body(carry: None, offset: Int[Array, ""]) -> tuple[None, Said]:
    def one_replica(variables: Variables) -> Said:
      average = program.average
      if average is None:
        batch = test_batch(program, variables, data, first=first, offset=offset)
      else:
        batch = average_batch(program, average, variables, data=data, first=first, offset=offset)
      said = said_of(batch.logits, batch.labels, program.dtype)
      return Said(*(gather_batch(program.layout, leaf) for leaf in said))

    return carry, map_replicas(program.replicas, one_replica)(variables)

  return jax.lax.scan(body, None, jnp.arange(program.batches_per_dispatch, dtype=jnp.int32))[1]


class Predictor:
  """Asks any networks of one kind about the test set; the program is compiled once."""

  def __init__(self, program: PredictionProgram, source: Source) -> None:
    self._program, self._source = program, source
    self._compiled: Executable | None = None
    self.num_batches = num_batches(source.num_test, program.padded_eval_batch_size)

  def predictions(self, variables: Variables) -> Iterator[tuple[int, int, Said]]:
    """Yields where a stretch of the test set begins, how many batches are done, and what is said.

    The stretches follow each other and cover the test set; one is as long as a dispatch.

    Args:
      variables: `params` and `batch_stats`, leaves [R, ...], on the host; [R, networks, ...] where
        the program averages over networks.
    """
    program, total = self._program, self.num_batches
    layout, group = program.layout, program.batches_per_dispatch
    size = program.padded_eval_batch_size
    variables = place_replicas(layout, variables)
    with self._source.pass_over("test", ascending(size), total, group=group) as dispatches:
      for first in range(0, total, group):
        arguments = variables, next(dispatches), place(layout, np.int32(first))
        if self._compiled is None:
          self._compiled = compile_program(
            layout, predict_dispatch, program, args=arguments, replica_axes=1
          )
        said = fetch(layout, self._compiled(*arguments))
        del arguments  # the inputs are not needed any more when the next are asked for
        left = self._source.num_test - first * size
        whole = Said(*(_joined(leaf)[:, :left] for leaf in said))
        yield first * size, min(first + group, total), whole


def _joined(batches: np.ndarray) -> np.ndarray:
  """Returns [R, G * B, ...] of [G, R, B, ...]."""
  num_batches, replicas, size = batches.shape[:3]
  return batches.swapaxes(0, 1).reshape(replicas, num_batches * size, *batches.shape[3:])
