"""Running statistics of BatchNorm taken anew over the whole training set.

A network that was evaluated after B has the statistics of B alone.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from sdt.devices.compile import Executable, compile_program, map_replicas
from sdt.devices.layout import fetch, place, place_replicas, shard_batch
from sdt.engine.batch import pad_to
from sdt.engine.evaluate import BatchSums, test_set_sums
from sdt.engine.program import TrainingPassProgram
from sdt.inputs.augment import output_size
from sdt.inputs.device_data import DeviceData
from sdt.inputs.operations.pipeline import augment, draw
from sdt.inputs.order import augment_key, dropout_key, num_batches
from sdt.inputs.preprocess import prepare
from sdt.inputs.source import Source
from sdt.inputs.stream import ascending
from sdt.models.norms import BatchNorm
from sdt.models.stages import frozen_modules, in_evaluation_mode
from sdt.types import BatchStats, Leaf, Params, Variables

# Seed of the order and of the augmentation. It is the same for every seed and arm, so that these
# differ in their weights only.
_SEED = 0x5AC


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecalibrateProgram(TrainingPassProgram):
  """Everything static about the two programs: the pass over the training set, and the evaluation.

  Attributes:
    batches_per_dispatch: training batches of one dispatch.
    train_from: the first stage whose statistics are taken anew, those before it stay; None for all.
  """

  batches_per_dispatch: int
  train_from: str | None = None


class _PassBatch(NamedTuple):
  """One batch of the pass over the training set."""

  ids: Leaf  # [B] int32
  mask: Leaf  # [B] bool
  index: Leaf  # [] int32, its number in the pass
  offset: Leaf  # [] int32, its number in the dispatch


def _batch_statistics(
  program: RecalibrateProgram, data: DeviceData, variables: Variables, batch: _PassBatch
) -> BatchStats:
  """Returns the statistics of one batch times its number of valid examples, leaves [R, ...].

  The values of `batch_stats` in `variables` [R, ...] are read of frozen stages alone.
  """
  key, (ids, mask, index, offset) = jnp.uint32(_SEED), batch
  images, rows = data.train.rows_of(ids, offset)
  output, sizes = output_size(images.shape[1:], program.crop_size), data.train.sizes[ids]
  draws = draw(augment_key(key, 0, index), sizes, output, pipeline=program.augment)
  count = jnp.sum(mask, dtype=jnp.int32)
  whole = pad_to(program.padded_train_batch_size, (rows, mask, draws))
  rows, mask, draws = shard_batch(program.layout, whole)
  augmented = augment(
    images[rows], draws, output, pipeline=program.augment, mean=data.preparation.mean_colour
  )
  inputs = prepare(augmented, data.preparation)

  def one_replica(variables: Variables) -> BatchStats:
    before = variables["batch_stats"]
    start = {**jax.tree.map(jnp.zeros_like, before), **_kept(program, before)}
    with in_evaluation_mode(program.train_from):
      _, updated = program.model.apply(
        {"params": variables["params"], "batch_stats": start},
        inputs,
        train=True,
        mask=mask,
        mutable=["batch_stats"],
        rngs={"dropout": dropout_key(key, 0, index)},
      )
    # From zero they moved to (1 - momentum) * batch.
    return jax.tree.map(
      lambda leaf: leaf * (count.astype(leaf.dtype) / (1.0 - BatchNorm.momentum)),
      updated["batch_stats"],
    )

  return map_replicas(program.replicas, one_replica)(variables)


def _kept(program: RecalibrateProgram, batch_stats: BatchStats) -> dict[str, BatchStats]:
  """Returns the statistics of the frozen stages, which are not taken anew."""
  frozen = frozen_modules(batch_stats, program.train_from)
  return {module: leaves for module, leaves in batch_stats.items() if module in frozen}


def _statistics_dispatch(
  program: RecalibrateProgram,
  total: BatchStats,
  variables: Variables,
  data: DeviceData,
  order: tuple[Int[Array, "T B"], Bool[Array, "T B"]],
  first: Int[Array, ""],
) -> BatchStats:
  """Returns `total` with the sums of batches [first, first + batches_per_dispatch).

  Batches beyond the end add nothing. `order`: ids and masks of all batches.
  """
  ids, masks = order

  def body(total: BatchStats, offset: Int[Array, ""]) -> tuple[BatchStats, None]:
    index = first + offset
    here = jnp.minimum(index, ids.shape[0] - 1)
    mask = masks[here] & (index < ids.shape[0])
    batch = _PassBatch(ids[here], mask, index, offset=offset)
    return jax.tree.map(
      jnp.add, total, _batch_statistics(program, data, variables, batch=batch)
    ), None

  return jax.lax.scan(body, total, jnp.arange(program.batches_per_dispatch, dtype=jnp.int32))[0]


def _evaluate_dispatch(
  program: RecalibrateProgram, variables: Variables, data: DeviceData, first: Int[Array, ""]
) -> BatchSums:
  """Returns the test set's sums [R] over batches [first, first + evals_per_dispatch)."""

  def body(_: None, offset: Int[Array, ""]) -> tuple[None, BatchSums]:
    def one_replica(variables: Variables) -> BatchSums:
      return test_set_sums(program, variables, data, first=first, offset=offset)

    return None, map_replicas(program.replicas, one_replica)(variables)

  batches = jnp.arange(program.evals_per_dispatch, dtype=jnp.int32)
  _, sums = jax.lax.scan(body, None, batches)
  return jax.tree.map(lambda leaf: jnp.sum(leaf, axis=0, dtype=leaf.dtype), sums)


