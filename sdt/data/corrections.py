"""Corrections of labels: reads, writes and applies corrections.csv.

A row says what becomes of one example: it keeps its label, gets another, or is dropped. It names
the example by its id and its file, and the label that it replaces, so that corrections of other
data are noticed.
"""

import collections
import dataclasses
import hashlib
import io
import re
from collections.abc import Container, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from sdt import named_files
from sdt.data import table
from sdt.data.dataset import LabelChange, RawSplit
from sdt.errors import DataError, did_you_mean
from sdt.files.csv_lines import CsvWriter

HEADER = ("example_id", "source_file", "given", "action", "label")
KEEP, RELABEL, DROP = "keep", "relabel", "drop"
ACTIONS = (KEEP, RELABEL, DROP)
_MAX_BYTES = 2**28
_FORM = f"expected a CSV file with the header {','.join(HEADER)}, as the review page writes it"
_INTEGER = re.compile(r"[0-9]{1,10}")
_NUM_PAIRS = 5
_MANY = 20  # of more classes, a message names the nearest alone

# What is wrong with a row, and what to do; None for a row that fits.
type _Problem = tuple[str, str] | None


class Row(NamedTuple):
  """One row of corrections.csv.

  Attributes:
    example_id: of the example.
    source_file: its path; "" where examples are no files.
    given: the name of the class that the row replaces.
    action: "keep", "relabel" or "drop".
    label: the name of the new class; "" unless the action is "relabel".
  """

  example_id: int
  source_file: str
  given: str
  action: str
  label: str = ""


@dataclasses.dataclass(frozen=True)
class Corrections:
  """A file of corrections, as read.

  Attributes:
    key: of the config, "data.corrections" or "data.corrections_test".
    path: of the file, as the config has it.
    rows: by the line on which each ends.
    checksum: SHA-256 of the file, in hex.
  """

  key: str
  path: str
  rows: Mapping[int, Row]
  checksum: str

  @property
  def where(self) -> str:
    return f"{self.key}={named_files.shown(self.path)}"


@dataclasses.dataclass(frozen=True)
class Examples:
  """What corrections are matched with.

  Attributes:
    side: "training" or "test".
    left_out: ids of that side that are not used, as `data.num_train` draws others: rows of these
      are not used either.
    elsewhere: ids of the other side, where both sides are of one list.
    may_lack: whether further examples may have been left out as damaged.
    class_names: one name per class.
  """

  side: str
  left_out: Container[int]
  elsewhere: Container[int]
  may_lack: bool
  class_names: Sequence[str]


@dataclasses.dataclass(frozen=True)
class Corrected:
  """What corrections make of a split.

  Attributes:
    labels: [N], of all examples, also of those that are dropped.
    is_relabelled: [N], which have another label than before.
    is_kept: [N], which are not dropped.
    change: what is told of it.
  """

  labels: Int[np.ndarray, "N"]
  is_relabelled: Bool[np.ndarray, "N"]
  is_kept: Bool[np.ndarray, "N"]
  change: LabelChange


def csv_text(rows: Iterable[Row]) -> str:
  """Returns the content of corrections.csv with these rows; `read` reads it back as it was."""
  text = io.StringIO()
  writer = CsvWriter(text)
  writer.writerow(HEADER)
  writer.writerows(rows)
  return text.getvalue()


def read(key: str, path: str) -> Corrections:
  """Returns the corrections in the file that `key` names.

  Raises:
    DataError: no such file, not of this form, or rows that no data could have: with the first line
      that is wrong, and how many are.
  """
  data = named_files.read(key, path, _FORM, max_bytes=_MAX_BYTES)
  rows = parse(data, f"{key}={named_files.shown(path)}")
  return Corrections(key, path, rows, checksum=hashlib.sha256(data).hexdigest())


