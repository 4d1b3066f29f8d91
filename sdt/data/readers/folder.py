"""Reads images in folders, one folder per class."""

import os
from pathlib import Path

import numpy as np

from sdt.config.schema import DataConfig
from sdt.data.assemble import Raw, assemble
from sdt.data.dataset import Data, RawSplit
from sdt.data.readers.decoding import SUFFIXES
from sdt.data.readers.images import Listing, read_images
from sdt.errors import DataError
from sdt.types import Log

_TEST_FOLDERS = ("test", "val", "valid")  # the first that exists is used
_LAYOUT = (
  "expected train/CLASS/*.png|jpg with test/CLASS/* (or val/CLASS/*), or CLASS/*.png|jpg with "
  "data.test_fraction"
)


def _subfolders(folder: Path) -> list[str]:
  return sorted(
    entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith(".")
  )


def _list_images(
  root: Path, folder: Path, class_names: tuple[str, ...]
) -> tuple[Listing, list[str]]:
  """Returns (images in the class folders, sorted by class and name; notes on other files there)."""
  files: list[str] = []
  labels: list[int] = []
  others: list[str] = []
  for label, name in enumerate(class_names):
    if not (folder / name).is_dir():
      continue
    for entry in sorted(os.scandir(folder / name), key=lambda entry: entry.name):
      path = (folder / name / entry.name).relative_to(root).as_posix()
      if entry.name.startswith("."):
        continue
      # A dead link counts as an image: reading it fails with a message.
      if entry.name.lower().endswith(SUFFIXES) and not entry.is_dir():
        files.append(path)
        labels.append(label)
      else:
        others.append(path + "/" * entry.is_dir())
  notes = []
  if others:
    notes.append(
      f"{len(others)} files or folders in the class folders of {folder.name}/ are no images; the "
      f"first is {others[0]}"
    )
  return Listing(tuple(files), np.array(labels, np.int32)), notes


def _read_split(
  root: Path, folder: Path, class_names: tuple[str, ...], config: DataConfig, log: Log
) -> tuple[RawSplit, list[str]]:
  listing, notes = _list_images(root, folder, class_names)
  if not listing.files:
    raise DataError(
      f"data.path={root}: no image ({', '.join(SUFFIXES)}) in the class folders of {folder}; "
      f"{_LAYOUT}"
    )
  split, more = read_images(root, listing, config, where=f"{folder.name}/", log=log)
  return split, more + notes


def _find_folders(
  root: Path, config: DataConfig
) -> tuple[Path, Path | None, tuple[str, ...], list[str]]:
  """Returns (training folder, test folder if there is one, class names, notes)."""
  train_folder = root / "train" if (root / "train").is_dir() else root
  class_names = tuple(_subfolders(train_folder))
  if not class_names:
    raise DataError(f"data.path={root}: no class folders below {train_folder}; {_LAYOUT}")
  there = [name for name in _TEST_FOLDERS if train_folder != root and (root / name).is_dir()]
  if not there:
    if config.test_fraction is None:
      raise DataError(
        f"data.path={root}: there is no test/ folder (nor val/); give the share to hold out, such "
        "as --config.data.test_fraction=0.2"
      )
    return train_folder, None, class_names, []
  name, *unused = there
  unknown = sorted(set(_subfolders(root / name)) - set(class_names))
  if unknown:
    raise DataError(
      f"data.path={root}: {name}/{unknown[0]} is a class without a folder below train/; every "
      "test class must be trained"
    )
  notes = [] if name == "test" else [f"{name}/ is the test split"]
  notes += [f"{other}/ is not used" for other in unused]
  return train_folder, root / name, class_names, notes


def load_folder(config: DataConfig, log: Log) -> Data:
  """Returns the images below `data.path`: uint8 [N, H, W, 3], classes sorted by name.

  The example ids are places in the list of files, sorted by class and name.

  Raises:
    DataError: no folder, no classes, no images, images that cannot be read or differ in size, a
      test class that the training split lacks.
  """
  if config.path is None:
    raise DataError("data.name=folder needs the folder: --config.data.path=DIR")
  root = Path(config.path).expanduser()
  if not root.is_dir():
    raise DataError(f"data.path={root}: no such folder; {_LAYOUT}")
  try:
    train_folder, test_folder, class_names, notes = _find_folders(root, config)
    train, train_notes = _read_split(root, train_folder, class_names, config=config, log=log)
    test, test_notes = None, list[str]()
    if test_folder is not None:
      test, test_notes = _read_split(root, test_folder, class_names, config=config, log=log)
  except OSError as error:
    raise DataError(f"data.path={root}: {error.strerror}: {error.filename}") from error
  raw = Raw(
    train,
    test,
    class_names,
    where=f"folder set {root}",
    variant="custom",
    notes=(*notes, *train_notes, *test_notes),
  )
  return assemble(raw, config)
