"""CIFAR-10 and CIFAR-100: finds, verifies and reads them, from an archive, a folder or tfds."""

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
from jaxtyping import Integer, UInt8

from sdt.config.schema import DataConfig
from sdt.data.dataset import RawSplit
from sdt.data.published import prepared
from sdt.data.published.cifar_files import (
  SHAPE,
  CifarFile,
  CifarFiles,
  FileBytes,
  KnownVariant,
  decode,
  encode,
  read_archive,
  read_folder,
)
from sdt.data.published.registered import Contents, RegisteredSet
from sdt.errors import DataError
from sdt.types import Log


@dataclasses.dataclass(frozen=True)
class CifarFormat(CifarFiles):
  """How a CIFAR set is found and read."""

  def find(self, root: Path, spec: RegisteredSet) -> Path | None:
    """Returns the archive, or the folder with at least one original file; None if there is none.

    It looks at `root` itself and in it.
    """
    if root.is_file():
      return root
    archive = root / spec.remotes[0].name
    if archive.is_file():  # preferred: only the archive can be verified as a whole
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
    is_canonical = False
    if place.is_file():
      contents, is_canonical = _read_archive(place, spec, self, level=config.verify)
    else:
      contents = read_folder(place, self)
    variant, notes = (
      ("canonical", ()) if is_canonical else verify(contents, self, config.verify, where=str(place))
    )
    labelled = [decode(contents, files, self) for files in (self.train, self.test)]
    return self._chosen(labelled, config, variant, notes=notes)

  def read_prepared(
    self, folder: Path, spec: RegisteredSet, config: DataConfig, log: Log
  ) -> Contents:
    """Returns the set from a folder that tfds prepared.

    It is verified by the checksums of the original files, which are made again from the examples.

    Raises:
      DataError: damaged, or not what `data.verify` asks for.
    """
    del log
    sizes = {"train": spec.sizes.num_train, "test": spec.sizes.num_test}
    labelled = [
      prepared.read_images(folder, split, num, label_keys=self.label_keys, shape=SHAPE)
      for split, num in sizes.items()
    ]
    contents: dict[str, UInt8[np.ndarray, num_bytes]] = {}
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
    labelled: list[tuple[UInt8[np.ndarray, "_ 32 32 3"], Integer[np.ndarray, "_ _"]]],
    config: DataConfig,
    variant: str,
    notes: tuple[str, ...],
  ) -> Contents:
    """Returns the splits with the labels that `data.labels` asks for."""
    column, names = -1, self.class_names
    if config.labels == "coarse" and self.coarse_class_names is not None:
      column, names = 0, self.coarse_class_names
      variant = f"{variant}-coarse"
      note = (
        f"the labels are the {len(names)} coarse classes, not the {len(self.class_names)} fine "
        "ones (data.labels=coarse)"
      )
      notes = (*notes, note)
    train, test = (RawSplit(images, labels[:, column]) for images, labels in labelled)
    return Contents(train, test, names, variant=variant, notes=notes)


def _read_archive(
  path: Path, spec: RegisteredSet, form: CifarFiles, level: str
) -> tuple[FileBytes, bool]:
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
      f"bytes with {remote.sha256}; fetch {remote.url} again"
    )
  return read_archive(path, form), digest == remote.sha256


def _masked_digest(content: UInt8[np.ndarray, "_"], file: CifarFile, form: CifarFiles) -> str:
  """Returns the SHA-256 of the file with the pixels of `unknown_records` set to zero."""
  records = content.reshape(file.num_records, form.record_bytes).copy()
  records[np.array(file.unknown_records), form.num_label_bytes :] = 0
  return hashlib.sha256(records.data).hexdigest()


def _identify(
  content: UInt8[np.ndarray, "_"], file: CifarFile, form: CifarFiles, where: str
) -> KnownVariant | None:
  """Returns the known variant that the file is, None for the original.

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
      f"{num} of its {file.num_records} images cannot be verified outside the archive; all labels "
      "and the other images are the original's"
    )
    return KnownVariant(f"test-{num}-unverified", digest, meaning)
  expected = file.sha256 or "that of " + ", ".join(variant.name for variant in file.variants)
  raise DataError(
    f"{where}: the SHA-256 of {file.name} is {digest}, expected {expected}; the content is damaged "
    "or changed; fetch it again"
  )


def verify(
  contents: FileBytes, form: CifarFiles, level: str, where: str
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
        "data.verify=strict refuses; give the original archive, or accept the variant, which every "
        "result then names, with --config.data.verify=known"
      )
    name = variant.name
    notes.append(f"data variant {variant.name!r}: {variant.meaning}")
  return name, tuple(notes)
