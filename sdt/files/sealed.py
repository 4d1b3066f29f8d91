"""Atomic writes and verified reads: every file of a run has its SHA-256, the seal, beside it."""

import contextlib
import hashlib
import itertools
import mmap
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from sdt.errors import DataError
from sdt.files.workdir import SEAL_DIR, TMP_PREFIX, disk_errors

_TMP_NUMBERS = itertools.count()
RESTORE = "restore it from a copy or start again in a new workdir"
REDO = "remove the file and run the same command again"


def write_bytes(
  path: str | os.PathLike[str], *parts: bytes | memoryview, keep_others: bool = True
) -> None:
  """Writes `parts` to `path` one after the other, atomically, and seals the file.

  It makes missing parent directories. A file that is there already and that no write of ours has
  left so is kept aside, see `keep_if_not_ours`; without `keep_others` it is replaced.

  Raises:
    WorkdirError: any OSError; the old file is unchanged.
  """
  path = Path(path)
  with disk_errors(path, sum(map(len, parts))):
    (path.parent / SEAL_DIR).mkdir(parents=True, exist_ok=True)
    before = keep_if_not_ours(path, *parts) if keep_others else None
    with replacing(path, *parts):
      write_seal(path, *parts, before=before)
    if before is not None:
      write_seal(path, *parts)


@contextlib.contextmanager
def writing(path: str | os.PathLike[str], num_bytes: int = 0) -> Iterator[BinaryIO]:
  """Gives an empty file to write and seek in; it replaces `path`, sealed, after the block.

  For content that is too large for the memory; otherwise as `write_bytes`. After an error in the
  block nothing is left of it.

  Args:
    path: of the file.
    num_bytes: how large it will be, for messages.

  Raises:
    WorkdirError: any OSError; the old file is unchanged.
  """
  path = Path(path)
  with disk_errors(path, num_bytes):
    (path.parent / SEAL_DIR).mkdir(parents=True, exist_ok=True)
    with _temporary(path) as (tmp, file):
      yield file
      _sync(file)
      line = _line_of(tmp)
      before = _keep_if_other(path, line)
      _write_seal_line(path, line, before)
    if before is not None:
      _write_seal_line(path, line)


_tell: list[Callable[[str], None]] = [lambda line: print(line, file=sys.stderr, flush=True)]


@contextlib.contextmanager
def kept_files_told(tell: Callable[[str], None]) -> Iterator[None]:
  """Gives `tell` a line for every file that is kept aside within the block."""
  _tell.append(tell)
  try:
    yield
  finally:
    _tell.pop()


def keep_if_not_ours(path: Path, *parts: bytes | memoryview) -> str | None:
  """Renames the file at `path` to NAME.kept-N if somebody else wrote it, and tells so.

  Ours is what the seal says, what it said before a write that a kill has cut off, and what is to be
  written now (`parts`).

  Returns:
    The line of the seal for a file that is still there and is to be replaced by another; else None.
  """
  return _keep_if_other(path, _seal_line(*parts))


def _keep_if_other(path: Path, new: str) -> str | None:
  """Does what `keep_if_not_ours` does; `new` is the line of the seal of what is to be written."""
  try:
    line = _line_of(path)
  except FileNotFoundError:
    return None
  if line == new:
    return None
  if line in _seal_lines(path):
    return line
  number = next(
    number
    for number in itertools.count(1)
    if not os.path.lexists(path.with_name(f"{path.name}.kept-{number}"))
  )
  kept = path.with_name(f"{path.name}.kept-{number}")
  path.rename(kept)
  _tell[-1](
    f"note: {path} was changed, or is of another program: it is kept as {kept.name}, and the run's "
    "own file takes its place"
  )
  return None


@contextlib.contextmanager
def replacing(path: Path, *parts: bytes | memoryview, then: Iterable[bytes] = ()) -> Iterator[None]:
  """Writes `parts` to a temporary file, which replaces `path` after the block or is removed.

  What does not fit into memory is drawn from `then`.
  """
  with _temporary(path) as (_, file):
    file.writelines(itertools.chain(parts, then))
    _sync(file)
    yield


@contextlib.contextmanager
def _temporary(path: Path) -> Iterator[tuple[Path, BinaryIO]]:
  """Gives a temporary file, which replaces `path` after the block or is removed."""
  tmp = path.parent / f"{TMP_PREFIX}{os.getpid()}-{next(_TMP_NUMBERS)}"
  try:
    # O_NOFOLLOW: a link that somebody planted under this name must not redirect the write.
    flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(tmp, flags, 0o666), "w+b") as file:
      yield tmp, file
    os.replace(tmp, path)
  except BaseException:
    with contextlib.suppress(OSError):  # the first error is the one to report
      tmp.unlink(missing_ok=True)
    raise
  _sync_dir(path.parent)


def move(source: Path, target: Path) -> None:
  """Moves a file with its seal to where an older version may stand; the content is not read twice.

  A file there that no write of ours has left so is kept aside. After a kill the same call goes on.

  Raises:
    WorkdirError: any OSError.
  """
  with disk_errors(target):
    (target.parent / SEAL_DIR).mkdir(parents=True, exist_ok=True)
    line = _line_of(source)
    before = _keep_if_other(target, line)
    _write_seal_line(target, line, before)
    os.replace(source, target)
    _sync_dir(target.parent)
    if before is not None:
      _write_seal_line(target, line)


