"""Operations that leave pixels in place, against torchvision, Pillow, scipy, timm and loops."""

import jax
import numpy as np
import pytest
from PIL import Image, ImageEnhance
from scipy import ndimage

from sdt.inputs.operations import blur, boxes, colour
from sdt.inputs.operations.frame import Frame
from tests.support.images import random_bytes, smooth_bytes
from tests.support.places import GOLDEN

GIVEN = np.load(GOLDEN / "operations.npz")
UNIT, BYTES = Frame(12, 10, unit=1.0), Frame(12, 10)
FUNCTIONS = {
  "brightness": colour.brightness,
  "contrast": colour.contrast,
  "saturation": colour.saturation,
  "hue": colour.hue,
  "gaussian_blur": blur.gaussian_blur,
}
run = jax.jit(
  lambda function, *arguments, frame: function(*arguments, frame=frame),
  static_argnums=0,
  static_argnames="frame",
)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_colours_and_the_gaussian_equal_torchvision(name):
  ours = run(FUNCTIONS[name], GIVEN["images"], GIVEN[f"{name}_amounts"], frame=UNIT)
  np.testing.assert_allclose(ours, GIVEN[f"{name}_results"], rtol=0, atol=3e-5)


@pytest.mark.parametrize(
  ("name", "enhancer"),
  [
    ("brightness", ImageEnhance.Brightness),
    ("contrast", ImageEnhance.Contrast),
    ("saturation", ImageEnhance.Color),
  ],
)
def test_colours_equal_pillow_within_one_grey_level(name, enhancer):
  images, change = smooth_bytes((3, 12, 10, 3)), np.float32([0.5, -0.4, 0.3])
  ours = run(FUNCTIONS[name], images.astype(np.float32), change, frame=BYTES)
  for image, factor, mine in zip(images, 1 + change, ours, strict=True):
    theirs = np.asarray(enhancer(Image.fromarray(image)).enhance(float(factor)), float)
    assert np.abs(np.rint(mine) - theirs).max() <= 1


def test_contrast_of_other_channels_is_about_their_mean():
  images = random_bytes((2, 4, 4, 1)).astype(np.float32)
  ours = run(colour.contrast, images, np.float32([-0.5, 0.5]), frame=BYTES)
  mean = images.mean(axis=(1, 2, 3), keepdims=True)
  factor = np.float32([0.5, 1.5])[:, None, None, None]
  np.testing.assert_allclose(ours, np.clip(mean + factor * (images - mean), 0, 255), atol=1e-3)


def test_jitter_is_brightness_then_contrast_then_saturation():
  images, changes = GIVEN["images"], np.float32([[0.3, -0.2, 0.4]] * 3)
  expected = images
  for name, change in zip(("brightness", "contrast", "saturation"), changes.T, strict=True):
    expected = run(FUNCTIONS[name], expected, change, frame=UNIT)
  np.testing.assert_allclose(run(colour.jitter, images, changes, frame=UNIT), expected, atol=1e-6)


def test_pca_colour_adds_the_same_to_every_pixel():
  """The published eigenvectors, by hand: a(0.1, 0, 0) moves R, G, B by 0.1 * 0.2175 * column 0."""
  images = np.full((2, 3, 2, 3), 0.5, np.float32)
  amounts = np.float32([[0.1, 0, 0], [0, -1.0, 2.0]])
  ours = np.asarray(run(colour.pca_colour, images, amounts, frame=UNIT)) - 0.5
  first = 0.1 * 0.2175 * np.array([-0.5675, -0.5808, -0.5836])
  second = -0.0188 * np.array([0.7192, -0.0045, -0.6948]) + 0.009 * np.array(
    [0.4009, -0.8140, 0.4203]
  )
  np.testing.assert_allclose(ours, np.broadcast_to([[[first]], [[second]]], ours.shape), atol=1e-6)


def test_noise_has_its_standard_deviation_and_is_the_seed_s():
  images = np.full((3, 64, 64, 1), 0.5, np.float32)
  seeds = np.uint32([1, 1, 2])
  one, other, third = (
    np.asarray(run(colour.noise, images, np.float32([0.1, 0.05, 0.1]), seeds, frame=UNIT)) - 0.5
  )
  assert abs(one.std() - 0.1) < 0.005
  np.testing.assert_allclose(other, one / 2, atol=1e-6)
  assert abs(np.corrcoef(one.ravel(), third.ravel())[0, 1]) < 0.06


# ---- blur


def test_the_median_equals_scipy_exactly():
  images = random_bytes((2, 7, 6, 3)).astype(np.float32)
  ours = run(blur.median_blur, images, np.array([True, True]), frame=BYTES)
  theirs = ndimage.median_filter(images, size=(1, 3, 3, 1), mode="mirror")
  np.testing.assert_array_equal(ours, theirs)


