"""Exports a network of a run: the file, and its model card beside it."""

import contextlib
import errno
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sdt import files
from sdt.errors import ConfigError, WorkdirError, did_you_mean
from sdt.files.sealed import seal_path
from sdt.files.workdir import describe_disk_error
from sdt.named_files import shown, why
from sdt.trained.exports.formats import FORMATS, Format
from sdt.trained.exports.model_card import card
from sdt.trained.model import Model

# The folder of a workdir that exports may stand in: all else there is the run's.
FOLDER = "exports"
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def export(
  model: Model,
  results: Mapping[str, Any],
  format_name: str,
  *,
  workdir: Path,
  output: Path,
  overwrite: bool = False,
) -> Path:
  """Writes a network in one of `FORMATS`, and OUTPUT.md, its model card; returns the card's path.

  Args:
    model: the network.
    results: results.json of its run.
    format_name: a name of `FORMATS`.
    workdir: of its run.
    output: the file. Of the folders only WORKDIR/exports is made where it lacks.
    overwrite: whether files that are there already are replaced; those of a run never are.

  Raises:
    ConfigError: there is no such format, the network cannot be exported to it, or a file is there.
    WorkdirError: a file cannot be written. None is half-written.
    DataError: environment.json of the run is damaged.
  """
  kind = format_named(format_name)
  refuse_output(output, workdir, overwrite=overwrite)
  kind.check(model)
  precision = files.read_json(workdir / "environment.json")["choices"]["precision"]
  content = kind.content(model)
  text = card(model, results, kind, file=output.name, precision=precision).encode()
  refuse_output(output, workdir, overwrite=overwrite)  # a file may have come in between
  with _disk_errors(output, len(content) + len(text)):
    if _is_in_exports(output, workdir):
      output.parent.mkdir(exist_ok=True)
    with files.replacing(output, content), files.replacing(_card_of(output), text):
      pass
  return _card_of(output)


def format_named(name: str) -> Format:
  """Returns the format of this name.

  Raises:
    ConfigError: there is none.
  """
  if name not in FORMATS:
    raise ConfigError(
      f"--format={name} is no format{did_you_mean(name, FORMATS)} (formats: {', '.join(FORMATS)})"
    )
  return FORMATS[name]


def refuse_output(output: Path, workdir: Path, *, overwrite: bool) -> None:
  """Raises an error where the file or its card must not be written there, or cannot be.

  Raises:
    ConfigError: one of them exists, or would stand among the files of a run.
    WorkdirError: it is a folder, in no folder, or where the system lets nobody look.
  """
  with _disk_errors(output):
    if output.is_dir():
      raise WorkdirError(f"{shown(output)}: a folder; name a file in it")
    _refuse_place_in_run(output, workdir)
    for path, what in ((output, ""), (_card_of(output), ", the model card beside it,")):
      if not _is_there(path):
        continue
      name = f"{shown(path)}{what}"
      if path.is_dir():
        raise WorkdirError(f"{name} is a folder; name another file by --output")
      if seal_path(path).exists():
        raise ConfigError(f"{name} is a file of a run, which nothing replaces; name another file")
      if not overwrite:
        raise ConfigError(
          f"{name} exists already; give --overwrite to replace it, or another --output"
        )
    if not (_is_in_exports(output, workdir) or output.parent.is_dir()):
      raise WorkdirError(f"{shown(output)}: no folder {shown(output.parent)}; make it first")


def _is_in_exports(output: Path, workdir: Path) -> bool:
  """Returns whether a file stands in WORKDIR/exports itself, however the two are written."""
  return os.path.realpath(output.parent) == os.path.realpath(workdir / FOLDER)


def _refuse_place_in_run(output: Path, workdir: Path) -> None:
  """Raises a ConfigError where a path is in a workdir, and not in its folder of exports."""
  place, own = Path(os.path.realpath(output.parent)), Path(os.path.realpath(workdir))
  if place.is_relative_to(own) and not place.is_relative_to(own / FOLDER):
    raise ConfigError(
      f"{shown(output)}: among the files of the run; name a file in {shown(workdir / FOLDER)}, or "
      "outside of the workdir"
    )


def _is_there(path: Path) -> bool:
  """Returns whether there is something of this name, be it a link to nothing."""
  try:
    os.lstat(path)
  except FileNotFoundError:
    return False
  return True


@contextlib.contextmanager
def _disk_errors(path: Path, num_bytes: int = 0) -> Iterator[None]:
  """Turns what a system says of a path within the block into a WorkdirError that names it."""
  try:
    yield
  except (OSError, ValueError) as error:  # a null character in a name is a ValueError
    if isinstance(error, OSError) and error.errno in _DISK_FULL:
      raise WorkdirError(describe_disk_error(shown(path), error, num_bytes)) from error
    reason = (isinstance(error, OSError) and error.strerror) or why(error)
    raise WorkdirError(
      f"cannot write {shown(path)}: {reason}; name a file in a folder that you may write to"
    ) from error


def _card_of(output: Path) -> Path:
  return output.with_name(f"{output.name}.md")


def format_of(path: Path) -> str:
  """Returns the format whose files have the suffix of the path.

  Raises:
    ConfigError: there is none.
  """
  for name, kind in FORMATS.items():
    if path.suffix == kind.suffix:
      return name
  suffixes = ", ".join(f"{kind.suffix} ({name})" for name, kind in FORMATS.items())
  raise ConfigError(f"{path}: no format has this suffix; name the format, or end it in {suffixes}")


def default_output(workdir: Path, model: Model, format_name: str) -> Path:
  """Returns WORKDIR/exports/ARM-seedK with the format's suffix."""
  return workdir / FOLDER / f"{model.arm}-seed{model.seed}{format_named(format_name).suffix}"
