"""The scoring pass: a compiled program scores the whole training set under every replica."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sdt.devices.compile import compile_program, map_replicas
from sdt.devices.layout import (
  Layout,
  fetch,
  gather_batch,
  padded_batch_size,
  place,
  place_replicas,
  shard_batch,
)
from sdt.engine.evaluate import batch_inputs, batch_positions, predict, predict_with_features
from sdt.engine.norms import global_norm
from sdt.inputs.order import num_batches
from sdt.inputs.stream import HostInputs, ascending, batches_of
from sdt.scores.formulas import SCORERS, Outputs, loss


def grand(model: Any, variables: Any, one_input: jax.Array, label: jax.Array) -> jax.Array:
  """Returns the norm of the gradient of one example's loss by every parameter, [] in [0, inf);
  larger is harder.

  It is the gradient of `loss`, which keeps its digits where p_y - 1 is none in float32 (from a
  margin of about 16 on).

  Args:
    model: the network, in evaluation mode.
    variables: `params` and `batch_stats`.
    one_input: [H, W, C] or [D], normalised.
    label: [] int32.
  Source: Paul, Ganguli and Dziugaite 2021, "Deep Learning on a Data Diet", definition 2.1. Differs
  from source: of one network, where the paper takes the mean over ten, early in training.
  """

  def loss_of(params: Any) -> jax.Array:
    logits = predict(model, {**variables, "params": params}, one_input[None])[0]
    return loss(Outputs(logits, None), label)

  return global_norm(jax.grad(loss_of)(variables["params"]))


@dataclasses.dataclass(frozen=True)
class ScoreProgram:
  """Everything static about a scoring program.

  `gradients_at_once`: of how many examples each device computes `grand` together, 0 for none.
  """

  model: Any
  layout: Layout
  crop_size: int | None
  replicas: str
  batch_size: int
  batches_per_dispatch: int
  is_streamed: bool
  gradients_at_once: int = 0


def _example_scores(
  model: Any, variables: Any, one_input: jax.Array, label: jax.Array
) -> dict[str, jax.Array]:
  """Returns every score of one example's outputs, [] each; one_input [H, W, C] or [D],
  normalised.
  """
  logits, features = predict_with_features(model, variables, one_input[None])
  outputs = Outputs(logits[0], features[0])
  return {name: scorer(outputs, label) for name, scorer in SCORERS.items()}


def _score_batch(
  program: ScoreProgram, data: Any, first: jax.Array, offset: jax.Array, variables: Any
) -> dict[str, jax.Array]:
  """Returns every score of batch `first + offset` of the training set, [B] each."""
  size, layout = padded_batch_size(program.batch_size, program.layout), program.layout
  positions = batch_positions(first + offset, size, data["train_labels"].shape[0])[0]
  inputs = batch_inputs(
    data,
    "train",
    positions,
    offset=offset,
    crop_size=program.crop_size,
    is_streamed=program.is_streamed,
    layout=layout,
  )
  labels = data["train_labels"][shard_batch(layout, positions)]
  scores = jax.vmap(functools.partial(_example_scores, program.model, variables))(inputs, labels)
  if (
    program.gradients_at_once
  ):  # all at once would hold a gradient of every parameter for each example of the batch
    scores["grand"] = _in_chunks(
      program, functools.partial(grand, program.model, variables), (inputs, labels)
    )
  return {name: gather_batch(layout, values) for name, values in scores.items()}


def _in_chunks(
  program: ScoreProgram, function: Callable[..., jax.Array], arrays: tuple[jax.Array, ...]
) -> jax.Array:
  """Returns `function` of each example of `arrays` [B, ...], [B], so many at once on every device
  as `gradients_at_once` allows.
  """
  # Under jit the batch lies over the devices in as many stretches; a chunk takes a part of each, so
  # that nothing moves between them.
  stretches = program.layout.batch_parts if program.layout.mode == "jit" else 1
  length = arrays[0].shape[0] // stretches
  size = next(
    size for size in range(min(length, program.gradients_at_once), 0, -1) if length % size == 0
  )

  def cut(array: jax.Array) -> jax.Array:
    return array.reshape(stretches, length // size, size, *array.shape[1:]).swapaxes(0, 1)

  def of_chunk(chunk: tuple[jax.Array, ...]) -> jax.Array:
    together = (array.reshape(stretches * size, *array.shape[2:]) for array in chunk)
    return jax.vmap(function)(*together).reshape(stretches, size)

  return jax.lax.map(of_chunk, tuple(map(cut, arrays))).swapaxes(0, 1).reshape(-1)


def score_dispatch(
  program: ScoreProgram, variables: Any, data: Any, first_batch: jax.Array
) -> dict[str, jax.Array]:
  """Returns the scores of batches [first_batch, first_batch + batches_per_dispatch), each [batches,
  R, B]; the end is padding.
  """

  def body(carry: None, offset: jax.Array) -> tuple[None, dict[str, jax.Array]]:
    score_fn = functools.partial(_score_batch, program, data, first_batch, offset)
    return carry, map_replicas(program.replicas, score_fn)(variables)

  return jax.lax.scan(body, None, jnp.arange(program.batches_per_dispatch, dtype=jnp.int32))[1]


class ScoreRunner:
  """Scores a training set under any networks of one kind; the program is compiled once.

  Args:
    program: the static part.
    data: placed training set: train_inputs, train_sizes, train_labels, shift, scale.
    num_examples: N.
    host: the inputs where they are streamed; `data` has none then.
  """

  def __init__(
    self, program: ScoreProgram, data: Any, num_examples: int, host: HostInputs | None = None
  ) -> None:
    self._program, self._data, self._num_examples, self._host = program, data, num_examples, host
    self._compiled: Callable[..., Any] | None = None
    self._size = padded_batch_size(program.batch_size, program.layout)
    self.num_batches = num_batches(num_examples, self._size)

  def scores(
    self, variables: Any, after_dispatch: Callable[[int, int], None] = lambda done, total: None
  ) -> dict[str, np.ndarray]:
    """Returns every score of every training example under every replica's network, float32 [R, N]
    each, in the order of the data set.

    Args:
      variables: `params` and `batch_stats`, leaves [R, ...], on the host.
      after_dispatch: called with (batches done, batches in all); a place to show progress and to
        stop.
    """
    program, parts = self._program, []
    group, layout = program.batches_per_dispatch, program.layout
    variables = place_replicas(layout, variables)
    with batches_of(
      self._host, "train", ascending(self._size), num=self.num_batches, group=group, layout=layout
    ) as inputs:
      for first in range(0, self.num_batches, group):
        arguments = variables, self._data | next(inputs), place(layout, np.int32(first))
        if self._compiled is None:
          self._compiled = compile_program(
            layout, functools.partial(score_dispatch, program), arguments, replica_axes=1
          )
        parts.append(fetch(layout, self._compiled(*arguments)))
        del arguments  # the inputs are not needed any more when the next are asked for
        after_dispatch(min(first + group, self.num_batches), self.num_batches)
    scores = {}
    for name in parts[0]:
      batches = np.concatenate([part[name] for part in parts])  # [batches, R, B]
      scores[name] = np.ascontiguousarray(
        batches.swapaxes(0, 1).reshape(batches.shape[1], -1)[:, : self._num_examples]
      )
    return scores
