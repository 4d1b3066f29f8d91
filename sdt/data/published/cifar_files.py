"""The files of CIFAR-10 and CIFAR-100 in their binary version, read without pickle.

A file is a list of records: one or two label bytes and 3,072 planar pixels.
"""

import dataclasses
import gzip
import io
import tarfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Int32, UInt8

from sdt.errors import DataError

SIDE = 32
SHAPE = (SIDE, SIDE, 3)
_PIXELS = 3 * SIDE * SIDE

# The bytes of every file, by its name.
type FileBytes = Mapping[str, UInt8[np.ndarray, "_"]]


@dataclasses.dataclass(frozen=True)
class KnownVariant:
  """A known copy of a file that differs from the original.

  Attributes:
    name: of the variant, as results name it.
    sha256: of the whole file.
    meaning: how it differs, for messages.
  """

  name: str
  sha256: str
  meaning: str


@dataclasses.dataclass(frozen=True)
class CifarFile:
  """One file of records.

  Attributes:
    name: file name.
    num_records: records in it.
    sha256: of the original file; None if we do not know it.
    variants: other contents that `data.verify=known` accepts.
    unknown_records: records whose original pixels we do not know.
    masked_sha256: of the original file with the pixels of `unknown_records` set to zero.
  """

  name: str
  num_records: int
  sha256: str | None = None
  variants: tuple[KnownVariant, ...] = ()
  unknown_records: tuple[int, ...] = ()
  masked_sha256: str | None = None


@dataclasses.dataclass(frozen=True)
class CifarFiles:
  """The files of one set and what their labels mean.

  Attributes:
    folder: the folder of the files in the archive.
    class_names: of the class, the last label byte of a record.
    train: the training files.
    test: the test files.
    coarse_class_names: of the coarse class, the first of two label bytes; None where a record has
      only one.
  """

  folder: str
  class_names: tuple[str, ...]
  train: tuple[CifarFile, ...]
  test: tuple[CifarFile, ...]
  coarse_class_names: tuple[str, ...] | None = None

  @property
  def label_keys(self) -> tuple[str, ...]:
    """The names of the label bytes in tfds."""
    return ("label",) if self.coarse_class_names is None else ("coarse_label", "label")

  @property
  def num_label_bytes(self) -> int:
    return len(self.label_keys)

  @property
  def record_bytes(self) -> int:
    return self.num_label_bytes + _PIXELS

  @property
  def files(self) -> tuple[CifarFile, ...]:
    return self.train + self.test

  def file_bytes(self, file: CifarFile) -> int:
    return file.num_records * self.record_bytes

  @property
  def expected(self) -> str:
    return (
      "the archive of the binary version, or a folder with "
      f"{', '.join(file.name for file in self.files)}"
    )


class _Bounded(io.RawIOBase):
  """A stream that raises a DataError after `limit` bytes, against decompression bombs."""

  def __init__(self, stream: io.BufferedIOBase, limit: int, path: Path):
    self._stream, self._left, self._path = stream, limit, path

  def readable(self) -> bool:
    return True

  def read(self, size: int = -1) -> bytes:
    block = self._stream.read(self._left + 1 if size < 0 else min(size, self._left + 1))
    self._left -= len(block)
    if self._left < 0:
      raise DataError(
        f"data.path={self._path}: the archive unpacks to more than the set it should hold"
      )
    return block


def read_archive(path: Path, form: CifarFiles) -> FileBytes:
  """Returns the bytes of every file in a .tar.gz, read into memory; nothing is written.

  Raises:
    DataError: not such an archive, damaged, a file missing, stored twice, of another size, or no
      regular file; more data than the set has.
  """
  wanted = {f"{form.folder}/{file.name}": file for file in form.files}
  limit = int(1.01 * sum(form.file_bytes(file) for file in form.files)) + 2**20
  contents: dict[str, UInt8[np.ndarray, num_bytes]] = {}
  try:
    with (
      gzip.open(path, "rb") as unzipped,
      tarfile.open(fileobj=_Bounded(unzipped, limit, path), mode="r|") as archive,
    ):
      for member in archive:
        file = wanted.get(member.name.removeprefix("./"))
        if file is None:
          continue
        stream = archive.extractfile(member) if member.isreg() else None
        if stream is None or file.name in contents or member.size != form.file_bytes(file):
          again = ", a second time" if file.name in contents else ""
          raise DataError(
            f"data.path={path}: {member.name} must be there once, a regular file of "
            f"{form.file_bytes(file)} bytes; found {member.size} bytes, type "
            f"{member.type.decode()}{again}"
          )
        contents[file.name] = np.frombuffer(stream.read(), np.uint8)
  except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
    raise DataError(
      f"data.path={path}: not a readable .tar.gz archive: {error}; fetch it again"
    ) from error
  missing = [name for name, file in wanted.items() if file.name not in contents]
  if missing:
    raise DataError(
      f"data.path={path}: the archive has no {missing[0]}; expected the binary version of the set "
      "(not the Python one)"
    )
  return contents


def read_folder(folder: Path, form: CifarFiles) -> FileBytes:
  """Returns the bytes of every file in a folder.

  Raises:
    DataError: a file is missing, unreadable or of another size.
  """
  contents = {}
  for file in form.files:
    path = folder / file.name
    try:
      size = path.stat().st_size
      if size != form.file_bytes(file):
        raise DataError(
          f"{path}: {size} bytes, expected {form.file_bytes(file)}; the file is cut off or not "
          "from the binary version"
        )
      contents[file.name] = np.fromfile(path, np.uint8)
    except OSError as error:
      raise DataError(
        f"{path}: {error.strerror}; expected the files {', '.join(f.name for f in form.files)}"
      ) from error
  return contents


def decode(
  contents: FileBytes, files: tuple[CifarFile, ...], form: CifarFiles
) -> tuple[UInt8[np.ndarray, "N 32 32 3"], Int32[np.ndarray, "N L"]]:
  """Returns (images, labels) of all records of the files, in order.

  Labels are int32 [N, num_label_bytes], the class last.
  """
  num = sum(file.num_records for file in files)
  images = np.empty((num, *SHAPE), np.uint8)
  labels = np.empty((num, form.num_label_bytes), np.int32)
  start = 0
  for file in files:
    records = contents[file.name].reshape(file.num_records, form.record_bytes)
    stop = start + file.num_records
    labels[start:stop] = records[:, : form.num_label_bytes]
    images[start:stop] = (
      records[:, form.num_label_bytes :].reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)
    )
    start = stop
  return images, labels


def encode(
  images: UInt8[np.ndarray, "N 32 32 3"],
  labels: UInt8[np.ndarray, "N L"],
  files: tuple[CifarFile, ...],
) -> FileBytes:
  """Returns the bytes of the files that hold these examples: the inverse of `decode`.

  Args:
    images: uint8 [N, 32, 32, 3].
    labels: uint8 [N, num_label_bytes], the class last.
    files: together N records.
  """
  records = np.concatenate(
    [labels, images.transpose(0, 3, 1, 2).reshape(len(images), _PIXELS)], axis=1
  )
  stops = np.cumsum([file.num_records for file in files])[:-1]
  return {
    file.name: part.reshape(-1) for file, part in zip(files, np.split(records, stops), strict=True)
  }
