"""The words of a command that takes a config and flags of its own: reads them, and writes them."""

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sdt.config.command_line import as_config, program
from sdt.errors import ConfigError, nearest

# A wrong flag is told with the flag that is at least so much alike.
_ALIKE = 0.5
_OF_FOLDERS = ("--workdir=", "--scratch=")


def read(
  arguments: Sequence[str], flags: Sequence[str], usage: str
) -> tuple[dict[str, str], list[str]]:
  """Returns (the command's own flags by name, the words about the config).

  The words about the config are those of --config and --config.KEY, as `parse_arguments` takes
  them. Of a switch the text is empty.

  Args:
    arguments: behind the name of the command.
    flags: of the command as its `FLAGS` has them: "--output=" needs a value, "--overwrite" none.
    usage: of the command, without the program.

  Raises:
    ConfigError: an unknown or repeated flag, a value that is missing, no --config.
  """
  own: dict[str, str] = {}
  of_config: list[str] = []
  for flag, text in _flags(arguments, flags, usage):
    if flag.startswith("--config"):
      of_config.append(f"{flag}={text}")
    elif flag in own:
      raise wrong(f"{flag} is given twice", usage)
    else:
      own[flag] = text
  if given_config(of_config) is None:
    raise wrong("--config is missing", usage)
  return {flag.removeprefix("--"): text for flag, text in own.items()}, of_config


def _flags(arguments: Sequence[str], flags: Sequence[str], usage: str) -> Iterator[tuple[str, str]]:
  """Yields (flag, value) of `--flag=value` and `--flag value`; that of a switch is empty."""
  rest = iter(arguments)
  for argument in rest:
    flag, has_value, text = argument.partition("=")
    is_key = flag.startswith("--config.") and flag != "--config."
    known = [name.rstrip("=") for name in flags]
    if not argument.startswith("-"):
      raise wrong(f"unexpected argument {argument!r}{_meant(argument, flags, usage)}", usage)
    if not is_key and flag not in known:
      meant = nearest(flag, known, cutoff=_ALIKE)
      raise wrong(f"unknown flag {flag}" + (f"; did you mean {meant}?" if meant else ""), usage)
    is_switch = flag in flags
    if is_switch and has_value:
      raise wrong(f"{flag} takes no value", usage)
    if not is_switch and not has_value:
      text = next(rest, "")
    if not is_switch and not is_key and (not text or text.startswith("--")):
      raise wrong(f"{flag} needs a value: {flag}=VALUE", usage)
    yield flag, text


def _meant(word: str, flags: Sequence[str], usage: str) -> str:
  """Returns the advice for a stray word: a config, a folder, or neither."""
  place = next((flag for flag in flags if flag in _OF_FOLDERS), "")
  if (advice := as_config(word)) or not place or not _is_folder(word):
    return advice
  return f": {usage.split()[0]} takes no folder; give --config=FILE, and {place}{shlex.quote(word)}"


def _is_folder(word: str) -> bool:
  return os.path.isdir(word) or ("/" in word and not word.endswith(".py"))


def wrong(problem: str, usage: str) -> ConfigError:
  """Returns the error of a wrong command line, with the usage of the command."""
  return ConfigError(f"{problem}; usage: {program()} {usage}")


def given_config(of_config: Sequence[str]) -> str | None:
  """Returns what stands behind --config; None where it is not given."""
  starts = [one for one in of_config if one.startswith("--config=")]
  return starts[0].removeprefix("--config=") if starts else None


def written(
  command: str,
  given: str,
  overrides: Sequence[tuple[str, str]],
  *,
  changes: Mapping[str, Any],
  flags: Sequence[str] = (),
) -> str:
  """Returns a command as a person would type it: the config as it was given, with other values.

  Args:
    command: its name; `python run.py` needs none for train.
    given: what stands behind --config.
    overrides: (dotted key, text) that were given.
    changes: values by dotted key that replace or follow them.
    flags: further words.
  """
  start = program()
  if not (command == "train" and start == "python run.py"):
    start = f"{start} {command}"
  kept = {key: text for key, text in overrides if key not in changes}
  words = [f"--config={given}", *flags]
  words += [f"--config.{key}={value}" for key, value in (kept | dict(changes)).items()]
  return " ".join([start, *map(shlex.quote, words)])
