"""The errors that a user can cause, and the exit code of each.

Every message says what is wrong, where (key, path, example id or step), what was expected and what
to do.
"""

from __future__ import annotations


class SdtError(Exception):
  """An error whose message is for the user; `run.py` prints it in one line and exits with
  `exit_code`.
  """

  exit_code = 1
  is_told = False  # of several processes all know of it already


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


class Interrupted(SdtError):  # noqa: N818 - named after what happened, it is not a mistake of anybody
  """A signal stopped the run after a clean save; the same command continues it."""

  exit_code = 75
