"""Corrections of labels: what the file is, what it changes, what is refused and what then helps."""

import csv
import dataclasses
import io
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdt.data import corrections, sources
from sdt.data.corrections import Row
from sdt.errors import DataError
from tests.support import corrected as made

texts = st.text(
  st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1, max_size=8
)
rows_of_any_kind = st.lists(
  st.builds(
    lambda example_id, file, given, action, label: Row(
      example_id, file, given, action, label if action == "relabel" else ""
    ),
    st.integers(0, 2**31 - 1),
    st.one_of(st.just(""), texts),
    texts,
    st.sampled_from(corrections.ACTIONS),
    texts,
  ),
  max_size=6,
  unique_by=lambda row: row.example_id,
)


@given(rows_of_any_kind, st.booleans())
def test_what_is_written_is_read_back_and_is_rfc_4180(rows, with_crlf):
  text = corrections.csv_text(rows)
  # Python's own reader, and the writer of another program, which quotes what it likes.
  assert list(csv.reader(io.StringIO(text, newline="")))[1:] == [
    [str(row.example_id), *row[1:]] for row in rows
  ]
  other = io.StringIO(newline="")
  end = "\r\n" if with_crlf else "\n"
  csv.writer(other, quoting=csv.QUOTE_ALL, lineterminator=end).writerows(
    [
      corrections.HEADER,
      *rows,
    ]
  )
  for content in (text, other.getvalue()):
    assert list(corrections.parse(content.encode(), "here").values()) == rows


def test_relabels_and_drops_give_the_set_that_was_written_with_these_labels(tmp_path):
  rows = [
    made.row(4, "relabel", "a, b"),
    made.row(0, "drop"),
    made.row(9, "keep"),
    made.row(30, "relabel", "dog"),
  ]
  data = made.load(corrections=(made.write(tmp_path, rows),))
  by_hand = made.raw()
  labels = by_hand.train.labels.copy()
  labels[[4, 30]] = [2, 1]
  mended = dataclasses.replace(by_hand.train, labels=labels).take(np.arange(1, 40))
  twin = made.load(dataclasses.replace(by_hand, train=mended))
  assert data.checksum == twin.checksum != made.load().checksum
  assert data.train.example_ids.tolist() == list(range(1, 40))
  assert data.train.source_files == twin.train.source_files
  np.testing.assert_array_equal(data.train.labels, twin.train.labels)
  np.testing.assert_array_equal(data.mean, twin.mean)
  assert data.train.wrong_label is None
  assert data.reviewed_ids() == {4, 9, 30}
  (change,) = data.label_changes
  assert change.key == "data.corrections"
  assert change.counts == {
    "examples": 40,
    "kept": 1,
    "relabelled": 2,
    "dropped": 1,
    "not_used": 0,
    "by_class": [
      {"given": "cat", "label": None, "count": 1},
      {"given": "cat", "label": "dog", "count": 1},
      {"given": "dog", "label": "a, b", "count": 1},
    ],
  }
  assert made.notes(data, "corrections: ") == [
    "corrections: 2 relabelled, 1 dropped (of 40), from fixes.csv (dog to a, b 1, cat to dog 1)"
  ]
  assert data.notes[0] == change.text


def test_a_file_that_changes_nothing_leaves_the_set_as_it_was(tmp_path):
  same = [made.row(3, "relabel", "cat"), made.row(4, "keep")]
  for rows in ([], same):
    data = made.load(corrections=(made.write(tmp_path, rows),))
    assert data.checksum == made.load().checksum
    assert data.label_changes[0].counts["kept"] == len(rows)
    assert "corrections: 0 relabelled, 0 dropped (of 40)" in data.notes[0]


