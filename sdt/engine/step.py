"""One training step: gradient, update with the decay chain of the phase, and what is measured."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Shaped

from sdt.config.schema import DISTIL
from sdt.devices.layout import sum_over
from sdt.engine.evaluate import BatchSums, batch_sums
from sdt.engine.norms import ONE_VECTOR, global_norm
from sdt.engine.optim import (
  PhaseRates,
  apply_phase_chain,
  averaged,
  first_trained,
  needs_hessian,
  stop_frozen_gradients,
  trained,
)
from sdt.engine.program import Network
from sdt.engine.semi import SEMI, Apply, Learned, Seen, Unlabelled, given
from sdt.engine.state import TrainState
from sdt.inputs.operations.mixing import Mixture
from sdt.losses import (
  accumulator_dtype,
  example_losses,
  smoothed_cross_entropy,
  taught_cross_entropy,
)
from sdt.models.drop_connect import drop_weights
from sdt.models.family import RATES
from sdt.models.stages import in_evaluation_mode
from sdt.types import BatchStats, Leaf, Params, PyTree, Variables

# The regularisers that change the loss of an example.
_OF_LOSS = frozenset({"class_weight", "label_smoothing", "logit_adjustment", *DISTIL})


class Taught(NamedTuple):
  """What a teacher says of a batch: probabilities [B, K] float at the temperature, []."""

  probabilities: Leaf
  temperature: Leaf


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Batch:
  """The examples of one step; where a batch is divided by hand (pmap), this device's part of them.

  Attributes:
    ids: [B] int32, positions in the training set.
    inputs: [B, H, W, C] or [B, D] float, augmented, normalised and mixed.
    labels: [B] int32, or [B, D] float.
    mask: [B] bool, which examples count.
    mixture: of mixed inputs, the partners' labels and the weights; None where nothing is mixed.
    unlabelled: what the step sees besides; None where no phase sees unlabelled examples.
    by_example: [B] float each, regularisers that differ between examples, in place of those of the
      phase.
    taught: what the teacher says of the inputs; None where no phase has a teacher.
  """

  ids: Leaf
  inputs: Leaf
  labels: Leaf
  mask: Leaf
  mixture: Mixture | None = None
  unlabelled: Unlabelled | None = None
  by_example: Mapping[str, Leaf] = dataclasses.field(default_factory=dict)
  taught: Taught | None = None


class StepKeys(NamedTuple):
  """The PRNG keys of one step, the same on every device; None where nothing is drawn.

  Attributes:
    augment: for the augmentation of the inputs.
    mixup: for what mixes the batch.
    dropout: for networks that drop values.
    unlabelled: for what becomes of the unlabelled examples.
  """

  augment: Leaf = None
  mixup: Leaf = None
  dropout: Leaf = None
  unlabelled: Leaf = None


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class StepNow:
  """Which step of the plan this is, and its numbers.

  Attributes:
    phase: [] int32 in [0, P).
    step_in_phase: [] int32, from 0.
    step: [] int32, from 0 over all rounds.
    learning_rate: [] float, shared by the phases of a round.
    weight_decays: [P] float, of each phase.
    optim: [] float each, what `numbers_of` of sdt/engine/optim.py names.
    overrides: [] float each, or [K] of a number for each class, or [2] for the parts of a mixed
      phase, the regularisers of the phase by name (`RegulariseConfig`); what is not there is not
      computed.
    keys: of this step.
    semi: the numbers of phases with unlabelled examples, [] each; see `sdt.engine.semi.now_of`.
    parts: [N] uint8, the part of every training example; None where no phase is mixed.
  """

  phase: Leaf
  step_in_phase: Leaf
  step: Leaf
  learning_rate: Leaf
  weight_decays: Leaf
  optim: Mapping[str, Leaf] = dataclasses.field(default_factory=dict)
  overrides: Mapping[str, Leaf] = dataclasses.field(default_factory=dict)
  keys: StepKeys = dataclasses.field(default_factory=StepKeys)
  semi: Mapping[str, Leaf] | None = None
  parts: Leaf | None = None

  def of_examples(self, names: Iterable[str], ids: Leaf) -> dict[str, Leaf]:
    """Returns the values [B] of these regularisers, each of its example's part."""
    parts = self.parts
    return {} if parts is None else {name: self.overrides[name][parts[ids]] for name in names}

  @property
  def rates(self) -> PhaseRates:
    return PhaseRates(self.phase, self.learning_rate, self.weight_decays, optim=self.optim)


