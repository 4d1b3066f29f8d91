"""CUB-200-2011: 11,788 photographs of 200 kinds of birds, of many sizes, and their official split.

Wah, Branson, Welinder, Perona, Belongie, "The Caltech-UCSD Birds-200-2011 Dataset",
CNS-TR-2011-001. As its archive unpacks, the columns of the lists with a space between:

    classes.txt              class id from 1, name such as 001.Black_footed_Albatross
    images.txt               image id from 1, file below images/
    image_class_labels.txt   image id, class id
    train_test_split.txt     image id, 1 for training and 0 for test
    images/<name>/<file>
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np

from sdt.config.schema import DataConfig
from sdt.data.published.listed import ListedSplit, find, names_in, read_listed, read_split, rows
from sdt.data.published.prepared import PreparedSplit
from sdt.data.published.registered import Contents, Log, RegisteredSet, refuse_unverified
from sdt.errors import DataError

_TOP = "CUB_200_2011"
_LISTS = ("images.txt", "classes.txt", "image_class_labels.txt", "train_test_split.txt")
_MAX_ID = 2**31 - 1


def _by_id(path: Path) -> dict[int, tuple[str, str]]:
  """Returns {id: (the value beside it, where)} of a list whose first column is an id from 1."""
  found: dict[int, tuple[str, str]] = {}
  for where, (text, value) in rows(path, 2):
    if (
      not (text.isascii() and text.isdigit() and 1 <= int(text[:11]) <= _MAX_ID)
      or int(text) in found
    ):
      raise DataError(
        f"{where}: {text[:80]!r} as the id, expected a whole number from 1 that no other line has"
      )
    found[int(text)] = (value, where)
  return found


def _beside(
  files: dict[int, tuple[str, str]], path: Path, choices: dict[str, int]
) -> dict[int, int]:
  """Returns {image id: what `choices` makes of the value}, for a list that must have a line for
  every image and no other.
  """
  found = _by_id(path)
  for image_id, (value, where) in found.items():
    if image_id not in files:
      raise DataError(f"{where}: image {image_id}, which images.txt does not list")
    if value not in choices:
      raise DataError(
        f"{where}: {value[:80]!r}, expected one of "
        f"{', '.join(list(choices)[:3])}{', ...' if len(choices) > 3 else ''}"
      )
  lacking = next((image_id for image_id in files if image_id not in found), None)
  if lacking is not None:
    raise DataError(f"{files[lacking][1]}: image {lacking}, of which {path} has no line")
  return {image_id: choices[found[image_id][0]] for image_id in files}


def class_name(folder: str) -> str:
  """Returns the name without its number: Black_footed_Albatross of 001.Black_footed_Albatross."""
  number, _, name = folder.partition(".")
  return name if number.isdigit() and name else folder


def _listed(root: Path) -> tuple[tuple[str, ...], tuple[ListedSplit, ListedSplit]]:
  """Returns (class names, (training images, test images)); classes are those that have an image, in
  the order of their ids.
  """
  folders = {number: name for number, (name, _) in _by_id(root / "classes.txt").items()}
  files = _by_id(root / "images.txt")
  classes = _beside(
    files, root / "image_class_labels.txt", {str(number): number for number in folders}
  )
  is_train = _beside(files, root / "train_test_split.txt", {"0": 0, "1": 1})
  present = {name: names_in(root / "images" / name) for name in set(folders.values())}
  for image_id, (file, where) in files.items():
    folder, _, name = file.partition("/")
    if folder != folders[classes[image_id]]:
      raise DataError(
        f"{where}: {file!r} lies in the folder of another class than image_class_labels.txt says, "
        f"{folders[classes[image_id]]}"
      )
    if name not in present.get(folder, ()):
      raise DataError(
        f"{where}: {file!r} is not in {root / 'images'}, or another line names it too; unpack the "
        "set anew"
      )
    present[folder].remove(name)
  present |= {name: {""} for name in names_in(root / "images") - present.keys()}
  unlisted = sorted(f"{folder}/{name}" for folder, names in present.items() for name in names)
  if unlisted:
    raise DataError(
      f"{root / 'images' / unlisted[0]}: {root / 'images.txt'} has no line of it; remove it, or "
      "unpack the set anew"
    )
  used = sorted(set(classes.values()))
  labels = {number: label for label, number in enumerate(used)}
  splits = []
  for side in (1, 0):
    ids = sorted(image_id for image_id in files if is_train[image_id] == side)
    names = tuple(f"images/{files[image_id][0]}" for image_id in ids)
    splits.append(
      ListedSplit(
        names,
        np.array([labels[classes[image_id]] for image_id in ids], np.int64),
        np.array(ids, np.int64) - 1,
      )
    )
  return tuple(class_name(folders[number]) for number in used), (splits[0], splits[1])


@dataclasses.dataclass(frozen=True)
class CubFormat:
  """The unpacked folder, and what tfds makes of it."""

  expected: str = (
    "the "
    f"unpacked folder {_TOP} with {', '.join(_LISTS)} and images/, or the folder "
    "that it lies "
    "in"
  )

  def find(self, root: Path, spec: RegisteredSet) -> Path | None:
    """Returns the folder with images.txt: `root`, or the one in it."""
    del spec
    return find(root, _TOP, ("images.txt",))

  def read(self, place: Path, spec: RegisteredSet, config: DataConfig, log: Log) -> Contents:
    """Returns the set under its official split; the id of an example is its image id less 1, so
    both splits have gaps.

    Raises:
      DataError: lists and files disagree (with file and line), more or fewer images than
        `data.verify` accepts, or an image cannot be read.
    """
    class_names, splits = _listed(place)
    return read_listed(place, spec, class_names, splits=splits, config=config, log=log)

  def read_prepared(
    self, folder: Path, spec: RegisteredSet, config: DataConfig, log: Log
  ) -> Contents:
    """Returns the set from a folder that tfds prepared, which cannot be verified.

    tfds keeps no image ids, so the id of an example is its place among the file names of both
    splits, sorted. That is not the order of images.txt: scores of the two ways are joined by the
    source file, which is the same.

    Raises:
      DataError: `data.verify` is strict, another set, damaged, or an image that cannot be read.
    """
    variant, notes = refuse_unverified(folder, spec, config.verify)
    sides = {"train": spec.sizes.num_train, "test": spec.sizes.num_test}
    sources = [PreparedSplit(folder, split, num) for split, num in sides.items()]
    found = [_prepared_files(source, spec.sizes.num_classes) for source in sources]
    every = sorted({file for files in found for file in files})
    if len(every) != sum(len(files) for files in found):
      raise DataError(f"prepared set {folder}: a file name stands there twice")
    example_ids = {file: example_id for example_id, file in enumerate(every)}
    class_names = {
      label: class_name(file.split("/")[1]) for files in found for file, (_, label) in files.items()
    }
    splits = []
    for source, files in zip(sources, found, strict=True):
      names = sorted(files)
      places, labels = np.array([files[name] for name in names], np.int64).T
      listed = ListedSplit(
        tuple(names),
        labels,
        np.array([example_ids[name] for name in names], np.int64),
        contents=_contents(source, places.tolist()),
      )
      splits.append(read_split(folder, listed, config, where=source.where, log=log))
    (train, train_notes), (test, test_notes) = splits
    return Contents(
      train,
      test,
      tuple(class_names[label] for label in sorted(class_names)),
      variant=variant,
      notes=(*notes, *train_notes, *test_notes),
    )


def _prepared_files(source: PreparedSplit, num_classes: int) -> dict[str, tuple[int, int]]:
  """Returns {file such as images/001.Black_footed_Albatross/x.jpg: (place in the source,
  label)}.
  """
  files = {}
  for place, example in enumerate(source.examples(("image", "image/filename", "label"))):
    path, label = example["image/filename"].decode(errors="replace"), int(example["label"])
    folder, _, name = path.removeprefix(f"{_TOP}/").removeprefix("images/").partition("/")
    number = folder.partition(".")[0]
    if (
      not name
      or "/" in name
      or not (number.isascii() and number.isdigit())
      or not 1 <= int(number[:9]) == label + 1 <= num_classes
    ):
      raise DataError(
        f"{source.where}: {path!r} with label {label}; expected {_TOP}/images/NNN.CLASS/FILE with "
        f"NNN = label + 1 to {num_classes}"
      )
    files[f"images/{folder}/{name}"] = (place, label)
  return files


def _contents(source: PreparedSplit, places: list[int]) -> Callable[[int], bytes]:
  """Returns the function that reads the image at a place in the sorted list."""

  def read(at: int) -> bytes:
    image: bytes = source[places[at]]["image"]
    return image

  return read
