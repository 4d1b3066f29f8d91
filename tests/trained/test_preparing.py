"""A picture becomes the input that the run itself would have made of it, byte for byte."""

import numpy as np
import pytest
from PIL import Image

from sdt.config.schema import DataConfig
from sdt.data import sources
from sdt.data.dataset import image_sizes
from sdt.errors import DataError
from sdt.inputs.augment import centre_crop, output_size
from sdt.trained.preparing import Preparing
from tests.support import image_files

SIZES = ((12, 9), (9, 12), (30, 10), (10, 10))
KINDS = {
  "rgb.png": lambda image: image_files.saved(image, "PNG"),
  "grey.png": lambda image: image_files.saved(image.convert("L"), "PNG"),
  "alpha.png": lambda image: image_files.saved(image.convert("RGBA"), "PNG"),
  "palette.png": lambda image: image_files.saved(image.convert("P"), "PNG"),
  "jpeg.jpg": lambda image: image_files.saved(image, "JPEG"),
  "cmyk.jpg": lambda image: image_files.saved(image.convert("CMYK"), "JPEG"),
  "deep.png": lambda image: image_files.saved(
    Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 200), "PNG"
  ),
}


def seen(config, sizes=SIZES):
  """Returns the test files of a set of every kind, and what the run's network sees of them."""
  data = sources.load(config)
  output = output_size(data.test.inputs.shape[1:], config.crop_size)
  inputs = np.asarray(centre_crop(data.test.inputs, image_sizes(data.test), config.crop_size))
  return data.test.source_files, inputs, Preparing(config, (*output, 3))


@pytest.fixture
def folder(tmp_path):
  for split in ("train", "test"):
    for label in ("a", "b"):
      (tmp_path / split / label).mkdir(parents=True)
      for number, (name, write) in enumerate(KINDS.items()):
        image = image_files.noise(SIZES[number % len(SIZES)], seed=len(split) + number)
        (tmp_path / split / label / name).write_bytes(write(image))
  return tmp_path


@pytest.mark.parametrize(
  "keys",
  [
    {"image_size": 8},
    {"image_size": 8, "crop_size": 6},
    {"image_size": 8, "resize": "short_side", "crop_size": 7},
    {"resize": "short_side", "crop_size": 6},
    {"image_size": 8, "value_range": (1000, 40000)},
  ],
)
def test_files_of_every_kind_give_the_bytes_that_the_run_evaluates(keys, folder):
  config = DataConfig(name="folder", path=str(folder), cache=False, **keys)
  files, inputs, prepare = seen(config)
  assert len(files) == 2 * len(KINDS)
  for file, expected in zip(files, inputs, strict=True):
    for content in (folder / file, str(folder / file), (folder / file).read_bytes()):
      np.testing.assert_array_equal(prepare(content).inputs, expected, err_msg=file)
    with Image.open(folder / file) as opened:
      np.testing.assert_array_equal(prepare(opened).inputs, expected, err_msg=file)


def test_arrays_are_scaled_as_the_files_that_hold_them():
  prepare = Preparing(DataConfig(image_size=8), (8, 8, 3))
  image = image_files.noise((30, 10))
  expected = prepare(image_files.saved(image, "PNG")).inputs
  np.testing.assert_array_equal(prepare(np.asarray(image)).inputs, expected)
  grey = np.asarray(image.convert("L"))
  expected = prepare(image_files.saved(image.convert("L"), "PNG")).inputs
  for array in (grey, grey[..., None]):
    np.testing.assert_array_equal(prepare(array).inputs, expected)
  clear = np.dstack([np.asarray(image), np.zeros_like(grey)])
  assert (prepare(clear).inputs == 255).all()  # transparent is white


def test_images_of_another_size_are_scaled_and_counted_where_the_run_scaled_none():
  prepare = Preparing(DataConfig(name="cifar10"), (6, 4, 3))
  same, other = image_files.noise((4, 6)), image_files.noise((9, 9))
  part = prepare.part(["a", "b"], [same, other])
  np.testing.assert_array_equal(part.inputs[0], np.asarray(same))
  expected = other.resize((4, 6), Image.Resampling.BILINEAR)
  np.testing.assert_array_equal(part.inputs[1], np.asarray(expected))
  assert (part.num_scaled, part.reasons) == (1, {})