def test_means_and_gaussians_equal_scipy():
  images = random_bytes((3, 9, 8, 2)).astype(np.float32)
  sides = np.float32([3, 5, 1])
  ours = run(blur.mean_blur, images, sides, frame=BYTES)
  for image, side, mine in zip(images, sides, ours, strict=True):
    theirs = ndimage.uniform_filter(image, size=(int(side), int(side), 1), mode="mirror")
    np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-3)
  # Between two sides the outer pixels count in part: 2 is (1/2, 1, 1/2) / 2.
  ours = run(blur.mean_blur, images[:1], np.float32([2]), frame=BYTES)
  kernel = np.outer([0.25, 0.5, 0.25], [0.25, 0.5, 0.25])[..., None]
  np.testing.assert_allclose(ours[0], ndimage.convolve(images[0], kernel, mode="mirror"), atol=1e-3)
  ours = run(blur.gaussian_blur, images, np.float32([0.5, 1.0, 0.8]), frame=BYTES)
  for image, deviation, mine in zip(images, (0.5, 1.0, 0.8), ours, strict=True):
    theirs = ndimage.gaussian_filter(
      image.astype(float), (deviation, deviation, 0), mode="mirror", radius=(3, 3, 0)
    )
    np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-3)


def test_the_bilateral_blur_equals_its_formula_by_loops_and_keeps_edges():
  images, difference = GIVEN["images"][:2], np.float32([0.1, 0.5])
  ours = np.asarray(run(blur.bilateral_blur, images, difference, frame=UNIT))
  for image, spread, mine in zip(images.astype(float), difference.astype(float), ours, strict=True):
    padded = np.pad(image, ((2, 2), (2, 2), (0, 0)), mode="reflect")
    total, weights = np.zeros(image.shape), np.zeros((*image.shape[:2], 1))
    for down in range(5):
      for right in range(5):
        moved = padded[down : down + 12, right : right + 10]
        distance = ((moved - image) ** 2).sum(axis=2, keepdims=True) / spread**2
        place = (down - 2) ** 2 + (right - 2) ** 2
        weight = np.exp(-(distance + place) / 2)
        total, weights = total + weight * moved, weights + weight
    np.testing.assert_allclose(mine, total / weights, rtol=0, atol=1e-5)
  edge = np.zeros((1, 12, 10, 1), np.float32)
  edge[:, :, 5:] = 1.0
  kept = run(blur.bilateral_blur, edge, np.float32([0.1]), frame=UNIT)
  np.testing.assert_allclose(kept, edge, atol=1e-6)


# ---- boxes


def test_erasing_boxes_are_timm_s_at_the_same_random_numbers():
  size = tuple(GIVEN["box_size"].tolist())
  given = [GIVEN[f"erase_{name}"].astype(np.float32) for name in ("areas", "ratios", "places")]
  ours = np.asarray(jax.jit(boxes.erasing_boxes, static_argnames="size")(*given, size=size))
  expected = GIVEN["erase_boxes"]
  np.testing.assert_array_equal(ours, expected)
  assert (expected[:, 2] > expected[:, 0]).sum() > 30


def test_a_box_that_never_fits_erases_nothing():
  tries = np.full((10, 1), 0.33, np.float32)
  ours = jax.jit(boxes.erasing_boxes, static_argnames="size")(
    tries, np.full((10, 1), 3.3, np.float32), np.zeros((1, 2), np.float32), size=(8, 32)
  )
  assert np.asarray(ours)[0, 2:].tolist() == np.asarray(ours)[0, :2].tolist()


@pytest.mark.parametrize("side", [0, 1, 4, 5, 64])
def test_cutout_boxes_are_squares_about_a_uniform_middle_clipped_to_the_image(side):
  draw = jax.jit(boxes.cutout_boxes, static_argnames=("num", "size"))
  ours = np.asarray(draw(jax.random.key(0), 4000, np.float32(side), size=(8, 6)))
  sides = ours[:, 2:] - ours[:, :2]
  assert sides.max() <= side
  assert (sides.max(axis=0) == np.minimum(side, [8, 6])).all()
  assert (ours >= 0).all()
  assert (ours[:, 2:] <= [8, 6]).all()
  # How often a pixel is in the box: as often as its row and its column are near enough.
  near = [
    np.array(
      [
        np.mean([m - side // 2 <= at < m + side - side // 2 for m in range(length)])
        for at in range(length)
      ]
    )
    for length in (8, 6)
  ]
  inside = jax.jit(boxes.inside, static_argnames="size")(ours, size=(8, 6))
  expected = np.outer(*near)
  np.testing.assert_allclose(np.asarray(inside).mean(axis=0), expected, atol=0.04)
