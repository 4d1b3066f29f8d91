"""Finds damage that Pillow reads without an error, as grey or noise in the lower part of an image.

A download that was cut off may leave a file of the full length, with zeros at its end.
"""

import zlib

import numpy as np
from PIL import Image

_PNG_START = 8  # bytes before the first chunk
_NO_CHECKSUM = ("WEBP", "AVIF")
# The share of zeros at the end of these files that is damage. One colour over 36 megapixels has
# 5 %.
_ZEROS = 1 / 8
_GREY_ROWS, _GREY = 8, 128  # the least that a JPEG whose data end too early leaves grey


def damage(data: bytes, kind: str | None, start: int) -> str | None:
  """Returns what is wrong with a file that Pillow opens, None where nothing shows.

  Args:
    data: the content of the file.
    kind: its kind in Pillow's names.
    start: where the data of a JPEG begin, or an earlier place.
  """
  if kind == "PNG" and not _png_is_sound(data):
    return "the checksum of its pixels is wrong: it is damaged, or filled with zeros at its end"
  if kind in ("JPEG", "MPO") and data.find(b"\xff\xd9", start) < 0:
    return "its data have no end: it was cut off, or filled with zeros at its end"
  num_zeros = len(data) - len(data.rstrip(b"\0"))
  if kind in _NO_CHECKSUM and num_zeros > _ZEROS * len(data):
    return f"its last {num_zeros:,} of {len(data):,} bytes are zeros: was it downloaded whole?"
  return None


def _png_is_sound(data: bytes) -> bool:
  """Returns whether every part of the pixels has its checksum, which Pillow does not look at."""
  view, at = memoryview(data), _PNG_START
  while at + 12 <= len(data):
    end = at + 8 + int.from_bytes(view[at : at + 4])
    name = bytes(view[at + 4 : at + 8])
    if name == b"IDAT" and zlib.crc32(view[at + 4 : end]) != int.from_bytes(view[end : end + 4]):
      return False
    if name == b"IEND":
      break  # what follows is not the image's
    if not name.isalpha():
      return False
    at = end + 4
  return True


def ends_grey(image: Image.Image) -> bool:
  """Returns whether a JPEG is grey below, to the last bit, as those are whose data end early.

  A reader fills what is missing with this grey, and so does whoever mends the file.
  """
  if image.format not in ("JPEG", "MPO") or image.mode not in ("RGB", "L"):
    return False
  width, height = image.size
  if height <= 2 * _GREY_ROWS:
    return False
  below = np.asarray(image.crop((0, height - _GREY_ROWS, width, height)))
  return bool((below == _GREY).all()) and bool((np.asarray(image) != _GREY).any())
