"""npz files that may be larger than the memory: written in a stream, read as mapped arrays."""

import contextlib
import io
import math
import os
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
from jaxtyping import Shaped

from sdt.errors import DataError
from sdt.files.formats import NOT_AN_NPZ, Arrays, check_members, npz_member, read_header
from sdt.files.sealed import REDO, map_bytes_verified, writing

# The header of a member in a zip file ends with the lengths of its name and of its extra field.
_LOCAL_HEADER = struct.Struct("<26xHH")


class NpzWriter:
  """Writes the arrays of an npz one after the other."""

  def __init__(self, archive: zipfile.ZipFile) -> None:
    self._archive = archive

  def write(self, name: str, array: Shaped[np.ndarray, "..."]) -> None:
    """Writes a whole array.

    Raises:
      ValueError: it holds Python objects.
    """
    if array.dtype.hasobject:
      raise ValueError(f"array {name!r} holds Python objects; only numbers and texts are written")
    with self.stream(name, array.dtype, array.shape) as member:
      member.write(np.ascontiguousarray(array).tobytes())

  @contextlib.contextmanager
  def stream(self, name: str, dtype: np.dtype, shape: tuple[int, ...]) -> Iterator[IO[bytes]]:
    """Gives a file that takes the bytes of one array, in C order.

    Raises:
      ValueError: after the block, if they are more or fewer than the array has.
    """
    header, about = io.BytesIO(), np.lib.format.dtype_to_descr(dtype)
    fields = {"descr": about, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_2_0(header, fields)
    info = npz_member(name)
    with self._archive.open(info, "w", force_zip64=True) as member:
      member.write(header.getvalue())
      yield member
    written = info.file_size - len(header.getvalue())
    if written != math.prod(shape) * dtype.itemsize:
      raise ValueError(f"array {name!r}: {written} bytes do not fill {shape}")


@contextlib.contextmanager
def writing_npz(path: str | os.PathLike[str], num_bytes: int = 0) -> Iterator[NpzWriter]:
  """Gives a writer of an npz that stands at `path`, uncompressed and sealed, after the block.

  The bytes depend only on names, order and values. See `sealed.writing`.
  """
  with writing(path, num_bytes) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
    yield NpzWriter(archive)


def map_npz(path: str | os.PathLike[str]) -> Arrays:
  """Returns the arrays of a sealed, uncompressed npz by name; they lie in the file, read-only.

  Raises:
    DataError: the file or its seal is missing, or they do not match; not such an npz.
  """
  path = Path(path)
  content = map_bytes_verified(path)
  try:
    with path.open("rb") as file, zipfile.ZipFile(file) as archive:
      members = archive.infolist()
      check_members(members, len(content))
      arrays = {}
      for member in members:
        if member.compress_type != zipfile.ZIP_STORED:
          raise ValueError(f"{member.filename} is compressed")
        with archive.open(member) as inner:
          header = read_header(inner, member)
        lengths = _LOCAL_HEADER.unpack_from(content, member.header_offset)
        start = member.header_offset + _LOCAL_HEADER.size + sum(lengths) + header.header_bytes
        arrays[member.filename.removesuffix(".npy")] = header.array(content, start)
      return arrays
  except (*NOT_AN_NPZ, struct.error) as error:
    raise DataError(f"{path}: not a sound npz ({error}); {REDO}") from error
