"""The binary distribution of CIFAR-10 and CIFAR-100: records of one or two label bytes and 3,072
planar pixels. No pickle.
"""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import io
import tarfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from sdt.config.schema import DataConfig
from sdt.data.assemble import RawSplit
from sdt.data.published import prepared
from sdt.data.published.registered import Contents, Log, RegisteredSet
from sdt.errors import DataError

_SIDE = 32
_SHAPE = (_SIDE, _SIDE, 3)
_PIXELS = 3 * _SIDE * _SIDE


@dataclasses.dataclass(frozen=True)
class KnownVariant:
  """A file that is not the original and yet known byte for byte (`sha256`), or but for a few
  records (`masked_sha256`).
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
    sha256: of the original file; None if it is not known here.
    variants: other contents that `data.verify=known` accepts.
    unknown_records: records whose pixels in the original are not known here.
    masked_sha256: of the original file with the pixels of `unknown_records` set to zero.
  """

  name: str
  num_records: int
  sha256: str | None = None
  variants: tuple[KnownVariant, ...] = ()
  unknown_records: tuple[int, ...] = ()
  masked_sha256: str | None = None


@dataclasses.dataclass(frozen=True)
class CifarFormat:
  """The files of one set and what their labels mean.

  Attributes:
    folder: in which they lie in the archive.
    class_names: of the class, the last label byte of a record.
    train: the training files.
    test: the test files.
    coarse_class_names: of the coarse class, the first of two label bytes; None where a record has
      one.
  """

  folder: str
  class_names: tuple[str, ...]
  train: tuple[CifarFile, ...]
  test: tuple[CifarFile, ...]
  coarse_class_names: tuple[str, ...] | None = None

  @property
  def label_keys(self) -> tuple[str, ...]:
    """The names that tfds gives the label bytes."""
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

  def find(self, root: Path, spec: RegisteredSet) -> Path | None:
    """Returns the archive, or the folder that holds at least one original file, in or at `root`;
    None if there is none.
    """
    if root.is_file():
      return root
    archive = root / spec.remotes[0].name
    if archive.is_file():  # first, because only the archive can be verified as a whole
      return archive
    folders = (root, root / self.folder)
    return next(
      (folder for folder in folders if any((folder / file.name).exists() for file in self.files)),
      None,
    )

  def read(self, place: Path, spec: RegisteredSet, config: DataConfig, log: Log) -> Contents:
    """Returns the set in an archive or in a folder.

    Raises:
      DataError: damaged, incomplete, or not what `data.verify` asks for.
    """
    del log
    contents, is_canonical = (
      _read_archive(place, spec, self, level=config.verify)
      if place.is_file()
      else (read_folder(place, self), False)
    )
    variant, notes = (
      ("canonical", ()) if is_canonical else verify(contents, self, config.verify, where=str(place))
    )
    labelled = [decode(contents, files, self) for files in (self.train, self.test)]
    return self._chosen(labelled, config, variant, notes=notes)

  def read_prepared(
    self, folder: Path, spec: RegisteredSet, config: DataConfig, log: Log
  ) -> Contents:
    """Returns the set from a folder that tfds prepared, verified by the checksums of the original
    files that it was made from.

    Raises:
      DataError: damaged, or not what `data.verify` asks for.
    """
    del log
    sizes = {"train": spec.sizes.num_train, "test": spec.sizes.num_test}
    labelled = [
      prepared.read_images(folder, split, num, self.label_keys, _SHAPE)
      for split, num in sizes.items()
    ]
    contents = {}
    for (images, labels), files in zip(labelled, (self.train, self.test), strict=True):
      if labels.min() < 0 or labels.max() > 255:
        raise DataError(
          f"{folder}: labels from {labels.min()} to {labels.max()} do not fit the original's bytes"
        )
      contents.update(encode(images, labels.astype(np.uint8), files))
    variant, notes = verify(contents, self, config.verify, where=str(folder))
    return self._chosen(labelled, config, variant, notes=notes)

  def _chosen(
    self,
    labelled: list[tuple[np.ndarray, np.ndarray]],
    config: DataConfig,
    variant: str,
    notes: tuple[str, ...],
  ) -> Contents:
    """Returns the splits with the labels that `data.labels` asks for, out of all that a
    record has.
    """
    column, names = -1, self.class_names
    if config.labels == "coarse" and self.coarse_class_names is not None:
      column, names = 0, self.coarse_class_names
      variant = f"{variant}-coarse"
      notes = (
        *notes,
        (
          f"the labels are the {len(names)} coarse classes, not the {len(self.class_names)} fine "
          "ones (data.labels=coarse)"
        ),
      )
    train, test = (RawSplit(images, labels[:, column]) for images, labels in labelled)
    return Contents(train, test, names, variant=variant, notes=notes)


class _Bounded(io.RawIOBase):
  """A stream that refuses to give more than `limit` bytes in all: the end of every decompression
  bomb.
  """

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


