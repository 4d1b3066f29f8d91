"""Standard output and error that cannot end a program: what cannot be written is dropped."""

import contextlib
import errno
import io
import os
import select
import sys
from collections.abc import Buffer
from typing import TextIO


def endure() -> None:
  """Makes stdout and stderr go on without their reader, their disk or their terminal.

  Without this the first line after `| head`, on a full disk or of a terminal that was closed raises
  an OSError, and the work is lost. A character that the locale lacks is escaped. A descriptor that
  is closed from the start would be given to the next file that is opened, and what a library prints
  would stand in that file: it leads to nowhere instead.
  """
  for number in range(3):
    try:
      os.fstat(number)
    except OSError:
      _lead_nowhere(number)
  sys.stdout, sys.stderr = _enduring(1, sys.stdout), _enduring(2, sys.stderr)


class _Enduring(io.FileIO):
  """Writes to a descriptor until that fails, and from then on to nowhere."""

  def __init__(self, number: int):
    super().__init__(number, "w", closefd=False)

  def write(self, data: Buffer) -> int:
    """Returns how many bytes were written; all of them, where they are dropped."""
    while True:
      try:
        count: int | None = super().write(data)
      except OSError as error:
        _lead_nowhere(self.fileno())
        if self.fileno() == 1 and error.errno != errno.EPIPE:
          print(
            f"note: stdout cannot be written ({error.strerror}): sdt goes on without it",
            file=sys.stderr,
          )
        return memoryview(data).nbytes
      if count is not None:
        return count
      # The descriptor does not block, and its reader is slow.
      with contextlib.suppress(OSError):
        select.select([], [self], [])


def _enduring(number: int, before: TextIO | None) -> TextIO:
  encoding = "utf-8" if before is None else before.encoding
  binary = io.BufferedWriter(_Enduring(number))
  return io.TextIOWrapper(binary, encoding, "backslashreplace", line_buffering=True)


def _lead_nowhere(number: int) -> None:
  handle = os.open(os.devnull, os.O_RDWR)
  if handle != number:
    os.dup2(handle, number)
    os.close(handle)
