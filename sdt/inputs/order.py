"""Which examples a step sees: a pure function of (seed, phase, round), so no iterator has a state.

A phase in a round goes through its examples in the order of a permutation, drawn from
`order_key(seed, phase, round)`. The permutation is cut into batches of one size; the last batch is
padded and masked. A phase with more steps than one pass needs draws a permutation for each pass.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int32, Integer, Key

# Streams of random numbers. Every key is fold_in(fold_in(fold_in(key(seed), stream), phase),
# clock), so that no two purposes share one.
_ORDER, _AUGMENT, _DROPOUT, _MIXUP = 1, 2, 3, 4
_TEST_DROPOUT = 11

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


def phase_batches(
  key: Key[Array, ""], num_examples: int, num_steps: int, batch_size: int
) -> tuple[Int32[Array, "T B"], Bool[Array, "T B"]]:
  """Returns the positions that each step of a phase sees, and a mask of those that count.

  Args:
    key: PRNG key of this phase and round.
    num_examples: n, the size of the phase's subset, at least 1.
    num_steps: T, optimiser steps. ceil(n / B) steps are one pass; more steps begin further passes,
      each with its own permutation.
    batch_size: B.
  Returns:
    positions [T, B] int32 in [0, n) and mask [T, B] bool. In each complete pass every position is
    valid exactly once; padding points at position 0 with mask False.
  """
  steps_per_pass = num_batches(num_examples, batch_size)
  padding = steps_per_pass * batch_size - num_examples
  mask = (jnp.arange(steps_per_pass * batch_size) < num_examples).reshape(
    steps_per_pass, batch_size
  )
  passes = []
  for index in range(num_batches(num_steps, steps_per_pass)):
    order = permutation(jax.random.fold_in(key, index), num_examples)
    passes.append(jnp.pad(order, (0, padding)).reshape(steps_per_pass, batch_size))
  positions = jnp.concatenate(passes)[:num_steps]
  return positions, jnp.tile(mask, (len(passes), 1))[:num_steps]