def parse(data: bytes, where: str) -> dict[int, Row]:
  """Returns the rows of corrections.csv by the line on which each ends.

  Raises:
    DataError: see `read`; the message begins with `where`.
  """
  lines = table.rows(table.decoded(data, where), where, keeps_blanks=True)
  _, header = next(lines, (1, []))
  if tuple(header) != HEADER:
    raise DataError(f"{where}, line 1: the header is {','.join(header)[:100]!r}; {_FORM}")
  cells_of = dict(lines)
  first: dict[str, int] = {}
  for line, cells in cells_of.items():
    first.setdefault(cells[0], line)
  _refuse_bad(where, {line: _form_problem(line, cells, first) for line, cells in cells_of.items()})
  return {line: Row(int(cells[0]), *cells[1:]) for line, cells in cells_of.items()}


def _form_problem(line: int, cells: Sequence[str], first: Mapping[str, int]) -> _Problem:
  """Returns what is wrong with a row by itself; `first` is the first line of each id."""
  example_id, _, _, action, label = cells
  if not _INTEGER.fullmatch(example_id) or str(int(example_id)) != example_id:
    return f"example_id is {example_id[:40]!r}", "write the whole number that scores.csv has"
  if first[example_id] != line:
    there = f"example {example_id} is in line {first[example_id]} already"
    return there, "remove one of the two lines"
  if action not in ACTIONS:
    return f"action is {action[:40]!r}", f"write {KEEP}, {RELABEL} or {DROP}"
  if action == RELABEL and not label:
    return "relabel without a label", f"write the new class as label, or {KEEP} as action"
  if action != RELABEL and label:
    return f"{action} with the label {label[:40]!r}", f"leave label empty, or write {RELABEL}"
  return None


def _refuse_bad(where: str, problems: Mapping[int, _Problem]) -> None:
  """Refuses rows with a problem: names the first line, and how many there are."""
  bad = {line: problem for line, problem in problems.items() if problem is not None}
  if bad:
    line = min(bad)
    what, advice = bad[line]
    raise DataError(
      f"{where}, line {line}: {what} ({len(bad)} of {len(problems)} rows do not fit); {advice}"
    )


def apply(found: Corrections, split: RawSplit, examples: Examples) -> Corrected:
  """Returns what the corrections make of a split; the split itself stays as it is.

  Args:
    found: the corrections.
    split: labels in use, example ids and source files.
    examples: what else the rows are compared with.

  Raises:
    DataError: a row names an example, a file, a label or a class that is not there; or nothing
      would be left. With the first line that is wrong, and how many are.
  """
  labels, names = np.array(split.labels), examples.class_names
  places = {int(example_id): place for place, example_id in enumerate(ids_of(split))}
  files = split.source_files or ("",) * len(labels)
  codes: dict[str, list[int]] = collections.defaultdict(list)
  for code, name in enumerate(names):
    codes[name].append(code)

  def problem(row: Row) -> _Problem:
    if row.example_id not in places:
      return _unknown_problem(row, examples)
    place = places[row.example_id]
    return _match_problem(row, files[place], names[labels[place]]) or _label_problem(row, codes)

  _refuse_bad(found.where, {line: problem(row) for line, row in found.rows.items()})
  used = [(places[row.example_id], row) for row in found.rows.values() if row.example_id in places]
  if found.rows and not used:
    raise DataError(
      f"{found.where}: none of its {len(found.rows)} rows is of the {len(labels)} "
      f"{examples.side} examples in use; are they of other data? Leave the file out"
    )
  is_kept = np.ones(len(labels), bool)
  is_kept[[place for place, row in used if row.action == DROP]] = False
  if not is_kept.any():
    raise DataError(
      f"{found.where}: it drops all {len(labels)} {examples.side} examples; remove the rows of "
      "those that shall stay"
    )
  corrected = labels.copy()
  for place, row in used:
    if row.action == RELABEL:
      corrected[place] = codes[row.label][0]
  rows = [row for _, row in used]
  change = _change(found, rows, examples.side, num_examples=len(labels))
  return Corrected(corrected, corrected != labels, is_kept, change=change)


