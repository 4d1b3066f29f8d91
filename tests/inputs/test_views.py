"""What is seen of an image under a view: the same as slices of a padded image by NumPy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from sdt.config.toolbox.view_blocks import CENTRE, View, views_of
from sdt.inputs.augment import centre_crop
from sdt.inputs.views import Window, farthest, numbers_of, seen

SIZES = np.array([[9, 12], [9, 7], [6, 12], [5, 5]], np.int32)


@pytest.fixture(scope="module")
def images():
  """Four images of 9 x 12 pixels at most, black beyond their sizes."""
  drawn = np.random.default_rng(0).integers(1, 256, (4, 9, 12, 2)).astype(np.uint8)
  for image, (height, width) in zip(drawn, SIZES, strict=True):
    image[height:] = 0
    image[:, width:] = 0
  return drawn


@functools.partial(jax.jit, static_argnames="window")
def seen_under(images, sizes, numbers, *, window):
  return jax.vmap(lambda view: seen(images, sizes, view, window=window))(numbers)


def seen_of(images, sizes, views, size):
  """Returns [V, B, h, w, C]."""
  sizes = jnp.asarray(sizes, jnp.int32)
  return np.asarray(seen_under(images, sizes, numbers_of(views), window=Window.of(views, size)))


def by_numpy(image, size, view, window):
  """Returns what is seen of one image, cut out of one with a wide black border."""
  border, (height, width) = 20, size
  wide = np.pad(image[:height, :width], ((border, border), (border, border), (0, 0)))
  first = [
    (free - part) * place // 2 + move + border
    for free, part, place, move in zip(size, window, view.place, view.shift, strict=True)
  ]
  part = wide[first[0] : first[0] + window[0], first[1] : first[1] + window[1]]
  return part[:, ::-1] if view.flip else part


def test_whole_pixels_are_those_of_a_slice_of_the_padded_image(images):
  views = views_of("flip crops(9) shifts(3)")
  found = seen_of(images, SIZES, views, (5, 5))
  assert found.dtype == np.uint8
  for view, of_view in zip(views, found, strict=True):
    for image, size, ours in zip(images, SIZES, of_view, strict=True):
      np.testing.assert_array_equal(ours, by_numpy(image, size, view, (5, 5)), err_msg=str(view))

  centre = found[views.index(CENTRE)]
  np.testing.assert_array_equal(centre, centre_crop(images, SIZES, 5))
  scaled = seen_of(images, SIZES, (*views, View(scale=2.0)), (5, 5))
  assert scaled.dtype == np.float32
  np.testing.assert_array_equal(scaled[:-1], found)  # they stay what they are beside a scale


@pytest.mark.parametrize("scale", [0.5, 0.9, 1.3, 2.0])
def test_a_scale_enlarges_about_the_middle_of_the_view_as_scipy_does(scale):
  image = np.random.default_rng(1).uniform(0, 255, (1, 11, 11, 1)).astype(np.float32)
  view = View(flip=True, shift=(1, -2), scale=scale)
  found = seen_of(image, [[11, 11]], (view,), (7, 7))[0, 0, ..., 0]
  rows, columns = np.mgrid[-3:4, -3:4]
  places = [5 + 1 + rows / scale, 5 - 2 - columns / scale]
  expected = ndimage.map_coordinates(image[0, ..., 0], places, order=1, mode="grid-constant")
  np.testing.assert_allclose(found, expected, atol=2e-3)


def test_farthest_is_the_longest_move_along_a_side():
  assert farthest(views_of("shifts(2) shifts(3)")) == 5
  assert farthest(views_of("flip")) == 0
