"""Drawn figures with known truth: how hard every image is, and which labels are wrong, so that
scores can be graded.
"""

from __future__ import annotations

import numpy as np

from sdt.config.schema import DataConfig
from sdt.data import seeded
from sdt.data.assemble import Raw, RawSplit, assemble
from sdt.data.dataset import Data
from sdt.errors import DataError

FIGURES = ("disc", "square", "frame", "cross", "row", "column", "quarters", "wedge", "left", "top")
INKS = ("red", "green", "blue", "yellow", "cyan", "magenta", "white", "orange", "violet", "lime")
PAPERS = ("black", "brown", "pine", "navy", "grey", "wine", "teal", "olive", "plum", "slate")

_INK_RGB = np.array(
  [
    [[225, 30, 30], [30, 215, 40], [50, 60, 250], [245, 235, 40], [40, 235, 235]],
    [[240, 50, 230], [245, 245, 245], [250, 145, 20], [150, 70, 240], [165, 250, 90]],
  ],
  dtype=np.float32,
).reshape(10, 3)
_PAPER_RGB = np.array(
  [
    [5, 5, 5],
    [85, 45, 10],
    [5, 80, 30],
    [10, 15, 100],
    [85, 85, 85],
    [95, 5, 25],
    [10, 80, 85],
    [80, 80, 5],
    [80, 10, 85],
    [40, 55, 85],
  ],
  dtype=np.float32,
)
_CHUNK_VALUES = 2**22  # pixel values drawn at a time: 16 MB a temporary
_NOISE_SD = np.sqrt(2 * (256**2 - 1) / 12)  # of the sum of two random bytes
_MAX_BYTES = 64 * 2**30


def _masks(size: int) -> np.ndarray:
  """Returns bool [10, size, size], the pixels of each figure; pixel centres lie in (-1, 1), rows
  downward.
  """
  centres = (np.arange(size) + 0.5) * 2 / size - 1
  y, x = np.meshgrid(centres, centres, indexing="ij")
  widest = np.maximum(np.abs(x), np.abs(y))
  return np.stack(
    [
      x**2 + y**2 < 0.75,
      widest < 0.62,
      (widest > 0.5) & (widest < 0.95),
      np.abs(np.abs(x) - np.abs(y)) < 0.25,
      np.abs(y) < 0.35,
      np.abs(x) < 0.35,
      x * y < 0,
      x + y < 0,
      x < 0,
      y < 0,
    ]
  )


def class_names(num_classes: int) -> tuple[str, ...]:
  """Returns the names of the classes: figure, ink colour, paper colour; class k is the digits of k,
  the figure first.
  """
  return tuple(
    f"{FIGURES[k % 10]} {INKS[k // 10 % 10]} on {PAPERS[k // 100]}" for k in range(num_classes)
  )


def _draw(
  classes: np.ndarray, difficulty: np.ndarray, ids: np.ndarray, size: int, seed: int, stream: str
) -> np.ndarray:
  """Returns uint8 [n, size, size, 3] for true classes [n], difficulty [n] and ids [n]; every image
  depends on (seed, stream, id) only.

  With difficulty d the contrast between figure and paper is 1 - 0.75 d, the noise has a standard
  deviation of 3 + 57 d grey levels, and a grey square hides 0.45 d of the side. The figure moves by
  up to size // 8 pixels each way, around the edges.
  """
  reach = size // 8
  shift = [
    seeded.integers(seed, f"{stream} shift {axis}", ids, high=2 * reach + 1) - reach
    for axis in "yx"
  ]
  rows, columns = ((np.arange(size) - by[:, None]) % size for by in shift)
  mask = _masks(size)[(classes % 10)[:, None, None], rows[:, :, None], columns[:, None, :]]
  hardness = difficulty[:, None, None, None]
  paper = _PAPER_RGB[classes // 100][:, None, None, :]
  ink = _INK_RGB[classes // 10 % 10][:, None, None, :]
  images = mask[..., None] * ((1 - 0.75 * hardness) * (ink - paper)) + paper

  hidden = np.rint(0.45 * difficulty * size)
  inside = []
  for axis in "yx":
    start = np.floor(seeded.uniform(seed, f"{stream} hide {axis}", ids) * (size - hidden + 1))[
      :, None
    ]
    inside.append((np.arange(size) >= start) & (np.arange(size) < start + hidden[:, None]))
  images[inside[0][:, :, None] & inside[1][:, None, :]] = 128

  pixels = ids.astype(np.uint64)[:, None] * np.uint64(size * size) + np.arange(
    size * size, dtype=np.uint64
  )
  noise = (
    seeded.bits(seed, f"{stream} noise", pixels).view(np.uint8).reshape(len(ids), size, size, 8)
  )
  for channel in range(
    3
  ):  # two of the eight random bytes each: their sum is near enough to a Gaussian
    level = noise[..., 2 * channel].astype(np.float32) + noise[..., 2 * channel + 1]
    images[..., channel] += (level - 255) * ((3 + 57 * hardness[..., 0]) / np.float32(_NOISE_SD))
  return np.clip(np.rint(images), 0, 255).astype(np.uint8)


def _split(num: int, num_classes: int, size: int, seed: int, stream: str) -> RawSplit:
  ids = np.arange(num)
  classes = ids % num_classes
  difficulty = seeded.uniform(seed, f"{stream} difficulty", ids).astype(np.float32)
  inputs = np.empty((num, size, size, 3), np.uint8)
  chunk = max(1, _CHUNK_VALUES // (3 * size * size))
  for start in range(0, num, chunk):
    part = slice(start, start + chunk)
    inputs[part] = _draw(
      classes[part], difficulty[part], ids[part], size=size, seed=seed, stream=stream
    )
  return RawSplit(inputs, classes, difficulty=difficulty, wrong_label=np.zeros(num, bool))


def load_shapes(config: DataConfig) -> Data:
  """Returns figures in colour: uint8 [N, size, size, 3], with `difficulty` and `wrong_label`.

  Class k is a figure (k % 10) in an ink (k // 10 % 10) on a paper (k // 100); the true class of
  example i is i % num_classes. The difficulty is uniform in [0, 1). Every image is a pure function
  of (data.split_seed, split, id), so a larger set begins with the smaller one. No label is wrong
  but those that `data.wrong_label_fraction` makes so.

  Raises:
    DataError: the set would not fit into memory, or has fewer examples than classes.
  """
  shapes = config.shapes
  num_bytes = (shapes.num_train + shapes.num_test) * 3 * shapes.image_size**2
  if num_bytes > _MAX_BYTES:
    raise DataError(
      f"shapes: {shapes.num_train + shapes.num_test} images of {shapes.image_size} pixels take "
      f"{num_bytes / 2**30:.0f} GiB, more than the"
      f" {_MAX_BYTES // 2**30} GiB allowed; lower data.shapes.num_train or data.shapes.image_size"
    )
  common = (shapes.num_classes, shapes.image_size, config.split_seed)
  raw = Raw(
    train=_split(shapes.num_train, *common, "train"),
    test=_split(shapes.num_test, *common, "test"),
    class_names=class_names(shapes.num_classes),
    where="shapes",
    variant="procedural",
  )
  return assemble(raw, config)
