"""The contact sheet of a dry run: training images under each operation, in a PNG file."""

from pathlib import Path

from sdt.arms.strengths import strongest
from sdt.commands import output_file
from sdt.config import Config
from sdt.data.dataset import Data
from sdt.errors import ConfigError
from sdt.report import figures, image_figures
from sdt.stages import contact_sheet

_FLAG = "--sheet"


def check(config: Config, data: Data, path: Path | None, *, overwrite: bool) -> None:
  """Refuses a file that cannot be written, or in which nothing could be drawn; None is no file.

  Raises:
    ConfigError, WorkdirError: as above.
  """
  if path is None:
    return
  if data.train.inputs.ndim != 4:
    raise ConfigError(f"{_FLAG}={path}: {data.name} has no images to draw; leave it out")
  if not strongest(config).calls:
    raise ConfigError(
      f"{_FLAG}={path}: the config augments nothing, so there is nothing to draw; give operations, "
      "such as --config.augment.ops='crop(4) flip' (--help=augment lists them), or leave it out"
    )
  output_file.refuse(path, overwrite=overwrite, flag=_FLAG)


def write(config: Config, data: Data, path: Path, *, overwrite: bool) -> str:
  """Writes the file that `check` passed, and returns a sentence about it.

  Raises:
    ConfigError, WorkdirError: the file cannot be written.
  """
  content = contact_sheet.contact_sheet(config, data)
  rows = [str(row) for row in content["rows"]]
  picture = figures.render(image_figures.contact_sheet, rows, content["images"])
  output_file.write(path, picture, overwrite=overwrite, flag=_FLAG)
  ids = ", ".join(str(example_id) for example_id in content["ids"])
  return f"{path} has the training images {ids} under {len(rows) - 1} rows of operations"
