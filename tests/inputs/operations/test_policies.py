"""TrivialAugment, RandAugment, AutoAugment: their tables and every operation in them."""

import json
from collections import Counter

import jax
import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from sdt.inputs.operations import policies
from sdt.inputs.operations.frame import Frame
from sdt.inputs.operations.policies import CHOICES, NARROW, WIDE
from tests.support.images import smooth_bytes
from tests.support.places import GOLDEN

GIVEN = json.loads(str(np.load(GOLDEN / "operations.npz")["policies"]))
FRAME = Frame(32, 24)
NAMES = {
  "ShearX": "shear_x", "ShearY": "shear_y", "TranslateX": "translate_x",
  "TranslateY": "translate_y", "Rotate": "rotate", "Brightness": "brightness",
  "Color": "saturation", "Contrast": "contrast", "Sharpness": "sharpness",
  "Posterize": "posterise", "Solarize": "solarise", "AutoContrast": "autocontrast",
  "Equalize": "equalise", "Invert": "invert", "Identity": "identity",
}  # fmt: skip
number = CHOICES.index
magnitude_of = jax.jit(policies.magnitude_of, static_argnames=("ranges", "frame"))
one_choice = jax.jit(policies.one_choice, static_argnames="frame")


def test_the_pairs_are_torchvision_s():
  names, probabilities, levels = policies.cifar_policy()
  for row, pair in enumerate(GIVEN["pairs"]):
    for column, (name, probability, level) in enumerate(pair):
      assert CHOICES[names[row, column]] == NAMES[name]
      assert probabilities[row, column] == pytest.approx(probability)
      if level is not None:
        assert levels[row, column] == pytest.approx(level / 9)


@pytest.mark.parametrize(
  ("space", "ranges"), [("auto", NARROW), ("trivial", WIDE), ("random", NARROW)]
)
def test_the_magnitudes_at_each_level_are_torchvision_s(space, ranges):
  for theirs, levels in GIVEN["spaces"][space].items():
    if len(levels) < 2:
      continue  # it has no magnitude
    choice = np.full(len(levels), number(NAMES[theirs]), np.int32)
    share = np.linspace(0, 1, len(levels)).astype(np.float32)
    ours = np.asarray(magnitude_of(choice, share, ranges=ranges, frame=FRAME))
    np.testing.assert_allclose(ours, levels, rtol=1e-5, atol=1e-4, err_msg=theirs)


def with_pillow(name, image, magnitude):
  enhancers = {
    "brightness": ImageEnhance.Brightness, "saturation": ImageEnhance.Color,
    "contrast": ImageEnhance.Contrast, "sharpness": ImageEnhance.Sharpness,
  }  # fmt: skip
  if name in enhancers:
    return enhancers[name](image).enhance(1 + magnitude)
  return {
    "identity": lambda: image,
    "posterise": lambda: ImageOps.posterize(image, int(magnitude)),
    "solarise": lambda: ImageOps.solarize(image, int(magnitude)),
    "autocontrast": lambda: ImageOps.autocontrast(image),
    "equalise": lambda: ImageOps.equalize(image),
    "invert": lambda: ImageOps.invert(image),
  }[name]()


CASES = [
  ("identity", 0.0), ("brightness", 0.6), ("saturation", -0.7), ("contrast", 0.8),
  ("sharpness", 0.9), ("sharpness", -0.9), ("posterise", 3.0), ("posterise", 8.0),
  ("solarise", 100.0), ("solarise", 255.0), ("autocontrast", 0.0), ("equalise", 0.0),
  ("invert", 0.0),
]  # fmt: skip


