"""Draws figures of known difficulty with known wrong labels, to grade scores on."""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64, UInt8

from sdt.config.schema import DataConfig
from sdt.data import seeded
from sdt.data.assemble import Raw, assemble
from sdt.data.dataset import Data, RawSplit
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
    [[5, 5, 5], [85, 45, 10], [5, 80, 30], [10, 15, 100], [85, 85, 85]],
    [[95, 5, 25], [10, 80, 85], [80, 80, 5], [80, 10, 85], [40, 55, 85]],
  ],
  dtype=np.float32,
).reshape(10, 3)
_CHUNK_VALUES = 2**22  # pixel values drawn at a time: 16 MB a temporary
_NOISE_SD = np.sqrt(2 * (256**2 - 1) / 12)  # of the sum of two random bytes
_MAX_BYTES = 64 * 2**30


def _masks(size: int) -> Bool[np.ndarray, "10 size size"]:
  """Returns the pixels of each figure; pixel centres are in (-1, 1), and rows go downward."""
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
  """Returns the names of the classes: figure, ink and paper are the digits of the class number."""
  return tuple(
    f"{FIGURES[k % 10]} {INKS[k // 10 % 10]} on {PAPERS[k // 100]}" for k in range(num_classes)
  )


@dataclasses.dataclass(frozen=True)
class _Split:
  """What the images of a split depend on, beside their ids: size in pixels, seed and stream."""

  size: int
  seed: int
  stream: str

  def uniform(self, name: str, ids: Int64[np.ndarray, "n"]) -> Float64[np.ndarray, "n"]:
    return seeded.uniform(self.seed, f"{self.stream} {name}", ids)

  def drawn(
    self,
    classes: Int64[np.ndarray, "n"],
    difficulty: Float32[np.ndarray, "n"],
    ids: Int64[np.ndarray, "n"],
  ) -> UInt8[np.ndarray, "n size size 3"]:
    """Returns the images of true classes with some difficulty; each depends on its id only.

    With difficulty d the contrast between figure and paper is 1 - 0.75 d, the noise has a standard
    deviation of 3 + 57 d grey levels, and a grey square hides 0.45 d of the side. The figure moves
    by up to size // 8 pixels each way, around the edges.
    """
    hardness = difficulty[:, None, None, None]
    paper = _PAPER_RGB[classes // 100][:, None, None, :]
    ink = _INK_RGB[classes // 10 % 10][:, None, None, :]
    figure = self._figures(classes % 10, ids)
    images = figure[..., None] * ((1 - 0.75 * hardness) * (ink - paper)) + paper
    images[self._hidden(difficulty, ids)] = 128
    noise = self._noise(ids)
    # Two of the eight random bytes for each channel: their sum is nearly Gaussian.
    for channel in range(3):
      level = noise[..., 2 * channel].astype(np.float32) + noise[..., 2 * channel + 1]
      images[..., channel] += (level - 255) * ((3 + 57 * hardness[..., 0]) / np.float32(_NOISE_SD))
    return np.clip(np.rint(images), 0, 255).astype(np.uint8)

  def _figures(
    self, figures: Int64[np.ndarray, "n"], ids: Int64[np.ndarray, "n"]
  ) -> Bool[np.ndarray, "n size size"]:
    """Returns the pixels of the figures, moved."""
    reach = self.size // 8
    places = []
    for axis in "yx":
      shift = seeded.integers(self.seed, f"{self.stream} shift {axis}", ids, high=2 * reach + 1)
      places.append((np.arange(self.size) - (shift - reach)[:, None]) % self.size)
    rows, columns = places
    return _masks(self.size)[figures[:, None, None], rows[:, :, None], columns[:, None, :]]

  def _hidden(
    self, difficulty: Float32[np.ndarray, "n"], ids: Int64[np.ndarray, "n"]
  ) -> Bool[np.ndarray, "n size size"]:
    """Returns the pixels under the grey squares."""
    sides = np.rint(0.45 * difficulty * self.size)
    inside = []
    for axis in "yx":
      start = np.floor(self.uniform(f"hide {axis}", ids) * (self.size - sides + 1))[:, None]
      places = np.arange(self.size)
      inside.append((places >= start) & (places < start + sides[:, None]))
    return inside[0][:, :, None] & inside[1][:, None, :]

  def _noise(self, ids: Int64[np.ndarray, "n"]) -> UInt8[np.ndarray, "n size size 8"]:
    """Returns eight random bytes for every pixel."""
    num_pixels = self.size * self.size
    first_pixels = ids.astype(np.uint64)[:, None] * np.uint64(num_pixels)
    pixels = first_pixels + np.arange(num_pixels, dtype=np.uint64)
    noise = seeded.bits(self.seed, f"{self.stream} noise", pixels).view(np.uint8)
    return noise.reshape(len(ids), self.size, self.size, 8)


def _drawn_split(num: int, num_classes: int, split: _Split) -> RawSplit:
  ids = np.arange(num)
  classes = ids % num_classes
  difficulty = split.uniform("difficulty", ids).astype(np.float32)
  inputs = np.empty((num, split.size, split.size, 3), np.uint8)
  chunk = max(1, _CHUNK_VALUES // (3 * split.size * split.size))
  for start in range(0, num, chunk):
    part = slice(start, start + chunk)
    inputs[part] = split.drawn(classes[part], difficulty[part], ids[part])
  return RawSplit(inputs, classes, difficulty=difficulty, wrong_label=np.zeros(num, bool))


def load_shapes(config: DataConfig) -> Data:
  """Returns figures in colour: uint8 [N, size, size, 3], with `difficulty` and `wrong_label`.

  Class k is a figure (k % 10) in an ink (k // 10 % 10) on a paper (k // 100); the true class of
  example i is i % num_classes. The difficulty is uniform in [0, 1). Every image is a pure function
  of (data.split_seed, split, id), so a larger set begins with the smaller one. Only the labels that
  `data.wrong_label_fraction` asks for are wrong.

  Raises:
    DataError: the set would not fit into memory, or has fewer examples than classes.
  """
  shapes = config.shapes
  num_bytes = (shapes.num_train + shapes.num_test) * 3 * shapes.image_size**2
  if num_bytes > _MAX_BYTES:
    raise DataError(
      f"shapes: {shapes.num_train + shapes.num_test} images of {shapes.image_size} pixels take "
      f"{num_bytes / 2**30:.0f} GiB, more than the {_MAX_BYTES // 2**30} GiB allowed; lower "
      "data.shapes.num_train or data.shapes.image_size"
    )
  train, test = (_Split(shapes.image_size, config.split_seed, side) for side in ("train", "test"))
  raw = Raw(
    train=_drawn_split(shapes.num_train, shapes.num_classes, train),
    test=_drawn_split(shapes.num_test, shapes.num_classes, test),
    class_names=class_names(shapes.num_classes),
    where="shapes",
    variant="procedural",
  )
  return assemble(raw, config)
