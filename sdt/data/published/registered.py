"""The published sets: where they may lie, what they must be, and how to get them."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from sdt.config.schema import DataConfig
from sdt.data.assemble import Raw, RawSplit, assemble
from sdt.data.cache import data_directory
from sdt.data.dataset import Data
from sdt.data.published import prepared
from sdt.data.published.download import RemoteFile, fetch, unreachable
from sdt.data.published.unpack import unpack
from sdt.errors import ConfigError, DataError, MissingDataError

Log = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class PublishedSizes:
  """How large a set is as its authors published it.

  Attributes:
    image_shape: (height, width, channels), None where images differ.
    num_coarse_classes: of `data.labels=coarse`, None where there are none.
  """

  num_train: int
  num_test: int
  num_classes: int
  image_shape: tuple[int, int, int] | None = (32, 32, 3)
  num_coarse_classes: int | None = None


@dataclasses.dataclass(frozen=True)
class Contents:
  """What a reader found and verified."""

  train: RawSplit
  test: RawSplit
  class_names: tuple[str, ...]
  variant: str
  notes: tuple[str, ...] = ()


class Form(Protocol):
  """How a set is kept: its original files, and the features that tfds prepares."""

  @property
  def expected(self) -> str:
    """What a place with the original files holds, for messages."""

  def find(self, root: Path, spec: RegisteredSet) -> Path | None:
    """Returns the place of the original files, which is or lies in `root`; None if they are not all
    there, or it cannot be told.
    """

  def read(self, place: Path, spec: RegisteredSet, config: DataConfig, log: Log) -> Contents:
    """Returns the set from its original files; raises a DataError unless it is what `data.verify`
    asks for.
    """

  def read_prepared(
    self, folder: Path, spec: RegisteredSet, config: DataConfig, log: Log
  ) -> Contents:
    """The same from a folder that tfds prepared; never called where the set has no `tfds_name`."""


@dataclasses.dataclass(frozen=True)
class RegisteredSet:
  """One set.

  Attributes:
    name: `data.name`.
    sizes: as published.
    form: how it is kept.
    remotes: the files to fetch; none where no checksum is registered, because then nothing is
      fetched.
    tfds_name: its name in tensorflow-datasets; None if it has none.
    unpacks: the folder in the archive `remotes[0]` that is read unpacked; None where the files are
      read as they are fetched.
    by_hand: what a user does after fetching `remotes`, or instead: commands, with {folder} for the
      data directory.
    mean_std: of the channels, where the field agreed on numbers; None: from the training split.
  """

  name: str
  sizes: PublishedSizes
  form: Form
  remotes: tuple[RemoteFile, ...] = ()
  tfds_name: str | None = None
  unpacks: str | None = None
  by_hand: tuple[str, ...] = ()
  mean_std: tuple[tuple[float, ...], tuple[float, ...]] | None = None


def refuse_unverified(folder: Path, spec: RegisteredSet, level: str) -> tuple[str, tuple[str, ...]]:
  """Returns (variant, notes) of a prepared set that nothing can be compared with.

  Raises:
    DataError: `level`, which is `data.verify`, is strict.
  """
  if level == "strict":
    raise DataError(
      f"{folder}: no checksum of {spec.name} as tfds prepares it is registered, so "
      "data.verify=strict refuses it; accept it, named in"
      f" every result, with --config.data.verify=known, or give {spec.form.expected}"
    )
  return "tfds-prepared", (
    "data variant 'tfds-prepared': read as prepared, the images cannot be verified",
  )


# A path that the user gives is searched and no other place is.
_WITHOUT_PATH = "run the same command without --config.data.path, or with the right one"


def _how_to_get(
  spec: RegisteredSet,
  after: str = "run the same command again, or name another place with --config.data.path",
) -> str:
  """Returns the commands that fetch the set into the data directory, with the checksums, and what
  to do `after` them.
  """
  folder = data_directory()
  commands = [
    (
      f"curl -fL --create-dirs -o {folder / remote.name} {shlex.quote(remote.url)} (SHA-256 "
      f"{remote.sha256})"
    )
    for remote in spec.remotes
  ]
  commands += [command.format(folder=folder) for command in spec.by_hand]
  return (
    "get "
    f"it with: {' and '.join(commands)}; then {after}; what works now, without any download: "
    "--config=configs/digits.py"
  )


def _download(spec: RegisteredSet, config: DataConfig, log: Log) -> None:
  """Fetches into the data directory what is missing of the set there, and unpacks it if it is read
  so.
  """
  folder = data_directory()
  ready = (
    "" if spec.tfds_name is None else f", nor a prepared set in {prepared.default_directory()}"
  )
  searched = f"{spec.name} is missing: its files are not in {folder}{ready}"
  if not spec.remotes:
    raise MissingDataError(
      f"{searched}, and no checksum is registered to download it by; {_how_to_get(spec)}"
    )
  if not config.download:
    raise MissingDataError(
      f"{searched}, and downloading is off (data.download=False, or a dry run); {_how_to_get(spec)}"
    )
  missing = [remote for remote in spec.remotes if not (folder / remote.name).exists()]
  why = unreachable(spec.remotes[0].url) if missing else None
  if why is not None:
    raise MissingDataError(f"{searched}, and {why}; {_how_to_get(spec)}")
  for remote in missing:
    log(f"fetching {remote.url} ({remote.size / 1e6:.0f} MB) to {folder}")
    fetch(remote, folder, config.download_timeout_secs, log=log)
  if (
    spec.unpacks is not None and spec.form.find(folder, spec) is None
  ):  # otherwise another process was faster
    log(f"unpacking {folder / spec.remotes[0].name} to {folder / spec.unpacks}")
    unpack(spec.remotes[0], folder, spec.unpacks)


def _find_prepared(root: Path, spec: RegisteredSet) -> Path | None:
  return None if spec.tfds_name is None else prepared.find(root, spec.tfds_name)


def _locate(spec: RegisteredSet, config: DataConfig, log: Log) -> tuple[str, Path]:
  """Returns ("files" or "prepared", place): `data.path` if given; else the data directory, tfds's
  directory, or a download.
  """
  if config.path is not None:
    root = Path(config.path).expanduser()
    if not root.exists():
      raise MissingDataError(
        f"data.path={root}: no such file or folder; {_how_to_get(spec, _WITHOUT_PATH)}"
      )
    files, ready = spec.form.find(root, spec), _find_prepared(root, spec)
    if files is None and ready is None:
      ways = (
        spec.form.expected
        if spec.tfds_name is None
        else f"{spec.form.expected}, or a set that tfds prepared"
      )
      raise MissingDataError(
        f"data.path={root}: {spec.name} is not there; expected {ways}; "
        f"{_how_to_get(spec, _WITHOUT_PATH)}"
      )
    return ("files", files) if files is not None else ("prepared", ready or root)
  root = data_directory()
  files = spec.form.find(root, spec)
  if files is not None:
    return "files", files
  ready = (
    None
    if spec.tfds_name is None
    else prepared.find(prepared.default_directory() / spec.tfds_name, spec.tfds_name)
  )
  if ready is not None and prepared.file_format(ready) == "array_record":
    return "prepared", ready
  if ready is not None:
    log(
      f"passing over {ready}: it is prepared as {prepared.file_format(ready)}, which needs "
      "TensorFlow to read"
    )
  _download(spec, config, log)
  return "files", spec.form.find(root, spec) or root


def load_registered(config: DataConfig, spec: RegisteredSet, log: Log) -> Data:
  """Returns the set: from `data.path`; else from the data directory, from what tfds has prepared,
  or by download.

  The example ids are the rows of the original files, wherever the set is read from; where the
  original tells more than tfds keeps, the form says what the ids of a prepared set are.

  Raises:
    ConfigError: images of many sizes, and no `data.image_size`.
    DataError: missing (with the commands that fetch it), damaged, or not the registered content.
  """
  if spec.sizes.image_shape is None and config.image_size is None:
    raise ConfigError(
      f"data.name={spec.name} has images of many sizes: expected data.image_size, such as "
      "--config.data.image_size=256"
      " --config.data.resize=short_side --config.data.crop_size=224"
    )
  kind, place = _locate(spec, config, log)
  log(f"reading {spec.name} from {place}")
  read = spec.form.read if kind == "files" else spec.form.read_prepared
  found = read(place, spec, config, log=log)
  raw = Raw(
    found.train,
    found.test,
    found.class_names,
    where=f"{spec.name} ({place})",
    variant=found.variant,
    notes=found.notes,
    mean_std=spec.mean_std,
  )
  return assemble(raw, config)
