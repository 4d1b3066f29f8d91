"""The pipeline: every operation of the table, strengths, the older keys, and what is drawn."""

import re
import zlib

import jax
import numpy as np
import pytest

from sdt.config.schema import AugmentConfig
from sdt.config.toolbox.operation_blocks import CROPS, MIXING, OPS
from sdt.config.toolbox.pipeline import pipeline_of
from sdt.inputs.augment import centre_crop
from sdt.inputs.operations.geometry import GEOMETRY, MIRRORS
from sdt.inputs.operations.mixing import MIXERS
from sdt.inputs.operations.pipeline import PIXELS
from tests.support.images import augment, draw, operations, random_bytes, sizes_of

SIZE = (12, 10)
IMAGES = random_bytes((6, *SIZE, 3))
# A text for each operation that changes one example by itself.
TEXTS = {
  "crop": "crop(4)", "resized_crop": "resized_crop(0.3)", "flip": "flip",
  "vertical_flip": "vertical_flip", "translate": "translate(3)", "rotate": "rotate(30)",
  "zoom": "zoom(0.5)", "shear": "shear(20)", "stretch": "stretch(0.5)", "lens": "lens(0.4)",
  "projective": "projective(0.3)", "brightness": "brightness(0.5)", "contrast": "contrast(0.5)",
  "saturation": "saturation(0.5)", "hue": "hue(0.3)", "colour": "colour(0.3)",
  "pca_colour": "pca_colour(1)", "noise": "noise(0.1)", "mean_blur": "mean_blur(5)",
  "gaussian_blur": "gaussian_blur(2)", "median_blur": "median_blur(1)",
  "bilateral_blur": "bilateral_blur(0.4)", "cutout": "cutout(5)", "erase": "erase(1)",
  "trivial_augment": "trivial_augment", "rand_augment": "rand_augment(20)",
  "auto_augment": "auto_augment",
}  # fmt: skip


def test_config_and_code_name_the_same_operations():
  assert set(OPS) == {*CROPS, *MIRRORS, *GEOMETRY, *PIXELS, *MIXERS}
  assert set(MIXING) == set(MIXERS)
  assert set(TEXTS) == set(OPS) - set(MIXING)


@pytest.fixture(scope="module")
def everything():
  """The operations that mix in their own strengths, one after the other."""
  return operations(" ".join(text for name, text in TEXTS.items() if name != "resized_crop"))


def scaled(pipeline, strength, seed=0, images=IMAGES, **strengths):
  """Returns the images at these strengths, with all of them scaled where `strength` is given."""
  sizes = sizes_of(len(images), *images.shape[1:3])
  given = {name: np.float32(value) for name, value in strengths.items()}
  if strength is not None:
    given["augment_strength"] = np.float32(strength)
  draws = draw(jax.random.key(seed), sizes, SIZE, pipeline, strengths=given)
  return np.asarray(augment(images, draws, SIZE, pipeline))


@pytest.mark.parametrize("name", TEXTS)
def test_an_operation_acts_at_its_strength_and_at_strength_zero_changes_no_bit(name):
  pipeline = operations(TEXTS[name])
  changed = scaled(pipeline, 1)
  assert changed.shape == IMAGES.shape
  assert np.isfinite(changed).all()
  assert (changed != IMAGES).any(axis=(1, 2, 3)).mean() > 0.3
  np.testing.assert_array_equal(scaled(pipeline, 0), IMAGES)
  if name != "resized_crop":  # whose number is an area
    np.testing.assert_array_equal(scaled(pipeline, None, **{name: 0.0}), IMAGES)
    np.testing.assert_array_equal(
      scaled(pipeline, None, **{name: pipeline.calls[0].numbers[0]}), changed
    )
  else:
    np.testing.assert_allclose(scaled(pipeline, None, resized_crop=1.0), IMAGES, atol=1e-3)


def test_all_together_at_strength_zero_are_what_evaluation_sees(everything):
  images = random_bytes((6, 16, 15, 3), seed=1)
  np.testing.assert_array_equal(
    scaled(everything, 0, images=images)[:, :10, :10],
    scaled(operations("crop(4)"), 0, images=images)[:, :10, :10],
  )
  square = np.asarray(centre_crop(images, sizes_of(6, 16, 15), 10))
  sizes = sizes_of(6, 16, 15)
  strengths = {"augment_strength": np.float32(0)}
  draws = draw(jax.random.key(0), sizes, (10, 10), everything, strengths=strengths)
  np.testing.assert_array_equal(augment(images, draws, (10, 10), everything), square)
  assert (scaled(everything, 1) != IMAGES).any(axis=(1, 2, 3)).all()


