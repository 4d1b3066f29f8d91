"""One pure training step: loss, gradient, update with the chain of the step's phase, and what is
measured on the way.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from sdt.config.schema import OptimConfig
from sdt.devices.layout import sum_over
from sdt.engine.evaluate import batch_sums
from sdt.engine.norms import ONE_VECTOR, global_norm
from sdt.engine.optim import apply_phase_chain, is_body_frozen, trained
from sdt.engine.state import TrainState
from sdt.inputs.mixup import Mixture
from sdt.losses import example_losses, smoothed_cross_entropy
from sdt.models.family import RATES


class Measures(NamedTuple):
  """What one step measures of its batch, before the update where that makes a difference; sums are
  over all devices.

  Attributes:
    loss: [] sum of the cross-entropy over the valid examples, nats: of the own labels, without any
      regulariser.
    correct: [] int32, by the own labels.
    count: [] int32, valid examples.
    gradient_norm: [] of the objective's gradient: of the mean loss with its regularisers, without
      the decay.
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
  overrides: Mapping[str, jax.Array],
  *,
  model: Any,
  optim: OptimConfig,
  axis_name: str | None = None,
  dropout_key: jax.Array | None = None,
  mixture: Mixture | None = None,
) -> tuple[TrainState, Measures]:
  """Returns the state after one optimiser step, and what it measured.

  Args:
    inputs: [B, H, W, C] or [B, D] float, normalised and augmented. With `axis_name`, this device's
      part of the batch.
    labels: [B] int32.
    mask: [B] bool; examples that do not count change nothing: neither loss nor gradient nor
      BatchNorm statistics.
    learning_rate: [] float.
    weight_decays: [P] float, of each phase.
    phase: [] int32, which phase's chain updates.
    overrides: [] float each, by name, of `keys.RegulariseConfig`; what is not there is not
      computed. Those of the inputs (`augment_strength`, `mixup_alpha`) have done their work before.
      Where `loss_weight` is 0, running statistics stay as they are.
    dropout_key: PRNG key of this step, the same on every device; networks that drop values need it.
    mixture: of mixed inputs, the partners' labels and the weight.
  Where the body is frozen, the network runs in evaluation mode.

  Source: the paper, Algorithm 1. The mean loss over the valid examples, momentum and decay as in
  torch's SGD.
  """
  count = sum_over(axis_name, jnp.sum(mask, dtype=jnp.int32))
  options: dict[str, Any] = {"rngs": None if dropout_key is None else {"dropout": dropout_key}}
  rates = {name: overrides[name] for name in RATES if name in overrides}
  if rates:
    options["rates"] = rates

  is_other_loss = mixture is not None or "label_smoothing" in overrides

  def loss_fn(params: Any) -> tuple[jax.Array, Any]:
    variables = {"params": trained(optim, params), "batch_stats": state.batch_stats}
    logits, updated = model.apply(
      variables,
      inputs,
      train=not is_body_frozen(optim),
      mask=mask,
      mutable=["batch_stats"],
      **options,
    )
    sums = batch_sums(logits, labels, mask, axis_name=None)
    loss = (
      _regularised_sum(logits, labels, mask, overrides=overrides, mixture=mixture)
      if is_other_loss
      else sums[0]
    )
    mean_loss = loss / jnp.maximum(count, 1).astype(loss.dtype)
    return _weighted(mean_loss, overrides, axis_name), (
      updated.get("batch_stats", {}),
      sums,
      logits,
    )

  (_, (batch_stats, (loss, correct, examples), logits)), grads = jax.value_and_grad(
    loss_fn, has_aux=True
  )(state.params)
  grads, loss, correct, examples = sum_over(axis_name, (grads, loss, correct, examples))
  params, opt_state = apply_phase_chain(
    optim,
    phase,
    grads,
    opt_state=state.opt_state,
    params=state.params,
    learning_rate=learning_rate,
    weight_decays=weight_decays,
  )
  if "loss_weight" in overrides:
    has_data = overrides["loss_weight"] != 0
    batch_stats = jax.tree.map(
      lambda new, old: jnp.where(has_data, new, old), batch_stats, state.batch_stats
    )
  update_norm = global_norm(jax.tree.map(jnp.subtract, params, state.params))
  measured = Measures(
    loss,
    correct,
    examples,
    gradient_norm=global_norm(grads),
    update_norm=update_norm,
    logits=logits,
  )
  return TrainState(state.step + 1, params, batch_stats, opt_state=opt_state), measured


def _regularised_sum(
  logits: jax.Array,
  labels: jax.Array,
  mask: jax.Array,
  overrides: Mapping[str, jax.Array],
  mixture: Mixture | None,
) -> jax.Array:
  """Returns the sum over the valid examples of the loss with smoothed labels, where they are, of
  both labels of mixed examples, [].
  """

  def of(labels: jax.Array) -> jax.Array:
    if "label_smoothing" in overrides:
      return smoothed_cross_entropy(logits, labels, overrides["label_smoothing"])
    return example_losses(logits, labels)

  losses = of(labels)
  if mixture is not None:
    weight = mixture.weight.astype(losses.dtype)
    losses = weight * losses + (1.0 - weight) * of(mixture.labels)
  return jnp.sum(jnp.where(mask, losses, 0.0))


def _weighted(
  mean_loss: jax.Array, overrides: Mapping[str, jax.Array], axis_name: str | None
) -> jax.Array:
  """Returns what is differentiated, []: this device's part L of the mean loss, times `loss_weight`,
  uphill below `loss_floor`.

  Source: Ishida et al. 2020, "Do We Need Zero Training Loss After Achieving Zero Training Error?",
  equation 1: |L - b| + b, whose gradient is that of L times the sign of L - b. Differs from source:
  at L = b it is 1, so that a floor of 0 changes nothing.
  """
  if "loss_floor" in overrides:
    # The sign is that of the whole batch, on whatever devices it lies.
    loss = sum_over(axis_name, jax.lax.stop_gradient(mean_loss))
    mean_loss = jnp.where(loss < overrides["loss_floor"].astype(loss.dtype), -mean_loss, mean_loss)
  if "loss_weight" in overrides:
    mean_loss = mean_loss * overrides["loss_weight"].astype(mean_loss.dtype)
  return mean_loss


def is_finite(tree: Any) -> jax.Array:
  """Returns whether every floating number of the tree is finite, [] bool."""
  leaves = [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.floating)]
  if sum(leaf.size for leaf in leaves) <= ONE_VECTOR:
    return jnp.all(jnp.isfinite(jnp.concatenate([leaf.reshape(-1) for leaf in leaves])))
  # Behind a barrier: XLA would compute the whole chain once more in the update of every leaf, and
  # compile ten times as long.
  return jax.lax.optimization_barrier(
    jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in leaves]))
  )