def ids_of(split: RawSplit) -> Int[np.ndarray, "N"]:
  """Returns the example ids of a split, [N]."""
  return np.arange(len(split.labels)) if split.example_ids is None else split.example_ids


def _unknown_problem(row: Row, examples: Examples) -> _Problem:
  """Returns what is wrong with the row of an example that is not in use."""
  if row.example_id in examples.left_out or (examples.may_lack and row.source_file):
    return None
  if row.example_id in examples.elsewhere:
    other, key = ("test", "data.corrections_test")
    if examples.side == "test":
      other, key = ("training", "data.corrections")
    return f"example {row.example_id} is a {other} example", f"move the line to a file for {key}"
  return (
    f"there is no {examples.side} example {row.example_id}",
    "remove the line, or leave the file out where it is of other data",
  )


def _match_problem(row: Row, file: str, name: str) -> _Problem:
  """Returns what is wrong with a row of the example that has this file and this class."""
  if row.source_file != file:
    there = repr(file) if file else "no file"
    return (
      f"example {row.example_id} is {there}, not {row.source_file!r}",
      "leave the file out, as it is of other data, or write the rows anew",
    )
  if row.given != name:
    return (
      f"example {row.example_id} has the label {name!r}, and the row replaces {row.given!r}",
      "write the label that it has as given, or remove the line; corrections of a corrected run "
      "follow the file that corrected it, as in --config.data.corrections=first.csv,second.csv",
    )
  return None


def _label_problem(row: Row, codes: Mapping[str, Sequence[int]]) -> _Problem:
  """Returns what is wrong with the new class of a row."""
  if row.action != RELABEL or len(codes.get(row.label, ())) == 1:
    return None
  if row.label in codes:
    return f"{row.label!r} is the name of several classes", "give these classes different names"
  known = list(codes)
  hint = f"write one of {', '.join(map(repr, known))}" if len(known) <= _MANY else "write a class"
  return f"there is no class {row.label!r}", hint + did_you_mean(row.label, known)


def _change(
  found: Corrections, used: Sequence[Row], side: str, *, num_examples: int
) -> LabelChange:
  """Returns what is told of corrections whose rows `used` are of examples in use."""
  # A row may relabel an example to what it is: nothing changes.
  relabelled = [row for row in used if row.action == RELABEL and row.label != row.given]
  dropped = [row for row in used if row.action == DROP]
  pairs = collections.Counter((row.given, row.label or None) for row in (*relabelled, *dropped))
  num_unused = len(found.rows) - len(used)
  counts = {
    "examples": num_examples,
    "kept": len(used) - len(relabelled) - len(dropped),
    "relabelled": len(relabelled),
    "dropped": len(dropped),
    "not_used": num_unused,
    "by_class": [
      {"given": given, "label": label, "count": count}
      for (given, label), count in sorted(
        pairs.items(), key=lambda one: (-one[1], one[0][0], one[0][1] or "")
      )
    ],
  }
  file = Path(found.path).name
  head = "corrections" if side == "training" else "test labels corrected"
  text = (
    f"{head}: {len(relabelled)} relabelled, {len(dropped)} dropped (of {num_examples:,}), from "
    f"{file}{_pairs_text(relabelled)}"
  )
  if num_unused:
    text += f"; {num_unused} of its rows are of examples that are not in use"
  reviewed = frozenset(row.example_id for row in used if row.action != DROP)
  return LabelChange(found.key, file, found.checksum, text=text, counts=counts, reviewed=reviewed)


def _pairs_text(relabelled: Sequence[Row]) -> str:
  """Returns the most frequent pairs of classes, "" without any."""
  pairs = collections.Counter((row.given, row.label) for row in relabelled).most_common()
  shown = [f"{given} to {label} {count}" for (given, label), count in pairs[:_NUM_PAIRS]]
  more = ["..."] if len(pairs) > _NUM_PAIRS else []
  return f" ({', '.join([*shown, *more])})" if pairs else ""