def test_every_operation_that_changes_levels_equals_pillow_within_one():
  images = smooth_bytes((len(CASES), 32, 24, 3), seed=3) // 2 + 30
  choice = np.int32([number(name) for name, _ in CASES])
  magnitude = np.float32([value for _, value in CASES])
  ours = np.asarray(one_choice(images.astype(np.float32), choice, magnitude, frame=FRAME))
  for mine, image, (name, value) in zip(ours, images, CASES, strict=True):
    theirs = np.asarray(with_pillow(name, Image.fromarray(image), value), float)
    assert np.abs(np.rint(mine) - theirs).max() <= 1, (name, value)
    if name in ("identity", "posterise", "solarise", "equalise", "invert"):
      np.testing.assert_array_equal(mine, theirs, err_msg=name)
  images[:] = 77  # whose contrast cannot be stretched, nor its levels made equal
  constant = np.asarray(one_choice(images.astype(np.float32), choice, magnitude, frame=FRAME))
  for mine, (name, _) in zip(constant, CASES, strict=True):
    assert name not in ("autocontrast", "equalise") or (mine == 77).all()


def test_images_of_one_channel_and_floats_are_as_grey_bytes_of_three():
  images = smooth_bytes((len(CASES), 32, 24, 1), seed=1)
  choice = np.int32([*range(1, 11), 11, 13, 14])
  level = np.full(len(CASES), 0.5, np.float32)
  magnitude = np.asarray(magnitude_of(choice, level, ranges=NARROW, frame=FRAME))
  floats = (images / 255).astype(np.float32)
  ours = np.asarray(one_choice(floats, choice, magnitude, frame=Frame(32, 24, unit=1.0)))
  assert ours.shape == images.shape
  three = np.repeat(images, 3, axis=3).astype(np.float32)
  of_bytes = np.asarray(one_choice(three, choice, magnitude, frame=FRAME))
  np.testing.assert_allclose(255 * ours, of_bytes[..., :1], atol=0.05)


def test_the_signs_of_shears_shifts_and_turns_are_those_of_the_operations():
  """A bright pixel right of and above the middle: a shift to the right, a clockwise turn."""
  images = np.zeros((len(CASES), 32, 24, 3), np.float32)
  images[:, 8, 16] = 255.0
  choice, magnitude = np.zeros(len(CASES), np.int32), np.zeros(len(CASES), np.float32)
  choice[:3] = [number(name) for name in ("translate_x", "translate_y", "rotate")]
  magnitude[:3] = 2, 3, 90
  ours = np.asarray(one_choice(images, choice, magnitude, frame=FRAME))[:3, :, :, 0]
  assert [np.unravel_index(image.argmax(), image.shape) for image in ours] == [
    (8, 18), (11, 16), (20, 19)
  ]  # fmt: skip


def test_policies_draw_their_operations_equally_often_and_stop_at_strength_zero():
  num = 14_000

  def counts(drawn):
    return Counter(np.asarray(drawn["choice"]).ravel().tolist())

  trivial = jax.jit(policies.draw_trivial, static_argnames=("num", "frame"))
  drawn = trivial(jax.random.key(0), num, np.float32(1), frame=FRAME)
  found = counts(drawn)
  assert set(found) == set(range(14))
  assert all(abs(count - 1000) < 150 for count in found.values())
  turns = np.asarray(drawn["magnitude"])[np.asarray(drawn["choice"]) == number("rotate")]
  assert abs(turns.mean()) < 10
  assert 130 < np.abs(turns).max() <= 135
  half = counts(trivial(jax.random.key(0), num, np.float32(0.5), frame=FRAME))
  assert abs(half[0] - (num / 2 + num / 28)) < 300
  assert set(counts(trivial(jax.random.key(0), num, np.float32(0), frame=FRAME))) == {0}

  random = jax.jit(lambda key, strength: policies.draw_random(key, num, (strength, 1), frame=FRAME))
  found = counts(random(jax.random.key(0), np.float32(9)))
  assert all(abs(found[choice] - 1000) < 150 for choice in range(14))
  assert set(counts(random(jax.random.key(0), np.float32(0)))) == {0}

  auto = jax.jit(policies.draw_auto, static_argnames=("num", "frame"))
  drawn = np.asarray(auto(jax.random.key(0), num, np.float32(1), frame=FRAME)["choice"])
  names, probabilities, _ = policies.cifar_policy()
  for choice in range(1, 15):
    expected = num * probabilities[names == choice].sum() / 25
    assert abs((drawn == choice).sum() - expected) < 5 * np.sqrt(num), CHOICES[choice]
  assert set(counts(auto(jax.random.key(0), num, np.float32(0), frame=FRAME))) == {0}