# (rows of the file, what the message says, the same rows once its advice was followed)
REFUSED = {
  "id": (
    "x,,cat,keep,",
    "line 2: example_id is 'x' (1 of 1 rows do not fit)",
    "3,train/3.png,cat,keep,",
  ),
  "zeros": ("03,train/3.png,cat,keep,", "write the whole number", "3,train/3.png,cat,keep,"),
  "action": (
    "3,train/3.png,cat,delete,",
    "action is 'delete' (1 of 1 rows do not fit); write keep, relabel or drop",
    "3,train/3.png,cat,drop,",
  ),
  "no label": (
    "3,train/3.png,cat,relabel,",
    "relabel without a label (1 of 1 rows do not fit); write the new class",
    "3,train/3.png,cat,relabel,dog",
  ),
  "a label": (
    "3,train/3.png,cat,drop,dog",
    "drop with the label 'dog' (1 of 1 rows do not fit); leave label empty",
    "3,train/3.png,cat,drop,",
  ),
  "twice": (
    "3,train/3.png,cat,keep,\n4,train/4.png,dog,keep,\n3,train/3.png,cat,drop,",
    "line 4: example 3 is in line 2 already (1 of 3 rows do not fit); remove one of the two lines",
    "4,train/4.png,dog,keep,\n3,train/3.png,cat,drop,",
  ),
  "unknown": (
    "3,train/3.png,cat,keep,\n40,train/40.png,cat,drop,\n77,train/77.png,cat,drop,",
    "line 3: there is no training example 40 (2 of 3 rows do not fit); remove the line",
    "3,train/3.png,cat,keep,",
  ),
  "file": (
    "3,train/4.png,cat,drop,",
    "example 3 is 'train/3.png', not 'train/4.png' (1 of 1 rows do not fit)",
    "3,train/3.png,cat,drop,",
  ),
  "given": (
    "3,train/3.png,cat,drop,\n4,train/4.png,cat,drop,",
    "line 3: example 4 has the label 'dog', and the row replaces 'cat' (1 of 2 rows do not fit)",
    "3,train/3.png,cat,drop,\n4,train/4.png,dog,drop,",
  ),
  "class": (
    "3,train/3.png,cat,relabel,dgo",
    "there is no class 'dgo' (1 of 1 rows do not fit); write one of 'cat', 'dog', 'a, b'; did you "
    "mean 'dog'?",
    "3,train/3.png,cat,relabel,dog",
  ),
  "cells": (
    "3,train/3.png,cat,relabel,a, b",
    "quote cells that hold commas",
    '3,train/3.png,cat,relabel,"a, b"',
  ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_row_that_does_not_fit_is_refused_and_what_the_message_says_helps(tmp_path, case):
  rows, says, mended = REFUSED[case]
  path = tmp_path / "fixes.csv"
  path.write_text(f"{made.HEADER}{rows}\n")
  with pytest.raises(DataError, match=re.escape(says)) as caught:
    made.load(corrections=(str(path),))
  assert str(caught.value).startswith(f"data.corrections={path}")
  assert "\n" not in str(caught.value)
  path.write_text(f"{made.HEADER}{mended}\n")
  assert made.load(corrections=(str(path),)).label_changes


@pytest.mark.parametrize(
  ("content", "says"),
  [
    (b"", "line 1: the header is ''; expected a CSV file with the header example_id,source_file"),
    (b"id,label\n3,cat\n", "line 1: the header is 'id,label'; expected a CSV file with"),
    (made.HEADER.replace(",", ";").encode(), "separated by semicolons"),
    (b"\xff\xfe\0", "not UTF-8 text"),
  ],
)
def test_what_is_no_file_of_corrections_is_refused_before_the_data_are_read(
  tmp_path, content, says
):
  path = tmp_path / "fixes.csv"
  path.write_bytes(content)
  config = dataclasses.replace(
    made.CONFIG, path=str(tmp_path / "none.npz"), corrections=(str(path),)
  )
  with pytest.raises(DataError, match=re.escape(says)):
    sources.load(config)
  path.write_text(made.HEADER)
  with pytest.raises(DataError, match=r"none.npz"):
    sources.load(config)
  lacking = dataclasses.replace(config, corrections=(), corrections_test=("nowhere.csv",))
  with pytest.raises(DataError, match=r"^data.corrections_test=nowhere.csv: no such file"):
    sources.load(lacking)


def test_corrections_of_other_data_are_refused(tmp_path):
  without_files = made.raw(with_files=False)
  ours = made.write(tmp_path, [made.row(3, "drop")])
  with pytest.raises(DataError, match=r"example 3 is no file, not 'train/3.png'"):
    made.load(without_files, corrections=(ours,))
  assert (
    len(
      made.load(
        without_files, corrections=(made.write(tmp_path, [made.row(3, "drop", files=False)]),)
      ).train
    )
    == 39
  )
  everything = made.write(tmp_path, [made.row(i, "drop") for i in range(40)])
  with pytest.raises(DataError, match="it drops all 40 training examples; remove the rows"):
    made.load(corrections=(everything,))
  cats = made.write(tmp_path, [made.row(i, "drop") for i in range(0, 40, 3)])
  with pytest.raises(
    DataError, match=r"no training example: 0 .cat.; keep one in data.corrections"
  ):
    made.load(corrections=(cats,))
  assert len(made.load(corrections=(cats,), allow_empty_class=True).train) == 26
  kept_one = made.write(tmp_path, [made.row(i, "drop") for i in range(3, 40, 3)])
  assert len(made.load(corrections=(kept_one,)).train) == 27


def test_a_class_whose_name_another_has_is_no_label(tmp_path):
  raw = dataclasses.replace(made.raw(), class_names=("cat", "dog", "dog"))
  path = made.write(tmp_path, [made.row(3, "relabel", "dog")])
  with pytest.raises(DataError, match=r"'dog' is the name of several classes .* different names"):
    made.load(raw, corrections=(path,))
