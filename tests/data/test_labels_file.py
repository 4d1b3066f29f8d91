"""Training labels from a file: what is read, what becomes the truth, what is refused and helps."""

import dataclasses
import re

import numpy as np
import pytest

from sdt.config.schema import DataConfig
from sdt.data.assemble import Raw, assemble
from sdt.data.dataset import RawSplit
from sdt.errors import DataError

NAMES = ("cat", "dog", "emu")
IMAGES = np.random.default_rng(6).integers(0, 256, (60, 4, 4, 3), dtype=np.uint8)
CONFIG = DataConfig(name="npz")
OWN = np.arange(40) % 3
GIVEN = np.where(np.arange(40) % 5 == 0, (OWN + 1) % 3, OWN)  # 8 of 40 are wrong


def _load(*, test=True, ids=None, files=None, **keys):
  train = RawSplit(IMAGES[:40], OWN, example_ids=ids, source_files=files)
  other = RawSplit(IMAGES[40:], np.arange(20) % 3) if test else None
  raw = Raw(train, other, NAMES, where="here", variant="custom")
  return assemble(raw, dataclasses.replace(CONFIG, **keys))


def _npz(tmp_path, **arrays):
  np.savez(tmp_path / "labels.npz", **arrays)
  return str(tmp_path / "labels.npz")


def _csv(tmp_path, labels=None, *, header="example_id,label", ids=range(40)):
  labels = [NAMES[label] for label in GIVEN] if labels is None else labels
  lines = [f"{i},{labels[i]}" for i in ids]
  (tmp_path / "labels.csv").write_text("\n".join([header, *lines]))
  return str(tmp_path / "labels.csv")


FORMS = {
  "the only array": lambda at: {"labels_file": _npz(at, given=GIVEN.astype(np.uint8))},
  "an array by its name": lambda at: {
    "labels_file": _npz(at, one=OWN, two=GIVEN),
    "labels_key": "two",
  },
  "class names": lambda at: {"labels_file": _npz(at, given=np.array(NAMES)[GIVEN])},
  "a table of names": lambda at: {"labels_file": _csv(at)},
  "a table of numbers": lambda at: {"labels_file": _csv(at, GIVEN.tolist())},
  "a table in any order": lambda at: {"labels_file": _csv(at, ids=[*range(39, -1, -1)])},
  "another column": lambda at: {
    "labels_file": _csv(at, header="example_id,mine"),
    "labels_key": "mine",
  },
}


@pytest.mark.parametrize("form", FORMS)
def test_the_labels_of_a_file_are_trained_on_and_the_sets_own_are_the_truth(tmp_path, form):
  data, plain = _load(**FORMS[form](tmp_path)), _load()
  np.testing.assert_array_equal(data.train.labels, GIVEN)
  np.testing.assert_array_equal(data.train.wrong_label, GIVEN != OWN)
  np.testing.assert_array_equal(data.test.labels, plain.test.labels)
  assert plain.train.wrong_label is None
  assert data.checksum != plain.checksum
  (change,) = data.label_changes
  assert (change.key, change.counts["different"], change.counts["examples"]) == (
    "data.labels_file",
    8,
    40,
  )
  assert data.notes[0].startswith(
    "labels: 8 of 40 training labels differ from the set's own, which count as the truth, from "
  )


def test_labels_belong_to_ids_and_do_not_decide_which_examples_are_drawn(tmp_path):
  path = _npz(tmp_path, given=GIVEN)
  for keys in ({"num_train": 15}, {"test": False, "test_fraction": 0.3, "num_train": 20}):
    plain, data = _load(**keys), _load(**keys, labels_file=path)
    ids = data.train.example_ids
    assert ids.tolist() == plain.train.example_ids.tolist()
    np.testing.assert_array_equal(data.test.inputs, plain.test.inputs)
    np.testing.assert_array_equal(data.test.labels, plain.test.labels)
    np.testing.assert_array_equal(data.train.labels, GIVEN[ids])
    np.testing.assert_array_equal(data.train.wrong_label, GIVEN[ids] != OWN[ids])
    assert data.label_changes[0].counts["not_used"] == 40 - len(ids)


def test_a_table_needs_rows_of_the_examples_in_use_alone(tmp_path):
  used = _load(num_train=15).train.example_ids.tolist()
  data = _load(num_train=15, labels_file=_csv(tmp_path, ids=used))
  np.testing.assert_array_equal(data.train.labels, GIVEN[used])


def test_names_that_are_numbers_are_names_unless_one_is_none(tmp_path):
  raw = Raw(
    RawSplit(IMAGES[:40], OWN),
    RawSplit(IMAGES[40:], np.arange(20) % 3),
    ("1", "2", "10"),
    where="here",
    variant="custom",
  )

  def load(labels):
    return assemble(raw, dataclasses.replace(CONFIG, labels_file=_csv(tmp_path, labels)))

  np.testing.assert_array_equal(load([("1", "2", "10")[i] for i in GIVEN]).train.labels, GIVEN)
  np.testing.assert_array_equal(load(GIVEN.tolist()).train.labels, GIVEN)


def test_where_images_were_skipped_the_array_covers_them_too(tmp_path):
  ids = np.delete(np.arange(42), [7, 41])  # two were skipped, one of them the last
  files = tuple(f"{i}.png" for i in ids)
  longer = np.arange(42) % 3
  path = _npz(tmp_path, given=longer)
  data = _load(ids=ids, files=files, on_bad_image="skip", labels_file=path)
  np.testing.assert_array_equal(data.train.labels, longer[ids])
  with pytest.raises(DataError, match="has 42 labels, expected 41: one for every example"):
    _load(ids=ids, files=files, labels_file=path)