class Measures(NamedTuple):
  """What one step measures of its batch. Loss, hits and logits are from before the update.

  Attributes:
    loss: [] sum over the valid examples of the cross-entropy of their labels, without regularisers,
      nats.
    correct: [] int32, valid examples whose largest logit is the label's.
    count: [] int32, valid examples.
    gradient_norm: [] of the gradient of the objective: the mean loss with its regularisers, without
      the decay.
    update_norm: [] of the change of all parameters.
    logits: [B, K], of this device's part of the batch; the other fields are over all devices.
    guesses_used: [] share of the unlabelled examples whose guess is learned from; or None.
  """

  loss: Leaf
  correct: Leaf
  count: Leaf
  gradient_norm: Leaf
  update_norm: Leaf
  logits: Leaf
  guesses_used: Leaf = None


class Forward(NamedTuple):
  """What the forward pass of a step gives beside the objective, of this device's part."""

  batch_stats: BatchStats
  sums: BatchSums
  logits: Leaf  # [B, K]
  guesses_used: Leaf = None  # []


def train_step(
  state: TrainState, batch: Batch, now: StepNow, *, network: Network
) -> tuple[TrainState, Measures]:
  """Returns the state after one optimiser step, and what the step measured.

  The state is of one replica. Examples outside the mask change nothing: neither loss nor gradient
  nor BatchNorm statistics. Stages that are frozen run in evaluation mode.

  Source: the paper, Algorithm 1: in step 1 one step on D, in step 4 one on A with the decay
  lambda_A, or on B with lambda_B. The mean loss over the valid examples; momentum and decay as in
  torch's SGD.
  """
  now = dataclasses.replace(now, overrides={**now.overrides, **batch.by_example})
  objective = functools.partial(_objective, state.batch_stats, batch, now, network)
  grads, forward = jax.grad(objective, has_aux=True)(state.params)
  grads, sums, used = sum_over(network.axis_name, (grads, forward.sums, forward.guesses_used))
  hessian = None
  if needs_hessian(network.optim):
    hessian = sum_over(network.axis_name, _hessian(objective, state.params))
  params, opt_state = apply_phase_chain(
    network.optim,
    now.rates,
    grads,
    opt_state=state.opt_state,
    params=state.params,
    hessian=hessian,
  )
  batch_stats = forward.batch_stats
  if "loss_weight" in now.overrides:
    learns = _learns(now.overrides["loss_weight"], batch.mask, network.axis_name)
    batch_stats = jax.tree.map(
      lambda new, old: jnp.where(learns, new, old), batch_stats, state.batch_stats
    )
  average = state.average
  if average is not None:
    variables = {"params": params, "batch_stats": batch_stats}
    average = averaged(average, variables, state.step, keep=now.optim["average"])
  update_norm = global_norm(jax.tree.map(jnp.subtract, params, state.params))
  norms = {"gradient_norm": global_norm(grads), "update_norm": update_norm}
  measures = Measures(**sums._asdict(), **norms, logits=forward.logits, guesses_used=used)
  state = TrainState(state.step + 1, params, batch_stats, opt_state=opt_state, average=average)
  return state, measures


def _hessian(objective: Callable[..., tuple[Leaf, Forward]], params: Params) -> Float[Array, "D D"]:
  """Returns this device's part of the Hessian of the objective, of all parameters as one vector."""
  vector, unravel = ravel_pytree(params)
  return jax.hessian(lambda flat: objective(unravel(flat))[0])(vector)


