"""Training labels from a file, `data.labels_file`: an npz by example id, or a CSV table."""

import dataclasses
import hashlib
import re
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Int, Shaped

from sdt import files, named_files
from sdt.data import table
from sdt.data.checks import some_of
from sdt.data.readers import array_labels
from sdt.errors import DataError, did_you_mean

KEY = "data.labels_file"
_ID, _LABEL = "example_id", "label"
_MAX_BYTES = 2**30
_FORM = (
  f"expected an npz with an array of labels by example id, or a CSV file with {_ID} and {_LABEL}"
)
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")


@dataclasses.dataclass(frozen=True)
class FileLabels:
  """The labels of a file.

  Attributes:
    labels: [N], class numbers in the order of the examples that were asked for.
    column: the array or column that they come from.
    checksum: SHA-256 of the file, in hex.
    num_unused: labels of the file that are of other ids.
  """

  labels: Int[np.ndarray, "N"]
  column: str
  checksum: str
  num_unused: int


@dataclasses.dataclass(frozen=True)
class _Labels:
  """The labels of a file.

  Attributes:
    ids: [n], of the examples.
    labels: [n], numbers or texts.
    column: where they stand.
    places: what messages call each of them.
  """

  ids: Int[np.ndarray, "n"]
  labels: Shaped[np.ndarray, "n"]
  column: str
  places: Sequence[str]


def find(path: str) -> None:
  """Raises a DataError where there is no such file."""
  named_files.find(KEY, path, _FORM)


def load(
  path: str,
  key: str | None,
  example_ids: Int[np.ndarray, "N"],
  *,
  lengths: Sequence[int],
  class_names: Sequence[str],
) -> FileLabels:
  """Returns the labels of these examples from the file at `path`.

  Integers are class numbers, and so are the texts of a CSV file if all are numbers below the number
  of classes and some are no class names; all other texts are class names.

  Args:
    path: as the config has it.
    key: `data.labels_key`: the array or the column; None for the only array, or `label`.
    example_ids: [N], of the examples.
    lengths: how many labels an array may have; empty where only the least is known: one more than
      the largest id.
    class_names: one name per class.

  Raises:
    DataError: no such file, none of these forms, an example without a label or with two, a label
      that is no class; with the first, and how many there are.
  """
  data = named_files.read(KEY, path, _FORM, max_bytes=_MAX_BYTES)
  where = f"{KEY}={named_files.shown(path)}"
  if data.startswith(b"PK\x03\x04"):
    found = _from_npz(data, key, where)
    _check_length(found, example_ids, lengths, where=where)
  else:
    found = _from_csv(data, key or _LABEL, where)
  order = np.argsort(found.ids, kind="stable")
  first = np.searchsorted(found.ids[order], example_ids)
  is_there = np.isin(example_ids, found.ids)
  if not is_there.all():
    raise DataError(
      f"{where}: {(~is_there).sum()} of {len(example_ids)} training examples have no label there "
      f"(ids {some_of(example_ids[~is_there])}); add a row for each, or change single labels with "
      "data.corrections"
    )
  rows = order[first]
  used = dataclasses.replace(found, ids=found.ids[rows], labels=found.labels[rows])
  used = dataclasses.replace(used, places=[found.places[row] for row in rows.tolist()])
  return FileLabels(
    _class_numbers(used, class_names, where),
    found.column,
    checksum=hashlib.sha256(data).hexdigest(),
    num_unused=int((~np.isin(found.ids, example_ids)).sum()),
  )


