"""The sets that tensorflow-datasets registers: where they may lie, what they must be, and how to get them."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from sdt.config import DataConfig
from sdt.data import cifar, prepared, svhn
from sdt.data.assemble import Raw, RawSplit, assemble
from sdt.data.cifar import CifarFormat
from sdt.data.dataset import Data
from sdt.data.download import RemoteFile, data_directory, fetch, unreachable
from sdt.errors import DataError, MissingDataError

Log = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Contents:
  """What a reader found and verified."""

  train: RawSplit
  test: RawSplit
  variant: str
  notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class RegisteredSet:
  """One set.

  Attributes:
    name: `data.name`.
    tfds_name: its name in tensorflow-datasets.
    class_names: [num_classes].
    remotes: the files to fetch: one archive (CIFAR), or the training and the test file (SVHN).
    form: the files inside the archive; None for SVHN.
    num_train: training examples.
    num_test: test examples.
    label_keys: the features of a prepared set that are labels, the class last.
    mean_std: of the channels, where the field agreed on numbers; None: from the training split.
  """

  name: str
  tfds_name: str
  class_names: tuple[str, ...]
  remotes: tuple[RemoteFile, ...]
  form: CifarFormat | None
  num_train: int
  num_test: int
  label_keys: tuple[str, ...]
  mean_std: tuple[tuple[float, ...], tuple[float, ...]] | None = None


def _find_files(root: Path, spec: RegisteredSet) -> Path | None:
  """Returns the archive, or the folder that holds at least one original file, in or at `root`; None if there is none."""
  if root.is_file():
    return root
  if spec.form is None:
    return root if any((root / remote.name).exists() for remote in spec.remotes) else None
  archive = root / spec.remotes[0].name
  if archive.is_file():  # first, because only the archive can be verified as a whole
    return archive
  for folder in (root, root / spec.form.folder):
    if any((folder / file.name).exists() for file in spec.form.files):
      return folder
  return None


def _read_archive(path: Path, spec: RegisteredSet, form: CifarFormat, level: str) -> Contents:
  """Returns the set in an archive: canonical if the archive's SHA-256 is the registered one, else what its files are."""
  remote = spec.remotes[0]
  try:
    with path.open("rb") as file:
      digest = hashlib.file_digest(file, "sha256").hexdigest()
  except OSError as error:
    raise DataError(f"{path}: {error.strerror}") from error
  if digest != remote.sha256 and level == "strict":
    raise DataError(
      f"{path}: {path.stat().st_size} bytes with SHA-256 {digest}; registered are {remote.size} bytes with {remote.sha256};"
      f" fetch {remote.url} again"
    )
  contents = cifar.read_archive(path, form)
  variant, notes = ("canonical", ()) if digest == remote.sha256 else cifar.verify(contents, form, level, str(path))
  return Contents(cifar.decode(contents, form.train, form), cifar.decode(contents, form.test, form), variant, notes)


def _read_files(place: Path, spec: RegisteredSet, level: str) -> Contents:
  """Returns the set from its original files."""
  if spec.form is None:
    if place.is_file():
      raise DataError(
        f"data.path={place}: {spec.name} is two files; give the folder that holds {' and '.join(r.name for r in spec.remotes)}"
      )
    train, test = (svhn.read_mat(place / remote.name, remote) for remote in spec.remotes)
    return Contents(train, test, "canonical", (svhn.LABEL_NOTE,))
  if place.is_file():
    return _read_archive(place, spec, spec.form, level)
  contents = cifar.read_folder(place, spec.form)
  variant, notes = cifar.verify(contents, spec.form, level, str(place))
  return Contents(cifar.decode(contents, spec.form.train, spec.form), cifar.decode(contents, spec.form.test, spec.form), variant, notes)


