"""Keeps decoded image files as one array in the data directory, and maps it back into memory.

Reading the images again costs a SHA-256, and no memory. The folder `prepared/` in the data
directory holds KEY.npy (uint8 [n, H, W, 3]) and KEY.json, which is written last and describes the
array. Both are sealed by `sdt.files`. The key is a hash of the places, sizes and times of the files
and of how they were decoded. So an entry is never out of date, and two processes with one key write
the same.
"""

import contextlib
import contextvars
import dataclasses
import hashlib
import io
import json
import math
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import PIL
from jaxtyping import Int32, UInt8

from sdt import files
from sdt.config.schema import DataConfig
from sdt.errors import ConfigError, DataError, WorkdirError
from sdt.files import sealed
from sdt.files.workdir import TMP_PREFIX
from sdt.types import Log

_RULES = 4  # increased whenever the same files are decoded to other pixels
_WRITES = contextvars.ContextVar("writes", default=True)
_ABANDONED_SECS = 86_400  # an older temporary file was left by a killed writer


@dataclasses.dataclass(frozen=True)
class Prepared:
  """The readable images of a list of files.

  Attributes:
    images: uint8 [n, H, W, 3].
    sizes: int32 [n, 2], or None where every image fills its H x W.
    skipped: place in the list -> why the file cannot be read.
    remarks: what must be told of some images -> (how many, place of the first in the list).
    levels: (lowest value, highest value, white) of the deep grey images; None without such.
  """

  images: UInt8[np.ndarray, "n H W 3"]
  sizes: Int32[np.ndarray, "n 2"] | None
  skipped: dict[int, str]
  remarks: dict[str, tuple[int, int]]
  levels: tuple[float, float, float] | None = None


def data_directory() -> Path:
  """Returns where downloads go: $SDT_DATA_DIR, else ~/.cache/sdt/data."""
  try:
    return Path(os.environ.get("SDT_DATA_DIR") or "~/.cache/sdt/data").expanduser()
  except RuntimeError as error:  # a user without a home folder, as in some containers
    raise ConfigError(
      f"there is no place for data ({error}); set SDT_DATA_DIR to a folder that may be written"
    ) from None


def directory() -> Path:
  """Returns the folder of the prepared images."""
  return data_directory() / "prepared"


