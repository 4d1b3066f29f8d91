"""The pipeline: every operation of the table, strengths, the older keys, and what is drawn."""

import functools
import zlib

import jax
import numpy as np
import pytest

from sdt.config.schema import AugmentConfig
from sdt.config.toolbox.operation_blocks import CROPS, MIXING, OPS, SMOTE
from sdt.config.toolbox.pipeline import pipeline_of
from sdt.inputs.augment import centre_crop
from sdt.inputs.operations.geometry import GEOMETRY, MIRRORS
from sdt.inputs.operations.mixing import MIXERS
from sdt.inputs.operations.pipeline import PIXELS, augment, draw
from tests.support.images import augment as jit_augment
from tests.support.images import draw as jit_draw
from tests.support.images import operations, random_bytes, sizes_of
from tests.support.quick import QUICK

SIZE = (12, 10)
IMAGES = random_bytes((6, *SIZE, 3))
# A text for each operation that changes one example by itself.
TEXTS = {
  "crop": "crop(4)", "resized_crop": "resized_crop(0.3)", "flip": "flip",
  "vertical_flip": "vertical_flip(1)", "translate": "translate(3)", "rotate": "rotate(30)",
  "zoom": "zoom(0.5)", "shear": "shear(20)", "stretch": "stretch(0.5)", "lens": "lens(0.4)",
  "projective": "projective(0.3)", "brightness": "brightness(0.5)", "contrast": "contrast(0.5)",
  "saturation": "saturation(0.5)", "hue": "hue(0.3)", "colour": "colour(0.3)",
  "pca_colour": "pca_colour(1)", "noise": "noise(0.1)", "mean_blur": "mean_blur(5)",
  "gaussian_blur": "gaussian_blur(2)", "median_blur": "median_blur(1)",
  "bilateral_blur": "bilateral_blur(0.4)", "cutout": "cutout(5)", "erase": "erase(1)",
  "trivial_augment": "trivial_augment", "rand_augment": "rand_augment(20, 1)",
  "auto_augment": "auto_augment",
}  # fmt: skip


def test_config_and_code_name_the_same_operations():
  assert set(OPS) == {*CROPS, *MIRRORS, *GEOMETRY, *PIXELS, *MIXERS, SMOTE}
  assert set(MIXING) == set(MIXERS)
  assert set(TEXTS) == set(OPS) - {*MIXING, SMOTE}


@functools.partial(jax.jit, static_argnames=("pipeline", "output"), compiler_options=QUICK)
def run(images, sizes, seed, strengths, pipeline, output=SIZE):
  draws = draw(jax.random.key(seed), sizes, output, pipeline, strengths=strengths)
  return augment(images, draws, output, pipeline)


def changed_by(pipeline, scale=1.0, images=IMAGES, output=SIZE, **strengths):
  """Returns the images at these strengths; all strengths are arguments of one program."""
  given = pipeline.strengths | {"augment_strength": scale} | strengths
  given = {name: np.float32(value) for name, value in given.items()}
  sizes = sizes_of(len(images), *images.shape[1:3])
  return np.asarray(run(images, sizes, 1, given, pipeline, output=output))


# They share what they do; only what they draw differs, which test_policies.py sees.
_AS_TRIVIAL = ("rand_augment", "auto_augment")


@pytest.mark.parametrize(
  "name",
  [pytest.param(n, marks=[pytest.mark.slow] * (n in _AS_TRIVIAL), id=n) for n in TEXTS],
)
def test_an_operation_acts_at_its_strength_and_at_strength_zero_changes_no_bit(name):
  pipeline = operations(TEXTS[name])
  changed = changed_by(pipeline)
  assert changed.shape == IMAGES.shape
  assert np.isfinite(changed).all()
  assert (changed != IMAGES).any(axis=(1, 2, 3)).mean() > 0.3
  np.testing.assert_array_equal(changed_by(pipeline, 0.0), IMAGES)
  if name == "resized_crop":  # its number is an area: 1 is off
    np.testing.assert_allclose(changed_by(pipeline, resized_crop=1.0), IMAGES, atol=1e-3)
  else:
    np.testing.assert_array_equal(changed_by(pipeline, **{name: 0.0}), IMAGES)


# Each kind once: crop, mirror, warp, colour, blur, noise, boxes.
SEVERAL = operations(
  "crop(3) flip rotate(30) colour(0.3) mean_blur(3) noise(0.1) cutout(5)", "noise"
)


LARGE, LARGE_SIZES = random_bytes((6, 16, 15, 3), seed=1), sizes_of(6, 16, 15)


