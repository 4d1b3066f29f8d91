"""Writes the lines of a CSV table that every reader reads back as they were."""

import csv
from collections.abc import Iterable
from typing import TextIO


class CsvWriter:
  """Writes rows whose lines end as on Unix; cells with a line break of any kind are quoted.

  Python's writer quotes only the line breaks that it ends lines with, and readers end a row at a
  lone carriage return. So it ends them with both here, and the first is cut off.
  """

  def __init__(self, file: TextIO):
    self._file = file
    self._writer = csv.writer(self, lineterminator="\r\n")

  def write(self, line: str) -> None:
    """Takes a whole line from Python's writer."""
    self._file.write(line.removesuffix("\r\n") + "\n")

  def writerow(self, cells: Iterable[object]) -> None:
    """Writes a row."""
    self._writer.writerow(cells)

  def writerows(self, rows: Iterable[Iterable[object]]) -> None:
    """Writes rows, each when it is drawn."""
    self._writer.writerows(rows)
