"""Published sets of image files with lists: reads the lists, the files, and counts them."""

import dataclasses
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from sdt.config.schema import DataConfig
from sdt.data.dataset import RawSplit
from sdt.data.published.registered import Contents, PublishedSizes, RegisteredSet
from sdt.data.readers.images import Listing, read_images
from sdt.errors import DataError
from sdt.types import Log


@dataclasses.dataclass(frozen=True)
class ListedSplit:
  """The images of a split.

  Attributes:
    files, labels, contents: as in a `Listing`.
    example_ids: [N], ascending.
  """

  files: tuple[str, ...]
  labels: Int64[np.ndarray, "N"]
  example_ids: Int64[np.ndarray, "N"]
  contents: Callable[[int], bytes] | None = None


def rows(path: Path, num_columns: int, separator: str | None = None) -> list[tuple[str, list[str]]]:
  """Returns (where, columns) of every line of a list that is not empty.

  `where` is the file and the line, for messages.

  Args:
    path: a text file.
    num_columns: how many columns every line must have.
    separator: of the columns; spaces by default.

  Raises:
    DataError: no such file, no UTF-8 text, or a line with another number of columns.
  """
  try:
    lines = path.read_text(encoding="utf-8").splitlines()
  except UnicodeDecodeError as error:
    raise DataError(f"{path}: no text in UTF-8: {error}") from error
  except OSError as error:
    raise DataError(f"{path}: {error.strerror}; it is a part of the set") from error
  table = []
  for number, line in enumerate(lines, 1):
    columns = line.split(separator)
    if line.strip() and len(columns) != num_columns:
      raise DataError(
        f"{path}, line {number}: {len(columns)} columns, expected {num_columns}: {line[:80]!r}"
      )
    if line.strip():
      table.append((f"{path}, line {number}", columns))
  return table


def names_in(folder: Path) -> set[str]:
  """Returns the names of everything in a folder that is not hidden; none if there is no folder."""
  if not folder.is_dir():
    return set()
  return {entry.name for entry in os.scandir(folder) if not entry.name.startswith(".")}


def find(root: Path, top: str, lists: Iterable[str]) -> Path | None:
  """Returns `root` or `root / top`, whichever holds the lists; None if neither does."""
  for folder in (root, root / top):
    if all((folder / name).is_file() for name in lists):
      return folder
  return None


def _extent(
  part: PublishedSizes, spec: RegisteredSet, level: str, where: str
) -> tuple[str, tuple[str, ...]]:
  """Returns (variant, notes): whether the whole published set is there, or a part of it.

  Args:
    part: the sizes of what is there.
    spec: the published set.
    level: `data.verify`.
    where: what messages call the set.

  Raises:
    DataError: more than was published; or a part of it, and `level` is strict.
  """
  whole = spec.sizes
  counts = (
    f"{part.num_classes:,} of {whole.num_classes:,} classes, {part.num_train:,} of "
    f"{whole.num_train:,} training and {part.num_test:,} of {whole.num_test:,} test images"
  )
  pairs = [
    (part.num_classes, whole.num_classes),
    (part.num_train, whole.num_train),
    (part.num_test, whole.num_test),
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
      "this part, which every result then names, with --config.data.verify=known"
    )
  variant = f"subset-{part.num_classes}-classes"
  return variant, (f"data variant {variant!r}: {counts}",)


def read_split(
  root: Path, listed: ListedSplit, config: DataConfig, where: str, log: Log
) -> tuple[RawSplit, list[str]]:
  """Returns (the images of a split with the ids of the list, notes); see `read_images`."""
  if not listed.files:
    raise DataError(f"data.path={root}: {where} has no images; unpack the set anew")
  split, notes = read_images(
    root, Listing(listed.files, listed.labels, listed.contents), config, where=where, log=log
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
  """Returns the set of the training and the test images that the lists name.

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
