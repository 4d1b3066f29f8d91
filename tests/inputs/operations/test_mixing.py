"""Mixup, cutmix and RICAP: boxes, shares of the losses, and images put together by hand."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sdt.inputs.operations import mixing
from sdt.inputs.operations.mixing import MIXERS
from tests.support.places import GOLDEN

GIVEN = np.load(GOLDEN / "operations.npz")


def test_the_boxes_of_cutmix_are_timm_s_at_the_same_random_numbers():
  size = tuple(GIVEN["box_size"].tolist())
  of_all = jax.jit(
    jax.vmap(lambda weight, middle: mixing.cutmix_box(weight, middle[None], size)[0])
  )
  ours = of_all(GIVEN["cutmix_weights"].astype(np.float32), GIVEN["cutmix_middles"])
  np.testing.assert_array_equal(ours, GIVEN["cutmix_boxes"])


SIZE = (6, 9)


@functools.partial(jax.jit, static_argnames="name")
def mixed_by(name, key, alpha):
  """Returns the weights of a mixture, and the mixtures of batches of one number each: 1, 0, 0, ...;
  0, 1, 0, ...; and so on.
  """
  mixer = MIXERS[name]
  batches = [jnp.full((2, *SIZE, 1), float(i == 0)) for i in range(mixer.partners + 1)]
  drawn = mixer.draw(key, alpha, SIZE)
  mixtures = [mixer.mix(batches[-at:] + batches[:-at], drawn) for at in range(len(batches))]
  return mixer.weights(drawn, SIZE), mixtures


@pytest.mark.parametrize("name", MIXERS)
def test_the_weights_are_the_shares_that_are_seen_and_at_alpha_zero_nothing_is_mixed(name):
  """Of clipped boxes too: what is seen of a batch is its weight."""
  found = []
  for key in jax.random.split(jax.random.key(0), 60):
    weights, mixtures = mixed_by(name, key, jnp.float32(1))
    shares = [np.asarray(mixture).mean() for mixture in mixtures]
    np.testing.assert_allclose(weights, shares, atol=1e-5)
    found.append(np.asarray(weights))
  assert np.std(found, axis=0).min() > 0.1
  np.testing.assert_allclose(np.sum(found, axis=1), 1, atol=1e-6)
  # By symmetry each of the J + 1 has its part; of cutmix's box a part is clipped away.
  assert abs(np.mean(found, axis=0)[0] - (0.77 if name == "cutmix" else 1 / len(weights))) < 0.1
  weights, (first, *others) = mixed_by(name, jax.random.key(1), jnp.float32(0))
  assert [float(weight) for weight in weights] == [1.0] + [0.0] * len(others)
  assert (np.asarray(first) == 1).all()
  assert not np.any(others)


def test_a_pasted_box_and_four_parts_by_hand():
  ones = [np.full((1, 3, 4, 1), value, np.float32) for value in (1, 2, 3, 4)]
  pasted = jax.jit(mixing.cutmix)(ones[:2], {"box": np.int32([[0, 2, 2, 4]])})
  np.testing.assert_array_equal(
    np.asarray(pasted)[0, :, :, 0], [[1, 1, 2, 2], [1, 1, 2, 2], [1, 1, 1, 1]]
  )
  places = np.arange(12, dtype=np.float32).reshape(1, 3, 4, 1)
  parts = [100 * number + places for number in range(4)]
  drawn = {"corner": np.int32([2, 1]), "places": np.int32([[1, 3], [0, 1], [2, 0], [1, 1]])}
  together = np.asarray(jax.jit(mixing.ricap)(parts, drawn))[0, :, :, 0]
  np.testing.assert_array_equal(
    together, [[7, 101, 102, 103], [11, 105, 106, 107], [208, 305, 306, 307]]
  )


def test_further_partners_are_the_next_ones_of_the_valid_examples():
  of_mask = jax.jit(mixing.partners, static_argnames="ahead")
  mask = np.array([True, True, True, False])
  assert of_mask(mask, ahead=2).tolist() == [2, 0, 1, 3]
  assert of_mask(mask, ahead=3).tolist() == [0, 1, 2, 3]
