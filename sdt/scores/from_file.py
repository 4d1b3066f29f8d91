"""Scores from a file: a number for every training example by its id, from a CSV table or an npz."""

import dataclasses
import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, Shaped

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
    values: float64 [N], finite, in the order of the training set; empty if the set is not known.
    checksum: the file's SHA-256, in hex.
    num_unused: rows of the file whose ids are not in the training set.
  """

  values: Float[np.ndarray, "N"]
  checksum: str
  num_unused: int


@dataclasses.dataclass(frozen=True)
class _Rows:
  """The rows of a file.

  Attributes:
    ids: [n] int64.
    values: [n] float64, the scores; NaN where it is not a number.
    labels: [n] float64, NaN where it is not a number; None if no label is one. Class names are not
      compared.
  """

  ids: Int[np.ndarray, "n"]
  values: Float[np.ndarray, "n"]
  labels: Float[np.ndarray, "n"] | None


def find(path: str | Path) -> Path:
  """Returns the path of the file of scores.

  Raises:
    DataError: there is no such file.
  """
  path = Path(path).expanduser()
  if not path.is_file():
    what = "not a file" if path.exists() else "no such file"
    raise DataError(f"score.path={path}: {what}; expected a CSV file or an npz {_FORM}")
  return path


def load(
  path: str | Path,
  column: str,
  example_ids: Int[np.ndarray, "N"] | None,
  labels: Shaped[np.ndarray, "N"] | None = None,
) -> FileScores:
  """Returns the scores of the training examples from the file at `path`.

  A CSV file has a header; an npz has an array for each column. An npz column of two axes, [R, N],
  holds the scores of R seeds, and their mean is the score: over the seeds that the array `sound`,
  bool [R], names, if there is one. If the file has labels as numbers, they must be those of the
  training set. Other columns, and rows of other ids, are not read.

  Args:
    path: of the file.
    column: name of the column of scores.
    example_ids: [N] int of the training set, unique; None if not known: then nothing is joined.
    labels: [N] of the training set; None compares none.

  Raises:
    DataError: no such file, not one of these kinds, or no such column. Or a training example has no
      score, two scores, one that is not finite, or another label in the file; the message has the
      number of such examples and the first ids.
  """
  path = find(path)
  where = f"score.path={path}"
  data = _read(path, where)
  rows = (_from_npz if data.startswith(b"PK\x03\x04") else _from_csv)(data, column, where)
  checksum = hashlib.sha256(data).hexdigest()
  if example_ids is None:
    return FileScores(np.zeros(0), checksum, 0)
  values = _joined(rows, example_ids, labels, where=where, column=column)
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
  """Raises a DataError unless the file has one column of ids and one of scores."""
  for name, key in ((ID, None), (column, "score.column")):
    if names.count(name) != 1:
      what = f"{names.count(name)} columns" if name in names else "no column"
      advice = f"choose it by --config.{key}" if key else "it says which example a score is of"
      columns = ", ".join(names)[:200] or "none"
      raise DataError(f"{where}: {what} {name!r}, expected one; {advice} (columns: {columns})")


def _number(text: str) -> float:
  return float(text) if _NUMBER.fullmatch(text) else np.nan


def _from_csv(data: bytes, column: str, where: str) -> _Rows:
  lines = table.rows(table.decoded(data, where), where)
  _, header = next(lines, (1, []))
  names = [cell.strip() for cell in header]
  _check_columns(names, column, where)
  id_column, score_column = names.index(ID), names.index(column)
  label_column = names.index(LABEL) if names.count(LABEL) == 1 else None
  ids, values, labels = [], [], []
  for line, cells in lines:
    text, number = cells[id_column].strip(), cells[score_column].strip()
    if not _INTEGER.fullmatch(text):
      raise DataError(
        f"{where}, line {line}: {ID} {text[:40]!r} is no integer; ids are those of scores.csv of "
        "a run on these data"
      )
    ids.append(int(text))
    values.append(_number(number))
    labels.append(np.nan if label_column is None else _number(cells[label_column].strip()))
  label_numbers = _numbers_or_none(np.array(labels, np.float64))
  return _Rows(np.array(ids, np.int64), np.array(values, np.float64), label_numbers)


def _numbers_or_none(labels: np.ndarray) -> np.ndarray | None:
  return None if np.isnan(labels).all() else labels


def _from_npz(data: bytes, column: str, where: str) -> _Rows:
  arrays: Mapping[str, np.ndarray] = files.parse_npz(
    data, where, MAX_BYTES, advice=f"expected arrays of numbers, {_FORM}"
  )
  _check_columns(list(arrays), column, where)
  ids, values, labels = arrays[ID], arrays[column], arrays.get(LABEL)
  if ids.ndim != 1 or ids.dtype.kind not in "iu":
    raise DataError(f"{where}: {ID} is {ids.dtype} {list(ids.shape)}, expected integers [N]")
  is_of_ids = values.ndim in (1, 2) and values.shape[-1] == len(ids) and 0 not in values.shape
  if values.dtype.kind not in "fiub" or not is_of_ids:
    raise DataError(
      f"{where}: {column} is {values.dtype} {list(values.shape)}, expected numbers [N] or [seeds, "
      f"N] with N = {len(ids)}"
    )
  numbers = values.astype(np.float64)
  if numbers.ndim == 2:
    numbers = _mean_over_seeds(numbers, arrays.get(SOUND))
  if labels is not None:
    is_compared = labels.dtype.kind in "fiu" and labels.shape == ids.shape
    labels = _numbers_or_none(labels.astype(np.float64)) if is_compared else None
  return _Rows(ids.astype(np.int64), numbers, labels)


def _mean_over_seeds(numbers: np.ndarray, sound: np.ndarray | None) -> np.ndarray:
  """Returns the mean [N] of [R, N] over the seeds that `sound` [R] names, or all if it is none."""
  if sound is not None and sound.dtype == np.bool_ and sound.shape == numbers.shape[:1]:
    numbers = numbers[sound] if sound.any() else numbers
  with np.errstate(invalid="ignore"):  # infinities of both signs give NaN, which `_joined` refuses
    return numbers.mean(axis=0)


def _joined(
  rows: _Rows, example_ids: np.ndarray, labels: np.ndarray | None, where: str, column: str
) -> np.ndarray:
  """Returns the scores [N] in the order of `example_ids`.

  Raises:
    DataError: an id has no score, two, one that is not finite, or another label.
  """
  ids, values = rows.ids, rows.values
  order = np.argsort(ids, kind="stable")
  wanted = example_ids.astype(np.int64)
  first = np.searchsorted(ids[order], wanted, "left")
  counts = np.searchsorted(ids[order], wanted, "right") - first
  scores = np.full(len(wanted), np.nan)
  scores[counts > 0] = values[order[first[counts > 0]]]
  kinds = (
    (counts == 0, "have no score"),
    (counts > 1, "stand there more than once"),
    ((counts == 1) & ~np.isfinite(scores), f"have a {column} that is no finite number"),
  )
  problems = [
    f"{is_bad.sum()} of {len(wanted)} training examples {what} (ids {_listed(wanted[is_bad])})"
    for is_bad, what in kinds
    if is_bad.any()
  ]
  if problems:
    raise DataError(
      f"{where}: {'; '.join(problems)}; expected one finite score for every training example, by "
      f"its {ID}"
    )
  if labels is not None and rows.labels is not None:
    # Compared in float32, which a CSV table gives back exactly.
    is_other = rows.labels[order[first]].astype(np.float32) != labels.astype(np.float32)
    if is_other.any():
      raise DataError(
        f"{where}: {is_other.sum()} of {len(wanted)} training examples have another {LABEL} there "
        f"(ids {_listed(wanted[is_other])}); expected scores of these data: are they another data "
        f"set's, or have wrong labels been planted in one of the two? (Without a column {LABEL} "
        "nothing is compared.)"
      )
  return scores


def _listed(ids: np.ndarray) -> str:
  return ", ".join(map(str, ids[:_NUM_SHOWN])) + (", ..." if len(ids) > _NUM_SHOWN else "")
