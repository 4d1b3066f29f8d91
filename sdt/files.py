"""The one writer of small files: atomic, with a digest beside each; canonical JSON, JSON lines, CSV and npz.

A file `<dir>/<name>` has a seal `<dir>/.sha256/<name>`: one line, `<sha256 hex> <number of bytes>`. The seal is written before the
file takes its place, so a crash between the two leaves a mismatch (the file is made again), never a false match. A reader never sees
half a file. Crash-safe on a local disk; safety against power loss is asked of the disk (fsync) but not tested.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import itertools
import json
import math
import mmap
import os
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sdt.errors import DataError
from sdt.workdir import TMP_PREFIX, disk_errors

SEAL_DIR = ".sha256"
MAX_JSON_BYTES = 256 * 2**20
MAX_NPZ_BYTES = 8 * 2**30
MAX_NPZ_MEMBERS = 4096

_TMP_NUMBERS = itertools.count()
_RESTORE = "restore it from a copy or start again in a new workdir"
_REDO = "remove the file and run the same command again"


def write_bytes(path: str | os.PathLike[str], *parts: bytes | memoryview) -> None:
  """Writes `parts`, one after the other, to `path` atomically and seals it; makes missing parent directories.

  Raises:
    WorkdirError: any OSError; the file that stood there before still stands.
  """
  path = Path(path)
  with disk_errors(path, sum(map(len, parts))):
    (path.parent / SEAL_DIR).mkdir(parents=True, exist_ok=True)
    with _replacing(path, *parts):
      _write_seal(path, *parts)


@contextlib.contextmanager
def _replacing(path: Path, *parts: bytes | memoryview) -> Iterator[None]:
  """Brings `parts` to the disk under a temporary name beside `path`, which it takes after the block; an error removes it."""
  tmp = path.parent / f"{TMP_PREFIX}{os.getpid()}-{next(_TMP_NUMBERS)}"
  try:
    # O_NOFOLLOW: a link that somebody planted under this name must not lead the write elsewhere.
    handle = os.open(tmp, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    with os.fdopen(handle, "wb") as file:
      file.writelines(parts)
      file.flush()
      os.fsync(file.fileno())
    yield
    os.replace(tmp, path)
  except BaseException:
    with contextlib.suppress(OSError):  # the first error is the one to report
      tmp.unlink(missing_ok=True)
    raise
  _sync_dir(path.parent)


def _seal_path(path: Path) -> Path:
  return path.parent / SEAL_DIR / path.name


def _write_seal(path: Path, *parts: bytes | memoryview) -> None:
  digest = hashlib.sha256()
  for part in parts:
    digest.update(part)
  with _replacing(_seal_path(path), f"{digest.hexdigest()} {sum(map(len, parts))}\n".encode()):
    pass


def remove(path: str | os.PathLike[str]) -> None:
  """Removes a file and its seal, where they are."""
  for place in (Path(path), _seal_path(Path(path))):
    with contextlib.suppress(OSError):
      place.unlink(missing_ok=True)


def _sync_dir(directory: Path) -> None:
  handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
  try:
    os.fsync(handle)
  finally:
    os.close(handle)


def _read_seal(path: Path) -> tuple[str, int] | None:
  """Returns (sha256, number of bytes) of the seal; None if there is no seal; ("", -1), which nothing matches, if it is damaged."""
  try:
    words = _seal_path(path).read_bytes().decode("ascii").split()
    return words[0], int(words[1])
  except FileNotFoundError:
    return None
  except (OSError, ValueError, IndexError):
    return "", -1


def _matches(data: bytes, seal: tuple[str, int]) -> bool:
  return len(data) == seal[1] and hashlib.sha256(data).hexdigest() == seal[0]


def is_intact(path: str | os.PathLike[str]) -> bool:
  """Returns whether `path` exists, has a seal and matches it."""
  path = Path(path)
  seal = _read_seal(path)
  try:
    return seal is not None and _matches(path.read_bytes(), seal)
  except OSError:
    return False


def read_bytes_verified(path: str | os.PathLike[str]) -> bytes:
  """Returns the content of a sealed file.

  Raises:
    DataError: the file or its seal is missing, or they do not match.
  """
  path = Path(path)
  if _read_seal(path) is None:
    raise DataError(f"{path}: no digest in {_seal_path(path)}, so it cannot be verified; {_REDO}")
  return _read_bytes(path)


def map_bytes_verified(path: str | os.PathLike[str]) -> mmap.mmap:
  """Returns the content of a sealed file, mapped: read to be verified, and not held in memory; raises as `read_bytes_verified`."""
  path = Path(path)
  try:
    with path.open("rb") as file:
      found = hashlib.file_digest(file, "sha256").hexdigest(), file.tell()
      content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
  except (OSError, ValueError) as error:  # an empty file cannot be mapped
    raise DataError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}; expected a readable file") from error
  if found != _read_seal(path):
    raise DataError(f"{path}: content does not match its digest in {_seal_path(path)}; {_REDO}")
  return content


def _read_bytes(path: Path, limit: int | None = None) -> bytes:
  """Returns the content; where a seal stands beside the file, it must match."""
  seal = _read_seal(path)
  try:
    if limit is not None and path.stat().st_size > limit:
      raise DataError(f"{path}: {path.stat().st_size} bytes, at most {limit} are expected; is it the right file?")
    data = path.read_bytes()
  except OSError as error:
    raise DataError(f"cannot read {path}: {error.strerror or error}; expected a readable file") from error
  if seal is not None and not _matches(data, seal):
    raise DataError(f"{path}: content does not match its digest in {_seal_path(path)}; {_REDO}")
  return data


def write_text(path: str | os.PathLike[str], text: str) -> None:
  """Writes `text` as UTF-8, atomically and sealed."""
  write_bytes(path, text.encode("utf-8"))


def _plain(value: Any) -> Any:
  """Returns `value` in JSON's own types: numpy and JAX values by `tolist`, tuples as lists, a float that is not finite as None."""
  if value is None or isinstance(value, bool | str):
    return value
  if isinstance(value, Mapping):
    plain = {_plain_key(key): _plain(item) for key, item in value.items()}
    if len(plain) != len(value):
      raise ValueError(f"two keys are equal as text: {sorted(map(str, value))}")
    return plain
  if isinstance(value, list | tuple):
    return [_plain(item) for item in value]
  if isinstance(value, np.generic | np.ndarray) or hasattr(value, "__array__"):
    return _plain(np.asarray(value).tolist())
  if isinstance(value, int | float):
    return None if isinstance(value, float) and not math.isfinite(value) else value
  raise TypeError(f"{type(value).__name__} has no JSON form")


