"""Learning from unlabelled examples: what a step's loss is where it sees some.

Each method is a row of `SEMI`. It applies the network as often as it must, and says what the loss
of the labelled examples is and what that of the others; a factor, traced, weighs the second.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from sdt.config.schema import SemiConfig
from sdt.devices.layout import sum_over
from sdt.engine.plan import Plan
from sdt.losses import accumulator_dtype, cross_entropy
from sdt.types import BatchStats, Leaf

# Inputs [B, ...] and a mask [B] -> the logits [B, K] in training mode, and the new statistics.
type Apply = Callable[
  [Float[Array, "B ..."], Bool[Array, "B"]], tuple[Float[Array, "B K"], BatchStats]
]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Unlabelled:
  """The unlabelled examples of one step; where a batch is divided by hand, this device's part.

  Attributes:
    first, second: [U, ...] float, the same examples augmented twice and normalised; the second
      time by the strong operations for fixmatch.
    mask: [U] bool, which examples count.
  """

  first: Leaf
  second: Leaf
  mask: Leaf


class Seen(NamedTuple):
  """What a method works on.

  Attributes:
    apply: the network.
    labelled_sum: logits [B, K] of the labelled examples -> the sum of their losses, [].
    inputs, mask: of the labelled examples, [B, ...] and [B].
    unlabelled: the others.
    numbers: see `now_of`.
    axis_name: the device axis over which a batch is divided by hand, or None.
  """

  apply: Apply
  labelled_sum: Callable[[Float[Array, "B K"]], Float[Array, ""]]
  inputs: Leaf
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
  """

  labelled: Leaf
  others: Leaf
  logits: Leaf
  batch_stats: BatchStats


def numbers_of_semi(plan: Plan, name: str, config: SemiConfig) -> dict[str, np.ndarray]:
  """Returns the numbers of a program whose phases see unlabelled examples, by name.

  `acts` [P] says in which phases they are learned from: not in those without a partner, and not at
  strength 0, where a step is the step without them.
  """
  acts = [phase.num_unlabelled > 0 and phase.overrides.get(name, 0) != 0 for phase in plan.phases]
  return {"acts": np.asarray(acts, np.bool_), "threshold": np.asarray(config.threshold, np.float32)}


def now_of(numbers: Mapping[str, Leaf], phase: Leaf) -> dict[str, Leaf]:
  """Returns the numbers of a step in `phase`, [] each, from those of the program."""
  return {**numbers, "acts": numbers["acts"][phase]}


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
  )


def count_of(mask: Bool[Array, "U"], axis_name: str | None) -> Array:
  """Returns how many of all devices' examples count, [] int32, at least 1."""
  return jnp.maximum(sum_over(axis_name, jnp.sum(mask, dtype=jnp.int32)), 1)


# By the regulariser that is its factor.
SEMI: Mapping[str, Callable[[Seen], Learned]] = {"fixmatch": fixmatch}
