"""Reads arrays from a NumPy archive.

Every declared size is checked before memory is allocated, and object arrays are never loaded.
"""

import math
import os
import struct
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from sdt import named_files
from sdt.config.schema import DataConfig
from sdt.data.assemble import Raw, assemble
from sdt.data.checks import AnyArray
from sdt.data.dataset import Data, RawSplit
from sdt.data.readers import array_labels
from sdt.errors import DataError

_REQUIRED = ("train_x", "train_y")
_OPTIONAL = ("test_x", "test_y", "class_names")
_MAX_DIRECTORY_BYTES = 2**16  # of the archive's table of contents: some hundred entries
# Uncompressed over compressed bytes, of archives that unpack to more than _RATIO_FREE_BYTES.
_MAX_RATIO = 100
_RATIO_FREE_BYTES = 2**26
MAX_HEADER_BYTES = 10_000
_CHANNELS = (1, 3, 4)  # what images usually have: grey, RGB, RGB and another
type Span = tuple[float, float]
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


def inputs_of(
  arrays: Mapping[str, AnyArray], where: str, channels: int | None
) -> dict[str, AnyArray]:
  """Returns the inputs of each split, from arrays train_x and perhaps test_x.

  Args:
    arrays: by name; others are left alone.
    where: what messages call the set.
    channels: `data.channels`.

  Raises:
    DataError: images that are no uint8, whose channels come first, or are of an odd number.
  """
  inputs = {side: arrays[f"{side}_x"] for side in ("train", "test") if f"{side}_x" in arrays}
  images = [array for array in inputs.values() if array.ndim in (3, 4)]
  is_right = all(array.dtype == np.uint8 for array in images)
  span = (0.0, 255.0) if is_right else _span(images)
  return {
    side: _inputs(array, f"{where}: {side}_x", channels=channels, span=span)
    for side, array in inputs.items()
  }


def _inputs(array: AnyArray, where: str, *, channels: int | None, span: Span) -> AnyArray:
  """Returns the inputs with a channel for grey images [N, H, W], and other floats as float32.

  Args:
    array: of one split.
    where: what messages call it.
    channels: `data.channels`.
    span: the lowest and the highest value of the images of both splits.

  Raises:
    DataError: images that are no uint8, whose channels come first, or are of an odd number.
  """
  if array.ndim == 0:
    raise DataError(f"{where} is one value; expected an array with a row or an image per example")
  if array.dtype.kind == "f" and array.ndim == 2:
    # A value beyond float32 becomes infinite; the check of the inputs refuses it.
    with np.errstate(over="ignore"):
      return array.astype(np.float32)
  if array.ndim == 2 and array.dtype.kind in "uib" and array.size:
    raise DataError(
      f"{where} is {array.dtype} {list(array.shape)}; rows of numbers must be floats: write it "
      "anew as x.astype(numpy.float32), or images as x.reshape(-1, height, width, channels)"
    )
  if array.ndim not in (3, 4) or array.dtype.kind not in "uifb" or 0 in array.shape:
    return array
  images = array[..., None] if array.ndim == 3 else array
  layout, advice = _layout(images.shape, channels)
  if array.dtype != np.uint8:
    raise DataError(
      f"{where} is {array.dtype} {list(array.shape)}{_to_bytes(array, span)}{layout}{advice}"
    )
  if layout or advice:
    remedy = f": write it anew as x{layout}{advice}" if layout else advice
    raise DataError(
      f"{where} is {list(array.shape)}, expected [N, height, width, channels] with "
      f"{channels or '1, 3 or 4'} channels{remedy}"
    )
  return images


def _span(arrays: Iterable[AnyArray]) -> Span:
  """Returns (lowest, highest) of the finite values of all images; (0, 0) without any."""
  spans = []
  for array in arrays:
    values = array[np.isfinite(array)] if array.dtype.kind == "f" else array
    if array.dtype.kind in "uifb" and values.size:
      spans.append((float(values.min()), float(values.max())))
  lows, highs = zip(*spans, strict=True) if spans else ((0.0,), (0.0,))
  return min(lows), max(highs)


def _to_bytes(array: AnyArray, span: Span) -> str:
  """Returns what images of another type than uint8 hold, and the call that converts them.

  The call is the same for both splits: it maps the whole range of the set, also below 0.
  """
  bad = ~np.isfinite(array) if array.dtype.kind == "f" else np.zeros(array.shape, bool)
  if bad.any():
    places = np.flatnonzero(bad.reshape(len(array), -1).any(axis=1))
    return (
      f"; {len(places)} of its {len(array)} images hold values that are not finite, the first is "
      f"image {places[0]}: mend or remove them, and then write it anew as uint8, 0 to 255"
    )
  low, high = span
  if low >= 0:
    low, high = 0.0, high if high > 255 else 255.0 if high > 1 else 1.0
  return (
    f" with values from {float(array.min()):g} to {float(array.max()):g}; images must be uint8, 0 "
    f"to 255, [N, height, width, channels]: write it anew, such as {call_to_bytes(low, high)}"
  )


def call_to_bytes(low: float, high: float) -> str:
  """Returns the call that makes bytes, 0 to 255, of numbers `x` from `low` to `high`."""
  factor = {1.0: "255 * ", 255.0: ""}.get(high - low, f"255 / {high - low:g} * ")
  shifted = "x" if not low else f"(x + {float(f'{-low:.6g}')})"  # a float: 8 bits would overflow
  return f"numpy.rint({factor}{shifted}).clip(0, 255).astype(numpy.uint8)"


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


def _class_names(arrays: dict[str, AnyArray], path: Path) -> tuple[str, ...] | None:
  """Returns the names that the archive gives, None where it gives none."""
  if "class_names" not in arrays:
    return None
  names = arrays["class_names"]
  if names.ndim != 1 or names.dtype.kind != "U" or not len(names):
    raise DataError(
      f"data.path={path}: class_names is {names.dtype} {list(names.shape)}, expected text "
      "[classes], such as numpy.array(['cat', 'dog'])"
    )
  return tuple(str(name) for name in names)


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
  where, names = f"data.path={path}", _class_names(arrays, path)
  splits = {
    side: RawSplit(inputs, arrays[f"{side}_y"])
    for side, inputs in inputs_of(arrays, where, config.channels).items()
  }
  labels = {f"{side}_y": split.labels for side, split in splits.items()}
  raw = Raw(
    train=splits["train"],
    test=splits.get("test"),
    class_names=array_labels.check(labels, names, where, may_lack=config.allow_empty_class),
    where=f"npz set {path}",
    variant="custom",
  )
  return assemble(raw, config)