def _from_npz(data: bytes, key: str | None, where: str) -> _Labels:
  arrays = files.parse_npz(data, where, _MAX_BYTES, advice=_FORM)
  name = next(iter(arrays)) if key is None and len(arrays) == 1 else key
  if name is None or name not in arrays:
    what = "several arrays" if name is None else f"no array {name!r}"
    some = next(iter(arrays), "NAME")
    raise DataError(
      f"{where}: {what}; choose one of {', '.join(arrays) or 'none'}, such as "
      f"--config.data.labels_key={some}"
    )
  labels = arrays[name]
  form = "" if labels.ndim == 1 and labels.dtype.kind == "U" else array_labels.form_of(name, labels)
  if form:
    raise DataError(
      f"{where}: {name} is {labels.dtype} {list(labels.shape)}; expected class numbers 0, 1, "
      f"... or class names, [N]{form}"
    )
  places = [f"example {example_id}" for example_id in range(len(labels))]
  return _Labels(np.arange(len(labels)), labels, name, places=places)


def _check_length(
  found: _Labels, example_ids: Int[np.ndarray, "N"], lengths: Sequence[int], *, where: str
) -> None:
  """Refuses an array that cannot have a label for every example id of the set."""
  least, length = int(example_ids[-1]) + 1, len(found.labels)
  if length < least or (lengths and length not in lengths):
    expected = " or ".join(map(str, lengths)) or f"{least} or more"
    raise DataError(
      f"{where}: {found.column} has {length} labels, expected {expected}: one for "
      "every example of the set, by its id, which is its row in the original data; give such "
      f"an array, or a CSV file with {_ID} and {_LABEL}"
    )


def _from_csv(data: bytes, column: str, where: str) -> _Labels:
  lines = table.rows(table.decoded(data, where), where, keeps_blanks=True)
  _, header = next(lines, (1, []))
  for name in (_ID, column):
    if header.count(name) != 1:
      what = "two columns" if name in header else "no column"
      advice = "choose another by --config.data.labels_key" if name == column else "write one"
      raise DataError(
        f"{where}, line 1: {what} {name!r}; {_FORM}; {advice} (columns: {', '.join(header)[:200]})"
      )
  id_at, label_at = header.index(_ID), header.index(column)
  ids, texts, places = [], [], []
  first: dict[int, int] = {}
  for line, cells in lines:
    text = cells[id_at].strip()
    if not _INTEGER.fullmatch(text):
      raise DataError(
        f"{where}, line {line}: {_ID} {text[:40]!r} is no integer; ids are those of "
        "scores.csv of a run on these data"
      )
    if first.setdefault(int(text), line) != line:
      raise DataError(
        f"{where}, line {line}: example {text} is in line {first[int(text)]} already; remove "
        "one of the two lines"
      )
    ids.append(int(text))
    texts.append(cells[label_at])
    places.append(f"line {line}")
  return _Labels(np.array(ids, np.int64), np.array(texts, np.str_), column, places=places)


def _class_numbers(found: _Labels, class_names: Sequence[str], where: str) -> Int[np.ndarray, "n"]:
  """Returns the class numbers of the labels of a file, int32 [n].

  Raises:
    DataError: some are no classes.
  """
  num = len(class_names)
  if found.labels.dtype.kind in "iu":
    numbers = found.labels.astype(np.int64)
  else:
    codes: Mapping[str, int] = {name: code for code, name in reversed([*enumerate(class_names)])}
    texts, place = np.unique(found.labels, return_inverse=True)
    of_names = [codes.get(text, -1) for text in texts.tolist()]
    of_numbers = [int(text) if _INTEGER.fullmatch(text) else -1 for text in texts.tolist()]
    are_numbers = -1 in of_names and all(0 <= number < num for number in of_numbers)
    numbers = np.array(of_numbers if are_numbers else of_names, np.int64)[place]
  bad = (numbers < 0) | (numbers >= num)
  if bad.any():
    at = int(np.argmax(bad))
    label = found.labels[at].item()
    hint = did_you_mean(label, class_names) if isinstance(label, str) else ""
    raise DataError(
      f"{where}: {bad.sum()} of {len(bad)} labels of training examples are no class; the first is "
      f"{label!r} ({found.places[at]}); write a class number, 0 to {num - 1}, or a class name, "
      f"such as {class_names[0]!r}{hint}"
    )
  return numbers.astype(np.int32)
