"""The labels of a run: corrections beside draws, copies, noise, skipped images; in every reader."""

import dataclasses

import numpy as np
import pytest

from sdt.config.schema import DataConfig, ShapesConfig
from sdt.data import sources
from sdt.data.corrections import Row
from sdt.data.readers.arrays import load_arrays
from sdt.data.validation_split import hold_out, with_validation
from sdt.errors import DataError
from tests.support import corrected as made
from tests.support import image_files, registered_sets


def test_the_examples_that_are_drawn_and_held_out_do_not_depend_on_corrections(tmp_path):
  raw = dataclasses.replace(made.raw(), test=None)
  keys = {"test_fraction": 0.3, "num_train": 20, "num_test": 7}
  before = made.load(raw, **keys)
  ids = before.train.example_ids.tolist()
  tested = before.test.example_ids.tolist()
  whole = made.load(raw, test_fraction=0.3).train.example_ids.tolist()
  unused = next(i for i in whole if i not in ids)
  rows = [made.row(ids[0], "drop"), made.row(ids[5], "relabel", "a, b"), made.row(unused, "drop")]
  data = made.load(raw, **keys, corrections=(made.write(tmp_path, rows),))
  assert data.train.example_ids.tolist() == ids[1:]
  assert data.test.example_ids.tolist() == tested
  assert data.label_changes[0].counts["not_used"] == 1
  assert "; 1 of its rows are of examples that are not in use" in data.notes[0]
  with pytest.raises(DataError, match="none of its 1 rows is of the 20 training examples in use"):
    made.load(raw, **keys, corrections=(made.write(tmp_path, [made.row(unused, "drop")]),))
  of_test = made.write(tmp_path, [made.row(tested[0], "drop")])
  with pytest.raises(DataError, match=r"is a test example .*move the line to .*corrections_test"):
    made.load(raw, **keys, corrections=(of_test,))
  moved = made.load(raw, **keys, corrections_test=(of_test,))
  assert moved.test.example_ids.tolist() == tested[1:]
  with pytest.raises(DataError, match=r"is a training example .*move the line to .*corrections\b"):
    made.load(raw, **keys, corrections_test=(made.write(tmp_path, rows),))


def test_test_labels_change_by_their_own_file_alone_and_are_told_first(tmp_path):
  mine = made.write(tmp_path, [made.row(3, "drop")])
  theirs = made.write(
    tmp_path,
    [made.row(2, "relabel", "dog", side="test"), made.row(5, "drop", side="test")],
    "test.csv",
  )
  data = made.load(corrections=(mine,), corrections_test=(theirs,))
  plain = made.load()
  np.testing.assert_array_equal(made.load(corrections=(mine,)).test.labels, plain.test.labels)
  assert data.test.labels[2] == 1
  assert 5 not in data.test.example_ids.tolist()
  assert len(data.train) == 39
  assert data.notes[0].startswith("test labels corrected: 1 relabelled, 1 dropped (of 20), from ")
  assert data.test_label_texts == [data.notes[0]]
  assert list(data.label_checksums) == ["data.corrections_test", "data.corrections"]


def test_files_are_applied_one_after_the_other_each_to_what_the_last_left(tmp_path):
  first = made.write(tmp_path, [made.row(3, "relabel", "dog"), made.row(4, "drop")], "first.csv")
  again = [Row(3, "train/3.png", "dog", "relabel", "a, b"), made.row(6, "drop")]
  second = made.write(tmp_path, again, "second.csv")
  data = made.load(corrections=(first, second))
  assert data.train.labels[3] == 2
  assert data.train.example_ids.tolist() == [i for i in range(40) if i not in (4, 6)]
  assert [change.counts["examples"] for change in data.label_changes] == [40, 39]
  assert len(data.label_checksums["data.corrections"].split()) == 2
  with pytest.raises(DataError, match=r"has the label 'cat', and the row replaces 'dog'.* follow"):
    made.load(corrections=(second,))


