"""Reads the images of a NumPy archive part by part, without loading the whole array."""

import contextlib
import dataclasses
import math
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
from jaxtyping import Shaped

from sdt.data.readers import npz
from sdt.errors import DataError

# The first of these arrays that an archive has holds the images; else its only array does.
NAMES = ("x", "images", "test_x", "train_x")
_BROKEN = (zipfile.BadZipFile, zlib.error, ValueError, EOFError, OSError, RuntimeError)


@dataclasses.dataclass(frozen=True)
class StoredArray:
  """An array in an archive.

  Attributes:
    path: of the archive.
    name: of the array.
    shape, dtype: as its header declares them; a checked header tells no lies.
  """

  path: Path
  name: str
  shape: tuple[int, ...]
  dtype: np.dtype

  def parts(self, size: int) -> Iterator[Shaped[np.ndarray, "n ..."]]:
    """Yields the array in parts of `size` rows, the last one shorter.

    Raises:
      DataError: the archive is damaged.
    """
    row_bytes = math.prod(self.shape[1:]) * self.dtype.itemsize
    with _damage_told(self.path), zipfile.ZipFile(self.path) as archive:
      with archive.open(f"{self.name}.npy") as file:
        _read_header(file)
        for start in range(0, self.shape[0], size):
          count = min(size, self.shape[0] - start)
          content = file.read(count * row_bytes)
          if len(content) < count * row_bytes:
            raise EOFError(f"array {self.name} ends after {start} rows")
          yield np.frombuffer(content, self.dtype).reshape(count, *self.shape[1:])


def find(path: Path) -> StoredArray:
  """Returns the array of images in an archive.

  Raises:
    DataError: no readable archive, none or several arrays that may be meant, a lying header.
  """
  with _damage_told(path):
    npz.check_directory(path, str(path))
    with zipfile.ZipFile(path) as archive:
      members = {
        one.filename.removesuffix(".npy"): one
        for one in archive.infolist()
        if one.filename.endswith(".npy")
      }
      only = next(iter(members)) if len(members) == 1 else None
      name = next((name for name in NAMES if name in members), only)
      if name is None:
        there = ", ".join(list(members)[:8]) or "none"
        raise DataError(
          f"{path}: expected the images as an array named {', '.join(NAMES)}, or as the only one; "
          f"found {there}"
        )
      npz.check_member(archive, members[name], str(path))
      with archive.open(members[name]) as file:
        shape, in_fortran_order, dtype = _read_header(file)
      if in_fortran_order and math.prod(shape[1:]) > 1:
        raise DataError(
          f"{path}: array {name} lies in Fortran's order, which cannot be read row by row; write "
          "it anew with numpy.savez(FILE, x=numpy.ascontiguousarray(x))"
        )
  return StoredArray(path, name, shape, dtype=dtype)


def _read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
  """Returns (shape, whether it is in Fortran's order, dtype); the array follows in the file."""
  is_first = np.lib.format.read_magic(file) == (1, 0)
  read = np.lib.format.read_array_header_1_0 if is_first else np.lib.format.read_array_header_2_0
  header: tuple[tuple[int, ...], bool, np.dtype] = read(file, max_header_size=npz.MAX_HEADER_BYTES)
  return header


@contextlib.contextmanager
def _damage_told(path: Path) -> Iterator[None]:
  try:
    yield
  except _BROKEN as error:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    raise DataError(f"{path}: cannot be read ({reason}); get an intact copy") from error
