"""Made-up arrays of images, before they are verified."""

import numpy as np


def images(num: int = 6, side: int = 4, channels: int = 3) -> np.ndarray:
  return np.random.default_rng(0).integers(0, 256, (num, side, side, channels), dtype=np.uint8)


def ragged(
  num: int = 60, sides: tuple[int, int] = (9, 7), seed: int = 3
) -> tuple[np.ndarray, np.ndarray]:
  """Returns (images [num, 9, 7, 3] with zeros around them, sizes)."""
  rng = np.random.default_rng(seed)
  sizes = np.stack([rng.integers(2, side + 1, num) for side in sides], axis=1)
  images = np.zeros((num, *sides, 3), np.uint8)
  for image, (height, width) in zip(images, sizes, strict=True):
    image[:height, :width] = rng.integers(0, 256, (height, width, 3))
  return images, sizes
