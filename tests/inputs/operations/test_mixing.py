"""Mixup, cutmix and RICAP: boxes, shares of the losses, and images put together by hand."""

import jax
import numpy as np
import pytest

from sdt.inputs.operations import mixing
from sdt.inputs.operations.mixing import MIXERS
from tests.support.images import random_bytes
from tests.support.places import GOLDEN

GIVEN = np.load(GOLDEN / "operations.npz")


def test_the_boxes_of_cutmix_are_timm_s_at_the_same_random_numbers():
  size = tuple(GIVEN["box_size"].tolist())
  of_all = jax.jit(
    jax.vmap(lambda weight, middle: mixing.cutmix_box(weight, middle[None], size)[0])
  )
  ours = of_all(GIVEN["cutmix_weights"].astype(np.float32), GIVEN["cutmix_middles"])
  np.testing.assert_array_equal(ours, GIVEN["cutmix_boxes"])


@pytest.mark.parametrize("name", MIXERS)
def test_the_weights_are_the_shares_of_the_pixels_that_are_seen(name):
  """Each batch is one number everywhere: what is seen of it is its weight, clipped boxes too."""
  mixer, size = MIXERS[name], (6, 9)
  batches = [np.full((2, *size, 1), float(i == 0), np.float32) for i in range(mixer.partners + 1)]

  @jax.jit
  @jax.vmap
  def run(key):
    drawn = mixer.draw(key, np.float32(1), size)
    parts = [mixer.mix(batches[-at:] + batches[:-at], drawn) for at in range(len(batches))]
    return mixer.weights(drawn, size), [part.mean() for part in parts]

  weights, seen = run(jax.random.split(jax.random.key(0), 300))
  for weight, share in zip(weights, seen, strict=True):
    np.testing.assert_allclose(weight, share, atol=1e-5)
  np.testing.assert_allclose(sum(np.asarray(weight) for weight in weights), 1, atol=1e-6)
  # By symmetry each of the J + 1 has its part, less what cutmix clips.
  assert abs(np.mean(weights[0]) - {"cutmix": 0.61}.get(name, 1 / len(weights))) < 0.06


@pytest.mark.parametrize("name", MIXERS)
def test_at_alpha_zero_every_example_is_itself_bit_for_bit(name):
  mixer = MIXERS[name]
  batches = [random_bytes((3, 5, 4, 2), seed).astype(np.float32) for seed in range(4)]

  @jax.jit
  def run(key):
    drawn = mixer.draw(key, np.float32(0), (5, 4))
    return mixer.mix(batches[: mixer.partners + 1], drawn), mixer.weights(drawn, (5, 4))

  for seed in range(3):
    mixed, (own, *others) = run(jax.random.key(seed))
    np.testing.assert_array_equal(mixed, batches[0])
    assert own == 1.0
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
