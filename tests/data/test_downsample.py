"""`data.downsample`: squares of pixels averaged, in training and for whoever predicts."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdt.config.schema import DataConfig
from sdt.data.dataset import RawSplit
from sdt.data.downsample import averaged, smaller
from sdt.errors import DataError
from sdt.trained.preparing import Preparing
from tests.support import tiny


def test_a_hand_made_image_of_two_by_four():
  image = np.array([[[0], [1], [10], [10]], [[1], [0], [20], [21]]], np.uint8)
  # Means 0.5 and 15.25: a half is rounded up.
  np.testing.assert_array_equal(averaged(image, 2), [[[1], [15]]])
  assert averaged(image, 1) is image


@given(factor=st.integers(1, 4), seed=st.integers(0, 99))
def test_pixels_are_means_and_the_extremes_stay(factor, seed):
  rng = np.random.default_rng(seed)
  images = rng.choice(np.array([0, 1, 128, 254, 255], np.uint8), (3, 4 * factor, 2 * factor, 3))
  ours = averaged(images, factor).astype(float)
  assert ours.shape == (3, 4, 2, 3)
  for row in range(4):
    for column in range(2):
      square = images[:, row * factor :, column * factor :][:, :factor, :factor]
      assert np.abs(ours[:, row, column] - square.mean(axis=(1, 2))).max() <= 0.5
  assert (averaged(np.full((1, factor, factor, 1), 255, np.uint8), factor) == 255).all()


def test_a_run_trains_on_the_averages_of_what_it_would_have_seen():
  whole = tiny.data(tiny.config(data__shapes__image_size=8))
  half = tiny.data(tiny.config(data__shapes__image_size=8, data__downsample=2))
  for ours, theirs in ((half.train, whole.train), (half.test, whole.test)):
    np.testing.assert_array_equal(ours.inputs, averaged(theirs.inputs, 2))
    np.testing.assert_array_equal(ours.labels, theirs.labels)
  assert half.checksum != whole.checksum
  np.testing.assert_allclose(half.mean, (half.train.inputs / 255).mean(axis=(0, 1, 2)), rtol=1e-5)


def test_what_cannot_be_averaged_is_refused_with_its_shape():
  images, labels = np.zeros((2, 6, 8, 3), np.uint8), np.zeros(2, np.int32)
  with pytest.raises(DataError, match=r"downsample=4 and inputs of \[6, 8, 3\].*multiples of 4"):
    smaller(RawSplit(images, labels), 4, "a set")
  with pytest.raises(DataError, match="images of differing sizes"):
    smaller(RawSplit(images, labels, sizes=np.full((2, 2), 6, np.int32)), 2, "a set")
  with pytest.raises(DataError, match=r"inputs of \[5\]"):
    smaller(RawSplit(np.zeros((2, 5), np.float32), labels), 2, "a set")


def test_a_picture_of_the_sets_size_is_averaged_and_one_of_the_networks_is_taken():
  preparing = Preparing(dataclasses.replace(DataConfig(), downsample=2), (4, 4, 3))
  picture = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
  np.testing.assert_array_equal(preparing(picture).inputs, averaged(picture, 2))
  assert not preparing(picture).is_scaled
  np.testing.assert_array_equal(preparing(picture[:4, :4]).inputs, picture[:4, :4])
  assert preparing(picture[:6, :6]).is_scaled
  cut = Preparing(dataclasses.replace(DataConfig(), downsample=2, crop_size=3), (3, 3, 3))
  np.testing.assert_array_equal(cut(picture).inputs, averaged(picture, 2)[:3, :3])
