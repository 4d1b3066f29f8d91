"""The formats of small files: canonical JSON, JSON lines, CSV and npz.

Readers refuse what is damaged or too large.
"""

import io
import json
import math
import os
import re
import zipfile
from collections.abc import Buffer, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from jaxtyping import Shaped

from sdt.errors import DataError
from sdt.files.csv_lines import CsvWriter
from sdt.files.sealed import (
  REDO,
  RESTORE,
  SEAL_DIR,
  matches,
  read_bytes,
  read_seal,
  replacing,
  seal_path,
  write_bytes,
  write_seal,
)
from sdt.files.workdir import disk_errors

MAX_JSON_BYTES = 256 * 2**20
MAX_NPZ_BYTES = 8 * 2**30
MAX_NPZ_MEMBERS = 4096

# A list of nothing but numbers, null, true and false. Within a text a line break is an escape, so
# that no text is taken for a list.
_NUMBERS = re.compile(r"\[\n([^][{}\"]*)\]")

# What a JSON file holds; whoever reads one knows its keys.
type Json = Any
# The arrays of an npz, by name.
type Arrays = dict[str, Shaped[np.ndarray, "..."]]


def write_text(path: str | os.PathLike[str], text: str) -> None:
  """Writes `text` as UTF-8, atomically and sealed."""
  write_bytes(path, text.encode("utf-8"))


def _plain(value: object) -> Json:
  """Returns `value` in JSON's types: arrays and tuples as lists, NaN and infinity as None."""
  if value is None or isinstance(value, str | int):  # first what most values of a page are
    return value
  if isinstance(value, float):
    return value if math.isfinite(value) else None
  if isinstance(value, Mapping):
    plain = {_plain_key(key): _plain(item) for key, item in value.items()}
    if len(plain) != len(value):
      raise ValueError(f"two keys are equal as text: {sorted(map(str, value))}")
    return plain
  if isinstance(value, list | tuple):
    return [_plain(item) for item in value]
  if isinstance(value, np.generic | np.ndarray) or hasattr(value, "__array__"):
    return _plain(np.asarray(value).tolist())
  raise TypeError(f"{type(value).__name__} has no JSON form")


def _plain_key(key: object) -> str:
  if isinstance(key, bool) or not isinstance(key, str | int | np.integer):
    raise TypeError(f"a JSON key is a string or an integer, got {type(key).__name__}")
  return str(key)


def sealed_json_text(value: object) -> str:
  """Returns the JSON of `value` of which digests are taken, see `json_text`.

  Its layout may never change: it would make every stored digest wrong.
  """
  return json.dumps(_plain(value), indent=1, ensure_ascii=False, allow_nan=False)


def json_text(value: object, indent: int | None = 1) -> str:
  """Returns the JSON of `value` as files have it; it may hold numpy and JAX arrays.

  Keys are in insertion order, integer keys become text, floats are the shortest exact ones, and
  there are no ASCII escapes. JSON has no NaN and no infinity: such a float becomes null. float32
  values are written as the float64 of equal value. With an indent, a list of numbers is one line.
  """
  text = json.dumps(_plain(value), indent=indent, ensure_ascii=False, allow_nan=False)
  if indent is None:
    return text
  return _NUMBERS.sub(lambda found: f"[{' '.join(found[1].split())}]", text)


def write_json(path: str | os.PathLike[str], value: object) -> None:
  """Writes the JSON of `value` (see `json_text`) and a newline, atomically and sealed."""
  write_text(path, json_text(value) + "\n")


def read_json(path: str | os.PathLike[str]) -> Json:
  """Returns the value of a JSON file.

  Raises:
    DataError: missing or too large; does not match its seal, where it has one; not UTF-8 JSON; NaN,
      infinity, an overflowing number, a duplicate key, or nested too deeply.
  """
  path = Path(path)
  return parse_json(read_bytes(path, MAX_JSON_BYTES), str(path))


