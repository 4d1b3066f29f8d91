"""Reads images in folders, one folder per class."""

import collections
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sdt import named_files
from sdt.config.schema import DataConfig
from sdt.data.assemble import Raw, assemble
from sdt.data.dataset import Data, RawSplit
from sdt.data.readers import folder_layout
from sdt.data.readers.folder_layout import LeftOut, content, images_below, shown
from sdt.data.readers.image_kinds import has_image_suffix, is_image, must_be_converted
from sdt.data.readers.images import Listing, read_images
from sdt.errors import DataError
from sdt.types import Log

_NO_IMAGES = "files that are no images"
_TO_CONVERT = "pictures to be converted to JPEG or PNG first"


class _Lister:
  """Lists the images of a set; `left_out` and `odd` collect what must be told of the others.

  Attributes:
    root: of the set.
    left_out: what is not taken.
    odd: images whose suffix is not that of an image, or that have none.
  """

  def __init__(self, root: Path):
    self.root, self.left_out = root, LeftOut()
    self.odd: list[str] = []

  def path(self, place: Path) -> str:
    """Returns a path as messages have it: relative to the root, with slashes."""
    return place.relative_to(self.root).as_posix()

  def images(self, folder: Path) -> list[str]:
    """Returns the images of one class folder, sorted by name; notes what else is in it."""
    inside, found = content(folder), []
    for name in inside.files:
      place = self.path(folder / name)
      # A dead link counts as an image: reading it fails with a message.
      if has_image_suffix(name):
        found.append(place)
      elif is_image(folder / name):
        found.append(place)
        self.odd.append(place)
      else:
        self.left_out.add(_TO_CONVERT if must_be_converted(name) else _NO_IMAGES, place)
    self.left_out.add("hidden files", *(self.path(folder / name) for name in inside.hidden))
    self._add_below("images deeper down", folder, inside.folders)
    self._add_below("images in system or hidden folders", folder, inside.system)
    return found

  def beside(self, folder: Path) -> None:
    """Notes what lies beside the class folders of a split, or beside the splits."""
    inside = content(folder)
    self.left_out.add(
      "images beside the class folders", *(self.path(folder / name) for name in inside.images)
    )
    self._add_below("images in system or hidden folders", folder, inside.system)

  def _add_below(self, reason: str, folder: Path, names: Sequence[str]) -> None:
    for name in names:
      self.left_out.add(reason, *map(self.path, images_below(folder / name)))

  def notes(self) -> list[str]:
    """Returns what must be told of the files that are not taken, and of odd ones that are."""
    if not self.odd:
      return self.left_out.notes()
    taken = (
      f"{len(self.odd)} images have no suffix of an image and are taken by their content (the "
      f"first is {self.odd[0]})"
    )
    return [taken, *self.left_out.notes()]


def _list_images(lister: _Lister, folder: Path, class_names: Sequence[str]) -> Listing:
  """Returns the images in the class folders, sorted by class and name."""
  files: list[str] = []
  labels: list[int] = []
  for label, name in enumerate(class_names):
    if (folder / name).is_dir():
      images = lister.images(folder / name)
      files += images
      labels += [label] * len(images)
  return Listing(tuple(files), np.array(labels, np.int32))


def _others(root: Path, folder: Path, names: Sequence[str]) -> str:
  """Returns what lies in folders without images, for the end of a message."""
  deeper = [path for name in names for path in images_below(folder / name)]
  if deeper:
    first = shown([deeper[0].relative_to(root).as_posix()], end="")
    return (
      f" ({len(deeper)} images lie deeper down, such as {first}: put them directly into the folder "
      "of their class)"
    )
  ends = collections.Counter(
    os.path.splitext(file)[1].lower() or "no suffix"
    for name in names
    for file in content(folder / name).files
  )
  if not ends:
    return ""
  kinds = shown([f"{num} {end}" for end, num in ends.most_common()], end="")
  return f" (but {kinds}: convert them to JPEG or PNG if they are images)"


def _check_some(root: Path, folder: Path, listing: Listing) -> None:
  """Refuses a split without an image."""
  if not listing.files:
    found = _others(root, folder, content(folder).folders)
    raise DataError(
      f"data.path={root}: no image in the class folders of {folder}{found}; "
      f"{folder_layout.EXPECTED}"
    )


def _check_classes(root: Path, folder: Path, listing: Listing, *, names: Sequence[str]) -> None:
  """Refuses class folders of the training split that hold no image."""
  counts = np.bincount(listing.labels, minlength=len(names))
  empty = [name for name, count in zip(names, counts, strict=True) if not count]
  if not empty:
    return
  found = _others(root, folder, empty)
  raise DataError(
    f"data.path={root}: {len(empty)} of {len(names)} classes have no training example: "
    f"{shown(empty)} of {folder} holds no image{found}; move away what is no class, add images, or "
    "accept it with --config.data.allow_empty_class=True"
  )


def _find(root: Path, config: DataConfig) -> folder_layout.Layout:
  if not root.is_dir():
    raise DataError(f"data.path={root}: no such folder; {folder_layout.EXPECTED}")
  return folder_layout.find(root, config)


def load_folder(config: DataConfig, log: Log) -> Data:
  """Returns the images below `data.path`: uint8 [N, H, W, 3].

  Classes are in the order of their names: by number if all are numbers, else as text. The example
  ids are places in the list of files, sorted by class and name.

  Raises:
    DataError: no folder, no layout that is read, no images, images that cannot be read or differ
      in size, a test class that the training split lacks.
  """
  if config.path is None:
    raise DataError("data.name=folder needs the folder: --config.data.path=DIR")
  root = named_files.expanded(config.path)
  splits: dict[Path, RawSplit] = {}
  notes: list[str] = []
  try:
    layout, lister = _find(root, config), _Lister(root)
    names = layout.class_names
    folders = [layout.train] if layout.test is None else [layout.train, layout.test]
    listings = {folder: _list_images(lister, folder, names) for folder in folders}
    for folder, listing in listings.items():
      _check_some(root, folder, listing)
    if not config.allow_empty_class:
      _check_classes(root, layout.train, listings[layout.train], names=names)
    for folder in dict.fromkeys([root, *folders]):
      lister.beside(folder)
    for folder, listing in listings.items():
      where = f"{folder.name}/"
      splits[folder], more = read_images(root, listing, config, where=where, log=log)
      notes += more
  except OSError as error:
    raise DataError(f"data.path={root}: {error.strerror}: {error.filename}") from error
  raw = Raw(
    splits[layout.train],
    splits.get(layout.test) if layout.test else None,
    names,
    where=f"folder set {root}",
    variant="custom",
    notes=(*layout.notes, *notes, *lister.notes()),
  )
  return assemble(raw, config)
