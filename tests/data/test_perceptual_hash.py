"""Hashes of images that look alike."""

import io

import numpy as np
import pytest
from PIL import Image, ImageFilter
from scipy import fft

from sdt.data import perceptual_hash
from sdt.data.dataset import Dataset


def _photo(seed, size=(32, 32)):
  """Returns an image [h, w, 3] with coarse and fine structure, as photographs have."""
  rng, total = np.random.default_rng(seed), np.zeros((size[1], size[0], 3))
  for side in (5, 9, 16):
    part = Image.fromarray(rng.integers(0, 86, (side, side, 3), dtype=np.uint8))
    total += np.asarray(part.resize(size, Image.Resampling.BICUBIC))
  return Image.fromarray(total.clip(0, 255).astype(np.uint8))


def _hashes(images):
  pixels = np.stack([np.asarray(image) for image in images])
  num = len(pixels)
  return perceptual_hash.hashes(
    Dataset(pixels, np.zeros(num, np.int32), np.arange(num, dtype=np.int32))
  )


def test_the_hash_is_that_of_scipys_cosine_transform():
  images = [_photo(seed) for seed in range(5)]
  for value, image in zip(_hashes(images), images, strict=True):
    strengths = fft.dctn(np.asarray(image, np.float64).mean(axis=2))[1:9, 1:9].ravel()
    bits = strengths > np.median(strengths)
    assert np.array_equal(np.unpackbits(np.array([value]).view(np.uint8)).astype(bool), bits)


def _as_jpeg(image):
  buffer = io.BytesIO()
  image.save(buffer, "JPEG", quality=80)
  return Image.open(buffer).convert("RGB")


@pytest.mark.parametrize(
  "change",
  [
    lambda image: image.point(lambda value: 0.8 * value + 20),
    _as_jpeg,
    lambda image: image.filter(ImageFilter.GaussianBlur(0.7)),
    lambda image: Image.merge("RGB", image.split()[::-1]),
  ],
  ids=["darker", "jpeg", "blurred", "channels swapped"],
)
def test_a_changed_copy_keeps_its_hash_and_another_image_does_not(change):
  photos = [_photo(seed) for seed in range(20)]
  before, after = _hashes(photos), _hashes([change(photo) for photo in photos])
  distances = np.bitwise_count(before[:, None] ^ after[None])
  assert (np.diag(distances) <= 6).all()
  assert distances[~np.eye(20, dtype=bool)].min() > 8


def test_images_of_any_size_are_compared_by_their_own_pixels():
  small, large = _photo(1, (40, 24)), _photo(1, (80, 48))
  canvas = np.zeros((2, 48, 80, 3), np.uint8)
  canvas[0, :24, :40], canvas[1] = np.asarray(small), np.asarray(large)
  sizes = np.array([[24, 40], [48, 80]], np.int32)
  both = perceptual_hash.hashes(
    Dataset(canvas, np.zeros(2, np.int32), np.arange(2, dtype=np.int32), sizes=sizes)
  )
  assert np.bitwise_count(both[0] ^ both[1]) <= 4


def test_nearly_constant_images_look_like_nothing():
  noise = np.random.default_rng(0).integers(100, 103, (3, 32, 32, 3)).astype(np.uint8)
  assert _hashes(noise).tolist() == [0, 0, 0]
  assert perceptual_hash.alike(_hashes(noise), 8) == []


@pytest.mark.parametrize("most", [0, 1, 4, 8])
def test_groups_are_those_of_all_pairs(most):
  rng = np.random.default_rng(most)
  values = rng.integers(1, 2**63, 60, dtype=np.uint64)
  for _ in range(60):  # copies of a value, changed in some bits
    value = values[rng.integers(60)]
    for bit in rng.choice(64, rng.integers(0, most + 3), replace=False):
      value ^= np.uint64(1) << np.uint64(bit)
    values = np.append(values, value)
  close = np.bitwise_count(values[:, None] ^ values[None]) <= most
  group = np.arange(len(values))
  for _ in group:  # the smallest place that a chain leads to
    group = np.where(close, group[None], len(values)).min(axis=1)
  expected = [np.flatnonzero(group == one) for one in np.unique(group)]
  expected = [places.tolist() for places in expected if len(places) > 1]
  assert [places.tolist() for places in perceptual_hash.alike(values, most)] == expected
