"""Exports a network of a run: the file, and its model card beside it."""

from pathlib import Path

from sdt import files
from sdt.errors import ConfigError, did_you_mean
from sdt.files.workdir import disk_errors
from sdt.trained.exports.choose import Chosen
from sdt.trained.exports.formats import FORMATS
from sdt.trained.exports.model_card import card

# Where exports go by default, in the workdir.
FOLDER = "exports"


def export(chosen: Chosen, format_name: str, output: Path, *, overwrite: bool = False) -> Path:
  """Writes a network in one of `FORMATS`, and OUTPUT.md, its model card; returns the card's path.

  Args:
    chosen: the network and its run.
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
  for path in (output, beside):
    with disk_errors(path):
      is_there = path.is_symlink() or path.exists()
    if is_there and (not overwrite or path.is_dir()):
      advice = "give --overwrite or another --output" if not path.is_dir() else "name a file"
      raise ConfigError(f"--output={path} exists; {advice}")
  kind.check(chosen.model)
  content = kind.content(chosen.model)
  text = card(chosen.model, chosen.results, kind, file=output.name).encode()
  with disk_errors(output, len(content) + len(text)):
    output.parent.mkdir(parents=True, exist_ok=True)
    with files.replacing(output, content), files.replacing(beside, text):
      pass
  return beside


def default_output(workdir: Path, chosen: Chosen, format_name: str) -> Path:
  """Returns WORKDIR/exports/ARM-seedK with the format's suffix."""
  suffix = FORMATS[format_name].suffix if format_name in FORMATS else ""
  return workdir / FOLDER / f"{chosen.model.arm}-seed{chosen.model.seed}{suffix}"
