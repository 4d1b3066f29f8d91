"""Exports a network of a run: the file, and its model card beside it."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sdt import files
from sdt.errors import ConfigError, WorkdirError, did_you_mean
from sdt.files.workdir import disk_errors
from sdt.trained.exports.formats import FORMATS
from sdt.trained.exports.model_card import card
from sdt.trained.model import Model


def export(
  model: Model,
  results: Mapping[str, Any],
  format_name: str,
  *,
  output: Path,
  overwrite: bool = False,
) -> Path:
  """Writes a network in one of `FORMATS`, and OUTPUT.md, its model card; returns the card's path.

  Args:
    model: the network.
    results: results.json of its run.
    format_name: a name of `FORMATS`.
    output: the file; its folder is made where it lacks.
    overwrite: whether files that are there already are replaced.

  Raises:
    ConfigError: there is no such format, the network cannot be exported to it, or a file is there.
    WorkdirError: a file cannot be written. None is half-written.
  """
  if format_name not in FORMATS:
    raise ConfigError(
      f"--format={format_name} is no format{did_you_mean(format_name, FORMATS)} (formats: "
      f"{', '.join(FORMATS)})"
    )
  kind, beside = FORMATS[format_name], output.with_name(f"{output.name}.md")
  _refuse_what_is_there(output, beside, overwrite=overwrite)
  kind.check(model)
  content = kind.content(model)
  text = card(model, results, kind, file=output.name).encode()
  with disk_errors(output, len(content) + len(text)):
    output.parent.mkdir(parents=True, exist_ok=True)
    with files.replacing(output, content), files.replacing(beside, text):
      pass
  return beside


def _refuse_what_is_there(*paths: Path, overwrite: bool) -> None:
  for path in paths:
    with disk_errors(path):
      is_there, is_folder = os.path.lexists(path), path.is_dir()
    if is_folder:
      raise WorkdirError(f"--output={path}: a folder; name a file in it")
    if is_there and not overwrite:
      raise ConfigError(
        f"--output={path}: exists already; give --overwrite to replace it, or another name"
      )


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
  suffix = FORMATS[format_name].suffix if format_name in FORMATS else ""
  return workdir / "exports" / f"{model.arm}-seed{model.seed}{suffix}"
