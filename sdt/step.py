"""One pure training step: loss, gradient, update with the chain of the step's phase, and what is measured on the way."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from sdt.evaluate import batch_sums
from sdt.keys import OptimConfig
from sdt.norms import ONE_VECTOR, global_norm
from sdt.optim import apply_phase_chain, is_body_frozen, trained
from sdt.parallel import sum_over


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
  """All that training changes, on the devices or (NumPy) on the host; in programs leaves lead with [R].

  `step` counts optimiser steps; a replica that diverged stops counting.
  """

  step: Any
  params: Any
  batch_stats: Any
  opt_state: Any


class Measures(NamedTuple):
  """What one step measures of its batch, before the update where that makes a difference; sums are over all devices.

  Attributes:
    loss: [] sum over the valid examples, nats.
    correct: [] int32.
    count: [] int32, valid examples.
    gradient_norm: [] of the mean loss's gradient, without the decay.
    update_norm: [] of the change of all parameters.
    logits: [B, K], of this device's part of the batch.
  """

  loss: Any
  correct: Any
  count: Any
  gradient_norm: Any
  update_norm: Any
  logits: Any


def train_step(
  state: TrainState,
  inputs: jax.Array,
  labels: jax.Array,
  mask: jax.Array,
  learning_rate: jax.Array,
  weight_decays: jax.Array,
  phase: jax.Array,
  loss_scale: jax.Array,
  *,
  model: Any,
  optim: OptimConfig,
  axis_name: str | None = None,
  dropout_key: jax.Array | None = None,
) -> tuple[TrainState, Measures]:
  """Returns the state after one optimiser step, and what it measured.

  Args:
    inputs: [B, H, W, C] or [B, D] float, normalised and augmented. With `axis_name`, this device's part of the batch.
    labels: [B] int32.
    mask: [B] bool; examples that do not count change nothing: neither loss nor gradient nor BatchNorm statistics.
    learning_rate: [] float.
    weight_decays: [P] float, of each phase.
    phase: [] int32, which phase's chain updates.
    loss_scale: [] float; at 0 the running statistics stay as they are too.
    dropout_key: PRNG key of this step, the same on every device; networks that drop values need it.
  Where the body is frozen, the network runs in evaluation mode.

  Source: the paper, Algorithm 1. The mean loss over the valid examples, momentum and decay as in torch's SGD.
  """
  count = sum_over(axis_name, jnp.sum(mask, dtype=jnp.int32))
  rngs = None if dropout_key is None else {"dropout": dropout_key}

  def loss_fn(params: Any) -> tuple[jax.Array, Any]:
    variables = {"params": trained(optim, params), "batch_stats": state.batch_stats}
    logits, updated = model.apply(variables, inputs, train=not is_body_frozen(optim), mask=mask, mutable=["batch_stats"], rngs=rngs)
    sums = batch_sums(logits, labels, mask, None)
    mean_loss = sums[0] / jnp.maximum(count, 1).astype(sums[0].dtype)
    return mean_loss * loss_scale.astype(mean_loss.dtype), (updated.get("batch_stats", {}), sums, logits)

  (_, (batch_stats, (loss, correct, examples), logits)), grads = jax.value_and_grad(loss_fn, has_aux=True)(state.params)
  grads, loss, correct, examples = sum_over(axis_name, (grads, loss, correct, examples))
  params, opt_state = apply_phase_chain(optim, phase, grads, state.opt_state, state.params, learning_rate, weight_decays)
  batch_stats = jax.tree.map(lambda new, old: jnp.where(loss_scale == 0, old, new), batch_stats, state.batch_stats)
  update_norm = global_norm(jax.tree.map(jnp.subtract, params, state.params))
  measured = Measures(loss, correct, examples, global_norm(grads), update_norm, logits)
  return TrainState(state.step + 1, params, batch_stats, opt_state), measured


def is_finite(tree: Any) -> jax.Array:
  """Returns whether every floating number of the tree is finite, [] bool."""
  leaves = [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.floating)]
  if sum(leaf.size for leaf in leaves) <= ONE_VECTOR:
    return jnp.all(jnp.isfinite(jnp.concatenate([leaf.reshape(-1) for leaf in leaves])))
  # Behind a barrier: XLA would compute the whole chain once more in the update of every leaf, and compile ten times as long.
  return jax.lax.optimization_barrier(jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in leaves])))
