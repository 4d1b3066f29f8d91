"""Reads the command line, before anything else is loaded or written."""

import dataclasses
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from sdt import named_files
from sdt.config import shipped
from sdt.config.config_file import FOLDER
from sdt.config.resolve import is_key, nearest_key, off_value
from sdt.errors import ConfigError, nearest

_OF_LAUNCH = ("--coordinator", "--num_processes", "--process_id")
_FLAGS = ("--config", "--workdir", "--sheet", *_OF_LAUNCH)
# Flags that take no value, but for those that stand here.
_SWITCHES = {"--dry_run": ("full",), "--overwrite": (), "--profile": ()}
# For the completion: a flag that needs a value ends with "=", and one with a value is whole.
FLAGS = (
  *(f"{flag}=" for flag in _FLAGS),
  *_SWITCHES,
  *(f"{flag}={value}" for flag, values in _SWITCHES.items() for value in values),
)
_NEGATION = re.compile(r"no[-_]?(config\.)?")
# Behind the colon of --config: a part of the workdir's name, which most systems let have 255 bytes.
_LONGEST_ARGUMENT = 120


@dataclasses.dataclass(frozen=True)
class Launch:
  """One of several processes of a run.

  Attributes:
    coordinator: where process 0 listens, HOST:PORT.
    num_processes: how many processes there are.
    process_id: which of them this is, from 0.
  """

  coordinator: str
  num_processes: int
  process_id: int


@dataclasses.dataclass(frozen=True)
class Request:
  """What the command line asks for.

  Attributes:
    config_path: the config file.
    name: the run's name: the config file's path below the folder `configs`, or its name where it
      is elsewhere, without its suffix.
    workdir: `runs/<name>` by default.
    overrides: (dotted key, text) pairs, in order.
    argument: what `get_config` is called with; None for a call without.
    dry_run: whether to check and describe the run without starting it.
    shows_all_keys: whether a dry run shows the keys at their defaults too.
    sheet: where a dry run draws images under the operations of augment.ops; None for no drawing.
    overwrites: whether it may replace that file.
    profile: whether to trace a dispatch.
    launch: None where the command line says nothing of several processes.
  """

  config_path: Path
  name: str
  workdir: Path
  overrides: tuple[tuple[str, str], ...]
  dry_run: bool
  argument: str | None = None
  shows_all_keys: bool = False
  sheet: Path | None = None
  overwrites: bool = False
  profile: bool = False
  launch: Launch | None = None


def program() -> str:
  """Returns the program as it was called: `python run.py`, `sdt` or `python -m sdt`."""
  path = Path(sys.argv[0])
  if path.stem == "sdt":
    return "sdt"
  is_module = path.name == "__main__.py" and path.parent.name == "sdt"
  return "python -m sdt" if is_module else "python run.py"


def usage() -> str:
  """Returns how the program is used, as it was called: `python run.py ...` or `sdt train ...`."""
  start, config = f"{program()} train", "NAME"
  if program() == "python run.py":
    start, config = program(), "configs/NAME.py"
  return (
    f"{start} --config={config} [--workdir=DIR] [--config.KEY=VALUE ...] [--dry_run[=full] "
    "[--sheet=FILE.png [--overwrite]]] [--profile] [--help[=SECTION]]"
  )


def help_asked(arguments: Sequence[str]) -> str | None:
  """Returns what stands behind `--help=`, "" for a bare `--help` or `-h`; None without them."""
  for argument in arguments:
    flag, _, asked = argument.partition("=")
    if flag == "--help" or argument == "-h":
      return asked
  return None


def parse_arguments(arguments: Sequence[str]) -> Request:
  """Returns what `arguments` ask for, which is not the help.

  Args:
    arguments: those of the command line, without the program's name.

  Raises:
    ConfigError: unknown or repeated flag, missing value, stray argument, no --config.
  """
  values: dict[str, str] = {}
  overrides = []
  switches = {}
  for flag, text in _flags(arguments):
    if flag.startswith("--config."):
      overrides.append((flag.removeprefix("--config."), text))
    elif flag in _SWITCHES:
      switches[flag] = text
    elif flag in values:
      raise _usage_error(f"{flag} is given twice: {values[flag]!r} and {text!r}")
    else:
      values[flag] = text
  if "--config" not in values:
    raise _usage_error("--config is missing")
  sheet = _sheet(values.get("--sheet"), switches)
  config_path, name, argument = _config_file(values["--config"])
  # The shell does not expand the ~ of --workdir=~/runs.
  workdir = named_files.expanded(values.get("--workdir", f"runs/{name}"))
  return Request(
    config_path=config_path,
    name=name,
    workdir=workdir,
    overrides=tuple(overrides),
    argument=argument,
    dry_run="--dry_run" in switches,
    shows_all_keys=switches.get("--dry_run") == "full",
    sheet=sheet,
    overwrites="--overwrite" in switches,
    profile="--profile" in switches,
    launch=_launch(values),
  )


def _sheet(text: str | None, switches: Mapping[str, str]) -> Path | None:
  """Returns the file that `--sheet` names.

  Raises:
    ConfigError: it is no PNG, or stands without the flag that it belongs to.
  """
  if text is None:
    if "--overwrite" in switches:
      raise _usage_error("--overwrite is for the file of --sheet, and there is none; leave it out")
    return None
  if "--dry_run" not in switches:
    raise _usage_error(
      f"--sheet={text} is drawn by --dry_run alone: add it, or leave --sheet out, because a run "
      "with augment.ops has the drawing in its report"
    )
  if not text.lower().endswith(".png"):
    raise _usage_error(f"--sheet={text}: expected the name of a PNG file, such as sheet.png")
  return named_files.expanded(text)


