"""Published sets: finds one on this machine or downloads it, and verifies it."""

import dataclasses
import shlex
from pathlib import Path
from typing import Protocol, runtime_checkable

from sdt import named_files
from sdt.config.schema import DataConfig
from sdt.data.assemble import Raw, assemble
from sdt.data.cache import data_directory
from sdt.data.dataset import Data, RawSplit
from sdt.data.published import prepared
from sdt.data.published.download import RemoteFile, fetch, unreachable
from sdt.data.published.unpack import unpack
from sdt.errors import ConfigError, DataError, MissingDataError
from sdt.types import Log


@dataclasses.dataclass(frozen=True)
class PublishedSizes:
  """How large a set is as its authors published it.

  Attributes:
    num_train, num_test, num_classes: how many there are.
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
  """What a reader read and verified; the fields are those of `Raw`."""

  train: RawSplit
  test: RawSplit
  class_names: tuple[str, ...]
  variant: str
  notes: tuple[str, ...] = ()


@runtime_checkable
class Form(Protocol):
  """How a set is kept: its original files, and the features that tfds prepares."""

  @property
  def expected(self) -> str:
    """What a place with the original files holds, for messages."""

  def find(self, root: Path, spec: "RegisteredSet") -> Path | None:
    """Returns the place of the original files, `root` or inside it; None if they are not there."""

  def read(self, place: Path, spec: "RegisteredSet", config: DataConfig, log: Log) -> Contents:
    """Returns the set from its original files.

    Raises:
      DataError: it is not what `data.verify` asks for.
    """

  def read_prepared(
    self, folder: Path, spec: "RegisteredSet", config: DataConfig, log: Log
  ) -> Contents:
    """Returns the set from a folder that tfds prepared, if the set has a `tfds_name`."""


@dataclasses.dataclass(frozen=True)
class RegisteredSet:
  """One set.

  Attributes:
    name: `data.name`.
    sizes: as published.
    form: how it is kept.
    remotes: the files to fetch; none where no checksum is registered, so that nothing is fetched.
    tfds_name: its name in tensorflow-datasets; None if it has none.
    unpacks: the folder in the archive `remotes[0]` that is unpacked and then read; None where the
      files are read as they are.
    by_hand: commands for the user, to run after fetching `remotes`, or instead; {folder} stands for
      the data directory.
    mean_std: of the channels, where the field agreed on numbers; None: of the training split.
    licence: what may be done with it, as far as its authors say.
  """

  name: str
  sizes: PublishedSizes
  form: Form
  remotes: tuple[RemoteFile, ...] = ()
  tfds_name: str | None = None
  unpacks: str | None = None
  by_hand: tuple[str, ...] = ()
  mean_std: tuple[tuple[float, ...], tuple[float, ...]] | None = None
  licence: str = ""


def refuse_unverified(folder: Path, spec: RegisteredSet, level: str) -> tuple[str, tuple[str, ...]]:
  """Returns (variant, notes) of a prepared set that has no checksum to compare with.

  Raises:
    DataError: `level`, which is `data.verify`, is strict.
  """
  if level == "strict":
    raise DataError(
      f"{folder}: no checksum of {spec.name} as tfds prepares it is registered, so "
      "data.verify=strict refuses it; accept it, and let every result name it, with "
      f"--config.data.verify=known, or give {spec.form.expected}"
    )
  return "tfds-prepared", (
    "data variant 'tfds-prepared': read as prepared, the images cannot be verified",
  )


# Where the user gives a path, we search no other place.
_WITHOUT_PATH = "run the same command without --config.data.path, or with the right one"
_AGAIN = "run the same command again, or name another place with --config.data.path"


def _how_to_get(spec: RegisteredSet, after: str = _AGAIN) -> str:
  """Returns the commands that fetch the set, with its checksums, and what to do `after` them."""
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
    f"get it with: {' and '.join(commands)}; then {after}; what works now, without any download: "
    "--config=configs/digits.py"
  )


def _download(spec: RegisteredSet, config: DataConfig, log: Log) -> None:
  """Fetches the missing files of the set into the data directory; unpacks the archive, if any."""
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
  # Unless another process was faster.
  if spec.unpacks is not None and spec.form.find(folder, spec) is None:
    log(f"unpacking {folder / spec.remotes[0].name} to {folder / spec.unpacks}")
    unpack(spec.remotes[0], folder, spec.unpacks)


def _find_prepared(root: Path, spec: RegisteredSet) -> Path | None:
  return None if spec.tfds_name is None else prepared.find(root, spec.tfds_name)


def _locate(spec: RegisteredSet, config: DataConfig, log: Log) -> tuple[str, Path]:
  """Returns ("files" or "prepared", where the set is); downloads it if it is nowhere.

  It looks at `data.path` if given; else in the data directory, then in the one of tfds.
  """
  if config.path is not None:
    root = named_files.expanded(config.path)
    if not root.exists():
      raise MissingDataError(
        f"data.path={root}: no such file or folder; {_how_to_get(spec, _WITHOUT_PATH)}"
      )
    files, ready = spec.form.find(root, spec), _find_prepared(root, spec)
    if files is None and ready is None:
      ways = spec.form.expected
      if spec.tfds_name is not None:
        ways += ", or a set that tfds prepared"
      raise MissingDataError(
        f"data.path={root}: {spec.name} is not there; expected {ways}; "
        f"{_how_to_get(spec, _WITHOUT_PATH)}"
      )
    return ("files", files) if files is not None else ("prepared", ready or root)
  root = data_directory()
  files = spec.form.find(root, spec)
  if files is not None:
    return "files", files
  ready = _find_prepared(prepared.default_directory() / (spec.tfds_name or ""), spec)
  if ready is not None and prepared.file_format(ready) == "array_record":
    return "prepared", ready
  if ready is not None:
    log(
      f"skipping {ready}: it is prepared as {prepared.file_format(ready)}, which needs TensorFlow "
      "to read"
    )
  _download(spec, config, log)
  return "files", spec.form.find(root, spec) or root


def load_registered(config: DataConfig, spec: RegisteredSet, log: Log) -> Data:
  """Returns the set from `data.path`; else from the data directory, from tfds, or by download.

  The example ids are the rows of the original files, wherever the set is read from. Only where tfds
  does not keep the order of the original do prepared sets have other ids; the form says which.

  Raises:
    ConfigError: images of many sizes, and no `data.image_size`.
    DataError: missing (with the commands that fetch it), damaged, or not the registered content.
  """
  if spec.sizes.image_shape is None and config.image_size is None:
    raise ConfigError(
      f"data.name={spec.name} has images of many sizes: expected data.image_size, such as "
      "--config.data.image_size=256 --config.data.resize=short_side --config.data.crop_size=224"
    )
  kind, place = _locate(spec, config, log)
  log(f"reading {spec.name} from {place}")
  read = spec.form.read if kind == "files" else spec.form.read_prepared
  contents = read(place, spec, config, log=log)
  raw = Raw(
    train=contents.train,
    test=contents.test,
    class_names=contents.class_names,
    where=f"{spec.name} ({place})",
    variant=contents.variant,
    notes=contents.notes,
    mean_std=spec.mean_std,
  )
  return assemble(raw, config)
