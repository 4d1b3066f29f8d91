"""Corrections of labels: what the file is, what it changes, what is refused and what then helps."""

import csv
import dataclasses
import io
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdt.config.schema import DataConfig, ShapesConfig
from sdt.data import corrections, sources
from sdt.data.assemble import Raw, assemble
from sdt.data.corrections import Row
from sdt.data.dataset import RawSplit
from sdt.data.readers.arrays import load_arrays
from sdt.data.validation_split import hold_out, with_validation
from sdt.errors import DataError
from tests.support import image_files, registered_sets

NAMES = ("cat", "dog", "a, b")
IMAGES = np.random.default_rng(5).integers(0, 256, (60, 4, 4, 3), dtype=np.uint8)
CONFIG = DataConfig(name="npz")
HEADER = "example_id,source_file,given,action,label\n"


def _raw(*, with_files=True, test=range(40, 60)):
  """Returns a set of the images at these places; the class of place p is p % 3."""
  splits = [
    RawSplit(
      IMAGES[list(at)],
      np.array(at) % 3,
      source_files=tuple(f"{name}/{i}.png" for i in range(len(at))) if with_files else None,
    )
    for name, at in (("train", range(40)), ("test", test))
  ]
  return Raw(*splits, NAMES, where="here", variant="custom")


def _row(example_id, action="keep", label="", *, side="train", labels=None, files=True):
  """Returns the row of an example of `_raw`, whose class is `labels[example_id]`."""
  label_now = (example_id + 40 * (side == "test")) % 3 if labels is None else labels[example_id]
  file = f"{side}/{example_id}.png" if files else ""
  return Row(example_id, file, NAMES[label_now], action, label)


def _write(tmp_path, rows, name="fixes.csv"):
  (tmp_path / name).write_text(corrections.csv_text(rows), newline="")
  return str(tmp_path / name)


def _load(raw=None, **keys):
  return assemble(_raw() if raw is None else raw, dataclasses.replace(CONFIG, **keys))


def _notes(data, start):
  return [note for note in data.notes if note.startswith(start)]


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
  rows = [_row(4, "relabel", "a, b"), _row(0, "drop"), _row(9, "keep"), _row(30, "relabel", "dog")]
  data = _load(corrections=(_write(tmp_path, rows),))
  by_hand = _raw()
  labels = by_hand.train.labels.copy()
  labels[[4, 30]] = [2, 1]
  mended = dataclasses.replace(by_hand.train, labels=labels).take(np.arange(1, 40))
  twin = _load(dataclasses.replace(by_hand, train=mended))
  assert data.checksum == twin.checksum != _load().checksum
  assert data.train.example_ids.tolist() == list(range(1, 40))
  assert data.train.source_files == twin.train.source_files
  np.testing.assert_array_equal(data.train.labels, twin.train.labels)
  np.testing.assert_array_equal(data.mean, twin.mean)
  assert data.train.wrong_label is None
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
  assert _notes(data, "corrections: ") == [
    "corrections: 2 relabelled, 1 dropped (of 40), from fixes.csv (dog to a, b 1, cat to dog 1)"
  ]
  assert data.notes[0] == change.text


def test_a_file_that_changes_nothing_leaves_the_set_as_it_was(tmp_path):
  same = [_row(3, "relabel", "cat"), _row(4, "keep")]
  for rows in ([], same):
    data = _load(corrections=(_write(tmp_path, rows),))
    assert data.checksum == _load().checksum
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
  path.write_text(f"{HEADER}{rows}\n")
  with pytest.raises(DataError, match=re.escape(says)) as caught:
    _load(corrections=(str(path),))
  assert str(caught.value).startswith(f"data.corrections={path}")
  assert "\n" not in str(caught.value)
  path.write_text(f"{HEADER}{mended}\n")
  assert _load(corrections=(str(path),)).label_changes


