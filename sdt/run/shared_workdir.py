"""The workdir of a run of several processes: the first holds it, the others get a copy."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from sdt.devices.processes import agree, count, index, is_first, send
from sdt.files.workdir import TMP_PREFIX, disk_errors, hold_workdir

# Checkpoints are sent when they are asked for; the rest is read by nobody but people.
_NOT_COPIED = (".csv", ".png", ".svg", ".html", ".safetensors")
_TOO_LARGE = "predictions*.npz"  # also of further answers
_FOLDERS_NOT_COPIED = {"checkpoints", "profile"}


@contextlib.contextmanager
def hold(path: Path) -> Iterator[Path]:
  """Gives the workdir for the block, locked; processes other than the first get a copy.

  The copy has the small files as they are at the start of the block, no checkpoints. What is
  written to it is lost when the process ends.
  """
  if not is_first():
    yield copied(path)
    return
  with hold_workdir(path) as held:
    yield copied(held)


def copied(folder: Path) -> Path:
  """Returns the folder itself on the first process, and a private copy on every other."""
  if count() == 1:
    return folder
  contents = _small_files(folder) if is_first() else {}
  sizes = agree({name: len(content) for name, content in contents.items()})
  data = send(b"".join(contents.values()))
  if is_first():
    return folder
  root = Path(_private().name)
  own = (
    folder if folder.is_relative_to(root) else root / Path(os.path.abspath(folder)).relative_to("/")
  )
  with disk_errors(own, len(data)):
    shutil.rmtree(own, ignore_errors=True)
    own.mkdir(parents=True)
    start = 0
    for name, size in sizes.items():
      (own / name).parent.mkdir(parents=True, exist_ok=True)
      (own / name).write_bytes(data[start : start + size])
      start += size
  return own


def _small_files(folder: Path) -> dict[str, bytes]:
  found = {}
  for path in sorted(folder.rglob("*")):
    name = path.relative_to(folder)
    is_small = (
      path.suffix not in _NOT_COPIED
      and not path.match(_TOO_LARGE)
      and not path.name.startswith(TMP_PREFIX)
      and not _FOLDERS_NOT_COPIED & set(name.parts)
    )
    if is_small and path.is_file() and not path.is_symlink():
      found[name.as_posix()] = path.read_bytes()
  return found


@functools.cache
def _private() -> tempfile.TemporaryDirectory[str]:
  """Returns the folder of this process's copies, which goes when the process ends."""
  return tempfile.TemporaryDirectory(prefix=f"sdt-process-{index()}-")
