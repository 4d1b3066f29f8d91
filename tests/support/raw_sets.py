"""Made-up arrays of images, before they are verified."""

import numpy as np


def images(num=6, side=4, channels=3):
  return np.random.default_rng(0).integers(0, 256, (num, side, side, channels), dtype=np.uint8)


def ragged(num=60, sides=(9, 7), seed=3):
  """Returns (images [num, 9, 7, 3] with zeros around them, sizes)."""
  rng = np.random.default_rng(seed)
  sizes = np.stack([rng.integers(2, side + 1, num) for side in sides], axis=1)
  images = np.zeros((num, *sides, 3), np.uint8)
  for image, (height, width) in zip(images, sizes, strict=True):
    image[:height, :width] = rng.integers(0, 256, (height, width, 3))
  return images, sizes
