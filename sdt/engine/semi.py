"""Learning from unlabelled examples: what a step's loss is where it sees some.

Each `Method` is a row of `SEMI`. It applies the network as often as it must, and says what the loss
of the labelled examples is and what that of the others; a factor, traced, weighs the second.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key

from sdt.config.schema import SemiConfig
from sdt.devices.layout import gather_over, pad_batch, sum_over
from sdt.engine.plan import Plan
from sdt.inputs.operations.mixing import mixing_weight
from sdt.losses import accumulator_dtype, cross_entropy
from sdt.types import BatchStats, Leaf


# Inputs [B, ...] and a mask [B] -> the logits [B, K] in training mode, and the new statistics.
class Apply(Protocol):
  """The network in training mode; a pass that makes guesses drops other values than the other."""

  def __call__(
    self, inputs: Float[Array, "B ..."], mask: Bool[Array, "B"], is_guess: bool = False
  ) -> tuple[Float[Array, "B K"], BatchStats]:
    """Returns the logits and the updated running statistics."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Unlabelled:
  """The unlabelled examples of one step; where a batch is divided by hand, this device's part.

  Attributes:
    first, second: [U, ...] float, the same examples augmented twice and normalised; the second
      time by the strong operations for fixmatch.
    mask: [U] bool, which examples count.
    mixing: of mixmatch, how [labelled; first; second] are mixed; else None.
  """

  first: Leaf
  second: Leaf
  mask: Leaf
  mixing: "Mixing | None" = None


class Mixing(NamedTuple):
  """How the rows of [labelled; first; second] are mixed, of each part this device's rows.

  Attributes:
    partners: three of int32, [B], [U] and [U]: places in the three parts of all devices, together.
    weights: three of float32 in [0.5, 1], how much of a row stays.
  """

  partners: tuple[Leaf, ...]
  weights: tuple[Leaf, ...]


class Seen(NamedTuple):
  """What a method works on.

  Attributes:
    apply: the network.
    labelled_sum: logits [B, K] of the labelled examples -> the sum of their losses, [].
    inputs, labels, mask: of the labelled examples, [B, ...], [B] and [B].
    unlabelled: the others.
    numbers: see `now_of`.
    axis_name: the device axis over which a batch is divided by hand, or None.
  """

  apply: Apply
  labelled_sum: Callable[[Float[Array, "B K"]], Float[Array, ""]]
  inputs: Leaf
  labels: Leaf
  mask: Leaf
  unlabelled: Unlabelled
  numbers: Mapping[str, Leaf]
  axis_name: str | None


class Learned(NamedTuple):
  """What a method makes of a batch, of this device's part.

  Attributes:
    labelled: [] sum of the losses of the labelled examples.
    others: [] this device's part of the mean loss of the unlabelled ones.
    logits: [B, K] of the labelled examples.
    batch_stats: the new running statistics.
    used: [] float32, this device's part of the share of the valid unlabelled examples whose guess
      is learned from, in [0, 1].
  """

  labelled: Leaf
  others: Leaf
  logits: Leaf
  batch_stats: BatchStats
  used: Leaf


def given[T](part: T | None) -> T:
  """Returns what a program with unlabelled examples has; there is no step without it."""
  if part is None:
    raise ValueError("this program sees no unlabelled examples")
  return part


def numbers_of_semi(plan: Plan, name: str, config: SemiConfig) -> dict[str, np.ndarray]:
  """Returns the numbers of a program whose phases see unlabelled examples, by name.

  `acts` [P] says in which phases they are learned from: not in those without a partner, and not at
  strength 0, where a step is the step without them.
  """
  acts = [phase.num_unlabelled > 0 and phase.overrides.get(name, 0) != 0 for phase in plan.phases]
  ramp_steps = config.ramp_rounds * plan.steps_per_round
  numbers = {
    "threshold": config.threshold,
    "temperature": config.temperature,
    "mixing_alpha": config.mixing_alpha,
    # Before this step the factor grows; of FixMatch it is whole from the start.
    "ramp_steps": ramp_steps if name == "mixmatch" else 0,
  }
  return {
    "acts": np.asarray(acts, np.bool_),
    **{name: np.asarray(value, np.float32) for name, value in numbers.items()},
  }


