"""Figures made of images: operations of the augmentation, and class activation maps.

Each is one composed array, so an image of the data set is shown with its exact pixels.
"""

from collections.abc import Iterator, Mapping, Sequence

import matplotlib
import numpy as np
from jaxtyping import Float, Shaped, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from sdt.report.figures import DPI, shortened

TILE, TILE_GAP, CAPTION = 96, 10, 38  # pixels; 8, 16 and 32 pixels fit by a whole factor
CAPTION_LETTERS = 14  # in a line below a tile
CAPTION_LINE = 12  # pixels of one more line
_LETTERS_SIZE = 7.2  # points
# The colours of a map, drawn over the grey image: perceptually uniform, ordered by lightness.
_MAP_COLOURS, _MAP_WEIGHT = "inferno", 0.55
CAM_EXAMPLES_PER_ROW = 3
# Pixels between the tiles of an example, above a row, and between examples.
_CAM_GAP, _CAM_HEAD, _CAM_SPACE = 4, 30, 26
_GREY_OF_RGB = (0.299, 0.587, 0.114)  # ITU-R BT.601


def contact_sheet(rows: Sequence[str], images: UInt8[np.ndarray, "k n H W C"]) -> Figure:
  """Draws a row of images for each name, below the name.

  Args:
    rows: k names.
    images: [k, n, H, W, C] uint8.
  """
  pitch_x, pitch_y = TILE + TILE_GAP, TILE + CAPTION
  figure, axes, canvas = _canvas(len(rows) * pitch_y, images.shape[1] * pitch_x)
  for row, (name, several) in enumerate(zip(rows, images, strict=True)):
    top = row * pitch_y + CAPTION - 8
    axes.text(TILE_GAP / 2, top - 5, str(name), ha="left", va="bottom", fontsize=9)
    for column, image in enumerate(several):
      _paste(canvas, tile_of(image), top, left=column * pitch_x + TILE_GAP // 2)
  _show(axes, canvas)
  return figure


def percent_of_confidence(value: float) -> str:
  """Returns a confidence in percent; ">99.99 %" near 1, where float32 cannot tell values apart."""
  return ">99.99 %" if value > 0.9999 else f"{100 * value:.2f} %"


def class_activation_maps(
  content: Mapping[str, Shaped[np.ndarray, "..."]], names: Sequence[str]
) -> Figure:
  """Draws a row for each group of test images: an image beside its map under each arm.

  Args:
    content: of figures/cam.npz: `images` uint8 [n, H, W, C], `ids` and `labels` [n], `groups` [n]
      words, and by arm `arms` [K], `maps` [K, n, h, w] of the label's class, `predictions` [K, n]
      and `probabilities` [K, n] of the prediction.
    names: of the classes.
  """
  groups = [str(group) for group in content["groups"]]
  rows = {
    group: [index for index, other in enumerate(groups) if other == group]
    for group in dict.fromkeys(groups)
  }
  tiles = 1 + len(content["arms"])
  pitch_x = tiles * TILE + (tiles - 1) * _CAM_GAP + _CAM_SPACE
  pitch_y = _CAM_HEAD + TILE + CAPTION + CAPTION_LINE
  figure, axes, canvas = _canvas(len(rows) * pitch_y, CAM_EXAMPLES_PER_ROW * pitch_x)
  for row, (group, members) in enumerate(rows.items()):
    top = row * pitch_y + _CAM_HEAD
    axes.text(_CAM_SPACE / 2, top - 9, group, ha="left", va="bottom", fontsize=9, fontweight="bold")
    for column, index in enumerate(members[:CAM_EXAMPLES_PER_ROW]):
      for number, (tile, text) in enumerate(_tiles_of(content, index, names)):
        left = column * pitch_x + _CAM_SPACE // 2 + number * (TILE + _CAM_GAP)
        _paste(canvas, tile, top, left=left)
        _write(axes, left + TILE / 2, top + TILE + 2, text=text)
  _show(axes, canvas)
  return figure


def _tiles_of(
  content: Mapping[str, Shaped[np.ndarray, "..."]], index: int, names: Sequence[str]
) -> Iterator[tuple[UInt8[np.ndarray, "h w 3"], str]]:
  """Yields the tiles of one test image, each with its text: the image, then each arm's map."""
  image = tile_of(content["images"][index])
  yield image, f"id {int(content['ids'][index])}\n{_class_of(content['labels'][index], names)}"
  for number, arm in enumerate(content["arms"]):
    predicted = _class_of(content["predictions"][number, index], names)
    probability = percent_of_confidence(float(content["probabilities"][number, index]))
    yield overlay(image, content["maps"][number, index]), f"{arm}\n{predicted}\n{probability}"


def overlay(
  image: UInt8[np.ndarray, "H W 3"], values: Float[np.ndarray, "h w"]
) -> UInt8[np.ndarray, "H W 3"]:
  """Returns the image [H, W, 3] in grey under the map [h, w], which is enlarged bilinearly.

  The colours of the map go from its lowest to its highest value.
  """
  height, width = image.shape[:2]
  large = np.asarray(
    Image.fromarray(values.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR),
    np.float64,
  )
  low, high = large.min(), large.max()
  shares = (large - low) / (high - low) if high > low else np.zeros_like(large)
  colours = 255.0 * np.asarray(matplotlib.colormaps[_MAP_COLOURS](shares))[..., :3]
  grey = (image @ np.array(_GREY_OF_RGB))[..., None]
  return np.clip(np.rint((1 - _MAP_WEIGHT) * grey + _MAP_WEIGHT * colours), 0, 255).astype(np.uint8)


def tile_of(image: UInt8[np.ndarray, "H W C"]) -> UInt8[np.ndarray, "h w 3"]:
  """Returns the image as RGB of at most TILE x TILE pixels.

  A small image is enlarged by a whole factor, another one is resampled.
  """
  # Of two channels the first is shown, of more than three the first three.
  image = np.repeat(image[..., :1], 3, axis=2) if image.shape[2] < 3 else image[..., :3]
  longest = max(image.shape[:2])
  if 2 * longest <= TILE:
    return image.repeat(TILE // longest, axis=0).repeat(TILE // longest, axis=1)
  size = (max(1, image.shape[1] * TILE // longest), max(1, image.shape[0] * TILE // longest))
  return np.asarray(
    Image.fromarray(np.ascontiguousarray(image)).resize(size, Image.Resampling.LANCZOS)
  )


def _class_of(label: np.integer, names: Sequence[str]) -> str:
  return shortened(names[int(label)], CAPTION_LETTERS + 1)


def _canvas(height: int, width: int) -> tuple[Figure, Axes, np.ndarray]:
  """Returns a figure of height x width pixels, its axes, and the white picture to fill.

  The axes count pixels from the top left corner.
  """
  figure = Figure(figsize=(width / DPI, height / DPI))
  axes = figure.add_axes((0, 0, 1, 1))
  return figure, axes, np.full((height, width, 3), 255, np.uint8)


def _paste(canvas: np.ndarray, tile: np.ndarray, top: int, left: int) -> None:
  """Puts the tile into the middle of the square of TILE x TILE pixels at (top, left)."""
  top, left = top + (TILE - tile.shape[0]) // 2, left + (TILE - tile.shape[1]) // 2
  canvas[top : top + tile.shape[0], left : left + tile.shape[1]] = tile


def _write(axes: Axes, x: float, y: float, text: str) -> None:
  axes.text(x, y, text, ha="center", va="top", fontsize=_LETTERS_SIZE, linespacing=1.05)


def _show(axes: Axes, canvas: np.ndarray) -> None:
  height, width = canvas.shape[:2]
  axes.imshow(canvas, interpolation="nearest", extent=(0, width, height, 0), aspect="auto")
  axes.set_axis_off()
