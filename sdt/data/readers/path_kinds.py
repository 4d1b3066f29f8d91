"""What stands at `data.path`, and how a path of another kind than `data.name` asks for is read."""

import contextlib
import itertools
from pathlib import Path

from sdt import named_files
from sdt.config.schema import DataConfig
from sdt.data.readers import csv_list, folder_layout
from sdt.data.readers.image_kinds import is_image
from sdt.errors import DataError, did_you_mean

EXPECTED = {
  "folder": f"a folder; {folder_layout.EXPECTED}",
  "csv": f"a CSV file, {csv_list.FORM}",
  "npz": "a .npz with train_x, train_y and perhaps test_x, test_y, class_names",
}
# The config file that reads each kind; that of images resizes, which arrays do not allow.
_READ_BY = {
  "folder": "--config=configs/folder.py",
  "csv": "--config=configs/folder.py --config.data.name=csv",
  "npz": "--config=configs/npz.py",
}
OTHER_KINDS = {
  "archive": "an archive: unpack it, and give the folder or the file in it",
  "spreadsheet": "a spreadsheet: save it as CSV in UTF-8, and give that",
  "image": "one image: give the folder or the list of the images",
  "file": "a file of another kind",
}
# The first bytes of zip, gzip, bzip2, xz, zstd, 7z and rar.
_ZIP = b"PK\x03\x04"
_PACKED = (_ZIP, b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd", b"7z\xbc\xaf", b"Rar!")
_ZIP_NAME = slice(30, 60)  # of the name of the first member
_DIRECTORY_BYTES = 2**16
_NUM_SIBLINGS = 1000


def kind_of(path: Path) -> str:
  """Returns "folder", "csv", "npz", "archive", "spreadsheet", "image" or "file"."""
  if path.is_dir():
    return "folder"
  if not path.is_file():
    return "file"
  with path.open("rb") as file:
    begin = file.read(512)
  if begin.startswith(_ZIP) and b".npy" in begin[_ZIP_NAME]:
    return "npz"
  if begin.startswith(_ZIP) and begin[_ZIP_NAME].startswith(b"[Content_Types].xml"):
    return "spreadsheet"
  if begin.startswith(_PACKED) or begin[257:262] == b"ustar":
    return "archive"
  if path.suffix.lower() == ".csv":
    return "csv"
  return "image" if is_image(path) else "file"


def _has_test(kind: str, path: Path) -> bool:
  """Returns whether the set at `path` has its own test split; raises a DataError as its reader."""
  if kind == "npz":
    with path.open("rb") as file:
      file.seek(max(0, path.stat().st_size - _DIRECTORY_BYTES))
      return b"test_x.npy" in file.read()
  if kind == "csv":
    return csv_list.has_test(path)
  return folder_layout.find(path, DataConfig(name="folder", test_fraction=0.2)).test is not None


def _refuse_missing(path: Path, name: str) -> None:
  siblings: list[str] = []
  with contextlib.suppress(OSError):
    siblings = [entry.name for entry in itertools.islice(path.parent.iterdir(), _NUM_SIBLINGS)]
  raise DataError(
    f"data.path={path}: no such {'folder' if name == 'folder' else 'file'}"
    f"{did_you_mean(path.name, siblings)}; expected {EXPECTED[name]}"
  )


def refuse_other_kind(config: DataConfig) -> None:
  """Refuses a `data.path` that is not of the kind that `data.name` reads, and says what reads it.

  What is damaged or of no known kind is left to the readers, which have more to say.

  Raises:
    DataError: the path is of another kind, or there is nothing. OSError: it cannot be read.
  """
  if config.name not in EXPECTED or config.path is None:
    return
  path, name = named_files.expanded(config.path), config.name
  if not path.exists() and not path.is_symlink():
    _refuse_missing(path, name)
  kind = kind_of(path)
  is_left_to_reader = {"csv": ("file",), "npz": ("file", "archive"), "folder": ()}[name]
  if kind == name or kind in is_left_to_reader:
    return
  expected = f"data.name={name} reads {EXPECTED[name]}"
  if kind not in _READ_BY:
    raise DataError(f"data.path={path}: {OTHER_KINDS[kind]}; {expected}")
  try:
    has_test, end = _has_test(kind, path), ""
  except DataError as error:
    raise DataError(
      f"data.path={path}: a {kind}, which data.name={kind} cannot read either: {error}; {expected}"
    ) from error
  has_test &= config.test_split == "own"
  if has_test == (config.test_fraction is not None):
    end = ", without data.test_fraction" if has_test else " --config.data.test_fraction=0.2"
  raise DataError(
    f"data.path={path}: a {kind}: give {_READ_BY[kind]} --config.data.path={path}{end}; {expected}"
  )
