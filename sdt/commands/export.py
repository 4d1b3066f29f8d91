"""The command `export`: a network of a finished run as a file for other programs."""

import argparse
from collections.abc import Sequence
from typing import NoReturn

from sdt import named_files
from sdt.config.command_line import program
from sdt.devices.start import find_devices, load_jax
from sdt.errors import ConfigError

FLAGS = (
  *("--format=stablehlo", "--format=onnx", "--format=torch"),
  *("--arm=", "--seed=", "--output=", "--overwrite", "--help"),
)


class _Parser(argparse.ArgumentParser):
  def error(self, message: str) -> NoReturn:
    raise ConfigError(f"export: {message}; {self.format_usage().strip()}")


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


def main(arguments: Sequence[str]) -> int:
  """Exports a network and says where; returns the exit code.

  Raises:
    SdtError: see sdt/errors.py.
  """
  try:
    given = _parser().parse_args(list(arguments))
  except SystemExit as asked:  # --help, which argparse has printed
    return int(asked.code or 0)
  workdir = named_files.expanded(given.workdir)
  load_jax()
  find_devices()
  from sdt.trained.exports.export import default_output, export
  from sdt.trained.load import load

  run = load(workdir)
  model = run.network(given.arm, given.seed)
  output = default_output(workdir, model, given.format)
  if given.output is not None:
    output = named_files.expanded(given.output)
  card = export(model, run.results, given.format, output=output, overwrite=given.overwrite)
  print(
    f"{output}: arm {model.arm}, seed {model.seed}, {output.stat().st_size:,} bytes; model card: "
    f"{card}"
  )
  return 0
