"""Reads the cells of a user's CSV file, with the line of each row for messages."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from sdt.errors import DataError

_MAX_BYTES = 2**30
# What spreadsheets of some countries, and exports, write in place of commas.
_MARKS = {";": "semicolons (;)", "\t": "tabs", "|": "bars (|)"}


def read_text(path: Path, where: str, form: str) -> str:
  """Returns the text of the file.

  Args:
    path: of the file.
    where: what messages call it: the config key and the path.
    form: what it should hold, as the end of a message.

  Raises:
    DataError: no such file, too large, not UTF-8.
  """
  if not path.is_file():
    raise DataError(
      f"{where}: {'a folder' if path.is_dir() else 'no such file'}; expected a CSV file, {form}"
    )
  if path.stat().st_size > _MAX_BYTES:
    raise DataError(
      f"{where}: {path.stat().st_size} bytes, at most {_MAX_BYTES} are expected; is it the right "
      "file?"
    )
  return decoded(path.read_bytes(), where)


def decoded(data: bytes, where: str) -> str:
  """Returns UTF-8 bytes as text; raises a DataError if they are something else."""
  try:
    return data.decode("utf-8-sig")
  except UnicodeDecodeError as error:
    raise DataError(
      f"{where}: not UTF-8 text at byte {error.start}; save it as CSV in UTF-8"
    ) from error


def rows(text: str, where: str, *, keeps_blanks: bool = False) -> Iterator[tuple[int, list[str]]]:
  """Yields (line, cells) of every row with something but blanks in it, the header first.

  The line is the one on which the row ends. Blanks after a comma are no part of a cell, unless
  `keeps_blanks`: for files that a program wrote, whose names may begin with one.

  Raises:
    DataError: not CSV, or a row with another number of cells than the header.
  """
  reader = csv.reader(io.StringIO(text, newline=""), strict=True, skipinitialspace=not keeps_blanks)
  width = None
  try:
    for cells in reader:
      if not any(cell.strip() for cell in cells):
        continue
      if width is None:
        width = len(cells)
        _check_separator(cells, f"{where}, line {reader.line_num}")
      if len(cells) != width:
        raise DataError(
          f"{where}, line {reader.line_num}: {len(cells)} cells under a header of {width}; quote "
          "cells that hold commas"
        )
      yield reader.line_num, cells
  except csv.Error as error:
    raise DataError(
      f"{where}, line {reader.line_num}: not CSV: {error}; quote cells that hold commas or quotes"
    ) from error


def _check_separator(header: list[str], where: str) -> None:
  """Refuses a header whose columns are separated by something else than commas."""
  used = [name for mark, name in _MARKS.items() if len(header) == 1 and mark in header[0]]
  if used:
    raise DataError(
      f"{where}: the columns are separated by {used[0]}; save the table with commas between them"
    )
