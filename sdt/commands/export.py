"""The command `export`: a network of a finished run as a file for other programs."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from sdt import named_files
from sdt.config.command_line import program
from sdt.devices.start import find_devices, load_jax
from sdt.errors import ConfigError, WorkdirError

FLAGS = (
  *("--format=stablehlo", "--format=onnx", "--format=torch"),
  *("--arm=", "--seed=", "--output=", "--overwrite", "--help"),
)


class _Parser(argparse.ArgumentParser):
  def error(self, message: str) -> NoReturn:
    raise ConfigError(f"export: {message}; {' '.join(self.format_usage().split())}")


def _parser() -> _Parser:
  parser = _Parser(
    prog=f"{program()} export",
    description="Writes a network of a finished run as a file for other programs, and a model card "
    "beside it. docs/exports.md has the rest.",
    allow_abbrev=False,
    formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, width=100),
  )
  parser.add_argument("workdir", metavar="WORKDIR", help="of the run")
  parser.add_argument(
    "--format",
    required=True,
    help="stablehlo: for jax.export, on CPU, GPU and TPU; onnx: for onnxruntime and others; torch: "
    "weights for torchvision and timm, of networks that they have",
  )
  parser.add_argument("--arm", help="by default that of the recommended network")
  parser.add_argument("--seed", type=int, help="by default the recommended one, or the first")
  parser.add_argument("--output", help="the file, by default WORKDIR/exports/ARM-seedK.SUFFIX")
  parser.add_argument("--overwrite", action="store_true", help="replace files that are there")
  return parser


def _output(text: str | None) -> Path | None:
  """Returns the file that --output names, None without one.

  Raises:
    ConfigError: it is an empty text. WorkdirError: it can only be a folder.
  """
  if text is None:
    return None
  if not text:
    raise ConfigError("export: --output= names no file; leave it out, or name one")
  if os.path.basename(text) in ("", ".", ".."):
    raise WorkdirError(f"--output={named_files.shown(text)}: a folder; name a file in it")
  return named_files.expanded(text)


def main(arguments: Sequence[str]) -> int:
  """Exports a network and says where; returns the exit code.

  Raises:
    SdtError: see sdt/errors.py.
  """
  try:
    given = _parser().parse_args(list(arguments))
  except SystemExit as asked:  # --help, which argparse has printed
    return int(asked.code or 0)
  if not given.workdir:
    raise ConfigError("export: the workdir is an empty text; name that of a finished run, or .")
  workdir, output = named_files.expanded(given.workdir), _output(given.output)
  load_jax()
  from sdt.trained.exports import export as exports
  from sdt.trained.load import load

  # What the words themselves have wrong is told before a GPU is touched.
  exports.format_named(given.format)
  if output is not None:
    exports.refuse_output(output, workdir, overwrite=given.overwrite)
  run = load(workdir)
  find_devices()
  model = run.network(given.arm, given.seed)
  output = output or exports.default_output(workdir, model, given.format)
  card = exports.export(
    model, run.results, given.format, workdir=workdir, output=output, overwrite=given.overwrite
  )
  print(
    f"{output}: arm {model.arm}, seed {model.seed}, {output.stat().st_size:,} bytes; model card: "
    f"{card}"
  )
  return 0
