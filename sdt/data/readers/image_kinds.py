"""Which files are images: by the suffixes that Pillow knows, else by their content."""

import functools
import os
import warnings
from pathlib import Path

from PIL import Image

from sdt.data.readers.decoding import FORMATS

# Not TIFF: the raw files of cameras are TIFFs too, and Pillow would open their small preview.
# Photographs that must be converted first: of phones, of cameras, and of programs that draw.
_CONVERTIBLE = frozenset(
  ".heic .heif .jxl .dng .cr2 .cr3 .nef .arw .orf .rw2 .raf .svg .psd .xcf .dcm".split()
)
_BY_CONTENT = tuple(kind for kind in FORMATS if kind != "TIFF")


@functools.cache
def suffixes() -> frozenset[str]:
  """Returns the suffixes of the kinds that `decode` reads, such as ".jpg", in lower case."""
  kinds = {*FORMATS, "MPO"}  # a JPEG with two pictures
  return frozenset(end for end, kind in Image.registered_extensions().items() if kind in kinds)


def has_image_suffix(name: str) -> bool:
  """Returns whether a file of this name claims to be an image."""
  return os.path.splitext(name)[1].lower() in suffixes()


def must_be_converted(name: str) -> bool:
  """Returns whether a file of this name is a picture of a kind that is not read, such as HEIC."""
  return os.path.splitext(name)[1].lower() in _CONVERTIBLE


def is_image(path: Path) -> bool:
  """Returns whether an ordinary file begins as an image does, whatever its name."""
  if not path.is_file() or not path.stat().st_size:
    return False
  try:
    with warnings.catch_warnings(action="ignore"), Image.open(path, formats=_BY_CONTENT):
      return True
  except Exception:  # Pillow raises errors of many types on files that are no images
    return False
