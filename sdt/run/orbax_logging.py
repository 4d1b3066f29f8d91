"""Keeps the messages of Orbax that are no news for a user off the screen."""

import logging
import os
import sys
from typing import Any


class OrbaxChatter(logging.Filter):
  """Lets Orbax's warnings and errors pass, not its progress lines, nor the traceback of a writing
  thread, which is raised as well.
  """

  def filter(self, record: logging.LogRecord) -> bool:
    if f"{os.sep}orbax{os.sep}" not in record.pathname:
      return True
    return record.levelno >= logging.WARNING and "_SignalingThread.run() raised" not in str(
      record.msg
    )


class _LateReads(logging.Filter):
  """Holds back what asyncio says of reads whose result nobody waits for any more, see
  `pass_over_late_reads`.
  """

  def filter(self, record: logging.LogRecord) -> bool:
    return not all(
      part in record.getMessage() for part in ("exception was never retrieved", "tensorstore_spec")
    )


def pass_over_late_reads() -> None:
  """Keeps pages of harmless tracebacks off the screen.

  Orbax reads all arrays at once. When one is damaged it raises and closes its event loop, while
  TensorStore's threads are still bringing the others: those find the loop closed, or fail likewise
  with nobody waiting. The damage itself has been raised already.
  """
  logging.getLogger("asyncio").addFilter(_LateReads())
  report = sys.unraisablehook

  def hook(unraisable: Any) -> None:
    error = unraisable.exc_value
    if not (
      unraisable.object is None
      and isinstance(error, RuntimeError)
      and str(error) == "Event loop is closed"
    ):
      report(unraisable)

  sys.unraisablehook = hook
