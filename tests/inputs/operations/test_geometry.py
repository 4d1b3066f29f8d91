"""Operations that move pixels against torchvision, and against NumPy and scipy in float64."""

import jax
import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from sdt.inputs.operations.frame import Frame
from sdt.inputs.operations.geometry import GEOMETRY, bilinear, source_places
from tests.support.images import augment, draw, operations, random_bytes, sizes_of
from tests.support.places import GOLDEN

GIVEN = np.load(GOLDEN / "operations.npz")
HEIGHT, WIDTH = 12, 10
FRAME = Frame(HEIGHT, WIDTH, unit=1.0)


def warp(images, *calls):
  """Returns the images after operations of these (name, amounts [B, k]), by one gather."""
  names = tuple(name for name, _ in calls)

  @jax.jit
  def run(amounts):
    draws = {name: {"amount": amount} for name, amount in zip(names, amounts, strict=True)}
    x, y = source_places(names, draws, FRAME)
    return bilinear(
      images,
      (x + (WIDTH - 1) / 2, y + (HEIGHT - 1) / 2),
      sizes_of(len(images), HEIGHT, WIDTH),
    )

  return np.asarray(run([np.asarray(amount, np.float32) for _, amount in calls]))


@pytest.mark.parametrize("name", ["translate", "rotate", "zoom", "shear"])
def test_affine_operations_equal_torchvision(name):
  ours = warp(GIVEN["images"], (name, GIVEN[f"{name}_amounts"]))
  np.testing.assert_allclose(ours, GIVEN[f"{name}_results"], rtol=0, atol=3e-5)


def places_by_hand(name, amount, x, y):
  """Returns where a pixel at x, y from the middle comes from, by the formulas of the table."""
  if name == "rotate":
    angle = np.deg2rad(amount[0])
    return np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
  if name == "translate":
    return x - amount[0], y - amount[1]
  if name == "stretch":  # the sides become as e^a to 1, the area stays
    return x / np.exp(amount[0] / 2), y * np.exp(amount[0] / 2)
  if name == "lens":
    share = (x**2 + y**2) / ((WIDTH**2 + HEIGHT**2) / 4)
    return x * (1 + amount[0] * share), y * (1 + amount[0] * share)
  depth = 1 + amount[0] * x / (WIDTH / 2) + amount[1] * y / (HEIGHT / 2)
  return x / depth, y / depth


def twin(images, *calls):
  """Returns the same in float64: the last operation says first where a pixel comes from."""
  out = np.zeros(images.shape)
  y, x = np.mgrid[:HEIGHT, :WIDTH].astype(float)
  for index, image in enumerate(images):
    u, v = x - (WIDTH - 1) / 2, y - (HEIGHT - 1) / 2
    for name, amounts in reversed(calls):
      u, v = places_by_hand(name, np.asarray(amounts, np.float32).astype(float)[index], u, v)
    at = [v + (HEIGHT - 1) / 2, u + (WIDTH - 1) / 2]
    for channel in range(image.shape[2]):
      plane = image[:, :, channel].astype(float)
      out[index, :, :, channel] = map_coordinates(plane, at, order=1, mode="grid-constant")
  return out


CALLS = {
  "stretch": ("stretch", [[0.3], [-0.2], [0.0]]),
  "lens": ("lens", [[0.3], [-0.4], [0.9]]),
  "projective": ("projective", [[0.3, -0.2], [0.0, 0.45], [-0.4, -0.4]]),
  "translate": ("translate", [[1.5, -0.25], [0.0, 2.75], [-3.5, 0.5]]),
  "rotate": ("rotate", [[20.0], [-45.0], [5.0]]),
}


@pytest.mark.parametrize(
  "names",
  [
    ("stretch",),
    ("lens",),
    ("projective",),
    ("rotate", "translate"),
    ("translate", "lens", "rotate", "projective", "stretch"),
  ],
)
def test_a_warp_equals_scipy_where_each_operation_says_from_where(names):
  calls = [CALLS[name] for name in names]
  np.testing.assert_allclose(
    warp(GIVEN["images"], *calls), twin(GIVEN["images"], *calls), rtol=0, atol=3e-5
  )


def test_every_operation_is_tried_here():
  assert set(GEOMETRY) == {*CALLS, "zoom", "shear"}


def test_crop_flip_and_shift_by_whole_pixels_move_every_pixel_exactly():
  """A 2 x 3 image by hand: the group is one warp, and reads what lies beyond the crop."""
  image = np.arange(1, 7, dtype=np.uint8).reshape(1, 2, 3, 1)
  draws = {
    "crop": {"offsets": np.int32([[0, 2]]), "seeds": np.zeros(1, np.uint32)},
    "flip": {"is_on": np.array([True])},
    "translate": {"amount": np.float32([[-1.0, -1.0]]), "seeds": np.zeros(1, np.uint32)},
    "sizes": {"sizes": np.int32([[2, 3]])},
  }
  pipeline = operations("crop(1) flip translate(1)")
  out = np.asarray(augment(image, draws, (2, 3), pipeline))[0, :, :, 0]
  # Cropped up by one and right by one, mirrored: [[0, 0, 0], [0, 3, 2]]; then left and up by one.
  # What comes in from the right is the image's own 1, which a crop would have cut off.
  np.testing.assert_array_equal(out, [[3, 2, 1], [6, 5, 4]])


@pytest.mark.parametrize("fill", ["mean", "noise"])
def test_what_no_image_shows_is_filled_and_the_image_is_not(fill):
  num = 200
  images = np.full((num, 8, 8, 3), 200, np.uint8)
  pipeline = operations("crop(4)", fill)
  mean = np.float32([10.0, 20.0, 30.0])
  sizes = np.random.default_rng(0).integers(4, 9, (num, 2)).astype(np.int32)
  for image, (height, width) in zip(images, sizes, strict=True):
    image[height:], image[:, width:] = 0, 0
  draws = draw(jax.random.key(0), sizes, (4, 4), pipeline)
  out = np.asarray(augment(images, draws, (4, 4), pipeline, mean=mean))
  first = np.asarray(draws["crop"]["offsets"]) - 4
  is_image = np.stack(
    [
      ((np.arange(4) + top >= 0) & (np.arange(4) + top < height))[:, None]
      & ((np.arange(4) + left >= 0) & (np.arange(4) + left < width))[None]
      for (top, left), (height, width) in zip(first, sizes, strict=True)
    ]
  )
  assert (out[is_image] == 200).all()
  filled = out[~is_image]
  assert len(filled) > 1000
  if fill == "mean":
    np.testing.assert_array_equal(filled, np.broadcast_to(mean, filled.shape))
  else:
    assert abs(filled.mean() - 127.5) < 3
    assert abs(filled.std() - 255 / np.sqrt(12)) < 3
    assert len(np.unique(filled)) > 0.9 * filled.size


def test_a_vertical_mirror_is_exact_and_stays_bytes():
  images = random_bytes((50, 5, 4, 2))
  pipeline = operations("flip vertical_flip(0.3)")
  draws = draw(jax.random.key(0), sizes_of(50, 5, 4), (5, 4), pipeline)
  out = np.asarray(augment(images, draws, (5, 4), pipeline))
  assert out.dtype == np.uint8
  flips, upside_down = (np.asarray(draws[name]["is_on"]) for name in ("flip", "vertical_flip"))
  expected = images.copy()
  expected[flips] = expected[flips, :, ::-1]
  expected[upside_down] = expected[upside_down, ::-1]
  np.testing.assert_array_equal(out, expected)