def parse_json(data: bytes, where: str, advice: str = REDO) -> Json:
  """Returns the value of the JSON text `data`.

  Args:
    data: UTF-8.
    where: what messages call the text.
    advice: the end of a message: what the user can do.

  Raises:
    DataError: see `read_json`.
  """
  try:
    return json.loads(
      data.decode("utf-8"),
      parse_constant=_refuse_constant,
      parse_float=_parse_float,
      object_pairs_hook=_refuse_duplicate_keys,
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


def _refuse_duplicate_keys(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
  result = dict(pairs)
  if len(result) != len(pairs):
    keys = [key for key, _ in pairs]
    raise ValueError(f"duplicate key {next(key for key in keys if keys.count(key) > 1)[:80]!r}")
  return result


def write_csv(
  path: str | os.PathLike[str], header: Sequence[str], rows: Iterable[Sequence[object]]
) -> None:
  """Writes UTF-8 CSV, atomically and sealed.

  Lines end as on Unix (see `CsvWriter`), floats are the shortest exact ones of their dtype, None is
  an empty cell.
  """
  text = io.StringIO(newline="")
  writer = CsvWriter(text)
  writer.writerow(header)
  for row in rows:
    if len(row) != len(header):
      raise ValueError(f"{path}: a row of {len(row)} cells under a header of {len(header)}")
    writer.writerow(row)
  write_text(path, text.getvalue())


def write_npz(path: str | os.PathLike[str], /, **arrays: object) -> None:
  """Writes arrays as an uncompressed npz, atomically and sealed.

  The bytes depend only on names, order and values, not on the clock.
  """
  buffer = io.BytesIO()
  with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
    for name, value in arrays.items():
      array = np.asarray(value)
      if array.dtype.hasobject:
        raise ValueError(
          f"{path}: array {name!r} holds Python objects; only numbers and strings are written"
        )
      content = io.BytesIO()
      np.lib.format.write_array(content, np.asarray(array, order="C"), allow_pickle=False)
      archive.writestr(npz_member(name), content.getbuffer())
  write_bytes(path, buffer.getvalue())


def npz_member(name: str) -> zipfile.ZipInfo:
  """Returns the member of an npz for an array of this name, the same at any time."""
  member = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
  member.create_system = 3
  member.external_attr = 0o644 << 16
  return member


def read_npz(path: str | os.PathLike[str], max_bytes: int = MAX_NPZ_BYTES) -> Arrays:
  """Returns the arrays of an npz by name, in file order; no pickle.

  Declared sizes are checked before memory is allocated.

  Raises:
    DataError: missing; does not match its seal, where it has one; not an npz; more than `max_bytes`
      in all; a header that lies; Python objects; duplicate or odd names.
  """
  return parse_npz(read_bytes(Path(path), max_bytes), str(path), max_bytes)


def parse_npz(
  data: bytes, where: str, max_bytes: int = MAX_NPZ_BYTES, advice: str = REDO
) -> Arrays:
  """Returns the arrays in the bytes of an npz, as `read_npz` does.

  Args:
    data: the whole file.
    where: what messages call it.
    max_bytes: of all arrays together.
    advice: the end of a message: what the user can do.

  Raises:
    DataError: see `read_npz`.
  """
  try:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
      members = archive.infolist()
      check_members(members, max_bytes)
      return {
        member.filename.removesuffix(".npy"): _read_member(archive, member) for member in members
      }
  except NOT_AN_NPZ as error:
    raise DataError(f"{where}: not a sound npz ({error}); {advice}") from error


# What `zipfile` and NumPy raise on damaged archives.
NOT_AN_NPZ = (
  *(ValueError, EOFError, OSError),
  *(zipfile.BadZipFile, NotImplementedError, RuntimeError),
)


def check_members(members: list[zipfile.ZipInfo], max_bytes: int) -> None:
  """Raises a ValueError where the members of an npz are too many, too large, or oddly named."""
  if len(members) > MAX_NPZ_MEMBERS:
    raise ValueError(f"{len(members)} members, at most {MAX_NPZ_MEMBERS} are expected")
  size = sum(member.file_size for member in members)
  if size > max_bytes:
    raise ValueError(f"declares {size} bytes, at most {max_bytes} are expected")
  names = [member.filename for member in members]
  if len(set(names)) != len(names) or not all(name.endswith(".npy") for name in names):
    raise ValueError("two members have one name, or one is not an array")


class ArrayHeader(NamedTuple):
  """What the header of an array in an npz says, and how long it is."""

  shape: tuple[int, ...]
  is_fortran: bool
  dtype: np.dtype
  num_bytes: int  # of the array
  header_bytes: int

  def array(self, content: Buffer, offset: int = 0) -> Shaped[np.ndarray, "..."]:
    """Returns the array whose bytes begin at `offset` of `content`, which it shares."""
    if self.num_bytes == 0:
      return np.empty(self.shape, self.dtype)
    flat = np.frombuffer(content, self.dtype, self.num_bytes // self.dtype.itemsize, offset)
    return flat.reshape(self.shape, order="F" if self.is_fortran else "C")


def read_header(file: IO[bytes], member: zipfile.ZipInfo) -> ArrayHeader:
  """Returns the header of an array; it must declare exactly the bytes that the member holds."""
  version = np.lib.format.read_magic(file)
  if version not in ((1, 0), (2, 0)):
    raise ValueError(f"{member.filename}: npy version {version} is not known")
  read = (
    np.lib.format.read_array_header_1_0
    if version == (1, 0)
    else np.lib.format.read_array_header_2_0
  )
  shape, is_fortran, dtype = read(file)
  if dtype.hasobject:
    raise ValueError(f"{member.filename}: holds Python objects")
  declared = math.prod(shape) * dtype.itemsize
  if min(shape, default=0) < 0 or declared != member.file_size - file.tell():
    raise ValueError(
      f"{member.filename}: header declares {declared} bytes, the file holds "
      f"{member.file_size - file.tell()}"
    )
  return ArrayHeader(shape, is_fortran, dtype, num_bytes=declared, header_bytes=file.tell())


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Shaped[np.ndarray, "..."]:
  with archive.open(member) as file:
    header = read_header(file, member)
    content = bytearray(file.read())
  if len(content) != header.num_bytes:
    raise ValueError(f"{member.filename}: {len(content)} bytes, {header.num_bytes} declared")
  return header.array(content)


def append_rows(path: str | os.PathLike[str], rows: Sequence[Mapping[str, object]]) -> None:
  """Appends one line of JSON per row; the rows are on disk when it returns.

  It first cuts off a torn last line that a kill has left. The seal covers the file as of its last
  write: after a kill between the append and the seal, the sealed part is still verified.

  Raises:
    WorkdirError: any OSError.
    DataError: the file is damaged (see `read_rows`).
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
    write_seal(path, kept + added)


def read_rows(path: str | os.PathLike[str]) -> list[dict[str, Json]]:
  """Returns the rows of a JSON-lines file; [] if there is none.

  A last line without its newline is ignored: a kill tore it.

  Raises:
    DataError: any other line is not a JSON object, the part under the seal has changed, or there is
      a seal and no file.
  """
  path = Path(path)
  rows = []
  for number, line in enumerate(_sound_lines(path).split(b"\n")[:-1], start=1):
    row = parse_json(line, f"{path}, line {number}", RESTORE)
    if not isinstance(row, dict):
      raise DataError(f"{path}, line {number}: expected a JSON object; {RESTORE}")
    rows.append(row)
  return rows


def truncate_rows(path: str | os.PathLike[str], keep: Callable[[dict[str, Json]], bool]) -> int:
  """Removes the rows for which `keep(row)` is false, atomically; returns how many it removed.

  It writes nothing if all rows stay and none is torn. A resume uses it, so that a round that is
  trained again is in the file once.
  """
  path = Path(path)
  rows = read_rows(path)
  kept = [row for row in rows if keep(row)]
  data = "".join(json_text(row, indent=None) + "\n" for row in kept).encode("utf-8")
  if not path.exists() or path.read_bytes() == data:
    return 0
  with disk_errors(path, len(data)):
    with replacing(path, data):
      # A kill in here must not leave a seal of other rows: then the rows would be refused, and only
      # training makes them again. Without a seal they are just not verified.
      seal_path(path).unlink(missing_ok=True)
    write_seal(path, data)
  return len(rows) - len(kept)


def _sound_lines(path: Path) -> bytes:
  """Returns the whole lines of the file, and checks the sealed ones; b"" without file and seal."""
  seal = read_seal(path)
  if seal is None and not path.exists():
    return b""
  try:
    data = path.read_bytes()
  except OSError as error:
    raise DataError(
      f"cannot read {path}: {error.strerror or error}; expected a readable file"
    ) from error
  if seal is not None and not (0 <= seal[1] <= len(data) and matches(data[: seal[1]], seal)):
    raise DataError(f"{path}: rows do not match their digest in {seal_path(path)}; {RESTORE}")
  return data[: data.rfind(b"\n") + 1]