class Recalibrator:
  """Takes the statistics anew and evaluates with them; compiles both programs only once."""

  def __init__(self, program: RecalibrateProgram, source: Source):
    self._program, self._source = program, source
    num_train, total = source.num_train, num_batches(source.num_train, program.batch_size)
    padded = np.zeros(total * program.batch_size, np.int32)
    padded[:num_train] = np.random.default_rng(_SEED).permutation(num_train).astype(np.int32)
    self._ids = padded.reshape(total, -1)
    self._masks = (np.arange(padded.size) < num_train).reshape(total, -1)
    self._num_evals = num_batches(source.num_test, program.padded_eval_batch_size)
    self._compiled: dict[str, Executable] = {}

  def _call(self, name: str, function: Callable[..., Any], *args: Any) -> Any:
    if name not in self._compiled:
      self._compiled[name] = compile_program(
        self._program.layout, function, self._program, args=args
      )
    return self._compiled[name](*args)

  def statistics(
    self,
    params: Params,
    batch_stats: BatchStats,
    after_dispatch: Callable[[], None] = lambda: None,
  ) -> BatchStats:
    """Returns the running statistics anew, on the host, leaves [R, ...].

    The mean over the training set's batches, each weighted by its examples, of the batch's mean and
    biased variance in training mode, with the training's augmentation, in a drawn order that is the
    same for all seeds and arms.

    Args:
      params: leaves [R, ...], on the host.
      batch_stats: the same, for their shapes, and for the values of frozen stages.
      after_dispatch: a place to stop.
    """
    layout, group = self._program.layout, self._program.batches_per_dispatch
    zero = jax.tree.map(np.zeros_like, batch_stats)
    kept = _kept(self._program, batch_stats)
    variables = place_replicas(layout, {"params": params, "batch_stats": {**zero, **kept}})
    total, order = place_replicas(layout, zero), place(layout, (self._ids, self._masks))
    reading = self._source.pass_over("train", self._ids.__getitem__, len(self._ids), group=group)
    with reading as dispatches:
      for first in range(0, len(self._ids), group):
        args = total, variables, next(dispatches), order, place(layout, np.int32(first))
        total = self._call("statistics", _statistics_dispatch, *args)
        del args  # streamed inputs that are no longer used must not stay
        jax.block_until_ready(total)  # otherwise streamed inputs would pile up on the devices
        after_dispatch()
    mean = jax.tree.map(
      lambda leaf: leaf / np.asarray(self._source.num_train, leaf.dtype), fetch(layout, total)
    )
    return {**mean, **kept}

  def evaluate(
    self,
    params: Params,
    batch_stats: BatchStats,
    after_dispatch: Callable[[], None] = lambda: None,
  ) -> tuple[Float[np.ndarray, "R"], Float[np.ndarray, "R"]]:
    """Returns the test loss (nats) and accuracy [R] of networks with these statistics.

    The leaves [R, ...] are on the host.
    """
    layout, group = self._program.layout, self._program.evals_per_dispatch
    variables = place_replicas(layout, {"params": params, "batch_stats": batch_stats})
    parts: list[BatchSums] = []
    positions = ascending(self._program.padded_eval_batch_size)
    reading = self._source.pass_over("test", positions, self._num_evals, group=group)
    with reading as dispatches:
      for first in range(0, self._num_evals, group):
        args = variables, next(dispatches), place(layout, np.int32(first))
        parts.append(fetch(layout, self._call("evaluate", _evaluate_dispatch, *args)))
        del args
        after_dispatch()
    sums: BatchSums = jax.tree.map(lambda *leaves: np.sum(leaves, axis=0), *parts)
    return sums.loss / sums.count, sums.correct / sums.count
