"""Unpacks a registered archive: verifies it first, and keeps either everything or nothing."""

import contextlib
import errno
import hashlib
import os
import shutil
import tarfile
from pathlib import Path

from sdt.data.published.download import RemoteFile
from sdt.errors import DataError


def unpack(remote: RemoteFile, folder: Path, top: str) -> Path:
  """Unpacks the folder `top` of the archive `folder / remote.name`, and returns `folder / top`.

  Only regular files are unpacked, and nothing outside `top`.

  Raises:
    DataError: there is such a folder already; the archive is not the registered one, or cannot be
      unpacked. Nothing is left behind.
  """
  archive = folder / remote.name
  if (folder / top).exists():
    raise DataError(
      f"{folder / top}: is there but not the whole set; remove it, and run the same command again "
      f"to unpack {archive}"
    )
  part = folder / f"{top}.{os.getpid()}.part"
  try:
    with archive.open("rb") as file:
      digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != remote.sha256:
      raise DataError(
        f"{archive}: {archive.stat().st_size} bytes with SHA-256 {digest}; registered are "
        f"{remote.size} bytes with {remote.sha256}; remove it, and fetch {remote.url} again"
      )
    with tarfile.open(archive, mode="r:gz") as members:
      wanted = (
        member
        for member in members
        if member.isreg() and member.name.removeprefix("./").startswith(f"{top}/")
      )
      members.extractall(part, wanted, filter="data")
    _put_in_place(part / top, folder / top)
  except (tarfile.TarError, OSError, EOFError) as error:
    raise DataError(
      f"{archive}: cannot be unpacked to {folder / top}: {error}; nothing of it was kept"
    ) from error
  finally:
    with contextlib.suppress(OSError):
      shutil.rmtree(part, ignore_errors=True)
  return folder / top


def _put_in_place(unpacked: Path, place: Path) -> None:
  """Renames a folder; a folder that another process has put there meanwhile is just as good."""
  try:
    os.replace(unpacked, place)
  except OSError as error:
    if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
      raise
