"""Reads the command line and the config files, before anything else is loaded or written."""

import dataclasses
import importlib.machinery
import os
import re
import textwrap
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import CodeType, ModuleType

from ml_collections import ConfigDict

from sdt import named_files
from sdt.config.resolve import describe_keys, is_key, nearest_key, off_value
from sdt.errors import ConfigError, nearest

USAGE = (
  "python run.py --config=configs/NAME.py [--workdir=DIR] [--config.KEY=VALUE ...] [--dry_run] "
  "[--profile] [--help]"
)
_OF_LAUNCH = ("--coordinator", "--num_processes", "--process_id")
_FLAGS = ("--config", "--workdir", *_OF_LAUNCH)
_SWITCHES = ("--dry_run", "--profile")
_NEGATION = re.compile(r"no[-_]?(config\.)?")
CONFIGS = "configs"

_FLAG_HELP = f"""\
usage: {USAGE}

Trains, scores every training example, splits, trains again, and reports.

  --config=FILE         a config file: Python whose get_config() returns what differs from the
                        defaults
  --workdir=DIR         the folder of the run, by default runs/NAME; the same command again
                        continues the run
  --config.KEY=VALUE    replaces one key, such as --config.optim.learning_rate=0.05 or
                        --config.seeds=0,1,2
  --dry_run             checks config and data, shows what would run, writes nothing
  --profile             writes a trace of one dispatch to WORKDIR/profile, for Perfetto or
                        TensorBoard
  --coordinator=HOST:PORT --num_processes=N --process_id=I
                        this is process I of N of one run, see docs/clusters.md; not needed under
                        SLURM and on TPU slices

Config files:"""
_KEY_HELP = "Keys, with the defaults that a config file may replace (--dry_run shows the result):"

# Of a folder with more config files than this the help lists only the names.
_LISTED_WITH_TITLES = 6


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
    dry_run: whether to check and describe the run without starting it.
    profile: whether to trace a dispatch.
    launch: None where the command line says nothing of several processes.
  """

  config_path: Path
  name: str
  workdir: Path
  overrides: tuple[tuple[str, str], ...]
  dry_run: bool
  profile: bool = False
  launch: Launch | None = None


def parse_arguments(arguments: Sequence[str]) -> Request | None:
  """Returns what `arguments` ask for; None where they ask for the help.

  Args:
    arguments: those of the command line, without the program's name.

  Raises:
    ConfigError: unknown or repeated flag, missing value, stray argument, no --config.
  """
  if any(argument in ("--help", "-h") for argument in arguments):
    return None
  values: dict[str, str] = {}
  overrides = []
  switches = set()
  for flag, text in _flags(arguments):
    if flag.startswith("--config."):
      overrides.append((flag.removeprefix("--config."), text))
    elif flag in _SWITCHES:
      switches.add(flag)
    elif flag in values:
      raise _usage_error(f"{flag} is given twice: {values[flag]!r} and {text!r}")
    else:
      values[flag] = text
  if "--config" not in values:
    raise _usage_error("--config is missing")
  # The shell does not expand the ~ of --workdir=~/runs.
  config_path = named_files.expanded(values["--config"])
  name = _run_name(config_path)
  workdir = named_files.expanded(values.get("--workdir", f"runs/{name}"))
  return Request(
    config_path=config_path,
    name=name,
    workdir=workdir,
    overrides=tuple(overrides),
    dry_run="--dry_run" in switches,
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


def _run_name(config_path: Path) -> str:
  """Returns "paper/svhn_resnet20" of configs/paper/svhn_resnet20.py, "mine" of anywhere/mine.py."""
  path = Path(os.path.normpath(config_path))
  parents = path.parent.parts
  below = parents[len(parents) - parents[::-1].index(CONFIGS) :] if CONFIGS in parents else ()
  return "/".join([*below, path.stem])


def help_text(configs: Path) -> str:
  """Returns the help: the usage, the config files in the folder `configs`, and every key."""
  folders = sorted({path.parent for path in configs.rglob("*.py")})
  files = [
    line
    for folder in folders
    for line in _listed(folder, f"  {folder.relative_to(configs.parent).as_posix()}/")
  ]
  return "\n".join([_FLAG_HELP, *files, "", _KEY_HELP, "", describe_keys()])


def _listed(folder: Path, start: str) -> list[str]:
  """Returns a line for each config file of a folder: its name and the first line of its docstring.

  Of a folder below `configs` with many files it lists only the names.
  """
  paths = sorted(folder.glob("*.py"))
  if folder.name != CONFIGS and len(paths) > _LISTED_WITH_TITLES:
    names = textwrap.wrap(", ".join(path.stem for path in paths), 110)
    return [f"{start}NAME.py, with NAME one of", *(f"      {line}" for line in names)]
  width = max(len(path.name) for path in paths)
  first_lines = [path.read_text(encoding="utf-8").partition("\n")[0] for path in paths]
  titles = [line.removeprefix("r").strip('"') for line in first_lines]
  return [
    f"{start}{path.name:<{width}}  {title}" for path, title in zip(paths, titles, strict=True)
  ]


def load_config_file(path: Path) -> ConfigDict:
  """Runs the Python file `path` and returns what its `get_config()` returns.

  Raises:
    ConfigError: no such file (with the nearest one), an error in the file (with its line), or a
      result that is no ConfigDict.
  """
  named_files.find("--config", path, _nearest_file(path), error=ConfigError)
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
    config = get_config()
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
      raise _usage_error(f"unexpected argument {argument!r}")
    if flag not in (*_FLAGS, *_SWITCHES) and (
      not flag.startswith("--config.") or flag == "--config."
    ):
      meant = _meant(flag)
      raise _usage_error(f"unknown flag {flag}" + (f"; did you mean {meant}?" if meant else ""))
    if flag in _SWITCHES:
      if has_value:
        raise _usage_error(f"{flag} takes no value")
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
  return nearest(flag, [*_FLAGS, *_SWITCHES, "--help"], cutoff=0.5)


def _usage_error(problem: str) -> ConfigError:
  return ConfigError(f"{problem}; usage: {USAGE}")


def _nearest_file(path: Path) -> str:
  """Returns "did you mean FILE?" with the file whose name is nearest, else the files there are.

  It looks in the folder of `path`, and in and below configs/.
  """
  is_folder = os.path.isdir(path)  # unlike pathlib's, it says False of a name that is too long
  shipped, folder = Path(CONFIGS), path if is_folder else path.parent
  # Of two files of one name the last wins: the one in the folder of `path`, then the one nearer to
  # the top.
  files = [
    *sorted(shipped.rglob("*.py"), key=lambda file: (-len(file.parts), file)),
    *(sorted(folder.glob("*.py")) if os.path.isdir(folder) else []),
  ]
  names = {file.stem: file for file in files}
  if close := nearest(path.stem, names):
    return f"did you mean {names[close]}?"
  where = folder if is_folder and any(folder.glob("*.py")) else shipped
  below = {f"{file.parent.name}/" for file in shipped.glob("*/*.py") if where == shipped}
  there = [*(file.name for file in sorted(where.glob("*.py"))), *sorted(below)]
  return (
    f"{where.as_posix()}/ has {', '.join(there)}"
    if there
    else "expected a config file such as configs/digits.py"
  )


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
