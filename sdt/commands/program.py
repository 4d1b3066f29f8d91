"""The program: `sdt`, `python -m sdt` and `python run.py` hand their arguments to a command.

The first word names the command; without one it is `train`. A command is a module with
`main(arguments) -> exit code` that raises an SdtError. It answers `--help`, and may name its flags
in `FLAGS`, which the completion of the shell offers: "--all", "--output=", "--format=onnx".
"""

import contextlib
import importlib
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import NoReturn

# Set before absl and XLA are loaded: hides their information and warnings, not their errors.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from absl import logging

import sdt
from sdt.config.command_line import help_asked
from sdt.errors import ConfigError, Interrupted, SdtError, WorkdirError, did_you_mean
from sdt.output import endure

# Name -> its module, which is imported when it is asked for, and what it does.
COMMANDS: Mapping[str, tuple[str, str]] = {
  "train": ("sdt.commands.train", "trains, scores, splits, trains again and reports; continues"),
  "doctor": ("sdt.commands.doctor", "examines a network in seven steps: what is wrong, what to do"),
  "predict": ("sdt.commands.predict", "a table of classes for new images from a finished run"),
  "compare": ("sdt.commands.compare", "did a change help? two finished runs, paired by seed"),
  "probe": ("sdt.commands.probe", "a linear classifier on every stage of a network: what to train"),
  "export": ("sdt.commands.export", "writes a network for other programs: StableHLO, ONNX, torch"),
  "completion": ("sdt.commands.completion", "prints a script that completes commands and keys"),
}
DEFAULT = "train"


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
  """Runs the command that the arguments name and returns the exit code.

  Codes: 0 done; 2 usage or config; 3 data; 4 a replica diverged; 5 no usable checkpoint; 6 workdir
  locked; 7 workdir not writable; 8 doctor has found a fault; 75 stopped after a clean save; 129
  (SIGHUP), 130 (SIGINT) or 143 (SIGTERM) stopped before there was anything to save.
  """
  for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    if not (number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN):  # nohup
      signal.signal(number, StopAtOnce())
  logging.set_verbosity(logging.ERROR)
  try:
    if "--version" in arguments:
      print(f"sdt {sdt.__version__}")
      return 0
    name, rest = _command(arguments)
    if help_asked(rest) is None:
      check_surroundings()
    return int(importlib.import_module(COMMANDS[name][0]).main(rest))
  except (OSError, MemoryError) as error:
    print(f"sdt: error: {beyond_us(error)}", file=sys.stderr)
    return WorkdirError.exit_code
  except SdtError as error:
    start = "sdt:" if isinstance(error, Interrupted) else "sdt: error:"
    print(start, *str(error).split("\n"), file=sys.stderr)  # one line, whatever the user wrote
    return error.exit_code


def run() -> int:
  """Runs the program on the arguments of this process, with output that cannot end it."""
  endure()
  return main(sys.argv[1:])


def _command(arguments: Sequence[str]) -> tuple[str, Sequence[str]]:
  """Returns the command and its arguments.

  Raises:
    ConfigError: the first word is almost a command; any other the default command refuses.
  """
  first = arguments[0] if arguments else ""
  if first in COMMANDS:
    return first, arguments[1:]
  if not first.startswith("-") and (meant := did_you_mean(first, COMMANDS)):
    raise ConfigError(
      f"unexpected argument {first!r}{meant} The commands are {', '.join(COMMANDS)}"
    )
  return DEFAULT, arguments
