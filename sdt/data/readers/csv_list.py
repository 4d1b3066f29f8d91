"""Reads images that a CSV file lists: path,label[,split]."""

import dataclasses
import os
from pathlib import Path

import numpy as np

from sdt import named_files
from sdt.config.schema import DataConfig
from sdt.data import class_names, table
from sdt.data.assemble import Raw, assemble
from sdt.data.dataset import Data, RawSplit
from sdt.data.readers import missing_files
from sdt.data.readers.images import Listing, read_images
from sdt.errors import DataError
from sdt.types import Log

FORM = "expected a header path,label or path,label,split, and a row for every image"
_SPLITS = {"train": "train", "test": "test", "val": "val", "valid": "val", "validation": "val"}


@dataclasses.dataclass(frozen=True)
class _Row:
  """One row of data.

  Attributes:
    line: in the file, from 1.
    path: as written.
    label: as written.
    split: "train", "test", "val", or "" where there is no such column.
  """

  line: int
  path: str
  label: str
  split: str


def _columns(cells: list[str], path: Path, line: int) -> dict[str, int]:
  """Returns the places of path, label and (where it exists) split in a row."""
  names = [cell.strip() for cell in cells]
  for name in ("path", "label", "split"):
    if names.count(name) > 1 or (name not in names and name != "split"):
      problem = "occurs twice" if name in names else "is missing"
      header = ",".join(names)[:200]
      raise DataError(
        f"data.path={path}, line {line}: column {name!r} {problem} in the header {header!r}; {FORM}"
      )
  return {name: names.index(name) for name in ("path", "label", "split") if name in names}


def _rows(path: Path) -> list[_Row]:
  """Returns the rows of the file, each checked alone."""
  rows: list[_Row] = []
  lines = table.rows(table.read_text(path, f"data.path={path}", FORM), f"data.path={path}")
  line, header = next(lines, (1, []))
  columns = _columns(header, path, line)
  for line, cells in lines:
    where = f"data.path={path}, line {line}"
    file, label = cells[columns["path"]], cells[columns["label"]].strip()
    if not file.strip() or "\0" in file:
      raise DataError(f"{where}: no path; every row needs one")
    if not label:
      raise DataError(f"{where}: no label for {file}; give one, or remove the row")
    split = ""
    if "split" in columns:
      written = cells[columns["split"]].strip()
      split = _SPLITS.get(written.lower(), "")
      if not split:
        raise DataError(
          f"{where}: split {written!r}; expected train, test or val (also valid, validation)"
        )
    rows.append(_Row(line, file, label, split=split))
  if not rows:
    raise DataError(f"data.path={path}: no rows below the header; {FORM}")
  return rows


def _check_files(rows: list[_Row], path: Path, config: DataConfig) -> None:
  """Refuses a file that is listed twice in any spelling, and a missing file.

  Missing files are accepted where bad images are skipped.
  """
  lines: dict[str, int] = {}
  for row in rows:
    place = os.path.realpath(path.parent / row.path)
    if place in lines:
      raise DataError(
        f"data.path={path}, line {row.line}: {row.path} is listed in line {lines[place]} already; "
        "list every image once"
      )
    lines[place] = row.line
  if config.on_bad_image == "skip":
    return
  missing = [row for row in rows if not os.path.exists(path.parent / row.path)]
  if missing:
    skip = ", or leave them out with --config.data.on_bad_image=skip"
    raise DataError(
      f"data.path={path}, line {missing[0].line}: no file {path.parent / missing[0].path}"
      f"{missing_files.meant(path.parent, missing[0].path)}; {len(missing)} of {len(rows)} files "
      "are missing; paths are relative to the CSV file; mend or remove the rows"
      f"{skip if len(missing) < len(rows) else ''}"
    )


def _class_names(rows: list[_Row], path: Path) -> tuple[str, ...]:
  """Returns the class names: the labels, by number if all are numbers, else as text."""
  names = class_names.ordered({row.label for row in rows})
  numbers = [class_names.as_number(name) for name in names]
  equal = [place for place in range(1, len(names)) if numbers[place - 1] == numbers[place]]
  if equal and None not in numbers:
    raise DataError(
      f"data.path={path}: the labels {names[equal[0] - 1]!r} and {names[equal[0]]!r} are the same "
      "number; write it in one way"
    )
  return names


def _choose_splits(rows: list[_Row]) -> tuple[list[int], list[int], list[str]]:
  """Returns (ids of the training split, ids of the test split, notes on validation rows).

  The ids of the test split are empty where there is none.
  """
  ids = {
    split: [i for i, row in enumerate(rows) if (row.split or "train") == split]
    for split in ("train", "test", "val")
  }
  if not ids["val"]:
    return ids["train"], ids["test"], []
  if ids["test"]:
    note = f"{len(ids['val'])} rows of the validation split are not used"
    return ids["train"], ids["test"], [note]
  return ids["train"], ids["val"], ["the validation split is the test split"]


def has_test(path: Path) -> bool:
  """Returns whether the CSV file has rows of a test or validation split; raises as it is read."""
  return any(row.split in ("test", "val") for row in _rows(path))


def load_manifest(config: DataConfig, log: Log) -> Data:
  """Returns the images that the CSV file `data.path` lists: uint8 [N, H, W, 3].

  The columns path, label and (optional) split may have any order; other columns are ignored. Paths
  are relative to the CSV file's folder. The example ids are the rows of data from 0, counted over
  the whole file.

  Raises:
    DataError: no CSV file of this form (with the line), an image that is missing, listed twice or
      cannot be read, sizes that differ.
  """
  if config.path is None:
    raise DataError("data.name=csv needs the file: --config.data.path=FILE.csv")
  path = named_files.expanded(config.path)
  rows = _rows(path)
  _check_files(rows, path, config)
  names = _class_names(rows, path)
  number = {name: label for label, name in enumerate(names)}
  labels = np.array([number[row.label] for row in rows], np.int32)
  train_ids, test_ids, notes = _choose_splits(rows)
  if not train_ids:
    raise DataError(f"data.path={path}: no row has the split train; give the training images")
  test_labels, train_labels = ({rows[i].label for i in ids} for ids in (test_ids, train_ids))
  class_names.refuse_nearly_known(test_labels, train_labels, f"data.path={path}")

  def read(ids: list[int], where: str) -> RawSplit:
    listing = Listing(tuple(rows[i].path for i in ids), labels[ids])
    split, more = read_images(path.parent, listing, config, where=where, log=log)
    notes.extend(more)
    return dataclasses.replace(split, example_ids=np.array(ids)[split.example_ids])

  train = read(train_ids, "the training split")
  test = read(test_ids, "the test split") if test_ids else None
  return assemble(
    Raw(train, test, names, where=f"csv set {path}", variant="custom", notes=tuple(notes)),
    config,
  )
