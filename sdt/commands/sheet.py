"""The contact sheet of a dry run: training images under each operation, in a PNG file."""

from pathlib import Path

from sdt.arms.checks import check_arms
from sdt.arms.strengths import strongest
from sdt.commands import output_file
from sdt.config import Config
from sdt.data.dataset import Data
from sdt.errors import ConfigError
from sdt.stages import contact_sheet

_FLAG = "--sheet"


def check(config: Config, path: Path, *, overwrite: bool) -> None:
  """Refuses a file that cannot be written, or a config that has nothing to draw.

  Raises:
    ConfigError, WorkdirError: as above, or an arm is unknown.
  """
  check_arms(config)
  if not contact_sheet.shown_calls(strongest(config)):
    raise ConfigError(
      f"{_FLAG}={path}: the keys of augment name no operation that can be drawn; give some, such "
      "as --config.augment.ops='crop(4) flip' (--help=augment), or leave it out"
    )
  output_file.refuse(path, overwrite=overwrite, flag=_FLAG)


def check_images(data: Data, path: Path) -> None:
  """Refuses data that are no images, with a ConfigError."""
  if data.train.inputs.ndim != 4:
    raise ConfigError(f"{_FLAG}={path}: {data.name} has no images to draw; leave it out")


def write(config: Config, data: Data, path: Path, *, overwrite: bool) -> str:
  """Writes the file that `check` and `check_images` passed; returns a sentence about it.

  Raises:
    ConfigError, WorkdirError: the file cannot be written.
  """
  from sdt.report import figures, image_figures  # here, because matplotlib takes a second

  content = contact_sheet.contact_sheet(config, data)
  rows = [str(row) for row in content["rows"]]
  picture = figures.render(image_figures.contact_sheet, rows, content["images"])
  output_file.write(path, picture, overwrite=overwrite, flag=_FLAG)
  ids = ", ".join(str(example_id) for example_id in content["ids"])
  return f"{path} has the training images {ids} under {len(rows) - 1} rows of operations"
