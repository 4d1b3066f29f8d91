"""Examples that a set holds more than once: what is counted, listed, refused and dropped."""

import dataclasses
import re
import tracemalloc

import numpy as np
import pytest

from sdt.config.schema import DataConfig
from sdt.data import duplicates, sources
from sdt.data.assemble import Raw, assemble
from sdt.data.dataset import Dataset, RawSplit
from sdt.data.validation_split import hold_out
from sdt.errors import DataError
from tests.support import image_files
from tests.support import raw_sets as made

IMAGES = np.random.default_rng(5).integers(0, 256, (200, 4, 4, 3), dtype=np.uint8)
CONFIG = DataConfig(name="npz")


def _raw(train=range(40), test=range(100, 120), *, labels=None):
  """Returns a set of the images at these places; the label of a place is place % 3."""
  places = [np.array(train), np.array(test)]
  splits = [
    RawSplit(IMAGES[at], at % 3, source_files=tuple(f"{name}/{i}.png" for i in range(len(at))))
    for name, at in zip(("train", "test"), places, strict=True)
  ]
  if labels is not None:
    splits[0] = dataclasses.replace(splits[0], labels=np.array(labels))
  return Raw(*splits, tuple("abc"), where="here", variant="custom")


def _load(raw, **keys):
  return assemble(raw, dataclasses.replace(CONFIG, **keys))


def test_a_set_without_copies_has_none_and_says_nothing():
  found = _load(_raw())
  assert found.duplicates.copies == ()
  assert not any(found.duplicates.counts.values())
  assert found.duplicates.warning is None
  assert found.notes == ()


def test_copies_within_and_between_the_splits_are_counted_and_listed():
  # Image 7 three times in train, 9 in train and twice in test, 110 twice in test alone.
  found = _load(_raw([*range(40), 7, 7], [*range(100, 120), 9, 9, 110])).duplicates
  assert found.counts == {
    "groups": 3,
    "train_copies": 2,
    "test_copies": 2,
    "test_in_train": 2,
    "conflicting": 0,
    "dropped": 0,
  }
  rows = [(row.group, row.kind, row.split, row.example_id) for row in found.copies]
  assert rows == [
    *((0, "exact", "train", row) for row in (7, 40, 41)),
    *((1, "exact", split, row) for split, row in (("train", 9), ("test", 20), ("test", 21))),
    *((2, "exact", "test", row) for row in (10, 22)),
  ]
  assert {row.label for row in found.copies if row.group == 0} == {7 % 3}
  assert found.copies[0].source_file == "train/7.png"


def test_one_image_under_two_labels_is_counted_and_planted_labels_are_not():
  labels = [*(place % 3 for place in range(40)), 0]
  found = _load(_raw([*range(40), 7], labels=labels))
  assert found.duplicates.counts["conflicting"] == 2
  assert [row.label for row in found.duplicates.copies] == [7 % 3, 0]
  assert "2 of these have equals with another label" in found.notes[-1]
  planted = _load(_raw([*range(40), 7, 10]), wrong_label_fraction=0.5).duplicates
  assert planted.counts["conflicting"] == 0


def test_more_than_a_hundredth_of_the_test_set_in_the_training_set_is_a_warning():
  def load(num):
    return _load(_raw(range(90), [*range(90, 190 - num), *range(num)]))

  assert load(1).duplicates.warning is None
  assert len(load(1).notes) == 1
  data = load(2)
  assert data.duplicates.warning is not None
  assert data.duplicates.warning.startswith("2.0 % of the test examples are in the training set")
  assert data.duplicates.warning in data.notes


def test_refuse_names_the_first_pair_and_what_to_do():
  raw = _raw(test=[*range(100, 110), 5, 6])
  text = re.escape("2 of 12 test examples are in the training set too; the first is test/10.png")
  with pytest.raises(DataError, match=f"{text}, which equals train/5.png .*=drop"):
    _load(raw, on_duplicate_test="refuse")
  copies_elsewhere = _raw([*range(40), 7], [*range(100, 110), 105])
  assert _load(copies_elsewhere, on_duplicate_test="refuse").duplicates.counts["groups"] == 2


def test_drop_leaves_the_copies_out_and_no_other_example_changes_its_id():
  raw = _raw(test=[100, 5, 101, 6, 102])
  data = _load(raw, on_duplicate_test="drop")
  assert data.test.example_ids.tolist() == [0, 2, 4]
  assert data.test.source_files == ("test/0.png", "test/2.png", "test/4.png")
  np.testing.assert_array_equal(data.test.inputs, IMAGES[[100, 101, 102]])
  assert data.train.example_ids.tolist() == list(range(40))
  counts = data.duplicates.counts
  assert (counts["dropped"], counts["test_in_train"]) == (2, 0)
  dropped = [row for row in data.duplicates.copies if row.split == "dropped"]
  assert [(row.example_id, row.source_file) for row in dropped] == [
    (1, "test/1.png"),
    (3, "test/3.png"),
  ]
  assert data.checksum == _load(raw, on_duplicate_test="drop").checksum != _load(raw).checksum
  untouched = _raw()
  assert _load(untouched, on_duplicate_test="drop").checksum == _load(untouched).checksum


def test_drop_comes_before_the_draw_so_the_draw_has_its_size():
  raw = _raw(test=[*range(100, 110), *range(10)])
  data = _load(raw, on_duplicate_test="drop", num_test=9)
  assert len(data.test) == 9
  assert data.test.example_ids.max() < 10
  # What is not drawn for training is no leak.
  few = _load(raw, on_duplicate_test="drop", num_train=3)
  assert len(few.test) >= 17


