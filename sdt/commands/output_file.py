"""The file that a command writes: told at the start where it could not be written at the end."""

import os
from pathlib import Path

from sdt import named_files
from sdt.errors import ConfigError, WorkdirError
from sdt.files.sealed import replacing
from sdt.files.workdir import describe_disk_error


def refuse(path: Path, *, overwrite: bool, flag: str = "--output") -> None:
  """Raises a WorkdirError, or a ConfigError, where a file cannot be written.

  Args:
    path: what `flag` names.
    overwrite: whether a file that is there may be replaced.
    flag: of the command line.
  """
  try:
    if path.is_dir():
      raise WorkdirError(f"{flag}={named_files.shown(path)}: a folder; name a file in it")
    if os.path.lexists(path) and not overwrite:
      raise ConfigError(
        f"{flag}={path}: exists already; give --overwrite to replace it, or another name"
      )
    if not path.parent.is_dir():
      raise WorkdirError(f"{flag}={path}: no folder {path.parent}; make it first")
  except OSError as error:
    raise WorkdirError(describe_disk_error(named_files.shown(path), error)) from error


def write(path: Path, content: bytes, *, overwrite: bool, flag: str = "--output") -> None:
  """Writes a file whole or not at all.

  Raises:
    WorkdirError, ConfigError: as `refuse`, which somebody else's file may have changed meanwhile.
  """
  refuse(path, overwrite=overwrite, flag=flag)
  try:
    with replacing(path, content):
      pass
  except OSError as error:
    raise WorkdirError(describe_disk_error(named_files.shown(path), error)) from error
