"""Runs one experiment from a config file.

    python run.py --config=configs/digits.py
    python run.py predict runs/digits IMAGES

`--help` lists the flags, the config files and every key. Exit codes: 0 done; 2 usage or config; 3
data; 4 a replica diverged; 5 no usable checkpoint; 6 workdir locked; 7 workdir not writable; 75
stopped after a clean save; 129 (SIGHUP), 130 (SIGINT) or 143 (SIGTERM) stopped before there was
anything to save.
"""

import contextlib
import importlib
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

# Set before absl and XLA are loaded: hides their information and warnings, not their errors.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from absl import logging

from sdt.commands.program import COMMANDS
from sdt.config import resolve
from sdt.config.command_line import help_text, load_config_file, parse_arguments
from sdt.config.sweep_points import expand
from sdt.devices.start import load_jax
from sdt.errors import ConfigError, Interrupted, SdtError, WorkdirError
from sdt.output import endure


class StopAtOnce:
  """Exits at once. We do not raise, because a library that is being imported could swallow it."""

  # The training installs its own handler, which saves.
  is_for_the_start = True

  def __call__(self, number: int, frame: FrameType | None) -> NoReturn:
    with contextlib.suppress(OSError):  # the terminal may be gone
      os.write(2, b"sdt: stopped before there was anything to save\n")
    os._exit(128 + number)


def check_surroundings() -> None:
  """Raises a ConfigError where file names cannot be written down, or the working folder is gone."""
  encoding = sys.getfilesystemencoding()
  if encoding != "utf-8":
    raise ConfigError(
      f"the locale has file names in {encoding}, which not every name can be written in; set "
      "PYTHONUTF8=1 and run the same command again"
    )
  try:
    os.getcwd()
  except OSError as error:
    raise ConfigError(
      f"the working directory cannot be used ({error.strerror}); change to one that exists, such "
      "as with cd ~"
    ) from None


def beyond_us(error: OSError | MemoryError) -> str:
  """Returns one line on what the system refused where nothing else has a word for it."""
  if isinstance(error, MemoryError):
    return f"out of memory ({error}); use a smaller set or image size, or another machine"
  where = f"{error.filename}: " if error.filename else ""
  return f"{where}{error.strerror or error}; check the disk, the limits and the network"


def main(arguments: Sequence[str]) -> int:
  """Runs what the command line asks for and returns the exit code."""
  for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    if not (number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN):  # nohup
      signal.signal(number, StopAtOnce())
  logging.set_verbosity(logging.ERROR)
  try:
    if arguments and arguments[0] in COMMANDS:
      check_surroundings()
      return int(importlib.import_module(COMMANDS[arguments[0]][0]).main(arguments[1:]))
    request = parse_arguments(arguments)
    if request is None:
      print(help_text(Path(__file__).parent / "configs"))
      return 0
    check_surroundings()
    config = resolve(load_config_file(request.config_path), request.overrides)
    points = expand(config)

    # Imports JAX, so only now: the user learns of a mistake in the config at once.
    load_jax()
    from sdt.commands.train import train

    return train(config, points, request)
  except (OSError, MemoryError) as error:
    print(f"sdt: error: {beyond_us(error)}", file=sys.stderr)
    return WorkdirError.exit_code
  except SdtError as error:
    start = "sdt:" if isinstance(error, Interrupted) else "sdt: error:"
    print(start, *str(error).split("\n"), file=sys.stderr)  # one line, whatever the user wrote
    return error.exit_code


if __name__ == "__main__":
  endure()
  sys.exit(main(sys.argv[1:]))