def test_wrong_labels_on_purpose_come_first_and_the_truth_follows_the_corrections(tmp_path):
  noisy = made.load(wrong_label_fraction=0.5)
  labels, truth = noisy.train.labels, np.arange(40) % 3
  wrong, right = (np.flatnonzero(noisy.train.wrong_label == is_wrong) for is_wrong in (True, False))
  rows = [
    *(made.row(i, "relabel", made.NAMES[i % 3], labels=labels) for i in wrong[:5].tolist()),
    made.row(int(wrong[6]), "drop", labels=labels),
    made.row(int(right[0]), "relabel", made.NAMES[(right[0] + 1) % 3], labels=labels),
  ]
  path = made.write(tmp_path, rows)
  data = made.load(wrong_label_fraction=0.5, corrections=(path,))
  np.testing.assert_array_equal(
    data.train.wrong_label, data.train.labels != truth[data.train.example_ids]
  )
  assert data.train.wrong_label.sum() == 20 - 5 - 1 + 1
  assert made.notes(data, "15 of 39 training labels are wrong on purpose") == [
    "15 of 39 training labels are wrong on purpose (data.wrong_label_fraction=0.5, after "
    "data.corrections)"
  ]
  with pytest.raises(DataError, match="and the row replaces"):
    made.load(corrections=(path,))


def test_duplicates_have_the_corrected_labels_and_a_dropped_image_brings_no_copy_back(tmp_path):
  raw = made.raw(test=[*range(40, 58), 3, 4])
  path = made.write(tmp_path, [made.row(3, "drop"), made.row(4, "relabel", "cat")])
  dropped = made.load(raw, on_duplicate_test="drop")
  data = made.load(raw, on_duplicate_test="drop", corrections=(path,))
  assert data.test.example_ids.tolist() == dropped.test.example_ids.tolist() == list(range(18))
  counted = made.load(raw, corrections=(path,)).duplicates
  assert counted.counts["test_in_train"] == 1
  assert counted.counts["conflicting"] == 2
  assert next(copy.label for copy in counted.copies if copy.split == "train") == 0
  # Labels that are wrong on purpose count as they were before; corrected ones as they are.
  noisy = made.load(raw, wrong_label_fraction=0.5)
  fix = made.row(4, "relabel", "cat", labels=noisy.train.labels)
  both = made.load(raw, wrong_label_fraction=0.5, corrections=(made.write(tmp_path, [fix]),))
  assert both.duplicates.counts["conflicting"] == (0 if fix.given == "cat" else 2)


def test_a_validation_split_is_held_out_of_the_corrected_training_set(tmp_path):
  path = made.write(tmp_path, [made.row(3, "drop"), made.row(4, "relabel", "cat")])
  fixes = made.write(tmp_path, [made.row(3, "drop", side="test")], "test.csv")
  data = made.load(corrections=(path,), corrections_test=(fixes,))
  config = dataclasses.replace(made.CONFIG, validation_fraction=0.25)
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
  data = sources.load(dataclasses.replace(config, corrections=(made.write(tmp_path, rows),)))
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
  np.savez(archive, train_x=made.IMAGES[:40], train_y=np.arange(40) % 3)
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
    data = sources.load(dataclasses.replace(config, corrections=(made.write(tmp_path, rows),)))
    assert data.train.example_ids.tolist() == ids[1:], name
    assert data.class_names[data.train.labels[0]] == other, name
    np.testing.assert_array_equal(data.train.labels[1:], train.labels[2:], err_msg=name)
    np.testing.assert_array_equal(data.test.labels, plain.test.labels, err_msg=name)


def test_arrays_in_memory_take_corrections_by_row(tmp_path):
  arrays = {"train_x": made.IMAGES[:40], "train_y": np.array(made.NAMES)[np.arange(40) % 3]}
  path = made.write(tmp_path, [made.row(3, "relabel", "dog", files=False)])
  config = DataConfig(name="arrays", test_fraction=0.1)
  plain = load_arrays(arrays, config)
  used = plain.train.example_ids.tolist()
  assert 3 in used
  data = load_arrays(arrays, dataclasses.replace(config, corrections=(path,)))
  assert [data.class_names[label] for label in data.train.labels] == [
    "dog" if i == 3 else made.NAMES[i % 3] for i in used
  ]