def test_dropping_all_of_the_test_set_is_refused():
  with pytest.raises(DataError, match=r"all 5 test examples are in the training set too"):
    _load(_raw(test=range(5)), on_duplicate_test="drop")


def test_a_held_out_test_split_is_compared_with_the_rest():
  split = RawSplit(IMAGES[np.arange(60) % 20], np.arange(60) % 20 % 3)
  raw = Raw(split, None, tuple("abc"), where="here", variant="custom")
  counts = _load(raw, test_fraction=0.2).duplicates.counts
  assert counts["test_in_train"] > 0
  kept = _load(raw, test_fraction=0.5, on_duplicate_test="drop")
  train = {image.tobytes() for image in kept.train.inputs}
  assert not train & {image.tobytes() for image in kept.test.inputs}


def test_images_of_other_sizes_differ_though_their_padded_bytes_are_equal():
  inputs = np.zeros((4, 4, 4, 3), np.uint8)
  inputs[:, 0, 0] = 9
  sizes = np.array([[1, 1], [2, 2], [2, 2], [4, 4]], np.int32)
  split = Dataset(inputs, np.zeros(4, np.int32), np.arange(4, dtype=np.int32), sizes=sizes)
  empty = split.take(np.array([3]))
  found = duplicates.find(split, empty, split.labels, dropped=None, config=CONFIG)
  assert [(row.split, row.example_id) for row in found.copies] == [
    ("train", 1),
    ("train", 2),
    ("train", 3),
    ("test", 3),
  ]


def test_equal_vectors_are_copies_whatever_the_sign_of_their_zeros():
  vectors = np.array([[0.0, 1], [-0.0, 1], [1, 0], [2, 2]], np.float32)
  raw = Raw(
    RawSplit(vectors, np.arange(4) % 2),
    RawSplit(vectors[:1] + np.float32([0, 1]), np.zeros(1, int)),
    tuple("ab"),
    where="here",
    variant="custom",
  )
  found = _load(raw).duplicates
  assert [row.example_id for row in found.copies] == [0, 1]


def test_the_validation_split_of_a_selection_knows_nothing_of_the_test_set():
  data = _load(_raw([*range(40), 7], [*range(100, 110), 5]))
  assert data.duplicates.copies
  assert hold_out(data, CONFIG).duplicates.copies == ()


def test_looking_for_copies_does_not_copy_the_pixels():
  images = np.random.default_rng(0).integers(0, 256, (4000, 32, 32, 3), dtype=np.uint8)
  ids = np.arange(4000, dtype=np.int32)
  split = Dataset(images, np.zeros(4000, np.int32), ids)
  few = split.take(np.arange(10))
  tracemalloc.start()
  duplicates.find(split, few, split.labels, dropped=None, config=CONFIG)
  peak = tracemalloc.get_traced_memory()[1]
  tracemalloc.stop()
  assert peak < images.nbytes / 5


def test_near_copies_are_listed_where_asked_for_and_never_dropped():
  def smooth(seed):
    coarse = np.random.default_rng(seed).integers(0, 200, (5, 5, 3), dtype=np.uint8)
    return np.kron(coarse, np.ones((8, 8, 1), np.uint8))

  train = np.stack([smooth(seed) for seed in range(12)])
  test = np.stack([train[3] + 20, smooth(50), smooth(51)]).astype(np.uint8)
  raw = Raw(
    RawSplit(train, np.arange(12) % 3),
    RawSplit(test, np.arange(3)),
    tuple("abc"),
    where="here",
    variant="custom",
  )
  assert _load(raw).duplicates.copies == ()
  data = _load(raw, near_duplicates=4, on_duplicate_test="drop")
  assert [(row.kind, row.split, row.example_id) for row in data.duplicates.copies] == [
    ("near", "train", 3),
    ("near", "test", 0),
  ]
  assert len(data.test) == 3
  assert data.duplicates.counts["near_test_in_train"] == 1
  assert "1 groups; in them, 1 of 3 test images resemble a training image" in data.notes[-1]


@pytest.mark.parametrize("link", ["test", "val"])
def test_a_test_folder_that_is_a_link_to_the_training_folder_is_a_warning(tmp_path, link):
  for label in "ab":
    (tmp_path / "train" / label).mkdir(parents=True)
    for i in range(3):
      image_files.noise(seed=ord(label) + i).save(tmp_path / "train" / label / f"{i}.png")
  (tmp_path / link).symlink_to(tmp_path / "train")
  data = sources.load(DataConfig(name="folder", path=str(tmp_path)))
  assert data.duplicates.warning is not None
  assert data.duplicates.warning.startswith("100.0 % of the test examples")
  # To drop them all would be the next error.
  assert data.duplicates.warning.endswith("; give other test examples")
  # The second time the images come from the cache.
  again = sources.load(DataConfig(name="folder", path=str(tmp_path)))
  assert again.duplicates == data.duplicates


def test_images_that_are_all_made_up_have_no_copies():
  raw = Raw(
    RawSplit(made.images(60), np.arange(60) % 3),
    RawSplit(made.images(72)[60:], np.arange(12) % 3),
    tuple("abc"),
    where="here",
    variant="custom",
  )
  assert _load(raw, on_duplicate_test="refuse").duplicates.copies == ()
