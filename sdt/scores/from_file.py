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
LABEL = "label"
SOUND = "sound"
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


@dataclasses.dataclass(frozen=True)
class _Rows:
  """Ids, int64, scores, float64, and labels, float64, of a file's rows; a score or a label that is
  no number is NaN.

  Labels are None where the file has none that are numbers: names of classes are not compared.
  """

  ids: np.ndarray
  values: np.ndarray
  labels: np.ndarray | None


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


def load(
  path: str | Path, column: str, example_ids: np.ndarray | None, labels: np.ndarray | None = None
) -> FileScores:
  """Returns the scores of the training examples from the file at `path`.

  A CSV file has a header; an npz has arrays of the columns' names. An npz column of two axes, [R,
  N], is one of R seeds: their mean is the score, over those that its array `sound`, bool [R], calls
  so, where it has one. Where the file has labels as numbers, they must be those of the training
  set. Other columns, and rows of other ids, are not read.

  Args:
    path: of the file.
    column: which holds the scores.
    example_ids: [N] of the training set, unique; None where they are not known, and nothing is
      joined.
    labels: [N] of the training set; None compares none.

  Raises:
    DataError: no such file, not one of these kinds, no such column; a training example without a
      score, with two, or with one that is no finite number, or with another label in the file (with
      how many, and the first ids).
  """
  path = find(path)
  where = f"score.path={path}"
  data = _read(path, where)
  rows = (_from_npz if data.startswith(b"PK\x03\x04") else _from_csv)(data, column, where)
  checksum = hashlib.sha256(data).hexdigest()
  if example_ids is None:
    return FileScores(np.zeros(0), checksum, 0)
  values = _joined(rows, example_ids, labels, where, column)
  return FileScores(values, checksum, int((~np.isin(rows.ids, example_ids)).sum()))


def _read(path: Path, where: str) -> bytes:
  try:
    size = path.stat().st_size
    if size > MAX_BYTES:
      raise DataError(
        f"{where}: {size} bytes, at most {MAX_BYTES} are expected; is it the right file?"
      )
    return path.read_bytes()
  except OSError as error:
    raise DataError(
      f"{where}: cannot be read ({error.strerror or error}); expected a readable file"
    ) from error


def _check_columns(names: Sequence[str], column: str, where: str) -> None:
  """Raises a DataError unless the file has the column of the ids and that of the scores,
  each once.
  """
  for name, key in ((ID, None), (column, "score.column")):
    if names.count(name) != 1:
      what = f"{names.count(name)} columns" if name in names else "no column"
      advice = f"choose it by --config.{key}" if key else "it says which example a score is of"
      found = ", ".join(names)[:200] or "none"
      raise DataError(f"{where}: {what} {name!r}, expected one; {advice} (columns: {found})")


def _number(text: str) -> float:
  return float(text) if _NUMBER.fullmatch(text) else np.nan


def _from_csv(data: bytes, column: str, where: str) -> _Rows:
  lines = table.rows(table.decoded(data, where), where)
  _, header = next(lines, (1, []))
  names = [cell.strip() for cell in header]
  _check_columns(names, column, where)
  at, place = names.index(ID), names.index(column)
  label_at = names.index(LABEL) if names.count(LABEL) == 1 else None
  ids, values, labels = [], [], []
  for line, cells in lines:
    text, number = cells[at].strip(), cells[place].strip()
    if not _INTEGER.fullmatch(text):
      raise DataError(
        f"{where}, line {line}: {ID} {text[:40]!r} is no integer; ids are those of scores.csv of "
        "a run on these data"
      )
    ids.append(int(text))
    values.append(_number(number))
    labels.append(np.nan if label_at is None else _number(cells[label_at].strip()))
  return _Rows(
    np.array(ids, np.int64),
    np.array(values, np.float64),
    _numbers_or_none(np.array(labels, np.float64)),
  )


def _numbers_or_none(labels: np.ndarray) -> np.ndarray | None:
  return None if np.isnan(labels).all() else labels


def _from_npz(data: bytes, column: str, where: str) -> _Rows:
  arrays: Mapping[str, np.ndarray] = files.parse_npz(
    data, where, MAX_BYTES, advice=f"expected arrays of numbers, {_FORM}"
  )
  _check_columns(list(arrays), column, where)
  ids, values, labels, sound = arrays[ID], arrays[column], arrays.get(LABEL), arrays.get(SOUND)
  if ids.ndim != 1 or ids.dtype.kind not in "iu":
    raise DataError(f"{where}: {ID} is {ids.dtype} {list(ids.shape)}, expected integers [N]")
  if (
    values.dtype.kind not in "fiub"
    or values.ndim not in (1, 2)
    or values.shape[-1] != len(ids)
    or 0 in values.shape
  ):
    raise DataError(
      f"{where}: {column} is {values.dtype} {list(values.shape)}, expected numbers [N] or [seeds, "
      f"N] with N = {len(ids)}"
    )
  numbers = values.astype(np.float64)
  if numbers.ndim == 2:
    if (
      sound is not None
      and sound.dtype == np.bool_
      and sound.shape == numbers.shape[:1]
      and sound.any()
    ):
      numbers = numbers[sound]
    with np.errstate(
      invalid="ignore"
    ):  # infinities of both signs; what is not finite is refused by name
      numbers = numbers.mean(axis=0)
  if labels is not None:
    labels = (
      _numbers_or_none(labels.astype(np.float64))
      if labels.dtype.kind in "fiu" and labels.shape == ids.shape
      else None
    )
  return _Rows(ids.astype(np.int64), numbers, labels)


def _joined(
  rows: _Rows, example_ids: np.ndarray, labels: np.ndarray | None, where: str, column: str
) -> np.ndarray:
  """Returns the scores [N] in the order of `example_ids`; refuses ids without a score, with two,
  with one that is not finite, or of another label.
  """
  ids, values = rows.ids, rows.values
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
      found.append(
        f"{is_bad.sum()} of {len(wanted)} training examples {what} (ids {_listed(wanted[is_bad])})"
      )
  if found:
    raise DataError(
      f"{where}: {'; '.join(found)}; expected one finite score for every training example, by its "
      f"{ID}"
    )
  if labels is not None and rows.labels is not None:
    # In float32, which a table gives back exactly.
    is_other = rows.labels[order[first]].astype(np.float32) != labels.astype(np.float32)
    if is_other.any():
      raise DataError(
        f"{where}: {is_other.sum()} of {len(wanted)} training examples have another {LABEL} there "
        f"(ids {_listed(wanted[is_other])}); "
        "expected scores of these data: are they another data set's, or have wrong labels been "
        "planted in one of the two? "
        f"(Without a column {LABEL} nothing is compared.)"
      )
  return scores


def _listed(ids: np.ndarray) -> str:
  return ", ".join(map(str, ids[:_NUM_SHOWN])) + (", ..." if len(ids) > _NUM_SHOWN else "")
