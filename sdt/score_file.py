"""Scores from a file: a number for every training example by its id, from a CSV table or an npz."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from sdt import files
from sdt.data import table
from sdt.errors import DataError

MAX_BYTES = 2**30
ID = "example_id"
_FORM = f"with a column {ID} and one of scores, as scores.csv and scores.npz of a run have"
_NUM_SHOWN = 5
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


@dataclasses.dataclass(frozen=True)
class FileScores:
  """The scores of a file.

  Attributes:
    values: float64 [N], finite, in the order of the training set; empty where that is not known.
    checksum: the file's SHA-256, in hex.
    num_unused: rows of the file whose ids the training set does not have.
  """

  values: np.ndarray
  checksum: str
  num_unused: int


def find(path: str | Path) -> Path:
  """Returns where the file of scores is.

  Raises:
    DataError: there is none.
  """
  path = Path(path).expanduser()
  if not path.is_file():
    what = "not a file" if path.exists() else "no such file"
    raise DataError(f"score.path={path}: {what}; expected a CSV file or an npz {_FORM}")
  return path


def load(path: str | Path, column: str, example_ids: np.ndarray | None) -> FileScores:
  """Returns the scores of the training examples from the file at `path`.

  A CSV file has a header; an npz has arrays of the columns' names. An npz column of two axes, [R, N], is one of R seeds: their mean is the
  score. Other columns, and rows of other ids, are not read.

  Args:
    path: of the file.
    column: which holds the scores.
    example_ids: [N] of the training set, unique; None where they are not known, and nothing is joined.

  Raises:
    DataError: no such file, not one of these kinds, no such column; a training example without a score, with two, or with one that is no
      finite number (with how many, and the first ids).
  """
  path = find(path)
  where = f"score.path={path}"
  data = _read(path, where)
  ids, values = (_from_npz if data.startswith(b"PK\x03\x04") else _from_csv)(data, column, where)
  checksum = hashlib.sha256(data).hexdigest()
  if example_ids is None:
    return FileScores(np.zeros(0), checksum, 0)
  return FileScores(_joined(ids, values, example_ids, where, column), checksum, int((~np.isin(ids, example_ids)).sum()))


def _read(path: Path, where: str) -> bytes:
  try:
    size = path.stat().st_size
    if size > MAX_BYTES:
      raise DataError(f"{where}: {size} bytes, at most {MAX_BYTES} are expected; is it the right file?")
    return path.read_bytes()
  except OSError as error:
    raise DataError(f"{where}: cannot be read ({error.strerror or error}); expected a readable file") from error


def _check_columns(names: Sequence[str], column: str, where: str) -> None:
  """Raises a DataError unless the file has the column of the ids and that of the scores, each once."""
  for name, key in ((ID, None), (column, "score.column")):
    if names.count(name) != 1:
      what = f"{names.count(name)} columns" if name in names else "no column"
      advice = f"choose it by --config.{key}" if key else "it says which example a score is of"
      found = ", ".join(names)[:200] or "none"
      raise DataError(f"{where}: {what} {name!r}, expected one; {advice} (columns: {found})")


def _from_csv(data: bytes, column: str, where: str) -> tuple[np.ndarray, np.ndarray]:
  """Returns ids, int64, and scores, float64, of the rows; a score that is no number is NaN."""
  lines = table.rows(table.decoded(data, where), where)
  _, header = next(lines, (1, []))
  names = [cell.strip() for cell in header]
  _check_columns(names, column, where)
  at, place = names.index(ID), names.index(column)
  ids, values = [], []
  for line, cells in lines:
    text, number = cells[at].strip(), cells[place].strip()
    if not _INTEGER.fullmatch(text):
      raise DataError(f"{where}, line {line}: {ID} {text[:40]!r} is no integer; ids are those of scores.csv of a run on these data")
    ids.append(int(text))
    values.append(float(number) if _NUMBER.fullmatch(number) else np.nan)
  return np.array(ids, np.int64), np.array(values, np.float64)


def _from_npz(data: bytes, column: str, where: str) -> tuple[np.ndarray, np.ndarray]:
  """Returns ids, int64, and scores, float64, of an npz."""
  arrays: Mapping[str, np.ndarray] = files.parse_npz(data, where, MAX_BYTES, advice=f"expected arrays of numbers, {_FORM}")
  _check_columns(list(arrays), column, where)
  ids, values = arrays[ID], arrays[column]
  if ids.ndim != 1 or ids.dtype.kind not in "iu":
    raise DataError(f"{where}: {ID} is {ids.dtype} {list(ids.shape)}, expected integers [N]")
  if values.dtype.kind not in "fiub" or values.ndim not in (1, 2) or values.shape[-1] != len(ids) or 0 in values.shape:
    raise DataError(f"{where}: {column} is {values.dtype} {list(values.shape)}, expected numbers [N] or [seeds, N] with N = {len(ids)}")
  numbers = values.astype(np.float64)
  with np.errstate(invalid="ignore"):  # infinities of both signs; what is not finite is refused by name
    return ids.astype(np.int64), numbers if numbers.ndim == 1 else numbers.mean(axis=0)


def _joined(ids: np.ndarray, values: np.ndarray, example_ids: np.ndarray, where: str, column: str) -> np.ndarray:
  """Returns the scores [N] in the order of `example_ids`; refuses ids without a score, with two, or with one that is not finite."""
  order = np.argsort(ids, kind="stable")
  wanted = example_ids.astype(np.int64)
  first = np.searchsorted(ids[order], wanted, "left")
  counts = np.searchsorted(ids[order], wanted, "right") - first
  scores = np.full(len(wanted), np.nan)
  scores[counts > 0] = values[order[first[counts > 0]]]
  problems = (
    (counts == 0, "have no score"),
    (counts > 1, "stand there more than once"),
    ((counts == 1) & ~np.isfinite(scores), f"have a {column} that is no finite number"),
  )
  found = []
  for is_bad, what in problems:
    if is_bad.any():
      found.append(f"{is_bad.sum()} of {len(wanted)} training examples {what} (ids {_listed(wanted[is_bad])})")
  if found:
    raise DataError(f"{where}: {'; '.join(found)}; expected one finite score for every training example, by its {ID}")
  return scores


def _listed(ids: np.ndarray) -> str:
  return ", ".join(map(str, ids[:_NUM_SHOWN])) + (", ..." if len(ids) > _NUM_SHOWN else "")