def several(scale, images=LARGE, first=0):
  """Returns the images after all of `SEVERAL`; those from `first` on stand before the others."""
  strengths = {"augment_strength": np.float32(scale)}
  draws = jit_draw(jax.random.key(2), LARGE_SIZES, (10, 10), SEVERAL, strengths=strengths)
  draws = jax.tree.map(lambda array: np.roll(np.asarray(array), -first, axis=0), draws)
  return np.asarray(jit_augment(np.roll(images, -first, axis=0), draws, (10, 10), SEVERAL))


def test_all_together_at_strength_zero_are_what_evaluation_sees():
  centre = np.asarray(centre_crop(LARGE, LARGE_SIZES, 10))
  np.testing.assert_array_equal(several(0), centre)
  assert (several(1) != centre).any(axis=(1, 2, 3)).all()


def test_an_example_is_changed_the_same_wherever_it_stands():
  """Its numbers are its own; so each device can have any part of the batch."""
  np.testing.assert_array_equal(several(1, first=2), np.roll(several(1), -2, axis=0))


def test_an_operation_draws_the_same_whatever_stands_beside_it():
  one = {"augment_strength": np.float32(1)}
  beside, alone = (
    jit_draw(jax.random.key(2), LARGE_SIZES, (10, 10), pipeline, strengths=one)
    for pipeline in (SEVERAL, operations("rotate(30)"))
  )
  np.testing.assert_array_equal(alone["rotate"]["amount"], beside["rotate"]["amount"])


@pytest.mark.parametrize(
  ("text", "keys"),
  [
    ("crop(2) flip", {"pad_crop": 2, "flip": True}),
    ("flip", {"flip": True}),
    (
      "resized_crop(0.3, 2) flip",
      {"resized_crop_area": 0.3, "resized_crop_aspect": 2.0, "flip": True},
    ),
  ],
)
def test_the_older_keys_are_spellings_of_the_text(text, keys):
  assert pipeline_of(AugmentConfig(**keys)) == operations(text)


def test_crops_and_mirrors_have_the_bits_of_the_first_release():
  """Checksums of what version 0.2 made of these images; boxes by the sums of their edges."""
  images, sizes = random_bytes((64, 12, 12, 3), 5), sizes_of(64, 12, 12)
  pipeline, key = operations("crop(3) flip"), jax.random.key(7)
  draws = jit_draw(key, sizes, (12, 12), pipeline)
  shown = np.asarray(jit_augment(images, draws, (12, 12), pipeline))
  assert zlib.crc32(shown.tobytes()) == 3633824322
  boxes = jit_draw(key, sizes, (9, 9), operations("resized_crop(0.2) flip"))["resized_crop"]
  assert np.asarray(boxes["boxes"]).sum(axis=0).tolist() == [119, 94, 549, 546]
  half = {"augment_strength": np.float32(0.5)}
  weak = jit_draw(key, sizes, (9, 9), operations("crop(2) flip"), strengths=half)["crop"]
  assert np.asarray(weak["offsets"]).sum(axis=0).tolist() == [231, 229]


MEANS = {
  # Of 10,000 draws: the mean, and that of the absolute value.
  "rotate": (0.0, 15.0), "translate": (0.0, 1.5), "brightness": (0.0, 0.25), "hue": (0.0, 0.15),
  "gaussian_blur": (1.0, 1.0), "mean_blur": (3.0, 3.0), "flip": (0.5, 0.5), "median_blur": (1, 1),
  "zoom": (0.0, np.log(1.5) / 2), "noise": (0.1, 0.1), "pca_colour": (0.0, np.sqrt(2 / np.pi)),
}  # fmt: skip


def test_the_means_of_ten_thousand_draws():
  pipeline = operations(" ".join(TEXTS[name] for name in MEANS), "noise")
  draws = jit_draw(jax.random.key(0), sizes_of(10_000, *SIZE), SIZE, pipeline)
  for name, (mean, absolute) in MEANS.items():
    drawn = draws[name].get("amount", draws[name].get("is_on"))
    values = np.asarray(drawn, float)
    error = 4 * max(values.std(), 1e-9) / np.sqrt(values.size)
    assert abs(values.mean() - mean) <= error + 1e-6, name
    assert abs(np.abs(values).mean() - absolute) <= error + 1e-6, name


def test_images_of_one_channel_and_floats_are_taken():
  pipeline = operations("crop(3) rotate(30) contrast(0.5) median_blur(1) noise(0.1) cutout(5)")
  grey = IMAGES[..., :1]
  changed = changed_by(pipeline, images=grey)
  assert changed.shape == grey.shape
  floats = changed_by(pipeline, images=(grey / 255).astype(np.float32))
  np.testing.assert_allclose(255 * floats, changed, atol=0.05)
