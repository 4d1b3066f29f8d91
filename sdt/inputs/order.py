"""Which examples a step sees: a pure function of (seed, phase, round), so no iterator has a state.

A phase in a round goes through its examples in the order of a permutation, drawn from
`order_key(seed, phase, round)`. The permutation is cut into batches of one size; the last batch is
padded and masked. A phase with more steps than one pass needs draws a permutation for each pass.
A phase may draw its examples by weights instead, with replacement.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int32, Integer, Key, Shaped, UInt32

from sdt.types import Leaf

# Streams of random numbers. Every key is fold_in(fold_in(fold_in(key(seed), stream), phase),
# clock), so that no two purposes share one.
_ORDER, _AUGMENT, _DROPOUT, _MIXUP = 1, 2, 3, 4
_TEST_DROPOUT = 11
_UNLABELLED_ORDER, _UNLABELLED = 12, 13

# A number that a key depends on.
type Scalar = Integer[Array, ""] | np.integer | int


def _key(seed: Scalar) -> Key[Array, ""]:
  # The implementation is named: a machine may have another default, whose bits differ under `vmap`.
  return jax.random.key(seed, impl="threefry2x32")


def order_key(seed: Scalar, phase: Scalar, round_index: Scalar) -> Key[Array, ""]:
  """Returns the PRNG key for the order of a phase's examples in round `round_index` (from 0)."""
  return jax.random.fold_in(
    jax.random.fold_in(jax.random.fold_in(_key(seed), _ORDER), phase), round_index
  )


def augment_key(seed: Scalar, phase: Scalar, step: Scalar) -> Key[Array, ""]:
  """Returns the PRNG key for augmentation in optimiser step `step` (from 0, over all rounds)."""
  return jax.random.fold_in(
    jax.random.fold_in(jax.random.fold_in(_key(seed), _AUGMENT), phase), step
  )


def dropout_key(seed: Scalar, phase: Scalar, step: Scalar) -> Key[Array, ""]:
  """Returns the PRNG key for dropout in optimiser step `step` (from 0, over all rounds)."""
  return jax.random.fold_in(
    jax.random.fold_in(jax.random.fold_in(_key(seed), _DROPOUT), phase), step
  )


def mixup_key(seed: Scalar, phase: Scalar, step: Scalar) -> Key[Array, ""]:
  """Returns the PRNG key for mixup's weight in optimiser step `step` (from 0, over all rounds)."""
  return jax.random.fold_in(jax.random.fold_in(jax.random.fold_in(_key(seed), _MIXUP), phase), step)


def unlabelled_key(seed: Scalar, phase: Scalar, step: Scalar) -> Key[Array, ""]:
  """Returns the PRNG key for what becomes of the unlabelled examples of optimiser step `step`."""
  return jax.random.fold_in(
    jax.random.fold_in(jax.random.fold_in(_key(seed), _UNLABELLED), phase), step
  )


def sample_key(sample: Scalar, batch: Scalar) -> Key[Array, ""]:
  """Returns the PRNG key for dropout in a test batch, in pass `sample` (from 0): of all seeds."""
  return jax.random.fold_in(
    jax.random.fold_in(jax.random.fold_in(_key(0), _TEST_DROPOUT), sample), batch
  )


