"""The ids of a step are a pure function of (seed, phase, round)."""

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdt.inputs.order import augment_key, num_batches, order_key, phase_batches


@given(
  num_examples=st.integers(1, 40),
  batch_size=st.integers(1, 17),
  passes=st.integers(1, 3),
  seed=st.integers(0, 2**31 - 1),
)
def test_every_pass_visits_every_example_exactly_once(num_examples, batch_size, passes, seed):
  per_pass = num_batches(num_examples, batch_size)
  positions, mask = phase_batches(
    order_key(seed, 0, 0), num_examples, passes * per_pass, batch_size=batch_size
  )
  assert positions.shape == mask.shape == (passes * per_pass, batch_size)
  for index in range(passes):
    window = slice(index * per_pass, (index + 1) * per_pass)
    np.testing.assert_array_equal(
      np.sort(np.asarray(positions[window])[np.asarray(mask[window])]), np.arange(num_examples)
    )


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
      phase_batches(
        jax.random.key(0), num_examples, num_batches(num_examples, 128), batch_size=128
      )[1]
    )
    assert mask[:-1].all()
    assert mask[-1].sum() == last


def test_the_last_pass_may_be_cut_short():
  positions, mask = phase_batches(jax.random.key(3), 10, 4, batch_size=4)
  assert mask.sum() == 14
  np.testing.assert_array_equal(
    np.sort(np.asarray(positions[:3])[np.asarray(mask[:3])]), np.arange(10)
  )


@pytest.mark.parametrize("other", [(1, 0, 0), (0, 1, 0), (0, 0, 1)])
def test_another_seed_phase_or_round_gives_another_order(other):
  here = phase_batches(order_key(0, 0, 0), 100, 10, batch_size=10)[0]
  there = phase_batches(order_key(*other), 100, 10, batch_size=10)[0]
  assert (np.asarray(here) != np.asarray(there)).mean() > 0.5


def test_order_and_augmentation_never_share_a_key():
  keys = {tuple(np.asarray(jax.random.key_data(make(seed, phase, clock))).tolist())
          for make in (order_key, augment_key)
          for seed in range(3) for phase in range(3) for clock in range(20)}  # fmt: skip
  assert len(keys) == 2 * 3 * 3 * 20


def test_a_machine_with_another_kind_of_random_numbers_has_the_same_order():
  expected = phase_batches(order_key(3, 1, 4), 30, 5, batch_size=8)
  with jax.default_prng_impl("rbg"):
    np.testing.assert_array_equal(phase_batches(order_key(3, 1, 4), 30, 5, batch_size=8), expected)


def test_orders_are_uniform():
  firsts = np.array(
    [phase_batches(order_key(seed, 0, 0), 5, 1, batch_size=5)[0][0, 0] for seed in range(400)]
  )
  counts = np.bincount(firsts, minlength=5)
  assert ((counts - 80) ** 2 / 80).sum() < 18.5  # chi-squared, 4 degrees of freedom, p = 0.001