# What stands in an npz, what the message says, and what its advice makes of it.
REFUSED = {
  "several arrays": (
    lambda at: {"labels_file": _npz(at, one=OWN, two=GIVEN)},
    "several arrays; choose one of one, two, such as --config.data.labels_key=one",
    lambda at: {"labels_file": _npz(at, one=OWN, two=GIVEN), "labels_key": "one"},
  ),
  "no such array": (
    lambda at: {"labels_file": _npz(at, one=OWN, two=GIVEN), "labels_key": "three"},
    "no array 'three'; choose one of one, two",
    lambda at: {"labels_file": _npz(at, one=OWN, two=GIVEN), "labels_key": "two"},
  ),
  "too short": (
    lambda at: {"labels_file": _npz(at, given=GIVEN[:39])},
    "given has 39 labels, expected 40: one for every example of the set",
    lambda at: {"labels_file": _csv(at)},
  ),
  "too long": (
    lambda at: {"labels_file": _npz(at, given=np.append(GIVEN, 0))},
    "given has 41 labels, expected 40",
    lambda at: {"labels_file": _npz(at, given=GIVEN)},
  ),
  "a column": (
    lambda at: {"labels_file": _npz(at, given=GIVEN[:, None])},
    "given is int64 [40, 1]; expected class numbers 0, 1, ... or class names, [N]: write it anew "
    "as given.reshape(-1)",
    lambda at: {"labels_file": _npz(at, given=GIVEN[:, None].reshape(-1))},
  ),
  "floats": (
    lambda at: {"labels_file": _npz(at, given=GIVEN.astype(float))},
    "write it anew as given.astype(int)",
    lambda at: {"labels_file": _npz(at, given=GIVEN.astype(float).astype(int))},
  ),
  "beyond the classes": (
    lambda at: {"labels_file": _npz(at, given=np.where(np.arange(40) == 9, 3, GIVEN))},
    "1 of 40 labels of training examples are no class; the first is 3 (example 9); write a class "
    "number, 0 to 2, or a class name",
    lambda at: {"labels_file": _npz(at, given=GIVEN)},
  ),
  "unknown name": (
    lambda at: {"labels_file": _csv(at, ["dgo", *(NAMES[label] for label in GIVEN[1:])])},
    "1 of 40 labels of training examples are no class; the first is 'dgo' (line 2); write a class "
    "number, 0 to 2, or a class name, such as 'cat'; did you mean 'dog'?",
    lambda at: {"labels_file": _csv(at)},
  ),
  "a missing row": (
    lambda at: {"labels_file": _csv(at, ids=range(1, 40))},
    "1 of 40 training examples have no label there (ids 0); add a row for each",
    lambda at: {"labels_file": _csv(at)},
  ),
  "a row twice": (
    lambda at: {"labels_file": _csv(at, ids=[*range(40), 3])},
    "line 42: example 3 is in line 5 already; remove one of the two lines",
    lambda at: {"labels_file": _csv(at)},
  ),
  "no column": (
    lambda at: {"labels_file": _csv(at, header="example_id,mine")},
    "no column 'label'; expected an npz with an array of labels by example id, or a CSV file with "
    "example_id and label; choose another by --config.data.labels_key (columns: example_id, mine)",
    lambda at: {"labels_file": _csv(at, header="example_id,mine"), "labels_key": "mine"},
  ),
  "no id": (
    lambda at: {"labels_file": _csv(at, header="id,label")},
    "line 1: no column 'example_id'",
    lambda at: {"labels_file": _csv(at)},
  ),
  "no file": (
    lambda at: {"labels_file": str(at / "labels.csv")},
    "no such file; expected an npz with an array of labels by example id",
    lambda at: {"labels_file": _csv(at)},
  ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_labels_that_do_not_fit_are_refused_and_what_the_message_says_helps(tmp_path, case):
  bad, says, good = REFUSED[case]
  with pytest.raises(DataError, match=re.escape(says)) as caught:
    _load(**bad(tmp_path))
  assert str(caught.value).startswith("data.labels_file=")
  assert "\n" not in str(caught.value)
  assert _load(**good(tmp_path)).label_changes


def test_a_pickle_is_never_loaded(tmp_path):
  path = _npz(tmp_path, given=np.array([{"a": 1}] * 40, object))
  with pytest.raises(DataError, match="not a sound npz"):
    _load(labels_file=path)


def test_corrections_mend_the_labels_of_a_file_and_its_truth_follows(tmp_path):
  rows = "0,,dog,relabel,cat\n5,,cat,drop,\n10,,emu,keep,\n3,,cat,relabel,emu\n"
  (tmp_path / "fixes.csv").write_text(f"example_id,source_file,given,action,label\n{rows}")
  data = _load(labels_file=_npz(tmp_path, given=GIVEN), corrections=(str(tmp_path / "fixes.csv"),))
  ids = data.train.example_ids
  np.testing.assert_array_equal(data.train.wrong_label, data.train.labels != OWN[ids])
  assert data.train.wrong_label.sum() == 8 - 2 + 1
  assert [change.key for change in data.label_changes] == ["data.labels_file", "data.corrections"]
