"""Which examples a step sees: a pure function of (seed, phase, round), so that no iterator has a
state.

The order of a phase in a round is a permutation drawn from `order_key(seed, phase, round)`; it is
cut into fixed-size batches, and the last one is padded and masked. A phase that has more steps than
one pass needs goes through further permutations.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

# Streams of random numbers. Every key is fold_in(fold_in(fold_in(key(seed), stream), phase),
# clock), so that no two purposes share one.
_ORDER, _AUGMENT, _DROPOUT, _MIXUP = 1, 2, 3, 4


def _key(seed: jax.Array) -> jax.Array:
  # Named, because a machine's default may be another, whose bits under `vmap` are others than one
  # at a time.
  return jax.random.key(seed, impl="threefry2x32")


def order_key(seed: jax.Array, phase: jax.Array | int, round_index: jax.Array) -> jax.Array:
  """Returns the PRNG key of the order of the examples of `phase` in round `round_index`
  (from 0).
  """
  return jax.random.fold_in(
    jax.random.fold_in(jax.random.fold_in(_key(seed), _ORDER), phase), round_index
  )


def augment_key(seed: jax.Array, phase: jax.Array | int, step: jax.Array) -> jax.Array:
  """Returns the PRNG key of the augmentation in optimiser step `step` (from 0, over all rounds)."""
  return jax.random.fold_in(
    jax.random.fold_in(jax.random.fold_in(_key(seed), _AUGMENT), phase), step
  )


def dropout_key(seed: jax.Array, phase: jax.Array | int, step: jax.Array) -> jax.Array:
  """Returns the PRNG key of the dropout in optimiser step `step` (from 0, over all rounds)."""
  return jax.random.fold_in(
    jax.random.fold_in(jax.random.fold_in(_key(seed), _DROPOUT), phase), step
  )


def mixup_key(seed: jax.Array, phase: jax.Array | int, step: jax.Array) -> jax.Array:
  """Returns the PRNG key of the mixing weight in optimiser step `step` (from 0, over all
  rounds).
  """
  return jax.random.fold_in(jax.random.fold_in(jax.random.fold_in(_key(seed), _MIXUP), phase), step)


def num_batches(num_examples: int, batch_size: int) -> int:
  """Returns how many batches one pass takes, the partial last one counted: ceil(N / B)."""
  return -(-num_examples // batch_size)


def permutation(key: jax.Array, num_examples: int) -> jax.Array:
  """Returns a uniformly drawn order of 0..N-1, int32 [N].

  Sorting random bits costs half of `jax.random.permutation`, which sorts more than once; equal bits
  keep their order, a bias below N / 2**32.
  """
  bits = jax.random.bits(key, (num_examples,), jnp.uint32)
  return jax.lax.sort_key_val(bits, jnp.arange(num_examples, dtype=jnp.int32))[1]


def phase_batches(
  key: jax.Array, num_examples: int, num_steps: int, batch_size: int
) -> tuple[jax.Array, jax.Array]:
  """Returns the positions that each step of a phase sees, and which of them count.

  Args:
    key: PRNG key of this phase and round.
    num_examples: n, the size of the phase's subset, at least 1.
    num_steps: T, optimiser steps; ceil(n / B) is one pass, more steps begin further passes, each
      with its own permutation.
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


def rows_of(
  inputs: Any, offset: jax.Array, ids: jax.Array, is_streamed: bool
) -> tuple[Any, jax.Array]:
  """Returns an array of inputs, and the rows [B] of it that are a batch.

  Args:
    inputs: of a whole split, [N, ...]; streamed, of the batches that this dispatch was given,
      [batches, B, ...].
    offset: [] int32, number of the batch in the dispatch.
    ids: [B] int32, positions in the split.
    is_streamed: which of the two it is.
  """
  if is_streamed:
    return inputs[offset], jnp.arange(ids.shape[0], dtype=jnp.int32)
  return inputs, ids
