"""What is told of a whole set: splits that were prepared in two ways, labels that are none."""

import numpy as np
import pytest

from sdt.config.schema import DataConfig
from sdt.data import sources
from sdt.errors import DataError

RNG = np.random.default_rng(0)
NUM = 40
PHOTOS = RNG.integers(0, 256, (2, NUM, 8, 8, 3), dtype=np.uint8)
# White strokes on black, as handwritten digits are.
STROKES = np.where(RNG.random((2, NUM, 8, 8)) < 0.12, 255, 0).astype(np.uint8)
ROWS = RNG.normal([0, 5, 1e3], [1, 2, 400], (2, NUM, 3)).astype(np.float32)


def _notes(path, train, test, labels=None):
  labels = np.arange(len(train)) % 2 if labels is None else labels
  arrays = {"train_x": train, "train_y": labels, "test_x": test, "test_y": labels[: len(test)]}
  np.savez(path, **arrays)
  notes = sources.load(DataConfig(name="npz", path=str(path))).notes
  return [note for note in notes if "prepared in another way" in note]


@pytest.mark.parametrize(
  ("sides", "other"),
  [
    (PHOTOS, lambda x: x // 255),
    (STROKES, lambda x: x // 255),
    (STROKES, lambda x: 255 - x),
    (STROKES, lambda x: x // 16),
    (PHOTOS, lambda x: 180 + x // 4),
    (ROWS, lambda x: (x - ROWS[0].mean(axis=0)) / ROWS[0].std(axis=0)),
    (ROWS, lambda x: x * 1000),
  ],
  ids=["scaled", "scaled strokes", "inverted", "faint", "bright", "standardised", "other unit"],
)
def test_splits_that_were_prepared_in_two_ways_are_told(tmp_path, sides, other):
  train, test = sides
  for one, two in ((train, other(test)), (other(train), test)):
    (note,) = _notes(tmp_path / "set.npz", one, two)
    assert note.endswith("were both scaled, and neither inverted?")


@pytest.mark.parametrize("sides", [PHOTOS, STROKES, ROWS], ids=["photos", "strokes", "rows"])
def test_splits_that_were_prepared_in_one_way_are_not_told(tmp_path, sides):
  for num in (1, 7, 8, NUM):
    assert not _notes(tmp_path / "set.npz", sides[0], sides[1][:num])
  darker = (sides[1] * 0.7).astype(sides.dtype)
  assert not _notes(tmp_path / "set.npz", sides[0], darker), "taken on a cloudy day"


def test_the_note_has_the_numbers_of_both_in_their_units(tmp_path):
  train = np.tile(np.uint8([100, 200]).reshape(1, 1, 2), (NUM, 4, 2))
  (note,) = _notes(tmp_path / "set.npz", train, (train // 100).astype(np.uint8))
  assert "mean 1.5, standard deviation 0.5, but in training 150 and 50;" in note


def _load(path, num_classes, num, **keys):
  labels = np.concatenate([np.arange(num_classes), np.zeros(num - num_classes, int)])
  images = RNG.integers(0, 256, (num, 4, 4, 3), dtype=np.uint8)
  np.savez(path, train_x=images, train_y=labels, **keys)
  return DataConfig(name="npz", path=str(path), test_fraction=None if keys else 0.2)


def test_labels_that_are_numbers_or_names_of_images_are_told_where_no_split_is_drawn(tmp_path):
  test = {"test_x": PHOTOS[0, :2, :4, :4], "test_y": np.array([0, 1])}
  notes = sources.load(_load(tmp_path / "a.npz", 20, 20, **test)).notes
  assert any(note.startswith("20 of 20 classes have a single training example") for note in notes)
  notes = sources.load(_load(tmp_path / "b.npz", 9, 30, **test)).notes
  assert not any("single training example" in note for note in notes)


@pytest.mark.parametrize(
  ("num_classes", "num", "remedy"),
  [
    (20, 20, "give more examples"),
    (20, 22, "--config.data.test_fraction=0.0909 or less, or more examples"),
    (2, 2, "give more examples"),
  ],
)
def test_classes_of_one_example_are_told_where_the_test_split_would_take_it(
  tmp_path, num_classes, num, remedy
):
  config = _load(tmp_path / "set.npz", num_classes, num)
  single = num_classes if num == num_classes else num_classes - 1
  if num_classes == 2:
    config = DataConfig(name="npz", path=config.path, test_fraction=0.5)
  with pytest.raises(DataError, match=f"{single} of {num_classes} classes have a single") as caught:
    sources.load(config)
  assert remedy in str(caught.value)


def test_the_splits_are_compared_by_themselves_also_where_others_numbers_normalise(tmp_path):
  path = tmp_path / "set.npz"
  labels = np.arange(NUM) % 2
  for test, told in ((PHOTOS[1] // 8, 0), (PHOTOS[1], 1)):
    np.savez(path, train_x=PHOTOS[0] // 8, train_y=labels, test_x=test, test_y=labels)
    data = sources.load(DataConfig(name="npz", path=str(path), statistics="imagenet"))
    assert sum("prepared in another way" in note for note in data.notes) == told
