"""The errors that a user can cause, and the exit code of each.

Every message says what is wrong, where (key, path, example id or step), what was expected and what
to do.
"""

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
  """Returns the known name that is spelled most like `name`; None if none is alike enough.

  Args:
    cutoff: the least similarity, from 0 (any name will do) to 1 (only the name itself).
  """
  return next(iter(difflib.get_close_matches(name, list(known), 1, cutoff)), None)


def did_you_mean(name: str, known: Iterable[str]) -> str:
  """Returns "; did you mean 'NAME'?" with the nearest known name, or an empty text."""
  near = nearest(name, known)
  return f"; did you mean {near!r}?" if near else ""


class SdtError(Exception):
  """An error whose message is for the user: `run.py` prints it and exits with `exit_code`."""

  exit_code = 1
  is_told = False  # True where the other processes of the run know of this error already


class ConfigError(SdtError):
  """The command line or the config is wrong: unknown key, type, range, impossible combination."""

  exit_code = 2


class DataError(SdtError):
  """The data is missing, damaged, badly labelled, or a subset of it is empty."""

  exit_code = 3


class MissingDataError(DataError):
  """The set is not on this machine, and was not fetched. Its message says how to get it."""


class DivergedError(SdtError):
  """At least one replica diverged; the others finished."""

  exit_code = 4


class CheckpointError(SdtError):
  """Checkpoints exist and none of them is usable."""

  exit_code = 5


class LockedError(SdtError):
  """Another process holds the workdir."""

  exit_code = 6


class WorkdirError(SdtError):
  """The workdir cannot be written: permissions, disk full, I/O."""

  exit_code = 7


class Interrupted(SdtError):  # noqa: N818 - named after what happened: nobody made an error
  """A signal stopped the run after a clean save; the same command continues it."""

  exit_code = 75