@pytest.mark.parametrize(
  ("content", "says"),
  [
    (b"", "line 1: the header is ''; expected a CSV file with the header example_id,source_file"),
    (b"id,label\n3,cat\n", "line 1: the header is 'id,label'; expected a CSV file with"),
    (HEADER.replace(",", ";").encode(), "separated by semicolons"),
    (b"\xff\xfe\0", "not UTF-8 text"),
  ],
)
def test_what_is_no_file_of_corrections_is_refused_before_the_data_are_read(
  tmp_path, content, says
):
  path = tmp_path / "fixes.csv"
  path.write_bytes(content)
  config = dataclasses.replace(CONFIG, path=str(tmp_path / "none.npz"), corrections=(str(path),))
  with pytest.raises(DataError, match=re.escape(says)):
    sources.load(config)
  path.write_text(HEADER)
  with pytest.raises(DataError, match=r"none.npz"):
    sources.load(config)
  lacking = dataclasses.replace(config, corrections=(), corrections_test=("nowhere.csv",))
  with pytest.raises(DataError, match=r"^data.corrections_test=nowhere.csv: no such file"):
    sources.load(lacking)


def test_corrections_of_other_data_are_refused(tmp_path):
  without_files = _raw(with_files=False)
  ours = _write(tmp_path, [_row(3, "drop")])
  with pytest.raises(DataError, match=r"example 3 is no file, not 'train/3.png'"):
    _load(without_files, corrections=(ours,))
  assert (
    len(_load(without_files, corrections=(_write(tmp_path, [_row(3, "drop", files=False)]),)).train)
    == 39
  )
  everything = _write(tmp_path, [_row(i, "drop") for i in range(40)])
  with pytest.raises(DataError, match="it drops all 40 training examples; remove the rows"):
    _load(corrections=(everything,))
  cats = _write(tmp_path, [_row(i, "drop") for i in range(0, 40, 3)])
  with pytest.raises(
    DataError, match=r"no training example: 0 .cat.; keep one in data.corrections"
  ):
    _load(corrections=(cats,))
  assert len(_load(corrections=(cats,), allow_empty_class=True).train) == 26
  kept_one = _write(tmp_path, [_row(i, "drop") for i in range(3, 40, 3)])
  assert len(_load(corrections=(kept_one,)).train) == 27


def test_a_class_whose_name_another_has_is_no_label(tmp_path):
  raw = dataclasses.replace(_raw(), class_names=("cat", "dog", "dog"))
  path = _write(tmp_path, [_row(3, "relabel", "dog")])
  with pytest.raises(DataError, match=r"'dog' is the name of several classes .* different names"):
    _load(raw, corrections=(path,))


def test_the_examples_that_are_drawn_and_held_out_do_not_depend_on_corrections(tmp_path):
  raw = dataclasses.replace(_raw(), test=None)
  keys = {"test_fraction": 0.3, "num_train": 20, "num_test": 7}
  before = _load(raw, **keys)
  ids = before.train.example_ids.tolist()
  tested = before.test.example_ids.tolist()
  whole = _load(raw, test_fraction=0.3).train.example_ids.tolist()
  unused = next(i for i in whole if i not in ids)
  rows = [_row(ids[0], "drop"), _row(ids[5], "relabel", "a, b"), _row(unused, "drop")]
  data = _load(raw, **keys, corrections=(_write(tmp_path, rows),))
  assert data.train.example_ids.tolist() == ids[1:]
  assert data.test.example_ids.tolist() == tested
  assert data.label_changes[0].counts["not_used"] == 1
  assert "; 1 of its rows are of examples that are not in use" in data.notes[0]
  with pytest.raises(DataError, match="none of its 1 rows is of the 20 training examples in use"):
    _load(raw, **keys, corrections=(_write(tmp_path, [_row(unused, "drop")]),))
  of_test = _write(tmp_path, [_row(tested[0], "drop")])
  with pytest.raises(DataError, match=r"is a test example .*move the line to .*corrections_test"):
    _load(raw, **keys, corrections=(of_test,))
  moved = _load(raw, **keys, corrections_test=(of_test,))
  assert moved.test.example_ids.tolist() == tested[1:]
  with pytest.raises(DataError, match=r"is a training example .*move the line to .*corrections\b"):
    _load(raw, **keys, corrections_test=(_write(tmp_path, rows),))


def test_test_labels_change_by_their_own_file_alone_and_are_told_first(tmp_path):
  mine = _write(tmp_path, [_row(3, "drop")])
  theirs = _write(
    tmp_path, [_row(2, "relabel", "dog", side="test"), _row(5, "drop", side="test")], "test.csv"
  )
  data = _load(corrections=(mine,), corrections_test=(theirs,))
  plain = _load()
  np.testing.assert_array_equal(_load(corrections=(mine,)).test.labels, plain.test.labels)
  assert data.test.labels[2] == 1
  assert 5 not in data.test.example_ids.tolist()
  assert len(data.train) == 39
  assert data.notes[0].startswith("test labels corrected: 1 relabelled, 1 dropped (of 20), from ")
  assert data.test_label_texts == [data.notes[0]]
  assert list(data.label_checksums) == ["data.corrections_test", "data.corrections"]


