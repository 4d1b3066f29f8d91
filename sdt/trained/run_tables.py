"""Reads the tables of a run, scores.csv and split.csv, as columns."""

import csv
import io
import re
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Shaped

from sdt.data import table
from sdt.errors import DataError

# The columns that hold text; all others hold numbers. A class may be called 7, or 1_0.
_TEXTS = ("source_file", "class_name", "subset")
_WHOLE = re.compile("-?[0-9]+")


def columns(content: bytes, where: str) -> dict[str, Shaped[np.ndarray, "N"]]:
  """Returns the columns of a table by name.

  Text columns are text. Others are int64 where all are whole numbers, else float64 with NaN for an
  empty cell.

  Args:
    content: of the file.
    where: what messages call it.

  Raises:
    DataError: not such a table.
  """
  text = table.decoded(content, where)
  try:
    header, *rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    cells = list(zip(*rows, strict=True)) if rows else [()] * len(header)
    return {name: _column(name, one) for name, one in zip(header, cells, strict=True)}
  except (csv.Error, ValueError) as error:
    raise DataError(f"{where}: not a table of a run ({error}); restore it from a copy") from error


def texts(content: bytes, where: str, columns: Sequence[str]) -> Iterator[tuple[str, ...]]:
  """Yields the cells of some columns of a table, row by row, as text.

  Args:
    content: of the file.
    where: what messages call it.
    columns: names.

  Raises:
    DataError: not such a table, or a column is missing.
  """
  text = table.decoded(content, where)
  try:
    for row in csv.DictReader(io.StringIO(text, newline=""), strict=True):
      yield tuple(row[name] for name in columns)
  except (csv.Error, KeyError) as error:
    raise DataError(f"{where}: not a table of a run ({error}); restore it from a copy") from error


def _column(name: str, cells: Sequence[str]) -> Shaped[np.ndarray, "N"]:
  if name in _TEXTS or name.startswith("subset_seed"):
    return np.array(cells, str)
  if all(map(_WHOLE.fullmatch, cells)):
    return np.array(list(map(int, cells)), np.int64)
  return np.array([float(cell or "nan") for cell in cells], np.float64)
