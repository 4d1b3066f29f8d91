"""Published sets of image files with lists beside them: the lists, the files they name, and how
much of the set is there.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from sdt.config.schema import DataConfig
from sdt.data.assemble import RawSplit
from sdt.data.published.registered import Contents, Log, PublishedSizes, RegisteredSet
from sdt.data.readers.images import Listing, read_images
from sdt.errors import DataError


@dataclasses.dataclass(frozen=True)
class ListedSplit:
  """The images of a split: their files, labels and ids [N], ids ascending; `contents` as in a
  `Listing`.
  """

  files: tuple[str, ...]
  labels: np.ndarray
  example_ids: np.ndarray
  contents: Callable[[int], bytes] | None = None


def rows(path: Path, num_columns: int, separator: str | None = None) -> list[tuple[str, list[str]]]:
  """Returns [(where, columns)] of the lines of a list, without empty ones; `where` is the file and
  the line, for messages.

  Args:
    path: a text file.
    num_columns: how many there must be in every line.
    separator: what is between them; spaces by default.

  Raises:
    DataError: no such file, no UTF-8 text, or a line with another number of columns.
  """
  try:
    lines = path.read_text(encoding="utf-8").splitlines()
  except UnicodeDecodeError as error:
    raise DataError(f"{path}: no text in UTF-8: {error}") from error
  except OSError as error:
    raise DataError(f"{path}: {error.strerror}; it is a part of the set") from error
  found = []
  for number, line in enumerate(lines, 1):
    columns = line.split(separator)
    if line.strip() and len(columns) != num_columns:
      raise DataError(
        f"{path}, line {number}: {len(columns)} columns, expected {num_columns}: {line[:80]!r}"
      )
    if line.strip():
      found.append((f"{path}, line {number}", columns))
  return found


def names_in(folder: Path) -> set[str]:
  """Returns the names of everything in a folder that is not hidden; none if there is no such
  folder.
  """
  return (
    {entry.name for entry in os.scandir(folder) if not entry.name.startswith(".")}
    if folder.is_dir()
    else set()
  )


def find(root: Path, top: str, lists: Iterable[str]) -> Path | None:
  """Returns `root` or `root / top`, whichever holds the lists; None if neither does."""
  return next(
    (folder for folder in (root, root / top) if all((folder / name).is_file() for name in lists)),
    None,
  )


def _extent(
  found: PublishedSizes, spec: RegisteredSet, level: str, where: str
) -> tuple[str, tuple[str, ...]]:
  """Returns (variant, notes): whether the published set is there, or a part of it.

  Raises:
    DataError: more than was published; or a part of it, and `level`, which is `data.verify`, is
      strict.
  """
  whole = spec.sizes
  counts = (
    f"{found.num_classes:,} of {whole.num_classes:,} classes, {found.num_train:,} of "
    f"{whole.num_train:,} training and"
    f" {found.num_test:,} of {whole.num_test:,} test images"
  )
  pairs = [
    (getattr(found, name), getattr(whole, name))
    for name in ("num_classes", "num_train", "num_test")
  ]
  if all(ours == theirs for ours, theirs in pairs):
    return "complete", (
      (
        "data variant 'complete': all images are there; no checksum of them is registered to "
        "compare them with"
      ),
    )
  if any(ours > theirs for ours, theirs in pairs):
    raise DataError(
      f"{where}: {counts}; that is more than {spec.name} has, so something else is among it; "
      "unpack the set anew"
    )
  if level == "strict":
    raise DataError(
      f"{where}: {counts}; data.verify=strict wants all of them: unpack the set anew, or accept "
      "this part, named in every result, with"
      " --config.data.verify=known"
    )
  variant = f"subset-{found.num_classes}-classes"
  return variant, (f"data variant {variant!r}: {counts}",)


def read_split(
  root: Path, listed: ListedSplit, config: DataConfig, where: str, log: Log
) -> tuple[RawSplit, list[str]]:
  """Returns the images of a split under the ids of the list, and the notes on what was left out;
  see `read_images`.
  """
  if not listed.files:
    raise DataError(f"data.path={root}: {where} has no images; unpack the set anew")
  split, notes = read_images(
    root, Listing(listed.files, listed.labels, listed.contents), config, where, log
  )
  return dataclasses.replace(split, example_ids=listed.example_ids[split.example_ids]), notes


def read_listed(
  place: Path,
  spec: RegisteredSet,
  class_names: tuple[str, ...],
  splits: tuple[ListedSplit, ListedSplit],
  config: DataConfig,
  log: Log,
) -> Contents:
  """Returns the set of the training and the test images that the lists name, after they were
  counted.

  Raises:
    DataError: not as many images or classes as `data.verify` asks for, or an image that cannot be
      read.
  """
  train, test = splits
  counts = PublishedSizes(len(train.files), len(test.files), len(class_names))
  variant, notes = _extent(counts, spec, config.verify, where=str(place))
  (train_split, train_notes), (test_split, test_notes) = (
    read_split(place, split, config, where=f"the {name} split", log=log)
    for name, split in (("training", train), ("test", test))
  )
  return Contents(
    train_split, test_split, class_names, variant=variant, notes=(*notes, *train_notes, *test_notes)
  )
