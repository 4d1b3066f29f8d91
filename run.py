"""Runs one experiment from a config file.

    python run.py --config=configs/digits.py

`--help` lists the flags, the config files and every key. Exit codes: 0 done; 2 usage or config; 3
data; 4 a replica diverged; 5 no usable checkpoint; 6 workdir locked; 7 workdir not writable; 75
stopped after a clean save; 130 (SIGINT) or 143 (SIGTERM) stopped before there was anything to save.
"""

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

from sdt.config import resolve
from sdt.config.command_line import help_text, load_config_file, parse_arguments
from sdt.config.sweep_points import expand
from sdt.errors import Interrupted, SdtError


class StopAtOnce:
  """Exits at once. We do not raise, because a library that is being imported could swallow it."""

  # The training installs its own handler, which saves.
  is_for_the_start = True

  def __call__(self, number: int, frame: FrameType | None) -> NoReturn:
    os.write(2, b"sdt: stopped before there was anything to save\n")
    os._exit(128 + number)


def main(arguments: Sequence[str]) -> int:
  """Runs what the command line asks for and returns the exit code."""
  for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, StopAtOnce())
  logging.set_verbosity(logging.ERROR)
  try:
    request = parse_arguments(arguments)
    if request is None:
      signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `--help | head` ends quietly
      print(help_text(Path(__file__).parent / "configs"))
      return 0
    config = resolve(load_config_file(request.config_path), request.overrides)
    points = expand(config)

    # Imports JAX, so only now: the user learns of a mistake in the config at once.
    from sdt.commands.train import train

    return train(config, points, request)
  except SdtError as error:
    start = "sdt:" if isinstance(error, Interrupted) else "sdt: error:"
    print(start, *str(error).split("\n"), file=sys.stderr)  # one line, whatever the user wrote
    return error.exit_code


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