def _read_prepared(folder: Path, spec: RegisteredSet, level: str) -> Contents:
  """Returns the set from a tfds-prepared folder, verified by the checksums of the original files that it was made from."""
  splits = prepared.read(folder, {"train": spec.num_train, "test": spec.num_test}, spec.label_keys)
  for split, (_, labels) in splits.items():
    if labels.min() < 0 or labels[:, -1].max() >= len(spec.class_names) or labels.max() > 255:
      raise DataError(f"{folder}: the {split} split has labels outside [0, {len(spec.class_names)})")
  train, test = (RawSplit(images, labels[:, -1]) for images, labels in splits.values())
  if spec.form is None:
    if level == "strict":
      raise DataError(
        f"{folder}: no checksum of {spec.name} as tfds prepares it is registered, so data.verify=strict refuses it; accept it, named in"
        f" every result, with --config.data.verify=known, or give the folder with {' and '.join(remote.name for remote in spec.remotes)}"
      )
    return Contents(train, test, "tfds-prepared", ("data variant 'tfds-prepared': read as prepared, the images cannot be verified",))
  contents = {}
  for (images, labels), files in zip(splits.values(), (spec.form.train, spec.form.test), strict=True):
    contents.update(cifar.encode(images, labels.astype(np.uint8), files))
  variant, notes = cifar.verify(contents, spec.form, level, str(folder))
  return Contents(train, test, variant, notes)


def _how_to_get(spec: RegisteredSet) -> str:
  """Returns the commands that fetch the set, with the checksums."""
  folder = data_directory()
  commands = [f"curl -fL --create-dirs -o {folder / remote.name} {remote.url} (SHA-256 {remote.sha256})" for remote in spec.remotes]
  return (
    f"get it with: {' and '.join(commands)}; then run the same command again, or name another place with --config.data.path; what works"
    " now, without any download: --config=configs/digits.py"
  )


def _download(spec: RegisteredSet, config: DataConfig, log: Log) -> Path:
  """Returns the data directory after the missing files were fetched into it."""
  folder = data_directory()
  searched = f"{spec.name} is missing: neither its files in {folder} nor a prepared set in {prepared.default_directory()}"
  if not config.download:
    raise MissingDataError(f"{searched}, and data.download is off (as in every dry run); {_how_to_get(spec)}")
  why = unreachable(spec.remotes[0].url)
  if why is not None:
    raise MissingDataError(f"{searched}, and {why}; {_how_to_get(spec)}")
  for remote in spec.remotes:
    if not (folder / remote.name).exists():
      log(f"fetching {remote.url} ({remote.size / 1e6:.0f} MB) to {folder}")
      fetch(remote, folder, config.download_timeout_secs, log)
  return folder


def _locate(spec: RegisteredSet, config: DataConfig, log: Log) -> tuple[str, Path]:
  """Returns ("files" or "prepared", place): `data.path` if given; else the data directory, tfds's directory, or a download."""
  if config.path is not None:
    root = Path(config.path).expanduser()
    if not root.exists():
      raise MissingDataError(f"data.path={root}: no such file or folder; {_how_to_get(spec)}")
    files, ready = _find_files(root, spec), prepared.find(root, spec.tfds_name)
    if files is None and ready is None:
      expected = spec.remotes[0].name if spec.form is None else f"{spec.remotes[0].name}, {spec.form.files[0].name}"
      raise MissingDataError(
        f"data.path={root}: holds no files of {spec.name} (such as {expected}) and no prepared set; {_how_to_get(spec)}"
      )
    return ("files", files) if files is not None else ("prepared", ready or root)
  root = data_directory()
  files = _find_files(root, spec)
  if files is not None and (spec.form is not None or all((root / remote.name).exists() for remote in spec.remotes)):
    return "files", files
  ready = prepared.find(prepared.default_directory() / spec.tfds_name, spec.tfds_name)
  if ready is not None and prepared.file_format(ready) == "array_record":
    return "prepared", ready
  if ready is not None:
    log(f"passing over {ready}: it is prepared as {prepared.file_format(ready)}, which needs TensorFlow to read")
  return "files", _find_files(_download(spec, config, log), spec) or root


def load_registered(config: DataConfig, spec: RegisteredSet, log: Log) -> Data:
  """Returns the set: from `data.path`; else from the data directory, from what tfds has prepared, or by download.

  The example ids are the rows of the original files, wherever the set is read from.

  Raises:
    DataError: missing (with the commands that fetch it), damaged, or not the registered content.
  """
  kind, place = _locate(spec, config, log)
  log(f"reading {spec.name} from {place}")
  found = _read_files(place, spec, config.verify) if kind == "files" else _read_prepared(place, spec, config.verify)
  raw = Raw(found.train, found.test, spec.class_names, f"{spec.name} ({place})", found.variant, found.notes, spec.mean_std)
  return assemble(raw, config)