def test_a_part_of_the_batch_is_changed_as_in_the_whole(everything):
  """Numbers are drawn for the whole batch; then each device has its examples."""
  pipeline = operations("crop(2) flip rotate(20) noise(0.1) erase cutout(4)", "noise")
  for one in (pipeline, everything):
    draws = draw(jax.random.key(1), sizes_of(6, *SIZE), SIZE, one)
    whole = np.asarray(augment(IMAGES, draws, SIZE, one))
    half = jax.tree.map(lambda array: array[3:], draws)
    np.testing.assert_array_equal(augment(IMAGES[3:], half, SIZE, one), whole[3:])


def test_an_operation_draws_the_same_whatever_stands_beside_it():
  alone = draw(jax.random.key(2), sizes_of(6, *SIZE), SIZE, operations("rotate(20)"))
  beside = draw(
    jax.random.key(2), sizes_of(6, *SIZE), SIZE, operations("crop(2) cutout(3) rotate(20)")
  )
  np.testing.assert_array_equal(alone["rotate"]["amount"], beside["rotate"]["amount"])
  drawn = [np.asarray(beside[name]["amount"])[:, 0] for name in ("cutout", "rotate")]
  assert abs(np.corrcoef(drawn)[0, 1]) < 0.99


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
  found = []
  for text in ("crop(3) flip", "crop(2)", "flip"):
    pipeline = operations(text)
    draws = draw(jax.random.key(7), sizes, (12, 12), pipeline)
    found.append(zlib.crc32(np.asarray(augment(images, draws, (12, 12), pipeline)).tobytes()))
  draws = draw(jax.random.key(7), sizes, (9, 9), operations("resized_crop(0.2) flip"))
  found.append(np.asarray(draws["resized_crop"]["boxes"]).sum(axis=0).tolist())
  draws = draw(jax.random.key(7), sizes, (9, 9), operations("crop(2) flip"))
  strengths = {"augment_strength": np.float32(0.5)}
  weak = draw(jax.random.key(7), sizes, (9, 9), operations("crop(2) flip"), strengths=strengths)
  found.append([np.asarray(one["crop"]["offsets"]).sum(axis=0).tolist() for one in (draws, weak)])
  assert found == FIRST_RELEASE


FIRST_RELEASE: list = []


MEANS = {
  # Of 10,000 draws: the mean, and that of the absolute value.
  "rotate": (0.0, 15.0), "translate": (0.0, 1.5), "brightness": (0.0, 0.25), "hue": (0.0, 0.15),
  "gaussian_blur": (1.0, 1.0), "mean_blur": (3.0, 3.0), "flip": (0.5, 0.5), "median_blur": (1, 1),
  "zoom": (0.0, np.log(1.5) / 2), "noise": (0.1, 0.1), "pca_colour": (0.0, np.sqrt(2 / np.pi)),
}  # fmt: skip


def test_the_means_of_ten_thousand_draws():
  pipeline = operations(" ".join(TEXTS[name] for name in MEANS))
  draws = draw(jax.random.key(0), sizes_of(10_000, *SIZE), SIZE, pipeline)
  for name, (mean, absolute) in MEANS.items():
    drawn = draws[name].get("amount", draws[name].get("is_on"))
    values = np.asarray(drawn, float)
    error = 4 * max(values.std(), 1e-9) / np.sqrt(values.size)
    assert abs(values.mean() - mean) <= error + 1e-6, name
    assert abs(np.abs(values).mean() - absolute) <= error + 1e-6, name


def test_images_of_one_channel_and_floats_are_taken():
  text = re.sub(r"(saturation|hue|colour|pca_colour)\([^)]*\) ?", "", " ".join(TEXTS.values()))
  pipeline = operations(text.replace("resized_crop(0.3) ", "").replace("pca_", ""))
  grey = IMAGES[..., :1]
  changed = scaled(pipeline, 1, images=grey)
  assert changed.shape == grey.shape
  floats = scaled(pipeline, 1, images=(grey / 255).astype(np.float32))
  np.testing.assert_allclose(255 * floats, changed, atol=0.05)