def _objective(
  batch_stats: BatchStats, batch: Batch, now: StepNow, network: Network, params: Params
) -> tuple[Float[Array, ""], Forward]:
  """Returns this device's part of the regularised mean loss, [], and the other results."""
  count = sum_over(network.axis_name, jnp.sum(batch.mask, dtype=jnp.int32))
  variables = {"params": stop_frozen_gradients(network.optim, params), "batch_stats": batch_stats}
  apply, used = functools.partial(_apply, network, variables, now), None
  if batch.unlabelled is None:
    logits, statistics = apply(batch.inputs, batch.mask)
    sums = batch_sums(logits, batch.labels, batch.mask, axis_name=None)
    loss = _labelled_sum(batch, now.overrides, logits, sums=sums)
    mean_loss = loss / jnp.maximum(count, 1).astype(loss.dtype)
  else:
    learned = _with_unlabelled(apply, batch, now, axis_name=network.axis_name)
    logits, statistics, used = learned.logits, learned.batch_stats, learned.used
    sums = batch_sums(logits, batch.labels, batch.mask, axis_name=None)
    mean_loss = learned.labelled / jnp.maximum(count, 1).astype(learned.labelled.dtype)
    mean_loss = mean_loss + learned.others
  objective = _weighted(mean_loss, now.overrides, network.axis_name)
  return objective, Forward(statistics, sums, logits, guesses_used=used)


def _labelled_sum(
  batch: Batch,
  overrides: Mapping[str, Float[Array, "..."]],
  logits: Float[Array, "B K"],
  sums: BatchSums | None = None,
) -> Float[Array, ""]:
  """Returns the sum of the losses of the labelled examples; `sums` are those of these logits."""
  is_plain = batch.mixture is None and "loss_weight" not in batch.by_example
  if is_plain and not _OF_LOSS & overrides.keys():
    sums = sums or batch_sums(logits, batch.labels, batch.mask, axis_name=None)
    return sums.loss
  return _regularised_sum(logits, batch, overrides)


def _with_unlabelled(apply: Apply, batch: Batch, now: StepNow, *, axis_name: str | None) -> Learned:
  """Returns what the step learns, the loss of the others with its factor.

  Where the phase sees no unlabelled example, or learns nothing from it, the step is the one without
  them.
  """
  name = next(name for name in SEMI if name in now.overrides)
  labelled_sum, numbers = functools.partial(_labelled_sum, batch, now.overrides), given(now.semi)
  seen = Seen(
    apply,
    labelled_sum,
    batch.inputs,
    labels=batch.labels,
    mask=batch.mask,
    unlabelled=given(batch.unlabelled),
    numbers=numbers,
    axis_name=axis_name,
  )

  def alone() -> Learned:
    logits, statistics = apply(batch.inputs, batch.mask)
    loss, none = labelled_sum(logits), jnp.float32(0.0)
    return Learned(loss, jnp.zeros_like(loss), logits=logits, batch_stats=statistics, used=none)

  def together() -> Learned:
    learned = SEMI[name].learn(seen)
    factor = (numbers["ramp"] * now.overrides[name]).astype(learned.others.dtype)
    return learned._replace(others=factor * learned.others)

  return jax.lax.cond(numbers["acts"], together, alone)


def _apply(
  network: Network,
  variables: Variables,
  now: StepNow,
  inputs: Float[Array, "B ..."],
  mask: Bool[Array, "B"],
  is_guess: bool = False,
) -> tuple[Float[Array, "B K"], BatchStats]:
  """Returns the logits [B, K] in training mode and the updated running statistics.

  A pass that makes guesses drops other values than the pass that learns from them.
  """
  dropout, options = now.keys.dropout, {}
  if is_guess and dropout is not None:
    dropout = jax.random.fold_in(dropout, 1)
  rates = {name: now.overrides[name] for name in RATES if name in now.overrides}
  if "drop_connect" in rates:
    params = variables["params"]
    dropped = drop_weights(trained(network.optim, params), rates.pop("drop_connect"), dropout)
    variables = {**variables, "params": {**params, **dropped}}
  if rates:
    options["rates"] = rates
  with in_evaluation_mode(first_trained(network.optim)):
    logits, updated = network.model.apply(
      variables,
      inputs,
      train=True,
      mask=mask,
      mutable=["batch_stats"],
      rngs=None if dropout is None else {"dropout": dropout},
      **options,
    )
  return logits, updated.get("batch_stats", {})