def _plain_key(key: Any) -> str:
  if isinstance(key, bool) or not isinstance(key, str | int | np.integer):
    raise TypeError(f"a JSON key is a string or an integer, got {type(key).__name__}")
  return str(key)


def json_text(value: Any, indent: int | None = 1) -> str:
  """Returns the canonical JSON of `value`: keys in insertion order, shortest exact floats, integer keys as text, no ASCII escapes.

  JSON has no NaN and no infinity: such a float becomes null. float32 values are written as the float64 of equal value.
  """
  return json.dumps(_plain(value), indent=indent, ensure_ascii=False, allow_nan=False)


def write_json(path: str | os.PathLike[str], value: Any) -> None:
  """Writes the canonical JSON of `value` (see `json_text`) and a newline, atomically and sealed."""
  write_text(path, json_text(value) + "\n")


def read_json(path: str | os.PathLike[str]) -> Any:
  """Returns the value of a JSON file.

  Raises:
    DataError: missing or too large; does not match its seal, where it has one; not UTF-8 JSON; NaN, infinity, an overflowing number,
      a duplicate key, or nested too deeply.
  """
  path = Path(path)
  return parse_json(_read_bytes(path, MAX_JSON_BYTES), str(path))


def parse_json(data: bytes, where: str, advice: str = _REDO) -> Any:
  """Returns the value of the JSON text `data`; the DataError (see `read_json`) names `where` and gives `advice`."""
  try:
    return json.loads(
      data.decode("utf-8"), parse_constant=_refuse_constant, parse_float=_parse_float, object_pairs_hook=_refuse_duplicate_keys
    )
  except RecursionError:
    raise DataError(f"{where}: JSON is nested too deeply; {advice}") from None
  except ValueError as error:
    raise DataError(f"{where}: not valid JSON ({error}); {advice}") from error