def now_of(numbers: Mapping[str, Leaf], phase: Leaf, step: Leaf) -> dict[str, Leaf]:
  """Returns the numbers of a step in `phase`, [] each, from those of the program.

  `ramp` is the share of the factor in this step: step / ramp_steps, at most 1.
  """
  steps, now = numbers["ramp_steps"], step.astype(jnp.float32)
  ramp = jnp.where(now < steps, now / jnp.maximum(steps, 1.0), 1.0)
  return {**numbers, "acts": numbers["acts"][phase], "ramp": ramp}


def fixmatch(seen: Seen) -> Learned:
  """Returns what FixMatch learns: the strong images shall be what the weak ones are sure to be.

  The loss of the others is the mean over all valid ones of H(argmax p(weak), p(strong)), where the
  largest probability of p(weak) reaches the threshold, else 0. One pass over [labelled; weak;
  strong], so BatchNorm sees all three.

  Source: Sohn et al. 2020, "FixMatch: Simplifying Semi-Supervised Learning with Consistency and
  Confidence", equations 3 and 4. Differs from source: none.
  """
  others, size, number = seen.unlabelled, seen.mask.shape[0], seen.unlabelled.mask.shape[0]
  logits, batch_stats = seen.apply(
    jnp.concatenate([seen.inputs, others.first, others.second]),
    jnp.concatenate([seen.mask, others.mask, others.mask]),
  )
  labelled, weak, strong = jnp.split(logits, [size, size + number])
  weak = jax.lax.stop_gradient(weak).astype(accumulator_dtype(weak.dtype))
  is_sure = jnp.max(jax.nn.softmax(weak), axis=-1) >= seen.numbers["threshold"].astype(weak.dtype)
  losses = cross_entropy(strong, jnp.argmax(weak, axis=-1).astype(jnp.int32))
  total = jnp.sum(jnp.where(is_sure & others.mask, losses, 0.0))
  return Learned(
    seen.labelled_sum(labelled),
    total / count_of(others.mask, seen.axis_name).astype(total.dtype),
    logits=labelled,
    batch_stats=batch_stats,
    used=_share(is_sure & others.mask, others.mask, seen.axis_name),
  )


def mixmatch(seen: Seen) -> Learned:
  """Returns what MixMatch learns: from mixtures of labelled examples and sharpened guesses.

  A guess q is the mean of the probabilities of an example augmented twice, sharpened to
  q^(1/T) / sum. Every row of [labelled; first; second] is mixed with a random valid one, and so are
  the targets. The loss of the labelled rows is the cross-entropy, that of the others
  |target - p|^2 / K, a mean over the valid ones.

  Source: Berthelot et al. 2019, "MixMatch: A Holistic Approach to Semi-Supervised Learning",
  algorithm 1 and equations 2 to 5. Differs from source: one pass over the whole mixed batch, so
  BatchNorm sees all of it.
  """
  others, mixing = seen.unlabelled, seen.unlabelled.mixing
  if mixing is None:
    raise ValueError("these unlabelled examples were made for another method")
  masks = (seen.mask, others.mask, others.mask)
  images = jnp.concatenate([others.first, others.second])
  logits, _ = seen.apply(images, jnp.concatenate(masks[1:]), is_guess=True)
  guesses = sharpened(jax.lax.stop_gradient(logits), seen.numbers["temperature"])
  hot = jax.nn.one_hot(seen.labels, guesses.shape[-1], dtype=guesses.dtype)
  inputs, targets = (seen.inputs, others.first, others.second), (hot, guesses, guesses)
  mixed = _mixed(inputs, mixing, seen.axis_name)
  hot, *wanted = _mixed(targets, mixing, seen.axis_name)
  logits, batch_stats = seen.apply(jnp.concatenate(mixed), jnp.concatenate(masks))
  size = seen.mask.shape[0]
  exact = logits.astype(accumulator_dtype(logits.dtype))
  losses = -jnp.sum(hot * jax.nn.log_softmax(exact[:size]), axis=-1)
  errors = jnp.square(jnp.concatenate(wanted) - jax.nn.softmax(exact[size:])).mean(axis=-1)
  mask = jnp.concatenate(masks[1:])
  total = jnp.sum(jnp.where(mask, errors, 0.0))
  return Learned(
    jnp.sum(jnp.where(seen.mask, losses, 0.0)),
    total / count_of(mask, seen.axis_name).astype(total.dtype),
    logits=logits[:size],
    batch_stats=batch_stats,
    used=_share(mask, mask, seen.axis_name),
  )


