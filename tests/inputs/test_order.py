"""The ids of a step are a pure function of (seed, phase, round)."""

import functools
import itertools

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdt.inputs.order import (
  augment_key,
  num_batches,
  order_key,
  phase_batches,
  unlabelled_batches,
)

jit_batches = jax.jit(phase_batches, static_argnames=("num_examples", "num_steps", "batch_size"))

jit_unlabelled = jax.jit(
  unlabelled_batches, static_argnames=("num_examples", "num_steps", "batch_size")
)

# Examples, batch size and passes: every remainder of a batch that is an edge. Of few sizes, so that
# a program serves many seeds.
SIZES = [
  (1, 1, 3), (1, 17, 2), (2, 1, 2), (15, 16, 1), (16, 16, 3), (17, 16, 2), (31, 5, 1), (32, 8, 2),
  (40, 7, 3), (40, 17, 1), (39, 13, 2), (5, 4, 3),
]  # fmt: skip


@given(sizes=st.sampled_from(SIZES), seed=st.integers(0, 2**31 - 1))
def test_every_pass_visits_every_example_exactly_once(sizes, seed):
  num_examples, batch_size, passes = sizes
  per_pass = num_batches(num_examples, batch_size)
  positions, mask = map(
    np.asarray,
    jit_batches(order_key(seed, 0, 0), num_examples, passes * per_pass, batch_size=batch_size),
  )
  assert positions.shape == mask.shape == (passes * per_pass, batch_size)
  for index in range(passes):
    window = slice(index * per_pass, (index + 1) * per_pass)
    np.testing.assert_array_equal(np.sort(positions[window][mask[window]]), np.arange(num_examples))


def test_steps_of_the_paper_at_batch_128():
  assert num_batches(50_000, 128) == 391
  assert (num_batches(5_000, 128), num_batches(45_000, 128)) == (40, 352)
  assert (num_batches(73_257, 128), num_batches(7_325, 128), num_batches(65_932, 128)) == (
    573,
    58,
    516,
  )
  for num_examples, last in ((50_000, 80), (5_000, 8), (45_000, 72)):
    mask = np.asarray(
      jit_batches(jax.random.key(0), num_examples, num_batches(num_examples, 128), batch_size=128)[
        1
      ]
    )
    assert mask[:-1].all()
    assert mask[-1].sum() == last


def test_the_last_pass_may_be_cut_short():
  positions, mask = map(np.asarray, jit_batches(jax.random.key(3), 10, 4, batch_size=4))
  assert mask.sum() == 14
  np.testing.assert_array_equal(np.sort(positions[:3][mask[:3]]), np.arange(10))


@pytest.mark.parametrize("other", [(1, 0, 0), (0, 1, 0), (0, 0, 1)])
def test_another_seed_phase_or_round_gives_another_order(other):
  here = jit_batches(order_key(0, 0, 0), 100, 10, batch_size=10)[0]
  there = jit_batches(order_key(*other), 100, 10, batch_size=10)[0]
  assert (np.asarray(here) != np.asarray(there)).mean() > 0.5


def test_order_and_augmentation_never_share_a_key():
  seeds, phases, clocks = (axis.ravel() for axis in np.mgrid[:3, :3, :20].astype(np.int32))
  keys = [
    jax.jit(jax.vmap(lambda *of, make=make: jax.random.key_data(make(*of))))(seeds, phases, clocks)
    for make in (order_key, augment_key)
  ]
  assert len(np.unique(np.concatenate(keys), axis=0)) == 2 * 3 * 3 * 20


def test_a_machine_with_another_kind_of_random_numbers_has_the_same_order():
  def batches():
    # A function of its own each time, so that the second one is traced there.
    return jax.jit(lambda *of: phase_batches(order_key(*of), 30, 5, batch_size=8))(3, 1, 4)

  expected = batches()
  with jax.default_prng_impl("rbg"):
    np.testing.assert_array_equal(batches(), expected)


def test_orders_are_uniform():
  batches = functools.partial(phase_batches, num_examples=5, num_steps=1, batch_size=5)
  of_seed = jax.jit(jax.vmap(lambda seed: batches(order_key(seed, 0, 0))[0][0, 0]))
  firsts = np.asarray(of_seed(np.arange(400, dtype=np.int32)))
  counts = np.bincount(firsts, minlength=5)
  assert ((counts - 80) ** 2 / 80).sum() < 18.5  # chi-squared, 4 degrees of freedom, p = 0.001


# Unlabelled examples, batch size, steps of a round.
UNLABELLED = [(10, 4, 2), (12, 4, 7), (5, 8, 2)]


@given(sizes=st.sampled_from(UNLABELLED), seed=st.integers(0, 2**31 - 1))
def test_unlabelled_examples_are_each_seen_once_before_any_is_seen_again_whatever_a_round_is(
  sizes, seed
):
  num, size, steps = sizes
  rounds = [
    jit_unlabelled(seed, 1, index, num, num_steps=steps, batch_size=size) for index in range(6)
  ]
  positions, masks = (np.concatenate([np.asarray(one[part]) for one in rounds]) for part in (0, 1))
  per_pass = num_batches(num, size)
  for start in range(0, len(positions) - per_pass + 1, per_pass):
    window = slice(start, start + per_pass)
    np.testing.assert_array_equal(np.sort(positions[window][masks[window]]), np.arange(num))


def test_the_order_of_unlabelled_examples_is_its_own_and_another_in_every_phase_and_pass():
  of = functools.partial(jit_unlabelled, num_examples=40, num_steps=1, batch_size=40)
  orders = [np.asarray(of(seed, phase, index)[0])[0] for seed, phase, index in itertools.product(
    (0, 1), (0, 1), (0, 1)
  )]  # fmt: skip
  labelled = np.asarray(jit_batches(order_key(0, 0, 0), 40, 1, batch_size=40)[0])[0]
  assert len({tuple(order.tolist()) for order in [*orders, labelled]}) == 9