def read_archive(path: Path, form: CifarFormat) -> dict[str, np.ndarray]:
  """Returns the bytes of every file of the set, uint8 [num_bytes] by file name, read from a .tar.gz
  into memory; nothing is extracted.

  Raises:
    DataError: not such an archive, damaged, a file missing, stored twice, of another size, or no
      regular file; more data than the set has.
  """
  wanted = {f"{form.folder}/{file.name}": file for file in form.files}
  limit = int(1.01 * sum(form.file_bytes(file) for file in form.files)) + 2**20
  contents: dict[str, np.ndarray] = {}
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
          raise DataError(
            f"data.path={path}: {member.name} must be there once, a regular file of "
            f"{form.file_bytes(file)} bytes; found {member.size}"
            " bytes, type "
            f"{member.type.decode()}{', a second time' if file.name in contents else ''}"
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


def read_folder(folder: Path, form: CifarFormat) -> dict[str, np.ndarray]:
  """Returns the bytes of every file of the set, uint8 [num_bytes] by file name.

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


def _read_archive(
  path: Path, spec: RegisteredSet, form: CifarFormat, level: str
) -> tuple[dict[str, np.ndarray], bool]:
  """Returns (bytes of every file in the archive, whether the archive is the registered one).

  Raises:
    DataError: it is not, and `level` is strict; or it cannot be read.
  """
  remote = spec.remotes[0]
  try:
    with path.open("rb") as file:
      digest = hashlib.file_digest(file, "sha256").hexdigest()
  except OSError as error:
    raise DataError(f"{path}: {error.strerror}") from error
  if digest != remote.sha256 and level == "strict":
    raise DataError(
      f"{path}: {path.stat().st_size} bytes with SHA-256 {digest}; registered are {remote.size} "
      f"bytes with {remote.sha256};"
      f" fetch {remote.url} again"
    )
  return read_archive(path, form), digest == remote.sha256


def _masked_digest(content: np.ndarray, file: CifarFile, form: CifarFormat) -> str:
  """Returns the SHA-256 of the file with the pixels of `unknown_records` set to zero."""
  records = content.reshape(file.num_records, form.record_bytes).copy()
  records[np.array(file.unknown_records), form.num_label_bytes :] = 0
  return hashlib.sha256(records.data).hexdigest()


def _identify(
  content: np.ndarray, file: CifarFile, form: CifarFormat, where: str
) -> KnownVariant | None:
  """Returns the variant that the file is, None for the original.

  Raises:
    DataError: it is neither.
  """
  digest = hashlib.sha256(content.data).hexdigest()
  if digest == file.sha256:
    return None
  for variant in file.variants:
    if digest == variant.sha256:
      return variant
  if file.masked_sha256 is not None and _masked_digest(content, file, form) == file.masked_sha256:
    num = len(file.unknown_records)
    meaning = (
      f"{num} "
      f"of its {file.num_records} images cannot be verified outside the archive; all "
      "labels "
      "and the other images are the original's"
    )
    return KnownVariant(f"test-{num}-unverified", digest, meaning)
  raise DataError(
    f"{where}: the SHA-256 of {file.name} is {digest}, expected "
    f"{file.sha256 or 'that of ' + ', '.join(v.name for v in file.variants)};"
    " the content is damaged or changed; fetch it again"
  )


def verify(
  contents: Mapping[str, np.ndarray], form: CifarFormat, level: str, where: str
) -> tuple[str, tuple[str, ...]]:
  """Returns (variant, notes) of files whose archive was not verified as a whole.

  Args:
    contents: bytes of every file, by name.
    form: the files and their checksums.
    level: `data.verify`.
    where: what the messages call the set.

  Raises:
    DataError: a file is neither the original nor a known variant, or it is a variant and `level` is
      strict.
  """
  name, notes = "canonical", []
  for file in form.files:
    variant = _identify(contents[file.name], file, form, where=where)
    if variant is None:
      continue
    if level == "strict":
      raise DataError(
        f"{where}: {file.name} is the known variant {variant.name!r} ({variant.meaning}), which "
        "data.verify=strict refuses; give the"
        " original archive, or accept the variant, named in every result, with "
        "--config.data.verify=known"
      )
    name = variant.name
    notes.append(f"data variant {variant.name!r}: {variant.meaning}")
  return name, tuple(notes)


def decode(
  contents: Mapping[str, np.ndarray], files: tuple[CifarFile, ...], form: CifarFormat
) -> tuple[np.ndarray, np.ndarray]:
  """Returns the records of the files, in order: images uint8 [N, 32, 32, 3] and labels int32 [N,
  num_label_bytes], the class last.
  """
  num = sum(file.num_records for file in files)
  images, labels = (
    np.empty((num, *_SHAPE), np.uint8),
    np.empty((num, form.num_label_bytes), np.int32),
  )
  start = 0
  for file in files:
    records = contents[file.name].reshape(file.num_records, form.record_bytes)
    stop = start + file.num_records
    labels[start:stop] = records[:, : form.num_label_bytes]
    images[start:stop] = (
      records[:, form.num_label_bytes :].reshape(-1, 3, _SIDE, _SIDE).transpose(0, 2, 3, 1)
    )
    start = stop
  return images, labels


def encode(
  images: np.ndarray, labels: np.ndarray, files: tuple[CifarFile, ...]
) -> dict[str, np.ndarray]:
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
