"""Reads the command line and the config files, before anything else is loaded or written."""

import dataclasses
import importlib.machinery
import inspect
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import CodeType, ModuleType
from urllib.parse import quote

from ml_collections import ConfigDict

from sdt import named_files
from sdt.config import shipped
from sdt.config.resolve import is_key, nearest_key, off_value
from sdt.errors import ConfigError, nearest

_OF_LAUNCH = ("--coordinator", "--num_processes", "--process_id")
_FLAGS = ("--config", "--workdir", *_OF_LAUNCH)
# Flags that take no value, but for those that stand here.
_SWITCHES = {"--dry_run": ("full",), "--profile": ()}
# For the completion: a flag that needs a value ends with "=", and one with a value is whole.
FLAGS = (
  *(f"{flag}=" for flag in _FLAGS),
  *_SWITCHES,
  *(f"{flag}={value}" for flag, values in _SWITCHES.items() for value in values),
)
_NEGATION = re.compile(r"no[-_]?(config\.)?")
CONFIGS = "configs"
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
    f"{start} --config={config} [--workdir=DIR] [--config.KEY=VALUE ...] [--dry_run[=full]] "
    "[--profile] [--help[=SECTION]]"
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
    profile="--profile" in switches,
    launch=_launch(values),
  )


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
  below = parents[len(parents) - parents[::-1].index(CONFIGS) :] if CONFIGS in parents else ()
  return "/".join([*below, path.stem])


def load_config_file(path: Path, argument: str | None = None) -> ConfigDict:
  """Runs the Python file `path` and returns what its `get_config()` returns.

  Args:
    path: of the file.
    argument: `get_config` is called with it; None for a call without.

  Raises:
    ConfigError: no such file (with the nearest one), an error in the file (with its line), a
      `get_config` that does not take what is given, or a result that is no ConfigDict.
  """
  named_files.find("--config", path, _nearest_file(path), error=ConfigError)
  try:
    return _loaded(path, () if argument is None else (argument,))
  except ConfigError as error:
    if (name := os.fspath(path)) not in shipped.files_by_name():
      raise
    raise ConfigError(
      f"{error}; this is the file {name} of the working folder, which comes before the config "
      f"{name} that sdt ships: for that one rename the file, or start in another folder"
    ) from None


def _loaded(path: Path, given: tuple[str, ...]) -> ConfigDict:
  """Does what `load_config_file` does with a file that exists; `given` is for `get_config`."""
  loader = _SourceOnly("sdt_config_file", str(path))
  module = ModuleType(loader.name)
  try:
    loader.exec_module(module)
    get_config = getattr(module, "get_config", None)
    if not callable(get_config):
      raise ConfigError(
        f"--config={path}: expected a function get_config() that returns an "
        "ml_collections.ConfigDict; it has none"
      )
    _check_takes(get_config, path, given)
    config = get_config(*given)
  except ConfigError:
    raise
  except (Exception, SystemExit) as error:
    raise ConfigError(
      f"--config={path}: {_where(error, path)}: {type(error).__name__}: {_one_line(error)}"
    ) from None
  if not isinstance(config, ConfigDict):
    raise ConfigError(
      f"--config={path}: get_config() returns {type(config).__name__}, expected an "
      "ml_collections.ConfigDict"
    )
  return config


def _check_takes(get_config: Callable[..., object], path: Path, given: tuple[str, ...]) -> None:
  """Refuses a `get_config` that lacks an argument, or that takes none and is given one."""
  try:
    signature = inspect.signature(get_config)
    signature.bind(*given)
  except ValueError:  # of something that has no signature: the call will tell
    return
  except TypeError:
    start = f"--config={path}: get_config{signature}"
    if given:
      raise ConfigError(
        f"{start} takes no single argument, and {given[0]!r} is given; leave out the colon and "
        "what follows"
      ) from None
    raise ConfigError(
      f"{start} needs an argument; give it behind a colon: --config={path}:TEXT"
    ) from None


class _SourceOnly(importlib.machinery.SourceFileLoader):
  """Compiles the source every time.

  Python's cache may miss an edit within a second, and it writes beside the file.
  """

  def get_code(self, fullname: str) -> CodeType:
    path = self.get_filename(fullname)
    return self.source_to_code(self.get_data(path), path)


def _flags(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
  """Yields (flag, value) of `--flag=value` and `--flag value`; the value of a switch is empty."""
  rest = iter(arguments)
  for argument in rest:
    flag, has_value, text = argument.partition("=")
    if not argument.startswith("-"):
      raise _usage_error(f"unexpected argument {argument!r}{_as_config(argument)}")
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


def _as_config(word: str) -> str:
  """Returns the advice for a stray word that is a config file or the name of one."""
  is_one = os.path.isfile(word) or word in shipped.files_by_name()
  return f"; did you mean --config={word}?" if is_one else ""


def _usage_error(problem: str) -> ConfigError:
  return ConfigError(f"{problem}; usage: {usage()}")


def _nearest_file(path: Path) -> str:
  """Returns "did you mean FILE?" with the file whose name is nearest, else the files there are.

  It looks in the folder of `path`, in and below configs/, and among the shipped files. Where there
  is a name and no file, it suggests a name.
  """
  is_folder = os.path.isdir(path)  # unlike pathlib's, it says False of a name that is too long
  here, folder = Path(CONFIGS), path if is_folder else path.parent
  names = list(shipped.files_by_name())
  # Of two files of one name the last wins: the one in the folder of `path`, then the one nearer to
  # the top.
  by_stem = {name.rpartition("/")[2]: name for name in reversed(names)} | {
    file.stem: str(file)
    for file in [
      *sorted(here.rglob("*.py"), key=lambda file: (-len(file.parts), file)),
      *(sorted(folder.glob("*.py")) if os.path.isdir(folder) else []),
    ]
  }
  if not path.suffix and not is_folder and (close := nearest(path.as_posix(), names)):
    return f"did you mean {close}?"
  if close := nearest(path.stem, by_stem):
    return f"did you mean {by_stem[close]}?"
  where = folder if is_folder and any(folder.glob("*.py")) else here
  below = {f"{file.parent.name}/" for file in here.glob("*/*.py") if where == here}
  there = [*(file.name for file in sorted(where.glob("*.py"))), *sorted(below)]
  if there:
    return f"{where.as_posix()}/ has {', '.join(there)}"
  tops = [name for name in names if "/" not in name]
  return f"expected a config file, or a name: {', '.join(tops)}, ... (--help lists all)"


def _where(error: BaseException, path: Path) -> str:
  """Returns "line n" of the config file, where `error` came from."""
  if isinstance(error, SyntaxError) and error.filename == str(path):
    return f"line {error.lineno}"
  lines = [
    frame.lineno
    for frame in traceback.extract_tb(error.__traceback__)
    if frame.filename == str(path)
  ]
  return f"line {lines[-1]}" if lines else "cannot be read"


def _one_line(error: BaseException) -> str:
  """Returns the error's text in one line, of a SyntaxError without its place."""
  text = error.msg if isinstance(error, SyntaxError) else str(error)
  return " ".join(text.split())[:300]
