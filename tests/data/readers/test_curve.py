"""The toy's points: what is promised of every draw."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from sdt.config.schema import CurveConfig, DataConfig
from sdt.data.dataset import RawSplit, make_dataset
from sdt.data.readers.curve import NUM_GRID, load_curve, positions, truth
from sdt.errors import DataError

CONFIG = DataConfig(name="curve")
SEEDS = tuple(range(20))


def noise_of(data):
  return data.train.labels[:, 0].astype(np.float64) - truth(data.train.inputs[:, 0])


def test_x_and_noise_are_uniform_in_their_ranges():
  data = load_curve(CONFIG, SEEDS)
  x, noise = data.train.inputs[:, 0], noise_of(data)
  assert np.abs(x).max() <= 1
  assert np.abs(noise).max() <= 0.5 + 1e-7
  assert stats.kstest(x, "uniform", args=(-1, 2)).pvalue > 0.01
  assert stats.kstest(noise, "uniform", args=(-0.5, 1)).pvalue > 0.01
  assert abs(np.corrcoef(x, noise)[0, 1]) < 0.06


def test_difficulty_is_the_size_of_the_noise_in_units_of_its_bound():
  data = load_curve(dataclasses.replace(CONFIG, curve=CurveConfig(noise=0.2)), SEEDS)
  np.testing.assert_allclose(data.train.difficulty, np.abs(noise_of(data)) / 0.2, atol=1e-6)


def test_every_seed_has_points_of_its_own_whatever_the_other_seeds_are():
  both, one = load_curve(CONFIG, (5, 3)), load_curve(CONFIG, (3,))
  np.testing.assert_array_equal(both.train.inputs[80:], one.train.inputs)
  np.testing.assert_array_equal(both.train.labels[80:], one.train.labels)
  assert len(np.unique(both.train.inputs)) == 160
  other = load_curve(dataclasses.replace(CONFIG, split_seed=1), (3,))
  assert not np.isin(other.train.inputs, both.train.inputs).any()


def test_training_and_validation_points_part_the_set_seed_by_seed():
  train, validation = positions(CurveConfig(num_points=3, num_validation=2), 2)
  assert train.tolist() == [[0, 1, 2], [5, 6, 7]]
  assert validation.tolist() == [[3, 4], [8, 9]]


def test_the_test_set_is_the_true_curve_on_an_even_grid_with_both_ends():
  test = load_curve(CONFIG, SEEDS).test
  assert (len(test), float(test.inputs[0, 0]), float(test.inputs[-1, 0])) == (NUM_GRID, -1.0, 1.0)
  np.testing.assert_allclose(np.diff(test.inputs[:, 0]), 0.01, atol=1e-6)
  np.testing.assert_allclose(test.labels, test.inputs.astype(np.float64) ** 2, atol=1e-7)


def test_a_target_that_is_not_finite_is_refused_by_its_example():
  labels = np.float32([[0.0], [np.nan]])
  with pytest.raises(
    DataError, match=r"1 of 2 examples hold values that are not finite.*example 1, column 0"
  ):
    make_dataset(RawSplit(np.zeros((2, 1), np.float32), labels), num_classes=1, where="toy")
