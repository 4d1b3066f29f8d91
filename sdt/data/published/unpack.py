"""Unpacking a registered archive: verified as a whole before anything is written, and either all
there or not at all.
"""

from __future__ import annotations

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
  """Returns `folder / top`, which is what the archive `folder / remote.name` holds in its folder
  `top`.

  Everything else in the archive is left in it, and so is every member that is no regular file.

  Raises:
    DataError: there is such a folder already; the archive is not the registered one, or cannot be
      unpacked. Then nothing is left behind.
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
        f"{remote.size} bytes with {remote.sha256};"
        f" remove it, and fetch {remote.url} again"
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
  """Renames a folder; what another process put in its place meanwhile is as good, as it came out of
  the same archive.
  """
  try:
    os.replace(unpacked, place)
  except OSError as error:
    if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
      raise
