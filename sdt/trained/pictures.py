"""What is to be predicted: the images of files, folders, CSV lists and archives, one by one."""

import dataclasses
import itertools
import math
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from sdt import named_files
from sdt.data import table
from sdt.data.readers import npz_stream
from sdt.data.readers.folder_layout import content
from sdt.data.readers.image_kinds import has_image_suffix, is_image
from sdt.data.readers.npz_stream import StoredArray
from sdt.data.readers.path_kinds import OTHER_KINDS, kind_of
from sdt.errors import DataError
from sdt.trained.preparing import Picture, Preparing, span_of

_FORM = "expected a header with a column path, and a row for every image"
_EXPECTED = "expected image files, folders of them, a CSV file with a column path, or an npz"
# How much is prepared together: so many files, or so many bytes of an array.
_PART_FILES, _PART_BYTES = 8, 2**20

# The names of some pictures, and the pictures or an array [n, ...] of them.
type Part = tuple[Sequence[str], Sequence[Picture] | np.ndarray]


@dataclasses.dataclass(frozen=True)
class Pictures:
  """Some pictures, each with the name that a table calls it by.

  Attributes:
    total: how many there are.
    draw: returns them in order, some at a time, each read when it is drawn.
    note: what the user must be told, or "".
  """

  total: int
  draw: Callable[[], Iterator[Part]]
  note: str = ""


def find(paths: Sequence[str | Path], preparing: Preparing) -> list[Pictures]:
  """Returns the pictures of all paths, in their order; no image is opened yet.

  A path that is not there, beside others that are, is a picture that cannot be read.

  Raises:
    DataError: there is nothing, or nothing that can be predicted by this network.
  """
  places = [named_files.expanded(path) for path in paths]
  is_there = [_is_there(place) for place in places]
  return [
    _of_path(place, preparing)
    if found or not any(is_there)
    else _of_files([str(place)], Path(), origin=place)
    for place, found in zip(places, is_there, strict=True)
  ]


def _is_there(path: Path) -> bool:
  """Returns whether a path leads to something, be it a link to nothing."""
  try:
    return os.path.lexists(path)
  except (OSError, ValueError):  # a null character in a name is a ValueError
    return False


def of_arrays(images: Sequence[Picture] | np.ndarray, preparing: Preparing) -> Pictures:
  """Returns the pictures of an array [N, ...], or of a list of pictures and files.

  Raises:
    DataError: an array that this network cannot take.
  """
  if isinstance(images, np.ndarray):
    if _may_be_one(images.shape, preparing.shape):
      raise DataError(
        f"an array {list(images.shape)} may be one image or many grey ones; give one image as "
        "x[None], and grey ones as [N, height, width, 1]"
      )
    span = None if images.dtype == np.uint8 else span_of(images)
    preparing.refuse_other_arrays(images.shape, images.dtype, "the array", span=span)
  elif any(not isinstance(image, np.ndarray) for image in images):
    preparing.refuse_files()

  def draw() -> Iterator[Part]:
    step = _rows_of(images) if isinstance(images, np.ndarray) else _PART_FILES
    for start in range(0, len(images), step):
      part = images[start : start + step]
      yield [_name(image, place) for place, image in enumerate(part, start)], part

  return Pictures(len(images), draw)


def _may_be_one(shape: tuple[int, ...], of_network: tuple[int, ...]) -> bool:
  """Returns whether an array of this shape may be one image [height, width, channels].

  Grey images [N, height, width] of the network's own size are not.
  """
  is_grey = of_network == (*shape[1:], 1)
  return len(shape) == len(of_network) == 3 and shape[2] in (1, 3, 4) and not is_grey


def _name(image: Picture, place: int) -> str:
  return str(image) if isinstance(image, str | Path) else f"image {place}"


def _rows_of(array: np.ndarray | StoredArray) -> int:
  """Returns how many rows of an array are prepared together."""
  return max(1, _PART_BYTES // max(1, math.prod(array.shape[1:]) * array.dtype.itemsize))


def _of_path(path: Path, preparing: Preparing) -> Pictures:
  try:
    kind = kind_of(path) if path.exists() else None
    if kind is None and not path.is_symlink():
      raise DataError(f"{named_files.shown(path)}: no such file or folder; {_EXPECTED}")
    if kind == "npz":
      return _of_archive(path, preparing)
    preparing.refuse_files()
    if kind == "folder":
      return _of_files(list(_images_below(path, set())), Path(), origin=path)
    if kind == "csv":
      return _of_files(_listed(path), path.parent, origin=path)
  except (OSError, ValueError) as error:  # a null character in a name is a ValueError
    raise DataError(f"{named_files.shown(path)}: {named_files.why(error)}; {_EXPECTED}") from error
  if kind in ("archive", "spreadsheet"):
    raise DataError(f"{path}: {OTHER_KINDS[kind]}; {_EXPECTED}")
  return _of_files([str(path)], Path(), origin=path)


def _of_files(files: Sequence[str], folder: Path, *, origin: Path) -> Pictures:
  """Returns the pictures of files, whose names are relative to a folder."""
  if not files:
    raise DataError(f"{origin}: no image in it; {_EXPECTED}")

  def draw() -> Iterator[Part]:
    for part in itertools.batched(files, _PART_FILES):
      yield part, [folder / file for file in part]

  return Pictures(len(files), draw)


def _images_below(folder: Path, seen: set[str]) -> Iterator[str]:
  """Yields the images in a folder and in those below it, without what systems keep there.

  `seen` are the true paths of the folders so far: a link to one of them leads nowhere new.
  """
  place = os.path.realpath(folder)
  if place in seen:
    return
  seen.add(place)
  inside = content(folder)
  for name in inside.files:
    if has_image_suffix(name) or is_image(folder / name):
      yield str(folder / name)
  for name in inside.folders:
    yield from _images_below(folder / name, seen)


def _listed(path: Path) -> list[str]:
  """Returns the path of every row of a CSV file, as it is written."""
  where = str(path)
  lines = table.rows(table.read_text(path, where, _FORM), where)
  line, header = next(lines, (1, []))
  names = [cell.strip() for cell in header]
  if names.count("path") != 1:
    found = f"{names.count('path')} columns path" if "path" in names else "no column path"
    raise DataError(
      f"{where}, line {line}: the header {','.join(names)[:200]!r} has {found}; {_FORM}"
    )
  place = names.index("path")
  return [cells[place] for _, cells in lines]


def _of_archive(path: Path, preparing: Preparing) -> Pictures:
  array = npz_stream.find(path)
  preparing.refuse_other_arrays(array.shape, array.dtype, f"{path}, array {array.name}")
  if not array.shape[0]:
    raise DataError(f"{path}, array {array.name}: no image in it; {_EXPECTED}")

  def draw() -> Iterator[Part]:
    start = 0
    for part in array.parts(_rows_of(array)):
      end = start + len(part)
      yield [f"{path}:{array.name}:{place}" for place in range(start, end)], part
      start = end

  return Pictures(array.shape[0], draw, f"{path}: the images are those of array {array.name}")
