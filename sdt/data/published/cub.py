"""CUB-200-2011: 11,788 photographs of 200 kinds of birds, of many sizes, and their official split.

Wah, Branson, Welinder, Perona, Belongie, "The Caltech-UCSD Birds-200-2011 Dataset",
CNS-TR-2011-001. The content of its archive; a space separates the columns of the lists:

    classes.txt              class id from 1, name such as 001.Black_footed_Albatross
    images.txt               image id from 1, file below images/
    image_class_labels.txt   image id, class id
    train_test_split.txt     image id, 1 for training and 0 for test
    images/<name>/<file>
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np

from sdt.config.schema import DataConfig
from sdt.data.published.listed import ListedSplit, find, names_in, read_listed, read_split, rows
from sdt.data.published.prepared import PreparedSplit
from sdt.data.published.registered import Contents, RegisteredSet, refuse_unverified
from sdt.errors import DataError
from sdt.types import Log

_TOP = "CUB_200_2011"
_LISTS = ("images.txt", "classes.txt", "image_class_labels.txt", "train_test_split.txt")
_MAX_ID = 2**31 - 1


def _by_id(path: Path) -> dict[int, tuple[str, str]]:
  """Returns {id: (value, where)} of a list of two columns, an id from 1 and a value."""
  values: dict[int, tuple[str, str]] = {}
  for where, (text, value) in rows(path, 2):
    is_id = text.isascii() and text.isdigit() and 1 <= int(text[:11]) <= _MAX_ID
    if not is_id or int(text) in values:
      raise DataError(
        f"{where}: {text[:80]!r} as the id, expected a whole number from 1 that no other line has"
      )
    values[int(text)] = (value, where)
  return values


def _beside(
  files: dict[int, tuple[str, str]], path: Path, choices: dict[str, int]
) -> dict[int, int]:
  """Returns {image id: choices[value]} of a list that must have one line for every image."""
  values = _by_id(path)
  for image_id, (value, where) in values.items():
    if image_id not in files:
      raise DataError(f"{where}: image {image_id}, which images.txt does not list")
    if value not in choices:
      raise DataError(
        f"{where}: {value[:80]!r}, expected one of "
        f"{', '.join(list(choices)[:3])}{', ...' if len(choices) > 3 else ''}"
      )
  lacking = next((image_id for image_id in files if image_id not in values), None)
  if lacking is not None:
    raise DataError(f"{files[lacking][1]}: image {lacking}, of which {path} has no line")
  return {image_id: choices[values[image_id][0]] for image_id in files}


def class_name(folder: str) -> str:
  """Returns a class name without its number: 001.Blue_Jay becomes Blue_Jay."""
  number, _, name = folder.partition(".")
  return name if number.isdigit() and name else folder


def _check_present(
  root: Path, files: dict[int, tuple[str, str]], folder_of: dict[int, str], folders: set[str]
) -> None:
  """Refuses a listed file that is absent or in another class's folder, and a file without a line.

  Args:
    root: the folder of the set.
    files: {image id: (file below images/, where)}.
    folder_of: {image id: the folder of its class}.
    folders: of all classes.
  """
  images = root / "images"
  present = {name: names_in(images / name) for name in folders}
  for image_id, (file, where) in files.items():
    folder, _, name = file.partition("/")
    if folder != folder_of[image_id]:
      raise DataError(
        f"{where}: {file!r} is in the folder of another class than image_class_labels.txt says, "
        f"{folder_of[image_id]}"
      )
    if name not in present.get(folder, ()):
      raise DataError(
        f"{where}: {file!r} is not in {images}, or another line names it too; unpack the set anew"
      )
    present[folder].remove(name)
  present |= {name: {""} for name in names_in(images) - folders}
  unlisted = sorted(f"{folder}/{name}" for folder, names in present.items() for name in names)
  if unlisted:
    raise DataError(
      f"{images / unlisted[0]}: {root / 'images.txt'} has no line of it; remove it, or unpack the "
      "set anew"
    )


def _listed(root: Path) -> tuple[tuple[str, ...], tuple[ListedSplit, ListedSplit]]:
  """Returns (class names, (training images, test images)).

  Classes are those that have an image, in the order of their ids.
  """
  folders = {number: name for number, (name, _) in _by_id(root / "classes.txt").items()}
  files = _by_id(root / "images.txt")
  classes = _beside(
    files, root / "image_class_labels.txt", {str(number): number for number in folders}
  )
  is_train = _beside(files, root / "train_test_split.txt", {"0": 0, "1": 1})
  folder_of = {image_id: folders[number] for image_id, number in classes.items()}
  _check_present(root, files, folder_of, folders=set(folders.values()))
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
  """The unpacked folder, or the set that tfds prepared from it."""

  expected: str = (
    f"the unpacked folder {_TOP} with {', '.join(_LISTS)} and images/, or the folder that it is in"
  )

  def find(self, root: Path, spec: RegisteredSet) -> Path | None:
    """Returns the folder with images.txt: `root`, or the one in it."""
    del spec
    return find(root, _TOP, ("images.txt",))

  def read(self, place: Path, spec: RegisteredSet, config: DataConfig, log: Log) -> Contents:
    """Returns the set in its official split.

    The id of an example is its image id minus 1, so the ids of both splits have gaps.

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

    tfds keeps no image ids, so the id of an example is its place among the sorted file names of
    both splits. That is not the order of images.txt: to compare scores of the original and of the
    prepared set, join them by the source file.

    Raises:
      DataError: `data.verify` is strict, another set, damaged, or an image that cannot be read.
    """
    variant, notes = refuse_unverified(folder, spec, config.verify)
    sides = {"train": spec.sizes.num_train, "test": spec.sizes.num_test}
    sources = [PreparedSplit(folder, split, num) for split, num in sides.items()]
    listings = [_prepared_files(source, spec.sizes.num_classes) for source in sources]
    every = sorted({file for files in listings for file in files})
    if len(every) != sum(len(files) for files in listings):
      raise DataError(f"prepared set {folder}: a file name occurs twice")
    example_ids = {file: example_id for example_id, file in enumerate(every)}
    class_names = {
      label: class_name(file.split("/")[1])
      for files in listings
      for file, (_, label) in files.items()
    }
    splits = []
    for source, files in zip(sources, listings, strict=True):
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
  """Returns {file, such as images/001.Blue_Jay/x.jpg: (place in the source, label)}."""
  files = {}
  for place, example in enumerate(source.examples(("image", "image/filename", "label"))):
    path, label = example["image/filename"].decode(errors="replace"), int(example["label"])
    folder, _, name = path.removeprefix(f"{_TOP}/").removeprefix("images/").partition("/")
    number = folder.partition(".")[0]
    is_file = name and "/" not in name and number.isascii() and number.isdigit()
    if not is_file or not 1 <= int(number[:9]) == label + 1 <= num_classes:
      raise DataError(
        f"{source.where}: {path!r} with label {label}; expected {_TOP}/images/NNN.CLASS/FILE with "
        f"NNN = label + 1 to {num_classes}"
      )
    files[f"images/{folder}/{name}"] = (place, label)
  return files


def _contents(source: PreparedSplit, places: list[int]) -> Callable[[int], bytes]:
  """Returns a function that reads the image at a place in the sorted list."""

  def read(at: int) -> bytes:
    image: bytes = source[places[at]]["image"]
    return image

  return read