def _learns(
  weight: Float[Array, "*B"], mask: Bool[Array, "B"], axis_name: str | None
) -> Bool[Array, ""]:
  """Returns whether a step learns from any example: where `loss_weight` is 0 for all of them, the
  running statistics stay.
  """
  if not weight.ndim:
    return weight != 0
  return sum_over(axis_name, jnp.sum(mask & (weight != 0), dtype=jnp.int32)) > 0


def _regularised_sum(
  logits: Float[Array, "B K"], batch: Batch, overrides: Mapping[str, Float[Array, "..."]]
) -> Float[Array, ""]:
  """Returns the sum of the valid losses with smoothed labels or all labels of mixed examples.

  The logits are shifted, and the losses multiplied, by the numbers of the classes. A teacher's
  probabilities stand in for a share of the labels.
  """
  if "logit_adjustment" in overrides:
    logits = logits.astype(accumulator_dtype(logits.dtype))
    logits = logits + overrides["logit_adjustment"].astype(logits.dtype)[None]

  def losses_of(labels: Shaped[Array, "B ..."]) -> Float[Array, "B"]:
    if "label_smoothing" in overrides:
      losses = smoothed_cross_entropy(logits, labels, overrides["label_smoothing"])
    else:
      losses = example_losses(logits, labels)
    if "class_weight" in overrides:
      losses = losses * overrides["class_weight"].astype(losses.dtype)[labels]
    return losses

  losses = losses_of(batch.labels)
  if batch.mixture is not None:
    own, *others = (weight.astype(losses.dtype) for weight in batch.mixture.weights)
    losses = own * losses
    for weight, labels in zip(others, batch.mixture.labels, strict=True):
      losses = losses + weight * losses_of(labels)
  if batch.taught is not None:
    share = next(overrides[name] for name in DISTIL if name in overrides).astype(losses.dtype)
    said, temperature = batch.taught
    # What a diverged teacher says must not reach an example that has none.
    said = jnp.where(jnp.broadcast_to(share, losses.shape)[:, None] > 0, said, 0.0)
    losses = (1.0 - share) * losses + share * taught_cross_entropy(logits, said, temperature)
  if "loss_weight" in batch.by_example:
    losses = losses * batch.by_example["loss_weight"].astype(losses.dtype)
  return jnp.sum(jnp.where(batch.mask, losses, 0.0))


def _weighted(
  mean_loss: Float[Array, ""], overrides: Mapping[str, Float[Array, "..."]], axis_name: str | None
) -> Float[Array, ""]:
  """Returns the mean loss L times `loss_weight`, with the sign of L - `loss_floor`, [].

  This is what the step differentiates. On several devices L is this device's part of the mean.

  Source: Ishida et al. 2020, "Do We Need Zero Training Loss After Achieving Zero Training Error?",
  equation 1: |L - b| + b, whose gradient is that of L times the sign of L - b. Differs from source:
  at L = b the sign is 1, so that a floor of 0 changes nothing.
  """
  if "loss_floor" in overrides:
    # The sign is that of the whole batch, over all devices.
    loss = sum_over(axis_name, jax.lax.stop_gradient(mean_loss))
    mean_loss = jnp.where(loss < overrides["loss_floor"].astype(loss.dtype), -mean_loss, mean_loss)
  if "loss_weight" in overrides and not overrides["loss_weight"].ndim:
    mean_loss = mean_loss * overrides["loss_weight"].astype(mean_loss.dtype)
  return mean_loss


def is_finite(tree: PyTree) -> Bool[Array, ""]:
  """Returns whether every floating number of the tree is finite, [] bool."""
  leaves = [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.floating)]
  if sum(leaf.size for leaf in leaves) <= ONE_VECTOR:
    return jnp.all(jnp.isfinite(jnp.concatenate([leaf.reshape(-1) for leaf in leaves])))
  # The barrier keeps XLA from computing the whole chain again in the update of every leaf, which
  # compiles ten times as long.
  return jax.lax.optimization_barrier(
    jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in leaves]))
  )
