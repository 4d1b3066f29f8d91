"""The stateless random numbers and the stratified draw."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdt.data import seeded

_MASK = 2**64 - 1


def _splitmix(x: int) -> int:
  """The finaliser in Python's own integers."""
  x ^= x >> 30
  x = x * 0xBF58476D1CE4E5B9 & _MASK
  x ^= x >> 27
  x = x * 0x94D049BB133111EB & _MASK
  return x ^ x >> 31


def test_mixing_equals_python_integers():
  numbers = [0, 1, 2**63, _MASK, 1234567890123456789]
  mixed = seeded._mix(np.array(numbers, np.uint64))
  assert mixed.tolist() == [_splitmix(number) for number in numbers]


def test_bits_are_a_function_of_the_id_alone():
  ids = np.arange(1000)
  whole = seeded.bits(3, "a", ids)
  np.testing.assert_array_equal(seeded.bits(3, "a", ids[::-7]), whole[::-7])
  np.testing.assert_array_equal(seeded.bits(3, "a", ids.reshape(10, 100)), whole.reshape(10, 100))
  assert len(np.unique(whole)) == 1000


def test_bits_do_not_change_between_releases():
  assert [f"{value:016x}" for value in seeded.bits(7, "noise", np.arange(3))] == [
    "2f1a6ea49059587b",
    "db161baff9032a7d",
    "1368bd23d1f43c43",
  ]


@pytest.mark.parametrize("other", [(4, "a"), (3, "b")])
def test_seed_and_stream_give_other_bits(other):
  ids = np.arange(4096)
  first, second = seeded.uniform(3, "a", ids), seeded.uniform(*other, ids)
  assert abs(np.corrcoef(first, second)[0, 1]) < 0.05  # 3.2 standard errors


def test_uniform_and_integers_fill_their_range_evenly():
  values = seeded.uniform(0, "u", np.arange(100_000))
  assert 0 <= values.min() < 1e-4
  assert 1 - 1e-4 < values.max() < 1
  np.testing.assert_allclose(np.histogram(values, 10, (0, 1))[0], 10_000, atol=400)
  counts = np.bincount(seeded.integers(0, "i", np.arange(70_000), high=7), minlength=7)
  assert len(counts) == 7
  np.testing.assert_allclose(counts, 10_000, atol=400)


_LABELS = st.lists(st.integers(0, 5), min_size=1, max_size=64)


@given(_LABELS, st.data(), st.booleans())
def test_a_draw_has_the_asked_size_and_every_class_its_share(values, data, leave_one):
  labels = np.array(values)
  num = data.draw(st.integers(1, len(labels)))
  drawn = seeded.stratified(labels, num, 0, stream="draw", leave_one=leave_one)
  assert len(drawn) == num
  assert (np.diff(drawn) > 0).all()
  classes, counts = np.unique(labels, return_counts=True)
  taken = np.array([(labels[drawn] == label).sum() for label in classes])
  if num >= len(classes) and not leave_one:
    assert (taken >= 1).all()
  if leave_one and num <= (counts - 1).sum():
    assert (taken < counts).all()
  if not leave_one and num < len(classes):  # no class is lifted to one: plain largest remainder
    assert (np.abs(taken - counts * num / len(labels)) < 1).all()


def test_a_rare_class_keeps_a_place_and_leaves_one():
  labels = np.array([0] * 97 + [1] * 2 + [2])
  assert np.bincount(labels[seeded.stratified(labels, 10, 0, stream="d")]).tolist() == [8, 1, 1]
  assert np.bincount(
    labels[seeded.stratified(labels, 10, 0, stream="d", leave_one=True)]
  ).tolist() == [
    9,
    1,
  ]


def test_draws_of_other_seeds_differ():
  labels = np.zeros(1000, np.int64)
  first, second = (set(seeded.stratified(labels, 500, seed, stream="d")) for seed in (0, 1))
  assert 200 < len(first & second) < 300