def sealed_names(folder: Path) -> list[str]:
  """Returns the paths, from `folder` on, of the files in and below it that have a seal, sorted."""
  seals = (path for path in folder.rglob(f"{SEAL_DIR}/*") if path.is_file())
  own = (path.parent.parent / path.name for path in seals)
  return sorted(path.relative_to(folder).as_posix() for path in own if path.is_file())


def _sync(file: BinaryIO) -> None:
  file.flush()
  os.fsync(file.fileno())


def seal_path(path: Path) -> Path:
  return path.parent / SEAL_DIR / path.name


def write_seal(path: Path, *parts: bytes | memoryview, before: str | None = None) -> None:
  """Writes the seal of what `path` is about to hold: a line "<SHA-256> <number of bytes>".

  Args:
    path: of the file.
    parts: its content.
    before: the line of the file that is there until then. A second line keeps it: after a kill in
      between the old file is still known as ours.
  """
  _write_seal_line(path, _seal_line(*parts), before)


def _write_seal_line(path: Path, line: str, before: str | None = None) -> None:
  text = f"{line}\n" if before is None else f"{line}\n{before}\n"
  with replacing(seal_path(path), text.encode()):
    pass


def _line_of(path: Path) -> str:
  """Returns the line of the seal of a file as it is."""
  digest, size = _digest(path)
  return f"{digest} {size}"


def _digest(path: Path) -> tuple[str, int]:
  """Returns SHA-256 and number of bytes of a file, which is not held in memory."""
  with path.open("rb") as file:
    return hashlib.file_digest(file, "sha256").hexdigest(), file.tell()


def _seal_line(*parts: bytes | memoryview) -> str:
  digest = hashlib.sha256()
  for part in parts:
    digest.update(part)
  return f"{digest.hexdigest()} {sum(map(len, parts))}"


def _seal_lines(path: Path) -> list[str]:
  try:
    return seal_path(path).read_text(encoding="ascii").splitlines()
  except (OSError, ValueError):
    return []


def remove(path: str | os.PathLike[str]) -> None:
  """Removes a file and its seal, if they exist."""
  for place in (Path(path), seal_path(Path(path))):
    with contextlib.suppress(OSError):
      place.unlink(missing_ok=True)


def _sync_dir(directory: Path) -> None:
  handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
  try:
    os.fsync(handle)
  finally:
    os.close(handle)


def read_seal(path: Path) -> tuple[str, int] | None:
  """Returns (sha256, number of bytes) of the seal; None if there is none.

  A damaged seal gives ("", -1), which matches nothing. Of a seal of two lines the first counts.
  """
  try:
    words = seal_path(path).read_bytes().decode("ascii").split()
    return words[0], int(words[1])
  except FileNotFoundError:
    return None
  except (OSError, ValueError, IndexError):
    return "", -1


def matches(data: bytes, seal: tuple[str, int]) -> bool:
  return len(data) == seal[1] and hashlib.sha256(data).hexdigest() == seal[0]


def is_intact(path: str | os.PathLike[str]) -> bool:
  """Returns whether `path` exists, has a seal and matches it."""
  path = Path(path)
  seal = read_seal(path)
  try:
    return seal is not None and _digest(path) == seal
  except OSError:
    return False


def read_bytes_verified(path: str | os.PathLike[str]) -> bytes:
  """Returns the content of a sealed file.

  Raises:
    DataError: the file or its seal is missing, or they do not match.
  """
  path = Path(path)
  if read_seal(path) is None:
    raise DataError(f"{path}: no digest in {seal_path(path)}, so it cannot be verified; {REDO}")
  return read_bytes(path)


def map_bytes_verified(path: str | os.PathLike[str]) -> mmap.mmap:
  """Returns the content of a sealed file, mapped and not held in memory.

  Raises:
    DataError: the file or its seal is missing, or they do not match.
  """
  path = Path(path)
  try:
    with path.open("rb") as file:
      digest = hashlib.file_digest(file, "sha256").hexdigest(), file.tell()
      content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
  except (OSError, ValueError) as error:  # an empty file cannot be mapped
    raise DataError(
      f"cannot read {path}: {getattr(error, 'strerror', None) or error}; expected a readable file"
    ) from error
  if digest != read_seal(path):
    raise DataError(f"{path}: content does not match its digest in {seal_path(path)}; {REDO}")
  return content


def read_bytes(path: Path, limit: int | None = None) -> bytes:
  """Returns the content of a file, which must match its seal if it has one.

  Raises:
    DataError: missing, larger than `limit` bytes, or changed since it was sealed.
  """
  seal = read_seal(path)
  try:
    if limit is not None and path.stat().st_size > limit:
      raise DataError(
        f"{path}: {path.stat().st_size} bytes, at most {limit} are expected; is it the right file?"
      )
    data = path.read_bytes()
  except OSError as error:
    raise DataError(
      f"cannot read {path}: {error.strerror or error}; expected a readable file"
    ) from error
  if seal is not None and not matches(data, seal):
    raise DataError(f"{path}: content does not match its digest in {seal_path(path)}; {REDO}")
  return data
