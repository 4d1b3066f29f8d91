"""The workdir: its lock, a test that it can be written, and the messages of disk errors."""

import contextlib
import errno
import fcntl
import os
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from sdt.errors import LockedError, WorkdirError

LOCK_NAME = ".lock"
TMP_PREFIX = ".sdt-tmp-"
SEAL_DIR = ".sha256"
_PROBE_BYTES = 2**16
_NUM_SHOWN = 3
# What a system leaves in folders, and what people print into a workdir: no reason to refuse one.
_OF_THE_SYSTEM = (".DS_Store", "Thumbs.db", "desktop.ini", "lost+found", ".ipynb_checkpoints")
_LOGS = (".log", ".out", ".err")

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_ADVICE = {
  errno.EACCES: "give this user write permission or choose another workdir",
  errno.EROFS: "choose a workdir on another file system",
  errno.ENAMETOOLONG: "choose a workdir with a shorter path",
  errno.ENOTDIR: "a part of the path is a file: choose another workdir",
  errno.EEXIST: "a file stands where a directory is needed: choose another workdir",
}


@contextlib.contextmanager
def disk_errors(path: str | os.PathLike[str], num_bytes: int = 0) -> Iterator[None]:
  """Turns an OSError inside the block into a WorkdirError, see `describe_disk_error`."""
  try:
    yield
  except OSError as error:
    raise WorkdirError(describe_disk_error(path, error, num_bytes)) from error


def describe_disk_error(path: str | os.PathLike[str], error: OSError, num_bytes: int = 0) -> str:
  """Returns one line: what failed, where, how many bytes were needed, what to do."""
  reason = error.strerror or str(error)
  if error.errno not in _NO_SPACE:
    advice = _ADVICE.get(error.errno or 0, "check the disk or choose another workdir")
    return f"cannot write {path}: {reason}; {advice}"
  return (
    f"cannot write {path}: {reason}; {num_bytes} bytes needed, {free_bytes(path)}; free some "
    "space and run the same command again"
  )


def free_bytes(path: str | os.PathLike[str]) -> str:
  """Returns "<n> free on this disk", for the nearest parent that exists."""
  for place in [Path(path), *Path(path).absolute().parents]:
    with contextlib.suppress(OSError):  # the message must appear even if the disk does not answer
      free = shutil.disk_usage(place).free
      return f"{free} free on this disk (a quota or file-size limit may be lower)"
  return "free space unknown"


@contextlib.contextmanager
def hold_workdir(path: str | os.PathLike[str]) -> Iterator[Path]:
  """Makes the workdir if needed, and holds its lock during the block; yields its absolute path.

  It also checks that the workdir can be written. The lock is `flock` on `<workdir>/.lock`, so the
  kernel frees it when the holder dies, however it dies; the file stays. Only for the workdir itself
  is a symbolic link followed. On a network file system the lock may not work between hosts.

  Raises:
    WorkdirError: it is a file, cannot be made or written, the disk is full, or it holds files and
      no run (`refuse_others_folder`).
    LockedError: another process holds it.
  """
  path = Path(path).absolute()
  with disk_errors(path, _PROBE_BYTES):
    path.mkdir(parents=True, exist_ok=True)
    refuse_others_folder(path)
    handle = os.open(path / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
  try:
    _lock(handle, path)
    with disk_errors(path, _PROBE_BYTES):
      os.ftruncate(handle, 0)
      os.pwrite(handle, f"pid {os.getpid()} on host {socket.gethostname()}".encode(), 0)
      _remove_leftovers(path)
      _probe(path)
    yield path
    os.ftruncate(handle, 0)
  finally:
    os.close(handle)


def refuse_others_folder(path: Path) -> None:
  """Raises a WorkdirError if the folder is neither empty nor a workdir: its files are somebody's.

  What a system leaves everywhere and the logs of a run do not count.
  """
  names = os.listdir(path)
  if LOCK_NAME in names or SEAL_DIR in names:
    return
  foreign = sorted(
    name
    for name in names
    if name not in _OF_THE_SYSTEM
    and not name.startswith((TMP_PREFIX, ".nfs"))
    and not name.endswith(_LOGS)
    and not _is_redirected_to(path / name)
  )
  if foreign:
    some = ", ".join(foreign[:_NUM_SHOWN]) + (", ..." if len(foreign) > _NUM_SHOWN else "")
    is_a_copy = {"config.json", "environment.json"} <= set(foreign)
    hint = f"; a copy of a run needs {SEAL_DIR} too, as cp -a copies it" if is_a_copy else ""
    raise WorkdirError(
      f"{path} is no workdir of a run, and not empty: it holds {some}; choose a folder that is "
      f"empty or not there yet by --workdir{hint}"
    )


def _is_redirected_to(path: Path) -> bool:
  """Returns whether this process prints to the file, as with `> run/log.txt`."""
  for handle in (1, 2):
    with contextlib.suppress(OSError):
      if os.path.samestat(os.fstat(handle), os.stat(path)):
        return True
  return False


def _lock(handle: int, path: Path) -> None:
  try:
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BlockingIOError:
    raise LockedError(
      f"{path} is in use by {_read_holder(handle)}; wait until it ends, stop it, or choose "
      "another workdir"
    ) from None
  except OSError as error:
    raise WorkdirError(
      f"cannot lock {path / LOCK_NAME}: {error.strerror}; choose a workdir on a file system that "
      "has flock"
    ) from error


def _read_holder(handle: int) -> str:
  """Returns "pid <n> on host <name>" of the process that holds the lock.

  The holder writes this text just after it took the lock, so an empty or old text is read again.
  """
  text = ""
  for _ in range(20):
    text = os.pread(handle, 200, 0).decode("utf-8", "replace")
    words = text.split()
    if len(words) == 5 and not (
      words[4] == socket.gethostname()
      and words[1].isdigit()
      and not Path(f"/proc/{words[1]}").exists()
    ):
      return text
    time.sleep(0.05)
  return text or "another process"


def _remove_leftovers(path: Path) -> None:
  """Removes the temporary files of killed writers in and below the workdir, except checkpoints."""
  for directory, names, files in os.walk(path):
    names[:] = [name for name in names if name != "checkpoints"]
    for name in files:
      if name.startswith(TMP_PREFIX):
        Path(directory, name).unlink()


def _probe(path: Path) -> None:
  """Writes some bytes and removes them; raises OSError at once on a full or read-only disk."""
  probe = path / f"{TMP_PREFIX}probe"
  try:
    with open(probe, "wb") as file:
      file.write(bytes(_PROBE_BYTES))
      file.flush()
      os.fsync(file.fileno())
  finally:
    probe.unlink(missing_ok=True)
