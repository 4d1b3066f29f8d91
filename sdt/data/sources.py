"""Loads any data set: one function, `load`, in front of the readers."""

import contextlib
import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

from sdt import named_files
from sdt.config.schema import DataConfig
from sdt.data import labels
from sdt.data.dataset import Data
from sdt.data.published.catalogue import SETS
from sdt.data.published.registered import load_registered
from sdt.data.readers import folder_layout, path_kinds
from sdt.data.readers.csv_list import load_manifest
from sdt.data.readers.curve import load_curve
from sdt.data.readers.digits import load_digits
from sdt.data.readers.folder import load_folder
from sdt.data.readers.npz import load_npz
from sdt.data.readers.shapes import load_shapes
from sdt.errors import ConfigError, DataError
from sdt.types import Log

# The sets for which some keys of the config mean something, or nothing.
_WITHOUT_FILES = ("digits", "arrays", "shapes", "curve")
_WITH_TEST_SPLIT = ("cifar10", "cifar100", "svhn", "tiny_imagenet", "cub", "shapes", "curve")
_OF_CLASSES = (
  *("num_train", "num_test", "allow_empty_class", "statistics", "normalise", "verify"),
  *("on_duplicate_test", "near_duplicates", "imbalance", "downsample"),
)
_OF_IMAGE_FILES = ("tiny_imagenet", "cub", "folder", "csv")


def _silent(line: str) -> None:
  """Drops the lines of progress."""


def check_keys(config: DataConfig) -> None:
  """Refuses keys that the chosen set would ignore, sizes that do not fit, and a wrong ~user."""
  defaults = DataConfig()
  ignored = {
    "path": config.name in _WITHOUT_FILES,
    "test_split": config.name in ("digits", "curve"),
    "test_fraction": config.name in _WITH_TEST_SPLIT and config.test_split == "own",
    "labels": config.name != "cifar100",
    "channels": config.name not in ("npz", "arrays"),
    **dict.fromkeys(_OF_CLASSES, config.name == "curve"),
    **dict.fromkeys(
      ("image_size", "resize", "on_bad_image", "cache", "value_range"),
      config.name not in _OF_IMAGE_FILES,
    ),
  }
  for key, is_ignored in ignored.items():
    if is_ignored and getattr(config, key) != getattr(defaults, key):
      raise ConfigError(
        f"data.{key}={getattr(config, key)} has no meaning for data.name={config.name}; leave it "
        "out, or choose another data.name"
      )
  if config.test_split == "held_out" and config.test_fraction is None:
    raise ConfigError(
      "data.test_split=held_out: give the share of the training examples to hold out, such as "
      "--config.data.test_fraction=0.2"
    )
  crop_size, image_size = config.crop_size, config.image_size
  if crop_size is not None and image_size is not None and crop_size > image_size:
    raise ConfigError(
      f"data.crop_size={crop_size}: expected at most data.image_size={image_size}; it is cut out "
      "of the image"
    )
  value_range = config.value_range
  if value_range is not None and not (len(value_range) == 2 and value_range[0] < value_range[1]):
    raise ConfigError(
      f"data.value_range={value_range}: expected two values, that of black and a larger one, that "
      "of white, such as 0,4095"
    )
  if config.resize == "short_side" and crop_size is None:
    # 224 of 256, as usual for ImageNet.
    size = 224 if image_size is None else max(4, image_size * 7 // 8)
    raise ConfigError(
      "data.resize=short_side leaves images of differing sizes, and the network needs one: give "
      f"it, such as --config.data.crop_size={size}"
    )


def _read(config: DataConfig, log: Log, seeds: Sequence[int]) -> Data:
  """Returns what the reader of `data.name` returns."""
  if config.name == "digits":
    return load_digits(config)
  if config.name == "shapes":
    return load_shapes(config)
  if config.name == "curve":
    return load_curve(config, seeds)
  if config.name == "npz":
    return load_npz(config)
  if config.name == "arrays":
    raise ConfigError(
      "data.name=arrays: the data are given in Python, sdt.run(config, workdir, data=...); choose "
      "another data.name, such as npz"
    )
  if config.name == "folder":
    return load_folder(config, log)
  if config.name == "csv":
    return load_manifest(config, log)
  if config.name in SETS:
    return load_registered(config, SETS[config.name], log)
  raise DataError(f"data.name={config.name} is not a known set; known: {_names()}")


def load(config: DataConfig, log: Log = _silent, seeds: Sequence[int] = (0,)) -> Data:
  """Returns the verified data set that the config names.

  It writes nothing but downloads and decoded images, both in the data directory.

  Args:
    config: every `data.*` key.
    log: gets one line of progress at a time.
    seeds: of the run, for the toy, whose points differ between seeds.

  Raises:
    ConfigError: a key is given that has no meaning for this set.
    DataError: the set is missing, damaged, badly labelled or not what the config says.
  """
  check_keys(config)
  labels.check_files(config)
  try:
    path_kinds.refuse_other_kind(config)
    return _read(config, log, seeds)
  # What the readers do not handle: a name too long, a folder without permission, a broken disk.
  except OSError as error:
    raise DataError(
      f"data.path={config.path}: {error.strerror or error}: {error.filename}"
    ) from error
  except MemoryError as error:
    raise DataError(
      f"data.name={config.name} does not fit into memory; use a smaller set or image size"
    ) from error


def check_workdir(config: DataConfig, workdir: Path) -> None:
  """Refuses a workdir that would lie among the class folders of the set.

  The first run would work, and its files would be a class of the next one.

  Raises:
    ConfigError: with a workdir that would do.
  """
  root = named_files.expanded(config.path or "")
  with contextlib.suppress(OSError):  # the reader will say so
    if config.name != "folder" or config.path is None or not root.is_dir():
      return
    if folder_layout.holds_classes(root, workdir):
      top = root.resolve()
      parent = top.parent if os.access(top.parent, os.W_OK) else Path.home()
      place = parent / f"{top.name}-runs" / workdir.absolute().name
      raise ConfigError(
        f"--workdir={workdir} lies inside data.path={config.path}, where every folder is a class: "
        f"the run could not be continued; choose a place outside, such as --workdir={place}"
      )


def _names() -> str:
  field = next(field for field in dataclasses.fields(DataConfig) if field.name == "name")
  return ", ".join(field.metadata["choices"])
