"""Grey image files of more than 8 bits: which values are black and white."""

import re

import numpy as np
import pytest
from PIL import Image

from sdt.config.schema import DataConfig
from sdt.data import sources
from sdt.errors import ConfigError, DataError

_KINDS = {"png": np.uint16, "tif": np.int32}


def _folder(root, high, kind="png", low=0, num=6):
  """Writes num deep grey images a class, of values from low to high."""
  rng = np.random.default_rng(high)
  for label in "ab":
    (root / label).mkdir(parents=True)
    for i in range(num):
      values = rng.integers(low, high + 1, (8, 8))
      values[0, 0], values[0, 1] = low, high
      dtype = np.float32 if kind == "float.tif" else _KINDS[kind]
      Image.fromarray(values.astype(dtype)).save(root / label / f"{i}.{kind}")
  return root


def _load(root, **keys):
  return sources.load(DataConfig(name="folder", path=str(root), test_fraction=0.5, **keys))


@pytest.mark.parametrize("kind", ["png", "tif"])
@pytest.mark.parametrize("high", [200, 255])
def test_images_of_which_nothing_would_be_seen_are_refused_and_the_advice_works(
  tmp_path, kind, high
):
  root = _folder(tmp_path / "set", high, kind)
  text = f"hold the values 0 to {high}, and as 0 is black and 65535 is white, nothing of them can"
  with pytest.raises(DataError, match=text) as caught:
    _load(root)
  assert f"--config.data.value_range=0,{high}" in str(caught.value)
  data = _load(root, value_range=(0, high))
  assert (data.train.inputs.min(), data.train.inputs.max()) == (0, 255)
  for image, file in zip(data.train.inputs, data.train.source_files, strict=True):
    stored = np.asarray(Image.open(root / file), np.float64)
    np.testing.assert_array_equal(image[..., 0], np.rint(stored * 255 / high))


@pytest.mark.parametrize("kind", ["png", "tif"])
def test_dark_images_are_told_with_the_factor_that_fills_their_range(tmp_path, kind):
  root = _folder(tmp_path / "set", 4095, kind)
  for _ in range(2):  # decoded, and from the cache
    note = next(note for note in _load(root).notes if "value_range" in note)
    assert "hold the values 0 to 4095, 6.2 % of what is between black, 0, and white, 65535" in note
    assert "--config.data.value_range=0,4095 makes these black and white, 16 times" in note
  bright = _load(root, value_range=(0, 4095))
  assert bright.train.inputs.max() == 255
  assert not any("value" in note for note in bright.notes)
  assert bright.checksum != _load(root).checksum


def test_a_window_far_from_zero_is_dark_too(tmp_path):
  note = next(
    note for note in _load(_folder(tmp_path / "set", 33_000, low=30_000)).notes if "deep" in note
  )
  assert "--config.data.value_range=30000,33000" in note


def test_images_that_fill_an_eighth_of_their_range_are_as_ever(tmp_path):
  root = _folder(tmp_path / "set", 9000)
  data = _load(root)
  assert data.notes == ()
  image, file = data.train.inputs[0], data.train.source_files[0]
  np.testing.assert_array_equal(image[..., 0], np.asarray(Image.open(root / file)) >> 8)


@pytest.mark.parametrize(
  ("kind", "low", "high"), [("tif", -1024, 3071), ("tif", 0, 90_000), ("float.tif", 0, 255)]
)
def test_values_beyond_the_kind_of_file_are_refused_and_the_advice_works(tmp_path, kind, low, high):
  root = _folder(tmp_path / "set", high, kind, low=low)
  with pytest.raises(DataError, match=re.escape(f"its pixels are from {low} to {high}")) as caught:
    _load(root)
  assert f"--config.data.value_range={low},{high};" in str(caught.value)
  data = _load(root, value_range=(low, high))
  assert (data.train.inputs.min(), data.train.inputs.max()) == (0, 255)


def test_values_beyond_the_range_are_clipped_and_told(tmp_path):
  root = _folder(tmp_path / "set", 1000)
  data = _load(root, value_range=(100, 500))
  image, file = data.train.inputs[0], data.train.source_files[0]
  stored = np.asarray(Image.open(root / file), np.float64)
  np.testing.assert_array_equal(image[..., 0], np.rint(np.clip((stored - 100) / 400, 0, 1) * 255))
  assert any("beyond data.value_range=100,500 are black or white" in note for note in data.notes)


def test_a_range_that_no_image_needs_is_told(tmp_path):
  for label in "ab":
    (tmp_path / label).mkdir()
    for i in range(4):
      pixels = np.random.default_rng(i).integers(0, 256, (8, 8, 3), dtype=np.uint8)
      Image.fromarray(pixels).save(tmp_path / label / f"{i}.png")
  notes = _load(tmp_path, value_range=(0, 4095)).notes
  assert any("data.value_range changes nothing in" in note for note in notes)


@pytest.mark.parametrize("value_range", [(4095, 0), (5, 5), (0, 1, 2)])
def test_a_range_that_is_none_is_refused(tmp_path, value_range):
  with pytest.raises(ConfigError, match="expected two values, that of black and a larger one"):
    _load(tmp_path, value_range=value_range)


def _npz(tmp_path, images):
  np.savez(tmp_path / "set.npz", train_x=images, train_y=np.arange(len(images)) % 2)
  return sources.load(DataConfig(name="npz", path=str(tmp_path / "set.npz"), test_fraction=0.5))


@pytest.mark.parametrize(
  "values", [np.zeros(12), np.arange(12) * 20], ids=["black", "each its own"]
)
def test_a_set_of_constant_images_is_refused(tmp_path, values):
  images = np.ones((12, 4, 4, 3), np.uint8) * values[:, None, None, None].astype(np.uint8)
  with pytest.raises(DataError, match="all 6 training images are constant"):
    _npz(tmp_path, images)


def test_eight_bits_that_are_hardly_used_are_told(tmp_path):
  images = np.random.default_rng(0).integers(0, 16, (12, 4, 4, 3), dtype=np.uint8)
  assert "hold only the values 0 to 15 of 0 to 255" in _npz(tmp_path, images).notes[0]
  assert _npz(tmp_path, images * 2 + (images == 15) * np.uint8(2)).notes == ()
