"""Scores from a file: a number for every training example by its id, from a CSV table or an npz."""

import dataclasses
import decimal
import hashlib
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, Shaped

from sdt import files, named_files
from sdt.data import class_names, table
from sdt.errors import DataError

MAX_BYTES = 2**30
ID = "example_id"
LABEL = "label"
CLASS_NAME = "class_name"
SOUND = "sound"
_FORM = f"with a column {ID} and one of scores, as scores.csv and scores.npz of a run have"
_KEY, _ADVICE = "score.path", f"expected a CSV file or an npz {_FORM}"
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
    classes: [n] text, what the file says of the class; None if nothing.
    are_names: whether these can only be names, and not the numbers of classes.
  """

  ids: Int[np.ndarray, "n"]
  values: Float[np.ndarray, "n"]
  classes: Shaped[np.ndarray, "n"] | None
  are_names: bool


def find(path: str | Path) -> Path:
  """Returns the path of the file of scores.

  Raises:
    DataError: there is no such file.
  """
  return named_files.find(_KEY, path, _ADVICE)


def load(
  path: str | Path,
  column: str,
  example_ids: Int[np.ndarray, "N"] | None,
  labels: Shaped[np.ndarray, "N"] | None = None,
  *,
  names: Sequence[str] = (),
) -> FileScores:
  """Returns the scores of the training examples from the file at `path`.

  A CSV file has a header; an npz has an array for each column. An npz column of two axes, [R, N],
  holds the scores of R seeds, and their mean is the score: over the seeds that the array `sound`,
  bool [R], names, if there is one. If the file has a column `class_name`, or else `label`, its
  classes must be those of the training set: by name, or by number in scores.csv's sense. Other
  columns, and rows of other ids, are not read.

  Args:
    path: of the file.
    column: name of the column of scores.
    example_ids: [N] int of the training set, unique; None if not known: then nothing is joined.
    labels: [N] of the training set; None compares none.
    names: of its classes; needed with labels.

  Raises:
    DataError: no such file, not one of these kinds, or no such column. Or a training example has no
      score, two scores, one that is not finite, or another label in the file; the message has the
      number of such examples and the first ids.
  """
  path = named_files.expanded(path)
  where = f"{_KEY}={path}"
  data = named_files.read(_KEY, path, _ADVICE, max_bytes=MAX_BYTES)
  rows = (_from_npz if data.startswith(b"PK\x03\x04") else _from_csv)(data, column, where)
  checksum = hashlib.sha256(data).hexdigest()
  if example_ids is None:
    return FileScores(np.zeros(0), checksum, 0)
  values = _joined(rows, example_ids, column, where=where)
  if labels is not None and rows.classes is not None:
    order = np.argsort(rows.ids, kind="stable")
    theirs = rows.classes[order[np.searchsorted(rows.ids[order], example_ids)]]
    of_rows = dataclasses.replace(rows, ids=example_ids, values=values, classes=theirs)
    _check_classes(of_rows, labels, names, where=where)
  return FileScores(values, checksum, int((~np.isin(rows.ids, example_ids)).sum()))


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
  named = [name for name in (CLASS_NAME, LABEL) if names.count(name) == 1]
  class_column = names.index(named[0]) if named else None
  ids, values, classes = [], [], []
  for line, cells in lines:
    text, number = cells[id_column].strip(), cells[score_column].strip()
    if not _INTEGER.fullmatch(text):
      raise DataError(
        f"{where}, line {line}: {ID} {text[:40]!r} is no integer; ids are those of scores.csv of "
        "a run on these data"
      )
    ids.append(int(text))
    values.append(_number(number))
    classes.append("" if class_column is None else cells[class_column].strip())
  texts = np.array(classes, np.str_) if any(classes) else None
  are_names = named[:1] == [CLASS_NAME]
  values_of = np.array(values, np.float64)
  return _Rows(np.array(ids, np.int64), values_of, classes=texts, are_names=are_names)


def _from_npz(data: bytes, column: str, where: str) -> _Rows:
  arrays: Mapping[str, np.ndarray] = files.parse_npz(
    data, where, MAX_BYTES, advice=f"expected arrays of numbers, {_FORM}"
  )
  _check_columns(list(arrays), column, where)
  ids, values = arrays[ID], arrays[column]
  classes = arrays.get(CLASS_NAME, arrays.get(LABEL))
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
  if classes is not None:
    is_compared = classes.dtype.kind in "fiuU" and classes.shape == ids.shape
    classes = classes.astype(np.str_) if is_compared else None
  return _Rows(ids.astype(np.int64), numbers, classes=classes, are_names=CLASS_NAME in arrays)


def _mean_over_seeds(numbers: np.ndarray, sound: np.ndarray | None) -> np.ndarray:
  """Returns the mean [N] of [R, N] over the seeds that `sound` [R] names, or all if it is none."""
  if sound is not None and sound.dtype == np.bool_ and sound.shape == numbers.shape[:1]:
    numbers = numbers[sound] if sound.any() else numbers
  with np.errstate(invalid="ignore"):  # infinities of both signs give NaN, which `_joined` refuses
    return numbers.mean(axis=0)


def _joined(rows: _Rows, example_ids: np.ndarray, column: str, *, where: str) -> np.ndarray:
  """Returns the scores [N] in the order of `example_ids`.

  Raises:
    DataError: an id has no score, two, or one that is not finite.
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
  return scores


def _check_classes(rows: _Rows, labels: np.ndarray, names: Sequence[str], *, where: str) -> None:
  """Refuses classes of a file that are not those of the training set.

  In a column `label` they may be names, or numbers as scores.csv has them. All must be meant in one
  way: in a set with the classes 1, 2 and 10 the file's 1 is either the first or the second.

  Args:
    rows: [N], of the training examples in their order.
    labels: [N] of the training set.
    names: of its classes.
    where: what the message calls the file.

  Raises:
    DataError: with the number of other labels and the first ids.
  """
  theirs = np.asarray(rows.classes)
  texts, place = np.unique(theirs, return_inverse=True)
  forms = [_form(text) for text in texts.tolist()]
  known = sorted(set(labels.tolist()))

  def differ(meaning: Callable[[int], object]) -> np.ndarray:
    meant = {meaning(label): code for code, label in enumerate(known)}
    codes = np.array([meant.get(form, -1) for form in forms])
    ours = np.array([meant[meaning(label)] for label in known])
    return codes[place] != ours[np.searchsorted(known, labels)]

  meanings: list[Callable[[int], object]] = [lambda label: _form(names[label])]
  meanings += [] if rows.are_names else [decimal.Decimal]
  is_other = min(map(differ, meanings), key=np.sum)
  if is_other.any():
    first = int(np.argmax(is_other))
    label = int(labels[first])
    raise DataError(
      f"{where}: {is_other.sum()} of {len(labels)} training examples have another {LABEL} there "
      f"(ids {_listed(rows.ids[is_other])}; the first has {str(theirs[first])!r} there, here "
      f"{label} ({names[label]!r}); expected scores of these data: are they another data set's, "
      "or have wrong labels been planted, or mended, in one of the two? (Without the columns "
      f"{LABEL} and {CLASS_NAME} nothing is compared.)"
    )


def _form(name: str) -> str | decimal.Decimal:
  """Returns what two spellings of a class have in common: 1 and 1.0, two forms of a letter."""
  text = unicodedata.normalize("NFC", name.strip())
  number = class_names.as_number(text)
  return text if number is None else number


def _listed(ids: np.ndarray) -> str:
  return ", ".join(map(str, ids[:_NUM_SHOWN])) + (", ..." if len(ids) > _NUM_SHOWN else "")
