"""Brings whatever a program gives as images to the few forms that predictions know."""

import os
from collections.abc import Iterable, Mapping, Sequence, Set
from pathlib import Path

import numpy as np
from PIL import Image

from sdt.errors import DataError
from sdt.trained.preparing import Picture

_EXPECTED = (
  "expected an array [N, ...], a list of arrays, of Pillow's images and of paths, or one path"
)

# What `Networks.predict_proba` takes: an array [N, ...] of NumPy or one that NumPy can read, any
# number of pictures and files, one picture, or a path as the command takes it: of a file, a folder,
# a CSV file or an npz.
type Images = np.ndarray | Iterable[Picture] | Picture


def normalised(images: object) -> Path | np.ndarray | Sequence[Picture]:
  """Returns images as a path, an array [N, ...], or a list of pictures.

  Raises:
    DataError: they are something else.
  """
  if isinstance(images, str | os.PathLike):
    return Path(images)
  if isinstance(images, Image.Image | bytes | bytearray | memoryview):
    return [_picture(images, "the image")]
  if hasattr(images, "__array__") and not isinstance(images, np.generic):
    array = _array(images, "the array")
    if array.dtype.kind not in "OUS":
      return array
    images = array.tolist()
  if isinstance(images, Mapping | Set | str) or not isinstance(images, Iterable):
    raise DataError(f"the images are a {type(images).__name__}; {_EXPECTED}")
  return [_picture(image, f"image {place}") for place, image in enumerate(images)]


def _picture(image: object, where: str) -> Picture:
  """Returns one picture of a list; nested lists of numbers are an array."""
  if isinstance(image, str | Path | bytes | Image.Image):
    return str(image) if isinstance(image, np.str_) else image
  if isinstance(image, os.PathLike):
    return Path(os.fsdecode(image))
  if isinstance(image, bytearray | memoryview):
    return bytes(image)
  is_array = hasattr(image, "__array__") and not isinstance(image, np.generic)
  if is_array or isinstance(image, list | tuple):
    return _array(image, where)
  raise DataError(f"{where} is a {type(image).__name__}; {_EXPECTED}")


def _array(values: object, where: str) -> np.ndarray:
  try:
    return np.asarray(values)
  except Exception as error:  # of any library; ragged lists are a ValueError
    reason = " ".join(str(error).split())[:200]
    raise DataError(f"{where} cannot be read as an array ({reason}); {_EXPECTED}") from error