def num_batches(num_examples: int, batch_size: int) -> int:
  """Returns the number of batches in one pass, counting a partial last one: ceil(N / B)."""
  return -(-num_examples // batch_size)


def permutation(key: Key[Array, ""], num_examples: int) -> Int32[Array, "N"]:
  """Returns a uniformly drawn order of 0..N-1, int32 [N].

  Sorting random bits costs half of `jax.random.permutation`, which sorts more than once. Equal bits
  keep their order; this bias is below N / 2**32.
  """
  bits = jax.random.bits(key, (num_examples,), jnp.uint32)
  return jax.lax.sort_key_val(bits, jnp.arange(num_examples, dtype=jnp.int32))[1]


class Draw(NamedTuple):
  """How the examples of a phase are drawn, in place of an order in which each comes once.

  Attributes:
    thresholds: [n] uint32, see `draw_thresholds`.
    is_on: [] bool; where it is False, the phase has its order.
  """

  thresholds: Leaf
  is_on: Leaf


def draw_thresholds(weights: Float[np.ndarray, "n"]) -> UInt32[np.ndarray, "n"]:
  """Returns the sums of the first weights as shares of 2**32: 32 random bits choose an example.

  The first example whose threshold is above the bits is drawn, the last for the largest bits.

  Args:
    weights: [n] float, at least 0, of which one is above 0.
  """
  sums = np.cumsum(weights, dtype=np.float64)
  shares = np.floor(sums * (2.0**32 / sums[-1]))
  return np.minimum(shares, 2.0**32 - 1).astype(np.uint32)


def _one_pass(key: Key[Array, ""], num_examples: int, draw: Draw | None) -> Int32[Array, "N"]:
  """Returns the positions that a pass sees: in a random order, or drawn with replacement."""
  order = permutation(key, num_examples)
  if draw is None:
    return order
  bits = jax.random.bits(key, (num_examples,), jnp.uint32)
  drawn = jnp.searchsorted(draw.thresholds, bits, side="right").astype(jnp.int32)
  return jnp.where(draw.is_on, jnp.minimum(drawn, num_examples - 1), order)


def phase_batches(
  key: Key[Array, ""],
  num_examples: int,
  num_steps: int,
  batch_size: int,
  draw: Draw | None = None,
) -> tuple[Int32[Array, "T B"], Bool[Array, "T B"]]:
  """Returns the positions that each step of a phase sees, and a mask of those that count.

  Args:
    key: PRNG key of this phase and round.
    num_examples: n, the size of the phase's subset, at least 1.
    num_steps: T, optimiser steps. ceil(n / B) steps are one pass; more steps begin further passes,
      each with its own permutation.
    batch_size: B.
    draw: where it is on, a pass draws n positions by weights, each independently of the others.
  Returns:
    positions [T, B] int32 in [0, n) and mask [T, B] bool. In each complete pass every position is
    valid exactly once, unless they are drawn; padding points at position 0 with mask False.
  """
  steps_per_pass = num_batches(num_examples, batch_size)
  padding = steps_per_pass * batch_size - num_examples
  mask = (jnp.arange(steps_per_pass * batch_size) < num_examples).reshape(
    steps_per_pass, batch_size
  )
  passes = []
  for index in range(num_batches(num_steps, steps_per_pass)):
    order = _one_pass(jax.random.fold_in(key, index), num_examples, draw)
    passes.append(jnp.pad(order, (0, padding)).reshape(steps_per_pass, batch_size))
  positions = jnp.concatenate(passes)[:num_steps]
  return positions, jnp.tile(mask, (len(passes), 1))[:num_steps]


def unlabelled_batches(
  seed: Scalar,
  phase: Scalar,
  round_index: Scalar,
  num_examples: int,
  *,
  num_steps: int,
  batch_size: int,
) -> tuple[Int32[Array, "T U"], Bool[Array, "T U"]]:
  """Returns the positions of the unlabelled examples that each step of a phase sees, and a mask.

  They come in an order of their own: a phase goes on in a round where it stood after the round
  before, so each of them is seen once before any is seen again. Pass p over them is in the order of
  a permutation drawn from (seed, phase, p).

  Args:
    seed: of the replica.
    phase: number of the phase.
    round_index: [] int, from 0.
    num_examples: m, at least 1.
    num_steps: T, the steps of the phase in a round.
    batch_size: U.
  Returns:
    positions [T, U] int32 in [0, m) and mask [T, U] bool; padding points at position 0.
  """
  per_pass = num_batches(num_examples, batch_size)
  first = jnp.asarray(round_index, jnp.int32) * np.int32(num_steps)
  first_pass, at = first // np.int32(per_pass), first % np.int32(per_pass)
  stream = jax.random.fold_in(jax.random.fold_in(_key(seed), _UNLABELLED_ORDER), phase)
  num_passes = num_batches(num_steps + per_pass - 1, per_pass)  # the most that a round touches
  padding = per_pass * batch_size - num_examples
  passes = [
    jnp.pad(
      permutation(jax.random.fold_in(stream, first_pass + np.int32(index)), num_examples),
      (0, padding),
    )
    for index in range(num_passes)
  ]
  rows = jnp.concatenate(passes).reshape(-1, batch_size)
  is_real = jnp.arange(per_pass * batch_size) < num_examples
  masks = jnp.tile(is_real.reshape(per_pass, batch_size), (num_passes, 1))

  def of_round(rows: Shaped[Array, "S U"]) -> Shaped[Array, "T U"]:
    return jax.lax.dynamic_slice_in_dim(rows, at, num_steps)

  return of_round(rows), of_round(masks)
