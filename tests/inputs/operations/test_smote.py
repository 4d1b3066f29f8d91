"""SMOTE: synthetic examples between an example and a near one of its class."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from sdt.arms.resampling import nearest_of_class
from sdt.inputs.operations import smote
from sdt.inputs.operations.smote import Neighbours, between
from tests.support.images import random_bytes

SIZES = (12, 5, 2, 1)
LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(4), SIZES))
IMAGES = random_bytes((20, 4, 3, 2))
IDS = np.random.default_rng(1).permutation(100)[:20].astype(np.int32)
NEAR = Neighbours(
  nearest_of_class(IMAGES, LABELS, IDS, 3),
  (1 - np.bincount(LABELS)[LABELS] / 12).astype(np.float32),
)
ROWS = np.tile(np.arange(20, dtype=np.int32), 40)
BETWEEN = jax.jit(between)
DRAW = jax.jit(smote.draw, static_argnums=1)


def drawn(strength, seed=0):
  return DRAW(jax.random.key(seed), len(ROWS), np.float32(strength))


def by_hand(inputs, uniform, strength):
  """Returns what becomes of the rows, one after the other, in float64."""
  made = []
  for row, (chance, which, share) in zip(ROWS, uniform.astype(np.float64), strict=True):
    near = [one for one in NEAR.ids[row] if one >= 0]
    own = inputs[row].astype(np.float64)
    if near and chance < strength * NEAR.chance[row]:
      other = inputs[near[int(which * len(near))]].astype(np.float64)
      own = own + share * (other - own)
    made.append(own)
  return np.stack(made)


@pytest.mark.parametrize("strength", [0.4, 1.0])
@pytest.mark.parametrize("kind", ["images", "vectors"])
def test_rows_are_those_of_a_numpy_twin_at_the_same_draws(kind, strength):
  inputs = IMAGES if kind == "images" else (IMAGES.reshape(20, -1) / 255).astype(np.float32)
  numbers = drawn(strength)
  made = np.asarray(BETWEEN(inputs, ROWS, NEAR, numbers))
  expected = by_hand(inputs, np.asarray(numbers["uniform"]), strength)
  assert made.dtype == inputs.dtype
  np.testing.assert_allclose(made, expected, atol=0.5 + 1e-4 if kind == "images" else 1e-6)


def test_synthetic_points_lie_between_examples_of_one_class_and_the_largest_class_stays():
  flat = IMAGES.reshape(20, -1).astype(np.float32)
  made = np.asarray(BETWEEN(flat, ROWS, NEAR, drawn(1.0)))
  is_new = (made != flat[ROWS]).any(axis=1)
  assert not is_new[np.isin(LABELS[ROWS], (0, 3))].any()  # the largest, and a class of one
  for row, point in zip(ROWS[is_new], made[is_new], strict=True):
    apart = []
    for other in NEAR.ids[row][NEAR.ids[row] >= 0]:
      assert LABELS[other] == LABELS[row]
      assert other != row
      line, way = flat[other] - flat[row], point - flat[row]
      share = way @ line / (line @ line)
      apart.append(np.abs(way - share * line).max() if -1e-6 <= share <= 1 else np.inf)
    assert min(apart) < 1e-3
  for label, chance in ((1, 7 / 12), (2, 10 / 12)):
    of_class = is_new[LABELS[ROWS] == label]
    error = np.sqrt(chance * (1 - chance) / len(of_class))
    assert abs(of_class.mean() - chance) < 4 * error


def test_at_strength_zero_nothing_changes_a_bit():
  np.testing.assert_array_equal(BETWEEN(IMAGES, ROWS, NEAR, drawn(0.0)), IMAGES[ROWS])


def test_the_neighbours_are_those_of_scikit_learn_within_each_class():
  points = IMAGES.reshape(20, -1).astype(np.float64)
  for label, size in enumerate(SIZES):
    members = np.flatnonzero(LABELS == label)
    number = min(3, size - 1)
    ours = NEAR.ids[members]
    assert (ours[:, number:] == -1).all()
    if number:
      _, theirs = NearestNeighbors(n_neighbors=number).fit(points[members]).kneighbors()
      np.testing.assert_array_equal(ours[:, :number], members[theirs])


@settings(max_examples=10)
@given(st.permutations(range(20)), st.integers(1, 4))
def test_the_neighbours_do_not_depend_on_the_order_of_the_examples(order, number):
  coarse, order = IMAGES // 128, np.array(order)  # with many equal distances
  whole = nearest_of_class(coarse, LABELS, IDS, number)
  moved = nearest_of_class(coarse[order], LABELS[order], IDS[order], number)
  as_ids = np.where(moved >= 0, IDS[order][moved], -1)
  np.testing.assert_array_equal(as_ids, np.where(whole >= 0, IDS[whole], -1)[order])


def test_equal_examples_are_neighbours_and_large_images_are_averaged_first():
  images = np.zeros((4, 32, 32, 1), np.uint8)
  images[2, ::2, ::2], images[3] = 40, 10  # the mean of image 2 is 10 everywhere
  found = nearest_of_class(images, np.zeros(4, np.int32), np.arange(4), 2)
  np.testing.assert_array_equal(found, [[1, 2], [0, 2], [3, 0], [2, 0]])