def test_files_are_applied_one_after_the_other_each_to_what_the_last_left(tmp_path):
  first = _write(tmp_path, [_row(3, "relabel", "dog"), _row(4, "drop")], "first.csv")
  again = [Row(3, "train/3.png", "dog", "relabel", "a, b"), _row(6, "drop")]
  second = _write(tmp_path, again, "second.csv")
  data = _load(corrections=(first, second))
  assert data.train.labels[3] == 2
  assert data.train.example_ids.tolist() == [i for i in range(40) if i not in (4, 6)]
  assert [change.counts["examples"] for change in data.label_changes] == [40, 39]
  assert len(data.label_checksums["data.corrections"].split()) == 2
  with pytest.raises(DataError, match=r"has the label 'cat', and the row replaces 'dog'.* follow"):
    _load(corrections=(second,))


def test_wrong_labels_on_purpose_come_first_and_the_truth_follows_the_corrections(tmp_path):
  noisy = _load(wrong_label_fraction=0.5)
  labels, truth = noisy.train.labels, np.arange(40) % 3
  wrong, right = (np.flatnonzero(noisy.train.wrong_label == is_wrong) for is_wrong in (True, False))
  rows = [
    *(_row(i, "relabel", NAMES[i % 3], labels=labels) for i in wrong[:5].tolist()),
    _row(int(wrong[6]), "drop", labels=labels),
    _row(int(right[0]), "relabel", NAMES[(right[0] + 1) % 3], labels=labels),
  ]
  path = _write(tmp_path, rows)
  data = _load(wrong_label_fraction=0.5, corrections=(path,))
  np.testing.assert_array_equal(
    data.train.wrong_label, data.train.labels != truth[data.train.example_ids]
  )
  assert data.train.wrong_label.sum() == 20 - 5 - 1 + 1
  assert _notes(data, "15 of 39 training labels are wrong on purpose") == [
    "15 of 39 training labels are wrong on purpose (data.wrong_label_fraction=0.5, after "
    "data.corrections)"
  ]
  with pytest.raises(DataError, match="and the row replaces"):
    _load(corrections=(path,))


def test_duplicates_have_the_corrected_labels_and_a_dropped_image_brings_no_copy_back(tmp_path):
  raw = _raw(test=[*range(40, 58), 3, 4])
  path = _write(tmp_path, [_row(3, "drop"), _row(4, "relabel", "cat")])
  dropped = _load(raw, on_duplicate_test="drop")
  data = _load(raw, on_duplicate_test="drop", corrections=(path,))
  assert data.test.example_ids.tolist() == dropped.test.example_ids.tolist() == list(range(18))
  counted = _load(raw, corrections=(path,)).duplicates
  assert counted.counts["test_in_train"] == 1
  assert counted.counts["conflicting"] == 2
  assert next(copy.label for copy in counted.copies if copy.split == "train") == 0
  # Labels that are wrong on purpose count as they were before; corrected ones as they are.
  noisy = _load(raw, wrong_label_fraction=0.5)
  fix = _row(4, "relabel", "cat", labels=noisy.train.labels)
  both = _load(raw, wrong_label_fraction=0.5, corrections=(_write(tmp_path, [fix]),))
  assert both.duplicates.counts["conflicting"] == (0 if fix.given == "cat" else 2)


def test_a_validation_split_is_held_out_of_the_corrected_training_set(tmp_path):
  path = _write(tmp_path, [_row(3, "drop"), _row(4, "relabel", "cat")])
  fixes = _write(tmp_path, [_row(3, "drop", side="test")], "test.csv")
  data = _load(corrections=(path,), corrections_test=(fixes,))
  config = dataclasses.replace(CONFIG, validation_fraction=0.25)
  stopped = with_validation(data, config)
  ids = [*stopped.train.example_ids.tolist(), *stopped.validation.example_ids.tolist()]
  assert sorted(ids) == data.train.example_ids.tolist()
  assert stopped.label_changes == data.label_changes
  assert [change.key for change in hold_out(data, config).label_changes] == ["data.corrections"]