def _share(
  used: Bool[Array, "U"], mask: Bool[Array, "U"], axis_name: str | None
) -> Float[Array, ""]:
  """Returns this device's part of the share of the valid examples that are used."""
  return jnp.sum(used, dtype=jnp.float32) / count_of(mask, axis_name).astype(jnp.float32)


def sharpened(logits: Float[Array, "V K"], temperature: Float[Array, ""]) -> Float[Array, "U K"]:
  """Returns the guesses of U = V / 2 examples from the logits of both their images.

  They are p^(1/T) / sum p^(1/T) of the mean p of the two softmax probabilities.
  """
  exact = logits.astype(accumulator_dtype(logits.dtype))
  first, second = jnp.split(jax.nn.log_softmax(exact), 2)
  log_mean = jnp.logaddexp(first, second)  # a softmax takes no notice of the factor 1/2
  return jax.nn.softmax(log_mean / temperature.astype(exact.dtype))


def _mixed(
  parts: tuple[Float[Array, "..."], ...], mixing: Mixing, axis_name: str | None
) -> list[Float[Array, "..."]]:
  """Returns w x + (1 - w) x' of each of the three parts."""
  whole = jnp.concatenate([gather_over(axis_name, part) for part in parts])
  mixed = []
  for part, partner, weight in zip(parts, mixing.partners, mixing.weights, strict=True):
    own = weight.astype(part.dtype).reshape(-1, *[1] * (part.ndim - 1))
    mixed.append(own * part + (1.0 - own) * whole[partner])
  return mixed


def draw_mixing(
  key: Key[Array, ""],
  masks: tuple[Bool[Array, "..."], ...],
  alpha: Float[Array, ""],
  padded: tuple[int, ...],
) -> Mixing:
  """Returns a random order of the valid rows as partners, and a weight for each row.

  Args:
    key: PRNG key.
    masks: of the three parts, whole.
    alpha: [] of the Beta distribution.
    padded: the sizes of the parts once they are padded for the devices.
  """
  order_key, weight_key = jax.random.split(key)
  mask, sizes = jnp.concatenate(masks), [mask.shape[0] for mask in masks]
  total, ends = sum(sizes), np.cumsum(sizes)
  bits = jax.random.bits(order_key, (total,), jnp.uint32)
  # Valid rows first, in a random order; the i-th valid row has the i-th of them as its partner.
  rows = jnp.arange(total, dtype=jnp.int32)
  order = jax.lax.sort((~mask, bits, rows), num_keys=2)[2]
  rank = jnp.cumsum(mask, dtype=jnp.int32) - 1
  partner = jnp.where(mask, order[jnp.maximum(rank, 0)], rows)
  starts = np.cumsum([0, *padded[:-1]])
  places = np.concatenate(
    [start + np.arange(size) for start, size in zip(starts, sizes, strict=True)]
  )
  drawn = jax.vmap(mixing_weight, in_axes=(0, None))(jax.random.split(weight_key, total), alpha)
  weight = jnp.maximum(drawn, 1.0 - drawn)
  whole = jnp.asarray(places, jnp.int32)[partner]
  parts = (
    [pad_batch(one, size) for one, size in zip(jnp.split(array, ends[:-1]), padded, strict=True)]
    for array in (whole, weight)
  )
  return Mixing(*map(tuple, parts))


def count_of(mask: Bool[Array, "U"], axis_name: str | None) -> Array:
  """Returns how many of all devices' examples count, [] int32, at least 1."""
  return jnp.maximum(sum_over(axis_name, jnp.sum(mask, dtype=jnp.int32)), 1)


class Method(NamedTuple):
  """A way of learning from unlabelled examples.

  Attributes:
    learn: what it makes of a batch.
    is_strong: whether the second images of a step have the strong augmentation.
    mixes: whether the rows of the batch are mixed.
    guesses: how many passes over both images it makes besides the one that is trained.
  """

  learn: Callable[[Seen], Learned]
  is_strong: bool = False
  mixes: bool = False
  guesses: int = 0


# By the regulariser that is its factor.
SEMI: Mapping[str, Method] = {
  "fixmatch": Method(fixmatch, is_strong=True),
  "mixmatch": Method(mixmatch, mixes=True, guesses=1),
}
