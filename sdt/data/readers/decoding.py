"""Decodes one image file: every common kind becomes upright 8-bit RGB.

The kinds are PNG, JPEG, BMP, WebP, PPM, TIFF, GIF, AVIF and JPEG 2000.
"""

import contextlib
import dataclasses
import io
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import ExifTags, Image

from sdt.config.schema import DataConfig
from sdt.data.readers.damage import damage, ends_grey

# Pillow's names; the content of a file decides what it is, not its name.
FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "PPM", "TIFF", "GIF", "AVIF", "JPEG2000")
_MAX_PIXELS = 89_478_485  # beyond this Pillow suspects a decompression bomb
_MAX_FILE_BYTES = 2**30
LONGEST = 1.5  # length limit of the longer side, as a multiple of image_size
# What is told of images that are read, after "3 of 40 images of train/".
CUT = f"are more than {LONGEST} times as long as wide; the middle of them is kept"
SEVERAL = "hold several frames or pages, of which only one is read"
GREY_BELOW = (
  "are JPEG files that end in plain grey (128), as those do whose data end too early; look at them"
)
_BITS, _PHOTOMETRIC = ExifTags.Base.BitsPerSample, ExifTags.Base.PhotometricInterpretation
_TURNS = {
  2: Image.Transpose.FLIP_LEFT_RIGHT,
  3: Image.Transpose.ROTATE_180,
  4: Image.Transpose.FLIP_TOP_BOTTOM,
  5: Image.Transpose.TRANSPOSE,
  6: Image.Transpose.ROTATE_270,
  7: Image.Transpose.TRANSVERSE,
  8: Image.Transpose.ROTATE_90,
}


class Levels(NamedTuple):
  """The values that deep grey images hold, of more than 8 bits or floats.

  Attributes:
    low, high: the lowest and the highest value.
    white: what becomes white unless `data.value_range` says otherwise; 0 becomes black.
  """

  low: float
  high: float
  white: float

  def with_others(self, others: "Levels | None") -> "Levels":
    """Returns the levels of these images and of others."""
    if others is None:
      return self
    return Levels(
      min(self.low, others.low), max(self.high, others.high), max(self.white, others.white)
    )


@dataclasses.dataclass(frozen=True)
class Decoded:
  """One decoded file.

  Attributes:
    pixels: uint8 [h, w, 3], None where the file cannot be read.
    reason: why it cannot be read.
    remarks: what must be told of it, of `CUT`, `SEVERAL` and `GREY_BELOW`.
    may_pass: whether another attempt may succeed.
    levels: of a deep grey image.
  """

  pixels: UInt8[np.ndarray, "h w 3"] | None
  reason: str = ""
  remarks: tuple[str, ...] = ()
  may_pass: bool = False
  levels: Levels | None = None


def _orientation(image: Image.Image) -> int:
  try:
    return int(image.getexif().get(ExifTags.Base.Orientation, 1))
  except Exception:  # the pixels may be sound where the EXIF block is damaged
    return 1


def _levels(image: Image.Image) -> Levels | None:
  """Returns the levels of a grey image of more than 8 bits or of floats; None of another."""
  if not image.mode.startswith(("I", "F")):
    return None
  values = np.asarray(image)
  # Only TIFF has 12 bits; Pillow does not scale them.
  has_12_bits = getattr(image, "tag_v2", {}).get(_BITS) == (12,)
  white = 1.0 if image.mode == "F" else 4095.0 if has_12_bits else 65535.0
  return Levels(float(values.min()), float(values.max()), white)


def _deep_to_rgb(
  image: Image.Image, levels: Levels, value_range: tuple[float, ...] | None
) -> Image.Image:
  """Returns 8-bit RGB of deep grey pixels.

  Of integers the upper 8 bits count, and floats in [0, 1] are multiplied by 255, unless
  `value_range` says which values are black and white; it clips.

  Raises:
    ValueError: values outside these ranges, or not finite.
  """
  values, low, high = np.asarray(image), levels.low, levels.high
  if not (np.isfinite(low) and np.isfinite(high)):
    raise ValueError("some of its pixels are not finite")
  if value_range is not None:
    black, white = value_range
    shares = (values.astype(np.float64) - black) / (white - black)
    grey = np.rint(255 * np.clip(shares, 0, 1)).astype(np.uint8)
  elif low < 0 or high > levels.white:
    example = f"--config.data.value_range={min(low, 0):g},{max(high, 0):g}"
    raise ValueError(
      f"its pixels are from {low:g} to {high:g}, not within [0, {levels.white:g}]; say which are "
      f"black and white in the whole set, such as {example}"
    )
  elif image.mode == "F":
    grey = np.rint(values * 255).astype(np.uint8)
  else:
    grey = (values >> (4 if levels.white == 4095 else 8)).astype(np.uint8)
  if isinstance(image.info.get("transparency"), int):
    grey[values == image.info["transparency"]] = 255
  if getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == 0:
    # White is zero: Pillow applies this to 8 bits only.
    grey = 255 - grey
  return Image.fromarray(grey).convert("RGB")