def _folder(root):
  for name in ("cat", "dog"):
    (root / name).mkdir(parents=True)
    for i in range(5):
      content = image_files.saved(image_files.noise(seed=i + 10 * (name == "dog")), "PNG")
      (root / name / f"{i}.png").write_bytes(content)
  return DataConfig(name="folder", path=str(root), test_fraction=0.2, image_size=4)


def test_skipped_images_keep_their_place_and_rows_of_them_are_not_used(tmp_path):
  config = _folder(tmp_path / "set")
  whole = sources.load(config)
  (tmp_path / "set/cat/1.png").write_bytes(b"broken")
  config = dataclasses.replace(config, on_bad_image="skip")
  before = sources.load(config)
  assert 1 in whole.train.example_ids
  assert 1 not in before.train.example_ids
  keep = [i for i in before.train.example_ids.tolist() if i > 1]
  file_of = dict(zip(before.train.example_ids.tolist(), before.train.source_files, strict=True))
  label_of = dict(zip(before.train.example_ids.tolist(), before.train.labels, strict=True))
  dog = next(i for i in keep if label_of[i] == 1)
  rows = [Row(1, "cat/1.png", "cat", "drop"), Row(dog, file_of[dog], "dog", "relabel", "cat")]
  data = sources.load(dataclasses.replace(config, corrections=(_write(tmp_path, rows),)))
  assert data.train.example_ids.tolist() == before.train.example_ids.tolist()
  assert (data.train.labels != before.train.labels).sum() == 1
  assert data.label_changes[0].counts["not_used"] == 1


def _configs(tmp_path, monkeypatch):
  """Yields a config of every kind of reader, and what loads it."""
  yield "digits", DataConfig(name="digits", num_train=50, num_test=20)
  yield "shapes", DataConfig(name="shapes", shapes=ShapesConfig(num_train=40, num_test=12))
  folder = _folder(tmp_path / "folder")
  yield "folder", folder
  table = tmp_path / "list.csv"
  lines = [f"folder/{name}/{i}.png,{name}" for i in range(5) for name in ("cat", "dog")]
  table.write_text("\n".join(["path,label", *lines]))
  yield "csv", dataclasses.replace(folder, name="csv", path=str(table))
  archive = tmp_path / "set.npz"
  np.savez(archive, train_x=IMAGES[:40], train_y=np.arange(40) % 3)
  yield "npz", DataConfig(name="npz", path=str(archive), test_fraction=0.2)
  spec, contents, _ = registered_sets.make_cifar()
  monkeypatch.setitem(sources.SETS, "cifar10", spec)
  place = tmp_path / "cifar"
  place.mkdir()
  for name, content in contents.items():
    (place / name).write_bytes(content)
  yield "cifar10", DataConfig(name="cifar10", path=str(place), verify="known")


def test_every_reader_takes_corrections_of_what_it_reads(tmp_path, monkeypatch):
  for name, config in _configs(tmp_path, monkeypatch):
    plain = sources.load(config)
    train, names = plain.train, plain.class_names
    ids, files = train.example_ids.tolist(), train.source_files or [""] * len(train)
    classes = [names[label] for label in train.labels]
    other = next(one for one in names if one != classes[1])
    rows = [
      Row(ids[0], files[0], classes[0], "drop"),
      Row(ids[1], files[1], classes[1], "relabel", other),
    ]
    data = sources.load(dataclasses.replace(config, corrections=(_write(tmp_path, rows),)))
    assert data.train.example_ids.tolist() == ids[1:], name
    assert data.class_names[data.train.labels[0]] == other, name
    np.testing.assert_array_equal(data.train.labels[1:], train.labels[2:], err_msg=name)
    np.testing.assert_array_equal(data.test.labels, plain.test.labels, err_msg=name)


def test_arrays_in_memory_take_corrections_by_row(tmp_path):
  arrays = {"train_x": IMAGES[:40], "train_y": np.array(NAMES)[np.arange(40) % 3]}
  path = _write(tmp_path, [_row(3, "relabel", "dog", files=False)])
  config = DataConfig(name="arrays", test_fraction=0.1)
  plain = load_arrays(arrays, config)
  used = plain.train.example_ids.tolist()
  assert 3 in used
  data = load_arrays(arrays, dataclasses.replace(config, corrections=(path,)))
  assert [data.class_names[label] for label in data.train.labels] == [
    "dog" if i == 3 else NAMES[i % 3] for i in used
  ]
