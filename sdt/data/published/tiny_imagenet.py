"""Tiny-ImageNet-200, unpacked: 200 classes of 500 training images, 64 x 64.

The validation set serves as the test set. The content of the archive:

    wnids.txt                        one class per line: its WordNet id, such as n01443537
    words.txt                        WordNet id, tab, names
    train/<id>/images/<id>_<k>.JPEG  k from 0 to 499
    val/images/val_<k>.JPEG          k from 0 to 9999
    val/val_annotations.txt          file, WordNet id and a box, tabs between

The folder test/ is not read: its labels were never published. Boxes are not read.
"""

import collections
import dataclasses
import re
from pathlib import Path

import numpy as np

from sdt.config.schema import DataConfig
from sdt.data.published.listed import ListedSplit, find, names_in, read_listed, rows
from sdt.data.published.registered import Contents, RegisteredSet
from sdt.errors import DataError
from sdt.types import Log

_TOP = "tiny-imagenet-200"
_ANNOTATIONS = "val/val_annotations.txt"
_PER_CLASS = 500
_TEST_PER_CLASS = 50
_NUM_TEST = 10_000
_WNID = re.compile(r"n\d{8}", re.ASCII)
_NUMBER = r"(0|[1-9]\d{0,5})"  # one name for each number


def _wnids(root: Path) -> dict[str, int]:
  """Returns {WordNet id: label}: the row in wnids.txt."""
  labels: dict[str, int] = {}
  for where, (wnid,) in rows(root / "wnids.txt", 1):
    if not _WNID.fullmatch(wnid) or wnid in labels:
      raise DataError(
        f"{where}: {wnid[:80]!r}{' occurs twice' if wnid in labels else ''}, expected one "
        "WordNet id, such as n01443537"
      )
    labels[wnid] = len(labels)
  return labels


def _class_names(root: Path, wnids: dict[str, int]) -> tuple[str, ...]:
  """Returns the first name of every class in words.txt; shared names get the WordNet id too."""
  words = {
    wnid: names.split(",")[0].strip()
    for _, (wnid, names) in rows(root / "words.txt", 2, "\t")
    if wnid in wnids
  }
  nameless = [wnid for wnid in wnids if not words.get(wnid)]
  if nameless:
    raise DataError(
      f"{root / 'words.txt'}: no line of {nameless[0]}, a class of wnids.txt; expected the id, a "
      "tab and its names"
    )
  shared = collections.Counter(words.values())
  return tuple(
    words[wnid] if shared[words[wnid]] == 1 else f"{words[wnid]} ({wnid})" for wnid in wnids
  )


def _train(root: Path, wnids: dict[str, int]) -> ListedSplit:
  """Returns the training images; the id of one is 500 times its label plus its number."""
  unknown = sorted(
    name for name in names_in(root / "train") - wnids.keys() if (root / "train" / name).is_dir()
  )
  if unknown:
    raise DataError(f"{root / 'train' / unknown[0]}: a class that wnids.txt does not list")
  numbered = []
  for wnid, label in wnids.items():
    images = re.compile(rf"{wnid}_{_NUMBER}\.JPEG", re.ASCII)
    for name in names_in(root / "train" / wnid / "images"):
      match = images.fullmatch(name)
      if not match or int(match[1]) >= _PER_CLASS:
        path = root / "train" / wnid / "images" / name
        raise DataError(
          f"{path}: no image of the set; expected {wnid}_0.JPEG to {wnid}_{_PER_CLASS - 1}.JPEG; "
          "remove it"
        )
      numbered.append((_PER_CLASS * label + int(match[1]), f"train/{wnid}/images/{name}"))
  numbered.sort()
  ids = np.array([example_id for example_id, _ in numbered], np.int64)
  return ListedSplit(tuple(file for _, file in numbered), ids // _PER_CLASS, ids)


def _test(root: Path, wnids: dict[str, int]) -> ListedSplit:
  """Returns the validation images; the id of one is its number."""
  images = re.compile(rf"val_{_NUMBER}\.JPEG", re.ASCII)
  present, labels = names_in(root / "val" / "images"), {}
  for where, (name, wnid, *_) in rows(root / _ANNOTATIONS, 6, "\t"):
    match = images.fullmatch(name)
    if not match or int(match[1]) >= _NUM_TEST:
      raise DataError(
        f"{where}: {name[:80]!r} is no validation image; expected val_0.JPEG to "
        f"val_{_NUM_TEST - 1}.JPEG"
      )
    if wnid not in wnids:
      raise DataError(
        f"{where}: {name} is of the class {wnid[:80]!r}, which wnids.txt does not list"
      )
    if name not in present:
      raise DataError(f"{where}: {name} is not in {root / 'val' / 'images'}; unpack the set anew")
    if int(match[1]) in labels:
      raise DataError(f"{where}: {name} occurs twice")
    labels[int(match[1])] = wnids[wnid]
  unlisted = sorted(present - {f"val_{number}.JPEG" for number in labels})
  if unlisted:
    raise DataError(
      f"{root / 'val' / 'images' / unlisted[0]}: {root / _ANNOTATIONS} has no line of it"
    )
  crowded = [
    wnid for wnid, num in collections.Counter(labels.values()).items() if num > _TEST_PER_CLASS
  ]
  if crowded:
    wnid = list(wnids)[crowded[0]]
    raise DataError(
      f"{root / _ANNOTATIONS}: more than {_TEST_PER_CLASS} images of {wnid}, but a class has "
      f"{_TEST_PER_CLASS}"
    )
  ids = np.array(sorted(labels), np.int64)
  return ListedSplit(
    tuple(f"val/images/val_{number}.JPEG" for number in ids),
    np.array([labels[number] for number in ids.tolist()], np.int64),
    ids,
  )


@dataclasses.dataclass(frozen=True)
class TinyImageNetFormat:
  """The unpacked folder. The archive has no registered checksum, so it is not fetched or read."""

  expected: str = (
    f"the unpacked folder {_TOP} with wnids.txt, words.txt, train/ and val/, or the folder that it "
    "is in"
  )

  def find(self, root: Path, spec: RegisteredSet) -> Path | None:
    """Returns the folder with wnids.txt: `root`, or the one in it."""
    del spec
    return find(root, _TOP, ("wnids.txt",))

  def read(self, place: Path, spec: RegisteredSet, config: DataConfig, log: Log) -> Contents:
    """Returns the set; labels are rows of wnids.txt.

    The id of a training image is 500 times the label plus the number in the file's name, that of a
    test image is the number. So ids are rows of the whole set, sorted by label and number, even if
    only a part of it is there, provided that its wnids.txt is the whole one or its beginning.

    Raises:
      DataError: lists and files disagree (with file and line), more or fewer images than
        `data.verify` accepts, or an image cannot be read.
    """
    wnids = _wnids(place)
    return read_listed(
      place,
      spec,
      _class_names(place, wnids),
      splits=(_train(place, wnids), _test(place, wnids)),
      config=config,
      log=log,
    )

  def read_prepared(
    self, folder: Path, spec: RegisteredSet, config: DataConfig, log: Log
  ) -> Contents:
    """Raises a DataError: tensorflow-datasets does not have the set."""
    raise DataError(f"{folder}: {spec.name} is read from {self.expected}")
