"""Running statistics of BatchNorm, taken anew over the whole training set: a network that was
evaluated after B has those of B alone.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sdt.config.schema import AugmentConfig
from sdt.devices.compile import compile_program, map_replicas
from sdt.devices.layout import (
  Layout,
  fetch,
  pad_batch,
  padded_batch_size,
  place,
  place_replicas,
  shard_batch,
)
from sdt.engine.evaluate import test_sums
from sdt.inputs.augment import augment, draw, normalise, output_size
from sdt.inputs.order import augment_key, dropout_key, num_batches, rows_of
from sdt.inputs.stream import HostInputs, ascending, batches_of
from sdt.models.layers import BatchNorm

# Seed of the order and of the augmentation, the same for every seed and arm: they shall differ in
# their weights only.
_SEED = 0x5AC


@dataclasses.dataclass(frozen=True)
class RecalibrateProgram:
  """Everything static about the two programs: the pass over the training set, and the
  evaluation.
  """

  model: Any
  layout: Layout
  augment: AugmentConfig
  crop_size: int | None
  replicas: str
  batch_size: int
  eval_batch_size: int
  batches_per_dispatch: int
  evals_per_dispatch: int
  is_streamed: bool


def batch_statistics(
  program: RecalibrateProgram,
  data: Any,
  variables: Any,
  ids: jax.Array,
  mask: jax.Array,
  step: jax.Array,
  offset: jax.Array,
) -> Any:
  """Returns the statistics of one batch times its number of valid examples, leaves [R, ...].

  Args:
    program: the static part.
    data: placed training set.
    variables: `params`, and `batch_stats` whose values are not read, leaves [R, ...].
    ids: [B] int32 positions in the training set.
    mask: [B] bool, which of them count.
    step: [] int32, number of the batch, for its augmentation.
    offset: [] int32, its number in the dispatch.
  """
  key = jnp.uint32(_SEED)
  source, rows = rows_of(data["train_inputs"], offset, ids, is_streamed=program.is_streamed)
  output = output_size(source.shape[1:], program.crop_size)
  draws = draw(augment_key(key, 0, step), data["train_sizes"][ids], output, config=program.augment)
  count = jnp.sum(mask, dtype=jnp.int32)
  size = padded_batch_size(program.batch_size, program.layout)
  rows, mask, draws = shard_batch(
    program.layout, jax.tree.map(lambda array: pad_batch(array, size), (rows, mask, draws))
  )
  inputs = normalise(
    augment(source[rows], draws, output, config=program.augment), data["shift"], data["scale"]
  )

  def one_replica(variables: Any) -> Any:
    empty = {
      "params": variables["params"],
      "batch_stats": jax.tree.map(jnp.zeros_like, variables["batch_stats"]),
    }
    rngs = {"dropout": dropout_key(key, 0, step)}
    _, updated = program.model.apply(
      empty, inputs, train=True, mask=mask, mutable=["batch_stats"], rngs=rngs
    )
    # From zero they moved to (1 - momentum) * batch.
    return jax.tree.map(
      lambda leaf: leaf * (count.astype(leaf.dtype) / (1.0 - BatchNorm.momentum)),
      updated["batch_stats"],
    )

  return map_replicas(program.replicas, one_replica)(variables)


def _statistics_dispatch(
  program: RecalibrateProgram,
  total: Any,
  variables: Any,
  data: Any,
  ids: jax.Array,
  masks: jax.Array,
  first: jax.Array,
) -> Any:
  """Returns `total` with the sums of batches [first, first + batches_per_dispatch); batches beyond
  the end add nothing.
  """

  def body(total: Any, offset: jax.Array) -> tuple[Any, None]:
    index = first + offset
    here = jnp.minimum(index, ids.shape[0] - 1)
    mask = masks[here] & (index < ids.shape[0])
    return jax.tree.map(
      jnp.add,
      total,
      batch_statistics(
        program, data, variables, ids=ids[here], mask=mask, step=index, offset=offset
      ),
    ), None

  return jax.lax.scan(body, total, jnp.arange(program.batches_per_dispatch, dtype=jnp.int32))[0]


def _evaluate_dispatch(
  program: RecalibrateProgram, variables: Any, data: Any, first: jax.Array
) -> Any:
  """Returns the test set's sums (loss, correct, count), each [R], over batches [first, first +
  evals_per_dispatch).
  """

  def body(total: Any, offset: jax.Array) -> tuple[Any, None]:
    def one_replica(variables: Any) -> Any:
      return test_sums(program, variables, data, first=first, offset=offset)

    return jax.tree.map(
      jnp.add, total, map_replicas(program.replicas, one_replica)(variables)
    ), None

  num_replicas = jax.tree.leaves(variables)[0].shape[0]
  zero = (
    jnp.zeros(num_replicas, jnp.float32),
    jnp.zeros(num_replicas, jnp.int32),
    jnp.zeros(num_replicas, jnp.int32),
  )
  return jax.lax.scan(body, zero, jnp.arange(program.evals_per_dispatch, dtype=jnp.int32))[0]


class Recalibrator:
  """Compiles both programs once, for all arms."""

  def __init__(
    self,
    program: RecalibrateProgram,
    data: Any,
    num_train: int,
    num_test: int,
    host: HostInputs | None = None,
  ):
    self._program, self._data, self._host = program, data, host
    total = num_batches(num_train, program.batch_size)
    order = np.random.default_rng(_SEED).permutation(num_train).astype(np.int32)
    padded = np.zeros(total * program.batch_size, np.int32)
    padded[:num_train] = order
    self._ids = padded.reshape(total, -1)
    self._masks = (np.arange(padded.size) < num_train).reshape(total, -1)
    self._num_train = num_train
    self._eval_size = padded_batch_size(program.eval_batch_size, program.layout)
    self._num_evals = num_batches(num_test, self._eval_size)
    self._compiled: dict[str, Any] = {}

  def _call(self, name: str, function: Callable[..., Any], *args: Any) -> Any:
    if name not in self._compiled:
      self._compiled[name] = compile_program(
        self._program.layout, functools.partial(function, self._program), args, replica_axes=0
      )
    return self._compiled[name](*args)

  def statistics(
    self, params: Any, batch_stats: Any, after_dispatch: Callable[[], None] = lambda: None
  ) -> Any:
    """Returns the running statistics anew, on the host, leaves [R, ...].

    The mean over the training set's batches, each weighted by its examples, of the batch's mean and
    biased variance in training mode, with the training's augmentation, in a drawn order that is the
    same for all seeds and arms.

    Args:
      params: leaves [R, ...], on the host.
      batch_stats: the same, for their shapes only.
      after_dispatch: a place to stop.
    """
    layout = self._program.layout
    zero = jax.tree.map(np.zeros_like, batch_stats)
    variables = place_replicas(layout, {"params": params, "batch_stats": zero})
    total, order = place_replicas(layout, zero), place(layout, (self._ids, self._masks))
    group = self._program.batches_per_dispatch
    with batches_of(
      self._host, "train", self._ids.__getitem__, num=len(self._ids), group=group, layout=layout
    ) as inputs:
      for first in range(0, len(self._ids), group):
        where = place(layout, np.int32(first))
        total = self._call(
          "statistics",
          _statistics_dispatch,
          total,
          variables,
          self._data | next(inputs),
          *order,
          where,
        )
        jax.block_until_ready(total)  # otherwise streamed inputs would pile up on the devices
        after_dispatch()
    return jax.tree.map(
      lambda leaf: leaf / np.asarray(self._num_train, leaf.dtype), fetch(layout, total)
    )

  def evaluate(
    self, params: Any, batch_stats: Any, after_dispatch: Callable[[], None] = lambda: None
  ) -> tuple[np.ndarray, np.ndarray]:
    """Returns the test loss (nats) and accuracy [R] of networks with these statistics, leaves [R,
    ...] on the host.
    """
    layout, sums = self._program.layout, []
    variables = place_replicas(layout, {"params": params, "batch_stats": batch_stats})
    group = self._program.evals_per_dispatch
    with batches_of(
      self._host,
      "test",
      ascending(self._eval_size),
      num=self._num_evals,
      group=group,
      layout=layout,
    ) as inputs:
      for first in range(0, self._num_evals, group):
        where = place(layout, np.int32(first))
        sums.append(
          fetch(
            layout,
            self._call("evaluate", _evaluate_dispatch, variables, self._data | next(inputs), where),
          )
        )
        after_dispatch()
    loss, correct, count = (np.sum([part[index] for part in sums], axis=0) for index in range(3))
    return loss / count, correct / count
