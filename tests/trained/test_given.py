"""Whatever a program gives as images becomes one of three forms, or an error of one line."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from sdt.errors import DataError
from sdt.trained.given import normalised

IMAGES = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)


def test_arrays_of_other_libraries_are_arrays():
  for same in (IMAGES, jnp.asarray(IMAGES)):
    found = normalised(same)
    assert type(found) is np.ndarray
    np.testing.assert_array_equal(found, IMAGES)


def test_generators_tuples_and_nested_lists_are_lists_of_pictures():
  for same in ((image for image in IMAGES), tuple(IMAGES), list(jnp.asarray(IMAGES))):
    found = normalised(same)
    assert [type(image) for image in found] == [np.ndarray] * 2
    np.testing.assert_array_equal(found, IMAGES)
  (vector,) = normalised([[0.5, 1]])
  np.testing.assert_array_equal(vector, [0.5, 1])


def test_paths_stay_paths_alone_in_lists_and_in_arrays():
  assert normalised("a.png") == normalised(Path("a.png")) == Path("a.png")
  names = ["a.png", "b.png"]
  for same in (names, tuple(names), np.array(names), np.array(names, object)):
    assert normalised(same) == names
  assert normalised([Path("a.png"), b"abc"]) == [Path("a.png"), b"abc"]


def test_one_picture_is_a_list_of_one():
  image = Image.new("L", (2, 3))
  assert normalised(image) == [image]
  for same in (b"abc", bytearray(b"abc"), memoryview(b"abc")):
    assert normalised(same) == [b"abc"]


@pytest.mark.parametrize(
  ("images", "told"),
  [
    (None, "the images are a NoneType"),
    (3, "the images are a int"),
    (np.float32(3), "the images are a float32"),
    ({"x": IMAGES}, "the images are a dict"),
    ([None], "image 0 is a NoneType"),
    ([IMAGES[0], 0.5], "image 1 is a float"),
    (np.array("a.png"), "the images are a str"),
    ([[[1, 2], [3]]], "image 0 cannot be read as an array"),
  ],
)
def test_all_else_is_refused_in_one_line(images, told):
  with pytest.raises(DataError, match=told) as caught:
    normalised(images)
  assert "expected an array" in str(caught.value)
  assert "\n" not in str(caught.value)
