"""Reads config files: runs the file and takes what its `get_config()` returns."""

import importlib.machinery
import inspect
import os
import traceback
from collections.abc import Callable
from pathlib import Path
from types import CodeType, ModuleType

from ml_collections import ConfigDict

from sdt import named_files
from sdt.config import shipped
from sdt.errors import ConfigError, nearest

FOLDER = "configs"


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


def _nearest_file(path: Path) -> str:
  """Returns "did you mean FILE?" with the file whose name is nearest, else the files there are.

  It looks in the folder of `path`, in and below configs/, and among the shipped files. Where there
  is a name and no file, it suggests a name.
  """
  is_folder = os.path.isdir(path)  # unlike pathlib's, it says False of a name that is too long
  here, folder = Path(FOLDER), path if is_folder else path.parent
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