def _refuse_constant(name: str) -> float:
  raise ValueError(f"{name} is not a JSON number")


def _parse_float(text: str) -> float:
  value = float(text)
  if not math.isfinite(value):
    raise ValueError(f"{text[:40]} is out of range")
  return value


def _refuse_duplicate_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
  result = dict(pairs)
  if len(result) != len(pairs):
    keys = [key for key, _ in pairs]
    raise ValueError(f"duplicate key {next(key for key in keys if keys.count(key) > 1)[:80]!r}")
  return result


def write_csv(path: str | os.PathLike[str], header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
  """Writes UTF-8 CSV, atomically and sealed: Unix line ends, shortest exact floats (of their own dtype), None as an empty cell."""
  text = io.StringIO(newline="")
  writer = csv.writer(text, lineterminator="\n")
  writer.writerow(header)
  for row in rows:
    if len(row) != len(header):
      raise ValueError(f"{path}: a row of {len(row)} cells under a header of {len(header)}")
    writer.writerow(row)
  write_text(path, text.getvalue())


def write_npz(path: str | os.PathLike[str], /, **arrays: Any) -> None:
  """Writes arrays as an uncompressed npz, atomically and sealed; the bytes depend on names, order and values only (no clock)."""
  buffer = io.BytesIO()
  with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
    for name, value in arrays.items():
      array = np.asarray(value)
      if array.dtype.hasobject:
        raise ValueError(f"{path}: array {name!r} holds Python objects; only numbers and strings are written")
      member = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
      member.create_system = 3
      member.external_attr = 0o644 << 16
      content = io.BytesIO()
      np.lib.format.write_array(content, np.asarray(array, order="C"), allow_pickle=False)
      archive.writestr(member, content.getbuffer())
  write_bytes(path, buffer.getvalue())


def read_npz(path: str | os.PathLike[str], max_bytes: int = MAX_NPZ_BYTES) -> dict[str, np.ndarray]:
  """Returns the arrays of an npz by name, in file order. Sizes are checked as declared, before anything is allocated; no pickle.

  Raises:
    DataError: missing; does not match its seal, where it has one; not an npz; more than `max_bytes` in all; a header that lies;
      Python objects; duplicate or odd names.
  """
  return parse_npz(_read_bytes(Path(path), max_bytes), str(path), max_bytes)


def parse_npz(data: bytes, where: str, max_bytes: int = MAX_NPZ_BYTES, advice: str = _REDO) -> dict[str, np.ndarray]:
  """Returns the arrays of the bytes of an npz, as `read_npz` does; a DataError names `where` and ends with `advice`."""
  try:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
      members = archive.infolist()
      _check_members(members, max_bytes)
      return {member.filename.removesuffix(".npy"): _read_member(archive, member) for member in members}
  except (ValueError, zipfile.BadZipFile, EOFError, OSError, NotImplementedError, RuntimeError) as error:
    raise DataError(f"{where}: not a sound npz ({error}); {advice}") from error


def _check_members(members: list[zipfile.ZipInfo], max_bytes: int) -> None:
  if len(members) > MAX_NPZ_MEMBERS:
    raise ValueError(f"{len(members)} members, at most {MAX_NPZ_MEMBERS} are expected")
  size = sum(member.file_size for member in members)
  if size > max_bytes:
    raise ValueError(f"declares {size} bytes, at most {max_bytes} are expected")
  names = [member.filename for member in members]
  if len(set(names)) != len(names) or not all(name.endswith(".npy") for name in names):
    raise ValueError("two members have one name, or one is not an array")


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
  """Returns one array; its header must declare exactly the bytes that the member holds."""
  with archive.open(member) as file:
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
      raise ValueError(f"{member.filename}: npy version {version} is not known")
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, is_fortran, dtype = read_header(file)
    if dtype.hasobject:
      raise ValueError(f"{member.filename}: holds Python objects")
    declared = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or declared != member.file_size - file.tell():
      raise ValueError(f"{member.filename}: header declares {declared} bytes, the file holds {member.file_size - file.tell()}")
    content = bytearray(file.read())
  if len(content) != declared:
    raise ValueError(f"{member.filename}: {len(content)} bytes, {declared} declared")
  if declared == 0:
    return np.empty(shape, dtype)
  return np.frombuffer(content, dtype).reshape(shape, order="F" if is_fortran else "C")


def append_rows(path: str | os.PathLike[str], rows: Sequence[Mapping[str, Any]]) -> None:
  """Appends one line of JSON per row; on disk when this returns. A torn last line, left by a kill, is cut off first.

  The seal covers the file as of its last write: after a kill between the append and the seal, the sealed part is still verified.

  Raises:
    WorkdirError: any OSError. DataError: what stands there already is damaged (see `read_rows`).
  """
  path = Path(path)
  kept = _sound_lines(path)
  added = "".join(json_text(row, indent=None) + "\n" for row in rows).encode("utf-8")
  with disk_errors(path, len(added)):
    (path.parent / SEAL_DIR).mkdir(parents=True, exist_ok=True)
    with open(path, "ab") as file:
      file.truncate(len(kept))
      file.write(added)
      file.flush()
      os.fsync(file.fileno())
    _write_seal(path, kept + added)


def read_rows(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
  """Returns the rows of a JSON-lines file; [] if there is none. A last line without its newline is ignored: a kill tore it.

  Raises:
    DataError: any other line is not a JSON object, the part under the seal has changed, or the seal stands there alone.
  """
  path = Path(path)
  rows = []
  for number, line in enumerate(_sound_lines(path).split(b"\n")[:-1], start=1):
    row = parse_json(line, f"{path}, line {number}", _RESTORE)
    if not isinstance(row, dict):
      raise DataError(f"{path}, line {number}: expected a JSON object; {_RESTORE}")
    rows.append(row)
  return rows


def truncate_rows(path: str | os.PathLike[str], keep: Callable[[dict[str, Any]], bool]) -> int:
  """Keeps the rows for which `keep(row)` is true, atomically; returns how many went. Nothing is written if all stay and none is torn.

  Used on resume, so that a round that is trained again stands in the file once.
  """
  path = Path(path)
  rows = read_rows(path)
  kept = [row for row in rows if keep(row)]
  data = "".join(json_text(row, indent=None) + "\n" for row in kept).encode("utf-8")
  if not path.exists() or path.read_bytes() == data:
    return 0
  with disk_errors(path, len(data)):
    with _replacing(path, data):
      # Rows cannot be made again without training, so a kill in here must not leave a seal of other rows: no seal is only unverified.
      _seal_path(path).unlink(missing_ok=True)
    _write_seal(path, data)
  return len(rows) - len(kept)


def _sound_lines(path: Path) -> bytes:
  """Returns the whole lines of the file, after checking those under its seal; b"" if there is neither file nor seal."""
  seal = _read_seal(path)
  if seal is None and not path.exists():
    return b""
  try:
    data = path.read_bytes()
  except OSError as error:
    raise DataError(f"cannot read {path}: {error.strerror or error}; expected a readable file") from error
  if seal is not None and not (0 <= seal[1] <= len(data) and _matches(data[: seal[1]], seal)):
    raise DataError(f"{path}: rows do not match their digest in {_seal_path(path)}; {_RESTORE}")
  return data[: data.rfind(b"\n") + 1]