def _to_rgb(image: Image.Image, levels: Levels | None, config: DataConfig) -> Image.Image:
  """Returns an 8-bit RGB image: deep grey by `_deep_to_rgb`, transparency over white."""
  if levels is not None:  # a plain conversion would clip at 255
    return _deep_to_rgb(image, levels, config.value_range)
  if image.has_transparency_data:
    layer = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
  return image.convert("RGB")


def _resized(image: Image.Image, config: DataConfig) -> tuple[Image.Image, bool]:
  """Returns (the image in the size that the config asks for, whether its ends were cut off).

  Resizing is bilinear and antialiased. With `data.resize=short_side` the shorter side becomes S and
  the longer one int(S * long / short), as in torchvision's Resize; of more than 1.5 S the middle is
  kept.
  """
  size, (width, height) = config.image_size, image.size
  if size is None:
    return image, False
  if config.resize == "stretch":
    is_right = image.size == (size, size)
    return image if is_right else image.resize((size, size), Image.Resampling.BILINEAR), False
  scaled = [size * side // min(width, height) for side in (width, height)]
  kept = [min(side, int(LONGEST * size)) for side in scaled]
  # Only the kept part is scaled: a whole line of a million pixels would not fit into memory.
  spare = [
    (side - side * part / new) / 2 for side, part, new in zip(image.size, kept, scaled, strict=True)
  ]
  box = (spare[0], spare[1], width - spare[0], height - spare[1])
  return image.resize((kept[0], kept[1]), Image.Resampling.BILINEAR, box=box), kept != scaled


def _remarks(image: Image.Image) -> tuple[str, ...]:
  """Returns what must be told of an image as it is in its file, see `Decoded`."""
  # The other pictures of a JPEG are previews and maps of depth.
  has_several = image.format != "MPO" and getattr(image, "is_animated", False)
  return ((SEVERAL,) if has_several else ()) + ((GREY_BELOW,) if ends_grey(image) else ())


def _read_file(path: Path) -> bytes:
  """Returns the content; raises OSError or ValueError, also for a pipe, which could block."""
  status = os.stat(path)  # once: on small images every call of the system counts
  if stat.S_ISDIR(status.st_mode):
    raise ValueError("it is a folder")
  if not stat.S_ISREG(status.st_mode):
    raise ValueError("it is no ordinary file")
  if status.st_size > _MAX_FILE_BYTES:
    raise ValueError(f"{status.st_size} bytes, more than the {_MAX_FILE_BYTES} allowed")
  with open(path, "rb") as file:
    return file.read()


def decode(content: Path | bytes, config: DataConfig) -> Decoded:
  """Returns the image as uint8 [h, w, 3], upright RGB, in the size that the config asks for.

  Grey, palette, CMYK and YCCK become RGB; deep grey images as `data.value_range` says, else of 12
  or 16 bits the upper 8 count, and floats in [0, 1] are multiplied by 255; transparent pixels are
  laid over white. Of several frames the first counts. EXIF orientation is applied before the size.

  Args:
    content: a file, or the bytes of one.
    config: `image_size`, `resize`, `value_range`.
  """
  try:
    data = _read_file(content) if isinstance(content, Path) else content
  except OSError as error:
    return Decoded(None, error.strerror or type(error).__name__, may_pass=True)
  except ValueError as error:  # also a null byte in the path
    return Decoded(None, str(error))
  if not data:
    return Decoded(None, "the file is empty")
  file = io.BytesIO(data)

  def found(opened: Image.Image) -> str | None:
    return damage(data, opened.format, file.tell())

  return _decoded(lambda: Image.open(file, formats=FORMATS), config, found)


def from_image(image: Image.Image, config: DataConfig) -> Decoded:
  """Returns an image of Pillow's as `decode` returns the file that it was opened from.

  The image stays open. A copy of it would not know what its file says of its bits.
  """
  return _decoded(lambda: contextlib.nullcontext(image), config)


def _decoded(
  open_image: Callable[[], contextlib.AbstractContextManager[Image.Image]],
  config: DataConfig,
  find_damage: Callable[[Image.Image], str | None] = lambda opened: None,
) -> Decoded:
  try:
    with open_image() as opened:
      if opened.width * opened.height > _MAX_PIXELS:
        size = f"{opened.width} x {opened.height}"
        return Decoded(None, f"{size} pixels, more than {_MAX_PIXELS}: a decompression bomb?")
      found = find_damage(opened)
      opened.load()
      if found:  # what Pillow sees for itself is told in its words
        return Decoded(None, found)
      remarks = _remarks(opened)
      turn = _TURNS.get(_orientation(opened))
      levels = _levels(opened)
      image = _to_rgb(opened, levels, config)
    image, is_cut = _resized(image if turn is None else image.transpose(turn), config)
    remarks += (CUT,) if is_cut else ()
    return Decoded(np.asarray(image), remarks=remarks, levels=levels)
  except MemoryError:  # not the fault of the file
    raise
  except Image.UnidentifiedImageError:
    kinds = ", ".join(FORMATS)
    return Decoded(None, f"no image of a known kind ({kinds}), or its beginning is damaged")
  except Exception as error:  # Pillow raises errors of many types on damaged files
    return Decoded(None, " ".join(str(error).split())[:200] or type(error).__name__)