def test_a_network_of_grey_images_takes_grey_files_and_refuses_coloured_ones():
  prepare = Preparing(DataConfig(), (6, 4, 1))
  grey = image_files.noise((4, 6)).convert("L")
  for picture in (image_files.saved(grey, "PNG"), grey, grey.convert("RGB"), np.asarray(grey)):
    np.testing.assert_array_equal(prepare(picture).inputs[..., 0], np.asarray(grey))
  coloured = prepare(image_files.saved(image_files.noise((4, 6)), "PNG"))
  assert coloured.inputs is None
  assert coloured.reason == (
    "a colour image, where the network takes grey ones; convert it to grey first"
  )


@pytest.mark.parametrize("shape", [(6, 4, 2), (6, 4, 5)])
def test_arrays_of_other_channels_are_taken_as_they_are_and_only_in_the_size_of_the_network(shape):
  prepare = Preparing(DataConfig(name="npz", channels=shape[2]), shape)
  image = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
  np.testing.assert_array_equal(prepare(image).inputs, image)
  assert "where the network takes 4 x 6" in prepare(image[1:]).reason
  with pytest.raises(DataError, match="which no image file has"):
    prepare.refuse_files()


@pytest.mark.parametrize(
  ("shape", "dtype", "told"),
  [
    ((9, 6, 4, 1), np.uint8, None),
    ((9, 6, 4), np.uint8, None),
    ((9, 60, 40, 4), np.uint8, None),
    ((9, 6, 4, 2), np.uint8, "has 2 channels, this network was trained on images of 3"),
    ((9, 3, 6, 7), np.uint8, "transpose"),
    ((9, 6, 4, 3), np.float32, "expected uint8, 0 to 255"),
    ((9, 72), np.uint8, "expected uint8, 0 to 255"),
  ],
)
def test_an_array_that_the_network_cannot_take_is_refused_before_anything_runs(shape, dtype, told):
  prepare = Preparing(DataConfig(), (6, 4, 3))
  if told is None:
    prepare.refuse_other_arrays(shape, np.dtype(dtype), "x")
    return
  with pytest.raises(DataError, match=told):
    prepare.refuse_other_arrays(shape, np.dtype(dtype), "x")


def test_a_crop_that_does_not_fit_into_an_image_and_a_damaged_file_have_their_reasons():
  prepare = Preparing(DataConfig(name="folder", resize="short_side", crop_size=8), (8, 8, 3))
  small, broken = image_files.noise((7, 9)), image_files.saved(image_files.noise((9, 9)), "PNG")
  part = prepare.part(["a", "b", "c"], [small, image_files.noise((9, 9)), broken[:60]])
  assert part.inputs.shape == (1, 8, 8, 3)
  assert list(part.reasons) == [0, 2]
  assert part.reasons[0].startswith("7 x 9 pixels, where the network sees the middle 8 x 8")


def test_vectors_are_numbers_of_float32():
  prepare = Preparing(DataConfig(name="npz"), (2,))
  part = prepare.part(["a", "b"], np.array([[1, 2.5], [1e300, 0]]))
  np.testing.assert_array_equal(part.inputs, np.array([[1, 2.5]], np.float32))
  assert part.inputs.dtype == np.float32
  assert part.reasons == {1: "some of its numbers are not finite in float32"}
  with pytest.raises(DataError, match="trained on vectors of 2 numbers"):
    prepare.refuse_files()
  for vector in (np.zeros(3), np.zeros((1, 2)), np.array(["a", "b"]), np.zeros(())):
    reason = prepare(vector).reason
    assert "where the network takes vectors of 2 numbers" in reason


@pytest.mark.parametrize("tags", [{262: 0}, {258: 12}, {}])
def test_a_deep_tiff_opened_by_pillow_gives_the_bytes_of_its_path(tags, tmp_path):
  pixels = np.random.default_rng(0).integers(0, 4096, (6, 10)).astype(np.uint16)
  path = tmp_path / "deep.tif"
  Image.fromarray(pixels).save(path, tiffinfo=tags)
  prepare = Preparing(DataConfig(), (6, 10, 3))
  expected = prepare(path)
  for is_loaded in (False, True):
    with Image.open(path) as opened:
      if is_loaded:
        opened.load()
      np.testing.assert_array_equal(prepare(opened).inputs, expected.inputs)
      np.testing.assert_array_equal(prepare(opened).inputs, expected.inputs)  # it stays open
