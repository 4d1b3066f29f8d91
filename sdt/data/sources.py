"""Where data comes from: one function, `load`, in front of the readers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

from sdt.config.schema import DataConfig
from sdt.data.dataset import Data
from sdt.data.published.catalogue import SETS
from sdt.data.published.registered import load_registered
from sdt.data.readers.csv_list import load_manifest
from sdt.data.readers.curve import load_curve
from sdt.data.readers.digits import load_digits
from sdt.data.readers.folder import load_folder
from sdt.data.readers.npz import load_npz
from sdt.data.readers.shapes import load_shapes
from sdt.errors import ConfigError, DataError

Log = Callable[[str], None]

# The sets for which a key of the config means something, or nothing.
_WITHOUT_FILES = ("digits", "shapes", "curve")
_WITH_TESTS = ("cifar10", "cifar100", "svhn", "tiny_imagenet", "cub", "shapes", "curve")
_OF_IMAGE_FILES = ("tiny_imagenet", "cub", "folder", "csv")


def _silent(line: str) -> None:
  """Drops the progress lines of a caller that wants none."""


def _check_keys(config: DataConfig) -> None:
  """Refuses keys that the chosen set would ignore: the user must have meant another set. And sizes
  that no image could have.
  """
  defaults = DataConfig()
  ignored = {
    "path": config.name in _WITHOUT_FILES,
    "test_fraction": config.name in _WITH_TESTS,
    "labels": config.name != "cifar100",
    **dict.fromkeys(
      ("num_train", "num_test", "allow_empty_class", "statistics", "verify"), config.name == "curve"
    ),
    **dict.fromkeys(
      ("image_size", "resize", "on_bad_image", "cache"), config.name not in _OF_IMAGE_FILES
    ),
  }
  for key, is_ignored in ignored.items():
    if is_ignored and getattr(config, key) != getattr(defaults, key):
      raise ConfigError(
        f"data.{key}={getattr(config, key)} has no meaning for data.name={config.name}; leave it "
        "out, or choose another data.name"
      )
  if (
    config.crop_size is not None
    and config.image_size is not None
    and config.crop_size > config.image_size
  ):
    raise ConfigError(
      f"data.crop_size={config.crop_size}: expected at most data.image_size={config.image_size}; "
      "it is cut out of the image"
    )
  if config.resize == "short_side" and config.crop_size is None:
    size = (
      224 if config.image_size is None else max(4, config.image_size * 7 // 8)
    )  # 224 of 256, as the field has it
    raise ConfigError(
      "data.resize=short_side leaves images of differing sizes, and the network needs one: give "
      f"it, such as --config.data.crop_size={size}"
    )
  try:
    Path(config.path or "").expanduser()
  except RuntimeError as error:
    raise DataError(f"data.path={config.path}: {error}") from error


def _read(config: DataConfig, log: Log, seeds: Sequence[int]) -> Data:
  if config.name == "digits":
    return load_digits(config)
  if config.name == "shapes":
    return load_shapes(config)
  if config.name == "curve":
    return load_curve(config, seeds)
  if config.name == "npz":
    return load_npz(config)
  if config.name == "folder":
    return load_folder(config, log)
  if config.name == "csv":
    return load_manifest(config, log)
  if config.name in SETS:
    return load_registered(config, SETS[config.name], log)
  raise DataError(f"data.name={config.name} is not a known set; known: {_names()}")


def load(config: DataConfig, log: Log = _silent, seeds: Sequence[int] = (0,)) -> Data:
  """Returns the verified data set that the config names.

  Nothing is written, but for a download and decoded image files in the data directory.

  Args:
    config: every `data.*` key.
    log: gets one line of progress at a time.
    seeds: of the run, for the set that is drawn anew for each of them.

  Raises:
    ConfigError: a key is given that has no meaning for this set.
    DataError: the set is missing, damaged, badly labelled or not what the config says.
  """
  _check_keys(config)
  try:
    return _read(config, log, seeds)
  # whatever the readers did not foresee: a name too long, a folder that may not be entered, a
  # broken disk
  except OSError as error:
    raise DataError(
      f"data.path={config.path}: {error.strerror or error}: {error.filename}"
    ) from error
  except MemoryError as error:
    raise DataError(
      f"data.name={config.name} does not fit into memory; use a smaller set or image size"
    ) from error


def _names() -> str:
  field = next(field for field in dataclasses.fields(DataConfig) if field.name == "name")
  return ", ".join(field.metadata["choices"])
