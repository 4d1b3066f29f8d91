"""Augmentation and normalisation against NumPy with the same random numbers, and against Pillow."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sdt.config.schema import AugmentConfig
from sdt.config.toolbox.pipeline import pipeline_of
from sdt.inputs import augment as module
from sdt.inputs.augment import centre_crop, output_size, shift_and_scale
from sdt.inputs.operations import crops, pipeline

# One program for each shape and setting, where the functions themselves would be many small ones.
augmented = jax.jit(pipeline.augment, static_argnames=("output", "pipeline"))
crop_and_flip = jax.jit(crops.crop_and_flip, static_argnames=("pad", "output"))
cropped_to = jax.jit(centre_crop, static_argnames="crop_size")
draw = jax.jit(pipeline.draw, static_argnames=("output", "pipeline"))
normalise = jax.jit(module.normalise)
resize_boxes = jax.jit(crops.resize_boxes, static_argnames="output")


def operations(**keys):
  return pipeline_of(AugmentConfig(**keys))


def twin(images, offsets, flips, pad, output=None):
  height, width = output or images.shape[1:3]
  out = np.zeros((len(images), height, width, images.shape[3]), images.dtype)
  for index, image in enumerate(images):
    padded = np.pad(image, ((pad, pad), (pad, pad), (0, 0)))
    row, column = offsets[index]
    crop = padded[row : row + height, column : column + width]
    out[index] = crop[:, ::-1] if flips[index] else crop
  return out


def sizes_of(num, height, width):
  return np.tile(np.array([[height, width]], np.int32), (num, 1))


@pytest.mark.parametrize(
  ("shape", "pad", "output"),
  [
    ((6, 5, 7, 3), 2, (5, 7)),
    ((4, 8, 8, 1), 1, (8, 8)),
    ((3, 4, 4, 3), 0, (4, 4)),
    ((2, 2, 2, 1), 5, (2, 2)),
    ((5, 9, 7, 3), 1, (4, 4)),
  ],
)
def test_crop_and_flip_equal_the_numpy_twin(shape, pad, output):
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, shape, dtype=np.uint8)
  room = np.array(shape[1:3]) + 2 * pad - np.array(output)
  offsets = rng.integers(0, room + 1, (shape[0], 2)).astype(np.int32)
  flips = rng.random(shape[0]) < 0.5
  ours = crop_and_flip(images, offsets, flips, pad=pad, output=output)
  assert ours.dtype == jnp.uint8
  np.testing.assert_array_equal(ours, twin(images, offsets, flips, pad, output))


def test_a_two_by_three_image_by_hand():
  image = np.arange(1, 7, dtype=np.uint8).reshape(1, 2, 3, 1)
  ours = crop_and_flip(image, np.int32([[0, 2]]), np.array([True]), pad=1, output=(2, 3))
  ours = np.asarray(ours)[0, :, :, 0]
  np.testing.assert_array_equal(
    ours, [[0, 0, 0], [0, 3, 2]]
  )  # up by one, right by one, then mirrored


def test_images_of_differing_sizes_are_cropped_within_their_own_pixels():
  """No crop of an image in the corner of a larger canvas shows the canvas.

  Random crops without padding, and centre crops.
  """
  rng = np.random.default_rng(0)
  sizes = rng.integers(4, 10, (200, 2)).astype(np.int32)
  canvas = np.zeros((200, 9, 9, 1), np.uint8)
  for image, (height, width) in zip(canvas, sizes, strict=True):
    image[:height, :width, 0] = 1 + np.arange(height)[:, None] * 16 + np.arange(width)
  config = operations(flip=True)
  draws = draw(jax.random.key(0), sizes, (4, 4), pipeline=config)
  cropped = np.asarray(augmented(canvas, draws, (4, 4), pipeline=config))
  assert cropped.shape == (200, 4, 4, 1)
  assert (cropped > 0).all()
  np.testing.assert_array_equal(
    cropped,
    twin(
      canvas, np.asarray(draws["crop"]["offsets"]), np.asarray(draws["flip"]["is_on"]), 0, (4, 4)
    ),
  )
  # Every place of a 9 x 9 image is reached, the last row and column too.
  many = draw(jax.random.key(1), sizes_of(3000, 9, 9), (4, 4), pipeline=config)
  largest = np.asarray(many["crop"]["offsets"])
  assert np.array_equal(np.unique(largest[:, 0]), np.arange(6))
  assert np.array_equal(np.unique(largest[:, 1]), np.arange(6))
  centre = np.asarray(cropped_to(canvas, sizes, 4))
  for image, (height, width), crop in zip(canvas, sizes, centre, strict=True):
    top, left = (height - 4) // 2, (width - 4) // 2
    np.testing.assert_array_equal(crop, image[top : top + 4, left : left + 4])


def test_without_a_crop_size_evaluation_sees_the_whole_image_or_vector():
  images, vectors = jnp.ones((2, 3, 4, 1), jnp.uint8), jnp.ones((2, 5))
  assert centre_crop(images, jnp.asarray(sizes_of(2, 3, 4)), None) is images
  assert centre_crop(vectors, jnp.asarray(sizes_of(2, 1, 5)), None) is vectors
  assert [output_size((3, 4, 1), None), output_size((3, 4, 1), 2), output_size((5,), None)] == [
    (3, 4),
    (2, 2),
    (1, 5),
  ]


def test_draws_are_uniform_over_offsets_and_fair_over_flips():
  draws = draw(
    jax.random.key(0), sizes_of(5000, 8, 8), (8, 8), pipeline=operations(pad_crop=2, flip=True)
  )
  for axis in range(2):
    counts = np.bincount(np.asarray(draws["crop"]["offsets"])[:, axis], minlength=5)
    assert len(counts) == 5
    assert ((counts - 1000) ** 2 / 1000).sum() < 18.5
  assert abs(int(np.asarray(draws["flip"]["is_on"]).sum()) - 2500) < 150


def test_offsets_and_flips_are_independent():
  draws = draw(
    jax.random.key(1), sizes_of(5000, 8, 8), (8, 8), pipeline=operations(pad_crop=2, flip=True)
  )
  columns = [*np.asarray(draws["crop"]["offsets"]).T, np.asarray(draws["flip"]["is_on"])]
  correlations = np.corrcoef(np.array(columns, float))[np.triu_indices(3, 1)]
  assert (np.abs(correlations) < 0.06).all()  # 4 standard errors


def test_switched_off_augmentation_returns_the_batch_and_features_pass_through():
  images = jnp.arange(48, dtype=jnp.uint8).reshape(1, 4, 4, 3)
  config = operations()
  assert (
    pipeline.augment(
      images,
      draw(jax.random.key(0), sizes_of(1, 4, 4), (4, 4), pipeline=config),
      (4, 4),
      pipeline=config,
    )
    is images
  )
  features = jnp.ones((3, 5))
  assert (
    pipeline.augment(
      features,
      draw(jax.random.key(0), sizes_of(3, 1, 5), (1, 5), pipeline=config),
      (1, 5),
      pipeline=config,
    )
    is features
  )


# ---- random-resized-crop


def pillow_boxes(images, boxes, flips, output):
  """Returns what Pillow makes of the boxes, a channel at a time in float32."""
  out = np.zeros((len(images), *output, images.shape[3]), np.float32)
  for index, (image, (top, left, height, width)) in enumerate(zip(images, boxes, strict=True)):
    for channel in range(images.shape[3]):
      part = Image.fromarray(
        image[top : top + height, left : left + width, channel].astype(np.float32)
      )
      out[index, :, :, channel] = np.asarray(
        part.resize((output[1], output[0]), Image.Resampling.BILINEAR)
      )
    if flips[index]:
      out[index] = out[index, :, ::-1]
  return out


def boxes_twin(key, sizes, least_area, aspect):
  """Returns the boxes from the same random numbers in float64, by loops over examples and tries."""
  keys = jax.random.split(key, 3)
  areas = np.asarray(
    jax.random.uniform(keys[0], (10, len(sizes)), jnp.float32, least_area, 1.0), np.float64
  )
  ratios = np.asarray(
    jax.random.uniform(keys[1], (10, len(sizes)), jnp.float32, -1.0, 1.0), np.float64
  )
  actual = []
  for example, (height, width) in enumerate(sizes.tolist()):
    for area, log_ratio in zip(areas[:, example], ratios[:, example], strict=True):
      ratio = aspect**log_ratio
      box = (
        round(np.sqrt(area * height * width / ratio)),
        round(np.sqrt(area * height * width * ratio)),
      )
      if 1 <= box[0] <= height and 1 <= box[1] <= width:
        actual.append((*box, True))
        break
    else:
      # Too wide: full height; too high: full width; otherwise all of it.
      box = (height, round(height * aspect)) if width / height > aspect else (height, width)
      box = (round(width * aspect), width) if width / height < 1 / aspect else box
      actual.append((*box, False))
  return np.array(actual)


@pytest.mark.parametrize("output", [(5, 5), (16, 9), (3, 4), (1, 1), (40, 40)])
def test_boxes_are_scaled_as_pillow_scales_them(output):
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, (12, 14, 11, 3), dtype=np.uint8)
  tops, lefts = rng.integers(0, 10, 12), rng.integers(0, 8, 12)
  boxes = np.stack(
    [tops, lefts, rng.integers(1, 15 - tops), rng.integers(1, 12 - lefts)], 1
  ).astype(np.int32)
  boxes[0], boxes[1] = (0, 0, 14, 11), (3, 4, 1, 1)
  flips = rng.random(12) < 0.5
  ours = resize_boxes(images, boxes, flips, output=output)
  assert ours.dtype == jnp.float32
  np.testing.assert_allclose(ours, pillow_boxes(images, boxes, flips, output), rtol=0, atol=2e-3)


def test_a_box_of_a_two_by_three_image_by_hand():
  image = np.array([[10, 20, 30], [40, 50, 60]], np.uint8).reshape(1, 2, 3, 1)
  halved = resize_boxes(image, np.int32([[0, 0, 2, 2]]), np.array([False]), output=(1, 1))
  # The mean of 10, 20, 40, 50.
  np.testing.assert_allclose(np.ravel(halved), [30.0], rtol=1e-6)
  mirrored = resize_boxes(image, np.int32([[1, 0, 1, 3]]), np.array([True]), output=(1, 3))
  np.testing.assert_allclose(np.ravel(mirrored), [60.0, 50.0, 40.0], rtol=1e-6)


@settings(max_examples=20)
@given(
  st.integers(0, 2**31 - 1),
  # Each pair is a program of its own.
  st.sampled_from([(0.08, 4 / 3), (0.3, 3.0), (0.9, 1.0), (1.0, 3.0), (1.0, 4 / 3)]),
)
def test_random_resized_crop_draws_the_boxes_of_the_loop_with_ten_tries(seed, setting):
  least_area, aspect = setting
  sizes = np.random.default_rng(seed).integers(1, 40, (64, 2)).astype(np.int32)
  config = operations(resized_crop_area=least_area, resized_crop_aspect=aspect)
  key = jax.random.key(seed)
  boxes = np.asarray(draw(key, sizes, (8, 8), pipeline=config)["resized_crop"]["boxes"])
  expected = boxes_twin(jax.random.split(key)[0], sizes, least_area, aspect)
  # Sides that float32 rounds the other way from a half, and areas that thereby just fit, are the
  # only ones to differ.
  agree = (boxes[:, 2:] == expected[:, :2]).all(axis=1)
  assert agree.mean() > 0.95
  assert (boxes[:, :2] >= 0).all()
  assert (boxes[:, 2:] >= 1).all()
  assert (boxes[:, :2] + boxes[:, 2:] <= sizes).all()
  middle = agree & (expected[:, 2] == 0)
  np.testing.assert_array_equal(boxes[middle, :2], (sizes - boxes[:, 2:])[middle] // 2)


def test_random_resized_crop_is_uniform_in_area_and_place():
  config = operations(resized_crop_area=0.25)
  draws = draw(jax.random.key(0), sizes_of(4000, 400, 400), (8, 8), pipeline=config)
  boxes = np.asarray(draws["resized_crop"]["boxes"]).astype(np.float64)
  area, log_ratio = boxes[:, 2] * boxes[:, 3] / 400**2, np.log(boxes[:, 3] / boxes[:, 2])
  assert area.min() > 0.24
  assert abs(log_ratio.mean()) < 0.02
  assert np.abs(log_ratio).max() < np.log(4 / 3) + 0.02
  # Boxes of nearly the whole area fit only when nearly square; where all fit, the area is uniform.
  small = area[area < 0.6]
  assert abs(np.median(small) - 0.425) < 0.02
  place = boxes[:, 0] / np.maximum(400 - boxes[:, 2], 1)
  assert abs(place[boxes[:, 2] < 390].mean() - 0.5) < 0.03


def test_random_resized_crop_of_the_whole_area_scales_square_images_whole():
  config = operations(resized_crop_area=1.0, resized_crop_aspect=1.0)
  images = np.random.default_rng(0).integers(0, 256, (3, 6, 6, 3), dtype=np.uint8)
  draws = draw(jax.random.key(0), sizes_of(3, 6, 6), (6, 6), pipeline=config)
  np.testing.assert_allclose(
    augmented(images, draws, (6, 6), pipeline=config), images, rtol=0, atol=1e-4
  )


def test_rows_of_padding_stay_finite():
  images = np.zeros((2, 4, 4, 1), np.uint8)
  out = resize_boxes(images, np.zeros((2, 4), np.int32), np.zeros(2, bool), output=(3, 3))
  assert np.isfinite(out).all()


# ---- normalisation


def test_normalise_equals_float64_numpy():
  rng = np.random.default_rng(1)
  images = rng.integers(0, 256, (4, 5, 6, 3), dtype=np.uint8)
  mean, std = np.array([0.4914, 0.4822, 0.4465]), np.array([0.2023, 0.1994, 0.2010])
  ours = normalise(images, *shift_and_scale(mean, std, images.dtype))
  np.testing.assert_allclose(ours, (images / 255 - mean) / std, rtol=0, atol=2e-6)
  features = rng.normal(size=(7, 3)).astype(np.float32)
  ours = normalise(features, *shift_and_scale(mean, std, features.dtype))
  np.testing.assert_allclose(ours, (features - mean) / std, rtol=0, atol=2e-5)


def test_features_far_from_zero_keep_their_digits():
  features = (1e6 + np.random.default_rng(0).normal(size=(50, 1))).astype(np.float32)
  ours = normalise(features, *shift_and_scale(np.array([1e6]), np.array([1.0]), features.dtype))
  np.testing.assert_allclose(ours, features.astype(np.float64) - 1e6, atol=1e-6)


# ---- strength


def of_all(strength):
  return {"augment_strength": np.float32(strength)}


def test_full_strength_draws_the_same_bits_and_none_shows_what_evaluation_shows():
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, (40, 9, 9, 1), dtype=np.uint8)
  sizes = rng.integers(6, 10, (40, 2)).astype(np.int32)
  for config in (
    operations(pad_crop=2, flip=True),
    operations(flip=True, resized_crop_area=0.2),
  ):
    plain, full, none = (
      draw(jax.random.key(3), sizes, (6, 6), config, strengths=strength)
      for strength in ({}, of_all(1), of_all(0))
    )
    for ours, theirs in zip(jax.tree.leaves(full), jax.tree.leaves(plain), strict=True):
      np.testing.assert_array_equal(ours, theirs)
    assert not np.asarray(none["flip"]["is_on"]).any()
    np.testing.assert_array_equal(
      augmented(images, none, (6, 6), pipeline=config), cropped_to(images, sizes, 6)
    )


@pytest.mark.parametrize("strength", [0.25, 0.5, 0.8])
def test_the_strength_scales_the_distance_from_the_centre_the_flips_and_the_box(strength):
  sizes, scale = sizes_of(5000, 12, 12), of_all(strength)
  config = operations(pad_crop=4, flip=True)
  plain, weak = (
    draw(jax.random.key(0), sizes, (12, 12), pipeline=config),
    draw(jax.random.key(0), sizes, (12, 12), pipeline=config, strengths=scale),
  )
  distance, expected = (
    np.asarray(weak["crop"]["offsets"]) - 4,
    strength * (np.asarray(plain["crop"]["offsets"]) - 4.0),
  )
  assert np.abs(distance - expected).max() <= 0.5
  assert abs(np.asarray(weak["flip"]["is_on"]).mean() - strength / 2) < 0.03
  assert not (np.asarray(weak["flip"]["is_on"]) & ~np.asarray(plain["flip"]["is_on"])).any()
  config = operations(resized_crop_area=0.1)
  plain, weak = (
    np.asarray(
      draw(jax.random.key(0), sizes, (12, 12), config, strengths=given)["resized_crop"]["boxes"]
    )
    for given in ({}, scale)
  )
  edges, full = (
    np.concatenate([weak[:, :2], weak[:, :2] + weak[:, 2:]], 1),
    np.concatenate([plain[:, :2], plain[:, :2] + plain[:, 2:]], 1),
  )
  whole = np.array([0, 0, 12, 12])
  assert np.abs(edges - (whole + strength * (full - whole))).max() <= 0.5
  assert weak[:, 2:].min() >= 1
  assert edges.min() >= 0
  assert edges.max() <= 12