def _launch(values: Mapping[str, str]) -> Launch | None:
  """Returns what the three flags of several processes say; None where none of them is given.

  Raises:
    ConfigError: one of them is missing or makes no sense.
  """
  given = [flag for flag in _OF_LAUNCH if flag in values]
  if not given:
    return None
  lacking = [flag for flag in _OF_LAUNCH if flag not in values]
  if lacking:
    raise _usage_error(
      f"{' and '.join(given)} without {' and '.join(lacking)}: several processes need all three"
    )
  host, _, port = values["--coordinator"].rpartition(":")
  if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
    raise _usage_error(
      f"--coordinator={values['--coordinator']}: expected HOST:PORT, where process 0 runs and a "
      "port that is free there"
    )
  numbers = [values[flag] for flag in _OF_LAUNCH[1:]]
  if not all(text.isdecimal() for text in numbers) or int(numbers[1]) >= int(numbers[0]):
    raise _usage_error(
      f"--num_processes={numbers[0]} --process_id={numbers[1]}: expected whole numbers, the "
      "second from 0 and below the first"
    )
  return Launch(values["--coordinator"], int(numbers[0]), int(numbers[1]))


def _config_file(text: str) -> tuple[Path, str, str | None]:
  """Returns the file that `--config` names, the name of its run, and the argument behind a colon.

  A file at hand comes before a shipped one of that name, and its own name may have a colon.

  Raises:
    ConfigError: nothing stands behind the colon, or more than a folder can be named after.
  """
  place = named_files.expanded(text)
  if os.path.isfile(place):  # unlike pathlib's, it says False of a name that is too long
    return place, _run_name(place), None
  given, colon, after = text.partition(":")
  place, argument = named_files.expanded(given), after if colon else None
  if colon and not after:
    raise _usage_error(
      f"--config={text}: nothing stands behind the colon; leave it out, or give the text that "
      "get_config takes"
    )
  name, suffix = _run_name(place), f"-{quote(after, safe=',=')}" if colon else ""
  if len(suffix) > _LONGEST_ARGUMENT:
    raise ConfigError(
      f"--config={named_files.shown(text)}: the text behind the colon names the run, and would be "
      f"{len(suffix)} characters of its name, at most {_LONGEST_ARGUMENT} are taken; shorten it, "
      "or write it into the file"
    )
  if not os.path.isfile(place) and given in (files := shipped.files_by_name()):
    place, name = files[given], given
  return place, name + suffix, argument


def _run_name(config_path: Path) -> str:
  """Returns "paper/svhn_resnet20" of configs/paper/svhn_resnet20.py, "mine" of anywhere/mine.py."""
  path = Path(os.path.normpath(config_path))
  parents = path.parent.parts
  below = parents[len(parents) - parents[::-1].index(FOLDER) :] if FOLDER in parents else ()
  return "/".join([*below, path.stem])


def _flags(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
  """Yields (flag, value) of `--flag=value` and `--flag value`; the value of a switch is empty."""
  rest, before = iter(arguments), ""
  for argument in rest:
    flag, has_value, text = argument.partition("=")
    if not argument.startswith("-"):
      raise _usage_error(f"unexpected argument {argument!r}{as_config(argument)}{_quoted(before)}")
    if flag not in (*_FLAGS, *_SWITCHES) and (
      not flag.startswith("--config.") or flag == "--config."
    ):
      meant = _meant(flag)
      raise _usage_error(f"unknown flag {flag}" + (f"; did you mean {meant}?" if meant else ""))
    if flag in _SWITCHES:
      if has_value and text not in _SWITCHES[flag]:
        allowed = "".join(f", or {value!r}" for value in _SWITCHES[flag])
        raise _usage_error(f"{flag} takes no value{allowed}")
    elif not has_value:
      text = next(rest, "--")
      if text.startswith("--"):
        raise _usage_error(f"{flag} needs a value: {flag}=VALUE")
    if not text and flag in _FLAGS:
      raise _usage_error(f"{flag} needs a value: {flag}=VALUE")
    yield flag, text
    before = f"{flag}={text}" if flag.startswith("--config.") else ""


def _quoted(before: str) -> str:
  """Returns the advice for a word behind the value of a key, which may belong to that value."""
  flag, _, text = before.partition("=")
  return f"; if it belongs to {flag}, quote the value: {flag}='{text} ...'" if before else ""


def _meant(flag: str) -> str | None:
  """Returns the flag that is most likely meant by an unknown one; None if none is alike.

  `--noconfig.KEY` is how other programs turn a key off.
  """
  name = flag.lstrip("-")
  negated = _NEGATION.match(name)
  asked = name[negated.end() :] if negated else ""
  if negated and (negated[1] or is_key(asked)):
    key = nearest_key(asked)
    return f"--config.{key}={off_value(key)}"
  name = name.removeprefix("config.")
  if "." in name or is_key(name):
    return f"--config.{nearest_key(name)}"
  return nearest(flag, [*_FLAGS, *_SWITCHES, "--help", "--version"], cutoff=0.5)


def as_config(word: str) -> str:
  """Returns the advice for a stray word that is a config file or the name of one."""
  is_one = os.path.isfile(word) or word in shipped.files_by_name()
  return f"; did you mean --config={word}?" if is_one else ""


def _usage_error(problem: str) -> ConfigError:
  return ConfigError(f"{problem}; usage: {usage()}")
