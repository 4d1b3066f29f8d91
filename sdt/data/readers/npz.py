"""Reads arrays from a NumPy archive.

Every declared size is checked before memory is allocated, and object arrays are never loaded.
"""

import math
import os
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np

from sdt import named_files
from sdt.config.schema import DataConfig
from sdt.data.assemble import Raw, assemble
from sdt.data.checks import AnyArray
from sdt.data.dataset import Data, RawSplit
from sdt.errors import DataError

_REQUIRED = ("train_x", "train_y")
_OPTIONAL = ("test_x", "test_y", "class_names")
_MAX_DIRECTORY_BYTES = 2**16  # of the archive's table of contents: some hundred entries
# Uncompressed over compressed bytes, of archives that unpack to more than _RATIO_FREE_BYTES.
_MAX_RATIO = 100
_RATIO_FREE_BYTES = 2**26
MAX_HEADER_BYTES = 10_000
_MAX_CLASSES = 2**16
_CHANNELS = (1, 3, 4)  # what images usually have: grey, RGB, RGB and another
_FEW = 16  # the first size of images is taken for channels up to this, where the last is larger


def _directory_bytes(path: Path, where: str) -> int:
  """Returns the declared size of the archive's table of contents, in bytes, without reading it."""
  with path.open("rb") as file:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 2**16 - 22))
    tail = file.read()
  end = tail.rfind(b"PK\x05\x06")
  if end < 0 or len(tail) < end + 22:
    raise DataError(f"{where}: not a .npz archive, or cut off: its table of contents is missing")
  if (
    tail[end - 20 : end - 16] == b"PK\x06\x07"
    and end >= 76
    and tail[end - 76 : end - 72] == b"PK\x06\x06"
  ):
    return int(struct.unpack("<Q", tail[end - 36 : end - 28])[0])
  return int(struct.unpack("<I", tail[end + 12 : end + 16])[0])


def check_directory(path: Path, where: str) -> None:
  """Refuses a file that is no archive, and one with more entries than a data set can have."""
  if _directory_bytes(path, where) > _MAX_DIRECTORY_BYTES:
    raise DataError(f"{where}: the archive lists more entries than a data set can have")


def _declared_bytes(archive: zipfile.ZipFile, info: zipfile.ZipInfo, where: str) -> int:
  """Returns the size of one member that its array header declares: header + array, in bytes."""
  with archive.open(info) as file:
    version = np.lib.format.read_magic(file)
    read = (
      np.lib.format.read_array_header_1_0
      if version == (1, 0)
      else np.lib.format.read_array_header_2_0
    )
    shape, _, dtype = read(file, max_header_size=MAX_HEADER_BYTES)
    header_bytes = file.tell()
  if dtype.hasobject:
    raise DataError(
      f"{where} holds Python objects (a pickle), which are never loaded; save it as numbers"
    )
  return header_bytes + math.prod(shape) * dtype.itemsize


def check_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, where: str) -> None:
  """Refuses an array whose header declares another size than the archive, or Python objects."""
  where = f"{where}: array {info.filename.removesuffix('.npy')}"
  declared = _declared_bytes(archive, info, where)
  if declared != info.file_size:
    raise DataError(
      f"{where}: its header declares {declared} bytes, but the archive holds {info.file_size}; "
      "the file is damaged or forged"
    )


def _memory_bytes() -> int:
  return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _check_archive(archive: zipfile.ZipFile, path: Path) -> None:
  """Refuses duplicates, missing keys, wrong or huge sizes, and the compression of a bomb."""
  names = [info.filename for info in archive.infolist()]
  if len(set(names)) != len(names):
    raise DataError(
      f"data.path={path}: an array is stored twice in the archive; write it anew with numpy.savez"
    )
  missing = [key for key in _REQUIRED if key + ".npy" not in names]
  if missing:
    raise DataError(
      f"data.path={path}: no array {missing[0]!r}; expected {', '.join(_REQUIRED)} and, if there "
      "is a test split, test_x, test_y; found "
      f"{', '.join(name.removesuffix('.npy') for name in names[:8]) or 'nothing'}"
    )
  wanted = [
    info
    for info in archive.infolist()
    if info.filename.removesuffix(".npy") in _REQUIRED + _OPTIONAL
  ]
  total, packed = sum(info.file_size for info in wanted), sum(info.compress_size for info in wanted)
  if total > _memory_bytes() // 2:
    raise DataError(
      f"data.path={path}: unpacks to {total / 2**30:.1f} GiB, more than half of this machine's "
      "memory"
    )
  if total > _RATIO_FREE_BYTES and total > _MAX_RATIO * packed:
    raise DataError(
      f"data.path={path}: {packed} bytes claim to unpack to {total}, more than {_MAX_RATIO} times "
      "as much; if that is right, write it with numpy.savez, uncompressed"
    )
  for info in wanted:
    check_member(archive, info, f"data.path={path}")