def key(root: Path, listed: tuple[str, ...], stored_in: tuple[str, ...], config: DataConfig) -> str:
  """Returns the key of the images in their present state.

  The key includes ctime, because files that were unpacked from one archive may share size and
  mtime.

  Args:
    root: the folder of the set.
    listed: the names of the images, in their order.
    stored_in: the files that hold them, relative to `root`; their sizes in bytes and times of
      change are part of the key.
    config: how they are decoded.
  """
  digest = hashlib.sha256()
  how = [_RULES, PIL.__version__, str(root.absolute())]
  how += [config.image_size, config.resize, config.value_range]
  digest.update(json.dumps([how, listed]).encode())
  for file in stored_in:
    try:
      stat = (root / file).stat()
      state: tuple[int, ...] = (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
    except (OSError, ValueError):  # missing, or an impossible name; the decoder will say so
      state = ()
    digest.update(json.dumps([file, *state]).encode())
  return f"{config.name}-{digest.hexdigest()[:32]}"


def _header(shape: tuple[int, ...]) -> bytes:
  """Returns the first bytes of a .npy file of uint8 with this shape."""
  header = io.BytesIO()
  np.lib.format.write_array_header_1_0(
    header, {"descr": "|u1", "fortran_order": False, "shape": shape}
  )
  return header.getvalue()


def load(name: str, num_files: int, log: Log) -> Prepared | None:
  """Returns the images kept under the key `name`, verified; None if absent or damaged.

  Damaged ones are reported to `log`.
  """
  described, array = directory() / f"{name}.json", directory() / f"{name}.npy"
  # Unlike `Path.exists` this is also false in a folder that may not be entered.
  if not os.path.exists(described):
    return None
  try:
    content = files.read_json(described)
    shape = tuple(int(size) for size in content["shape"])
    skipped = {int(place): str(reason) for place, reason in content["skipped"].items()}
    sizes = content["sizes"]
    if sizes is not None:
      sizes = np.array(sizes, np.int32).reshape(shape[0], 2)
    if len(shape) != 4 or shape[0] + len(skipped) != num_files:
      raise ValueError(f"{shape} images and {len(skipped)} skipped ones of {num_files}")
    log(f"reading {shape[0]:,} prepared images from {array}")
    data, header = files.map_bytes_verified(array), _header(shape)
    if data[: len(header)] != header or len(data) != len(header) + math.prod(shape):
      raise ValueError(f"{array} does not hold {shape}")
    images = np.frombuffer(data, np.uint8, offset=len(header)).reshape(shape)
    levels = content["levels"]
    if levels is not None:
      low, high, white = map(float, levels)
      levels = (low, high, white)
    remarks = {
      str(text): (int(num), int(first)) for text, (num, first) in content["remarks"].items()
    }
    return Prepared(images, sizes, skipped, remarks=remarks, levels=levels)
  except (DataError, KeyError, TypeError, ValueError, AttributeError) as error:
    log(f"the prepared images {described} are damaged ({error}); they are made again")
    return None


@contextlib.contextmanager
def reading_only() -> Iterator[None]:
  """Keeps `store` from writing inside the block, for a dry run."""
  token = _WRITES.set(False)
  try:
    yield
  finally:
    _WRITES.reset(token)


def store(name: str, root: Path, prepared: Prepared, log: Log) -> None:
  """Keeps the images under the key `name` and logs their size, or logs why it cannot.

  A failure leaves nothing behind. The images are kept only if they take at most half of the free
  space: a cache must not fill the disk.
  """
  if not _WRITES.get():
    return
  folder = directory()
  described, array = folder / f"{name}.json", folder / f"{name}.npy"
  images = np.ascontiguousarray(prepared.images)
  header = _header(images.shape)
  content = {
    "root": str(root.absolute()).encode("utf-8", "replace").decode(),
    "shape": images.shape,
    "remarks": prepared.remarks,
    "levels": prepared.levels,
    "skipped": prepared.skipped,
    "sizes": prepared.sizes,
  }
  size = f"{images.nbytes / 2**20:,.1f} MiB"
  try:
    with contextlib.suppress(OSError):  # a lasting error comes again below
      folder.mkdir(parents=True, exist_ok=True)
      _remove_abandoned(folder)
    with contextlib.suppress(OSError):
      if images.nbytes > shutil.disk_usage(folder).free // 2:
        log(
          f"the {len(images):,} decoded images were not kept: their {size} are more than half of "
          f"what is free in {folder}"
        )
        return
    files.write_bytes(array, header, memoryview(images).cast("B"), keep_others=False)
    text = files.json_text(content, indent=None)
    files.write_bytes(described, text.encode(), keep_others=False)
  except WorkdirError as error:
    reason = error.__cause__ if isinstance(error.__cause__, OSError) else error
    log(
      f"the {len(images):,} decoded images were not kept in {folder}: "
      f"{getattr(reason, 'strerror', None) or reason}"
    )
    files.remove(described)
    files.remove(array)
    return
  log(f"kept {len(images):,} decoded images, {size}, in {array}")


def zeros_on_disk(shape: tuple[int, int, int, int]) -> UInt8[np.ndarray, "n H W C"] | None:
  """Returns zeros that are stored in a file, for images that do not fit into memory.

  None if the disk has no space either. The file is in the data directory, has no name, and is gone
  with the process. It may take a third of the free space, because `store` needs as much again.
  """
  size, folder = math.prod(shape), directory()
  if not _WRITES.get() or not hasattr(os, "posix_fallocate"):
    return None
  try:
    folder.mkdir(parents=True, exist_ok=True)
    if size > shutil.disk_usage(folder).free // 3:
      return None
    with tempfile.TemporaryFile(dir=folder) as file:
      # Reserves the space now: a disk that fills up later would kill the process.
      os.posix_fallocate(file.fileno(), 0, size)
      return np.memmap(file, np.uint8, "r+", shape=shape)
  except OSError:
    return None


def _remove_abandoned(folder: Path) -> None:
  """Removes the temporary files of writers that were killed."""
  for place in (*folder.glob(f"{TMP_PREFIX}*"), *folder.glob(f"{sealed.SEAL_DIR}/{TMP_PREFIX}*")):
    if time.time() - place.stat().st_mtime > _ABANDONED_SECS:
      place.unlink()