def _read(path: Path) -> dict[str, AnyArray]:
  """Returns the arrays of the archive, by key.

  Raises:
    DataError: not a readable archive, a wrong size, an object array.
  """
  if not path.is_file():
    raise DataError(
      f"data.path={path}: no such file; expected a .npz with train_x, train_y and perhaps test_x, "
      "test_y, class_names"
    )
  try:
    check_directory(path, f"data.path={path}")
    with zipfile.ZipFile(path) as archive:
      _check_archive(archive, path)
    with np.load(path, allow_pickle=False) as arrays:
      return {key: arrays[key] for key in _REQUIRED + _OPTIONAL if key in arrays.files}
  except (
    zipfile.BadZipFile,
    zlib.error,
    ValueError,
    EOFError,
    OSError,
    NotImplementedError,
    RuntimeError,
    MemoryError,
  ) as error:
    raise DataError(
      f"data.path={path}: cannot be read: "
      f"{str(error).splitlines()[0] if str(error) else type(error).__name__}"
    ) from error


def inputs_of(array: AnyArray, where: str, channels: int | None) -> AnyArray:
  """Returns the inputs with a channel for grey images [N, H, W], and other floats as float32.

  Raises:
    DataError: images that are no uint8, whose channels come first, or are of an odd number.
  """
  if array.dtype.kind == "f" and array.ndim == 2:
    # A value beyond float32 becomes infinite; the check of the inputs refuses it.
    with np.errstate(over="ignore"):
      return array.astype(np.float32)
  if array.ndim not in (3, 4) or array.dtype.kind not in "uif" or 0 in array.shape:
    return array
  images = array[..., None] if array.ndim == 3 else array
  layout, advice = _layout(images.shape, channels)
  if array.dtype != np.uint8:
    largest = float(array.max())
    white = largest if largest > 255 else 255.0 if largest > 1 else 1.0
    raise DataError(
      f"{where} is {array.dtype} {list(array.shape)} with values up to {largest:g}; images must be "
      "uint8, 0 to 255, [N, height, width, channels]: write it anew, such as "
      f"numpy.rint(255 / {white:g} * x).clip(0, 255).astype(numpy.uint8){layout}{advice}"
    )
  if layout or advice:
    remedy = f": write it anew as x{layout}{advice}" if layout else advice
    raise DataError(
      f"{where} is {list(array.shape)}, expected [N, height, width, channels] with "
      f"{channels or '1, 3 or 4'} channels{remedy}"
    )
  return images


def _layout(shape: tuple[int, ...], channels: int | None) -> tuple[str, str]:
  """Returns what is to be done about the channels of images of this shape: ("", "") for nothing.

  That is (the call that brings them last, what else there is to do).
  """
  _, first, middle, last = shape
  last_first = ".transpose(0, 2, 3, 1)"
  if channels is not None:
    if last == channels:
      return "", ""
    if first == channels:
      return last_first, ""
    return "", f"; data.channels={channels} is not one of its sizes, correct it"
  if last not in _CHANNELS and first in _CHANNELS:
    return last_first, ""
  if last in _CHANNELS:
    # Such as 3 channels of 4 x 4 pixels.
    is_doubtful = first in _CHANNELS and middle == last != first
    return (last_first, f", or give --config.data.channels={last}") if is_doubtful else ("", "")
  if first <= _FEW < last:
    return last_first, f", and give --config.data.channels={first}"
  return "", f"; if it has {last}, say so: --config.data.channels={last}"


def _class_names(arrays: dict[str, AnyArray], path: Path) -> tuple[str, ...]:
  """Returns the given names, else "0", "1", ... up to the largest label."""
  if "class_names" in arrays:
    names = arrays["class_names"]
    if names.ndim != 1 or names.dtype.kind != "U" or not len(names):
      raise DataError(
        f"data.path={path}: class_names is {names.dtype} {list(names.shape)}, expected text "
        "[classes]"
      )
    return tuple(str(name) for name in names)
  labels = [
    arrays[key]
    for key in ("train_y", "test_y")
    if key in arrays and arrays[key].dtype.kind in "iu" and arrays[key].size
  ]
  largest = max((int(values.max()) for values in labels), default=0)
  if largest >= _MAX_CLASSES:
    raise DataError(
      f"data.path={path}: the largest label is {largest}; labels are class numbers 0, 1, ..., "
      f"below {_MAX_CLASSES}"
    )
  return tuple(str(label) for label in range(max(largest, 0) + 1))


def load_npz(config: DataConfig) -> Data:
  """Returns the set in the archive `data.path`.

  Arrays: train_x uint8 [N,H,W,C] or [N,H,W], or floats [N,D]; train_y integers [N]; optionally
  test_x, test_y, and class_names (text [K]).

  Raises:
    DataError: see `_read` and `assemble`.
  """
  if config.path is None:
    raise DataError("data.name=npz needs the archive: --config.data.path=FILE.npz")
  path = named_files.expanded(config.path)
  arrays = _read(path)
  if ("test_x" in arrays) != ("test_y" in arrays):
    raise DataError(f"data.path={path}: one of test_x and test_y is missing; give both or none")
  splits = {}
  for split in ("train", "test"):
    if f"{split}_x" in arrays:
      inputs = inputs_of(arrays[f"{split}_x"], f"data.path={path}: {split}_x", config.channels)
      splits[split] = RawSplit(inputs, arrays[f"{split}_y"])
  for split, value in splits.items():
    if value.inputs.ndim == 0 or value.labels.ndim != 1:
      raise DataError(
        f"data.path={path}: {split}_y has shape {list(value.labels.shape)}, expected integers [N]"
      )
  raw = Raw(
    train=splits["train"],
    test=splits.get("test"),
    class_names=_class_names(arrays, path),
    where=f"npz set {path}",
    variant="custom",
  )
  return assemble(raw, config)
