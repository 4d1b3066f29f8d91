"""What `assemble` makes of a set as read, and what it refuses."""

import dataclasses

import numpy as np
import pytest

from sdt.config.schema import DataConfig
from sdt.data.assemble import Raw, assemble
from sdt.data.dataset import RawSplit, image_sizes
from sdt.data.statistics import mean_and_std
from sdt.errors import ConfigError, DataError
from tests.support import raw_sets as made


def test_classes_that_were_renamed_are_other_data():
  config = DataConfig(name="npz")
  renamed = dataclasses.replace(_raw(), class_names=("a", "c", "b"))
  assert assemble(renamed, config).checksum != assemble(_raw(), config).checksum


def _raw(num=60, num_classes=3, test=True):
  labels = np.arange(num) % num_classes
  split = RawSplit(made.images(num), labels, source_files=tuple(f"{i}.png" for i in range(num)))
  return Raw(
    split,
    RawSplit(made.images(12), np.arange(12) % 3) if test else None,
    tuple("abc"),
    where="here",
    variant="custom",
  )


def test_draws_keep_original_ids_files_and_class_shares():
  config = DataConfig(name="npz", num_train=30, num_test=6)
  data = assemble(_raw(), config)
  assert len(data.train) == 30
  assert len(data.test) == 6
  assert np.bincount(data.train.labels).tolist() == [10, 10, 10]
  np.testing.assert_array_equal(data.train.inputs, made.images(60)[data.train.example_ids])
  assert data.train.source_files == tuple(f"{i}.png" for i in data.train.example_ids)
  other = assemble(_raw(), dataclasses.replace(config, split_seed=1))
  assert other.train.example_ids.tolist() != data.train.example_ids.tolist()
  assert other.checksum != data.checksum


def test_held_out_examples_are_a_partition_and_do_not_depend_on_the_draw():
  whole = assemble(_raw(test=False), DataConfig(name="npz", test_fraction=0.25))
  assert sorted([*whole.train.example_ids, *whole.test.example_ids]) == list(range(60))
  assert np.bincount(whole.test.labels).tolist() == [5, 5, 5]
  drawn = assemble(_raw(test=False), DataConfig(name="npz", test_fraction=0.25, num_train=9))
  assert drawn.test.example_ids.tolist() == whole.test.example_ids.tolist()
  assert set(drawn.train.example_ids) < set(whole.train.example_ids)


def test_a_test_split_held_out_of_the_training_set_leaves_the_sets_own_alone():
  keys = {"name": "npz", "test_fraction": 0.25, "num_train": 9, "num_test": 6}
  held_out = assemble(_raw(), DataConfig(**keys, test_split="held_out"))
  without = assemble(_raw(test=False), DataConfig(**keys))
  for ours, theirs in ((held_out.train, without.train), (held_out.test, without.test)):
    assert ours.example_ids.tolist() == theirs.example_ids.tolist()
    np.testing.assert_array_equal(ours.inputs, theirs.inputs)
  assert held_out.checksum == without.checksum
  assert set(held_out.test.example_ids).isdisjoint(held_out.train.example_ids)
  assert "its own 12 test examples are left alone" in held_out.notes[0]
  changed = dataclasses.replace(_raw(), test=RawSplit(made.images(5), np.arange(5) % 3))
  other = assemble(changed, DataConfig(**keys, test_split="held_out"))
  assert other.checksum == held_out.checksum


def test_holding_out_leaves_a_training_example_of_every_class():
  labels = np.array([0] * 9 + [1] * 2 + [2])
  data = assemble(
    Raw(RawSplit(made.images(12), labels), None, tuple("abc"), where="here", variant="custom"),
    DataConfig(name="npz", test_fraction=0.5),
  )
  assert np.bincount(data.train.labels).tolist() == [4, 1, 1]


def test_statistics_are_of_the_training_split_in_use():
  data = assemble(_raw(test=False), DataConfig(name="npz", test_fraction=0.25, num_train=9))
  np.testing.assert_array_equal(data.mean, mean_and_std(data.train.inputs)[0])


def _ragged_raw(test_sides=(6, 11)):
  images, sizes = made.ragged(12)
  others, other_sizes = made.ragged(6, test_sides, seed=4)
  train = RawSplit(images, np.arange(12) % 3, sizes=sizes)
  return Raw(
    train,
    RawSplit(others, np.arange(6) % 3, sizes=other_sizes),
    tuple("abc"),
    where="here",
    variant="custom",
  )


def _ragged_config(**keys):
  return DataConfig(
    **{"name": "folder", "resize": "short_side", "crop_size": 4, "image_size": 4} | keys
  )


def _own(dataset):
  return [image[:h, :w] for image, (h, w) in zip(dataset.inputs, image_sizes(dataset), strict=True)]


def _assert_same_images(dataset, images, sizes, ids):
  for image, i in zip(_own(dataset), ids, strict=True):
    np.testing.assert_array_equal(image, images[i, : sizes[i, 0], : sizes[i, 1]])


def test_train_and_test_of_differing_sizes_get_one_canvas():
  raw = _ragged_raw()
  data = assemble(raw, _ragged_config())
  assert data.train.inputs.shape == (12, 9, 11, 3)
  assert data.test.inputs.shape == (6, 9, 11, 3)
  _assert_same_images(data.train, raw.train.inputs, raw.train.sizes, range(12))
  _assert_same_images(data.test, raw.test.inputs, raw.test.sizes, range(6))
  np.testing.assert_array_equal(data.mean, mean_and_std(raw.train.inputs, raw.train.sizes)[0])


def test_images_that_filled_their_array_get_sizes_where_the_canvas_is_larger():
  full = Raw(
    RawSplit(made.images(12, 5), np.arange(12) % 3),
    _ragged_raw().test,
    tuple("abc"),
    where="here",
    variant="custom",
  )
  data = assemble(full, _ragged_config())
  np.testing.assert_array_equal(data.train.sizes, [[5, 5]] * 12)
  np.testing.assert_array_equal(data.train.inputs[:, :5, :5], made.images(12, 5))
  np.testing.assert_array_equal(data.mean, mean_and_std(made.images(12, 5))[0])
  one_size = dataclasses.replace(full, test=full.train)
  assert assemble(one_size, _ragged_config()).train.sizes is None


def test_held_out_and_drawn_images_keep_their_sizes():
  raw = dataclasses.replace(_ragged_raw(), test=None)
  data = assemble(raw, _ragged_config(test_fraction=0.25, num_train=6))
  for split in (data.train, data.test):
    _assert_same_images(split, raw.train.inputs, raw.train.sizes, split.example_ids)


def _vectors():
  split = RawSplit(np.ones((12, 5), np.float32), np.arange(12) % 3)
  return Raw(split, split, tuple("abc"), where="here", variant="custom")


def test_imagenets_statistics_are_used_where_they_are_asked_for():
  published = ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
  raw = dataclasses.replace(_raw(), mean_std=published)
  own, theirs = (
    assemble(raw, DataConfig(name="npz", statistics=which)) for which in ("own", "imagenet")
  )
  np.testing.assert_array_equal(own.mean, np.float32(published[0]))
  np.testing.assert_array_equal(own.std, np.float32(published[1]))
  np.testing.assert_array_equal(theirs.mean, np.float32([0.485, 0.456, 0.406]))
  np.testing.assert_array_equal(theirs.std, np.float32([0.229, 0.224, 0.225]))
  assert own.checksum == theirs.checksum
  halves = assemble(raw, DataConfig(name="npz", statistics="inception"))
  np.testing.assert_array_equal([halves.mean, halves.std], np.full((2, 3), 0.5, np.float32))
  grey = dataclasses.replace(_raw(), train=RawSplit(made.images(60, channels=1), np.arange(60) % 3))
  grey = dataclasses.replace(grey, test=grey.train)
  for other in (grey, _vectors()):
    with pytest.raises(ConfigError, match=r"data\.statistics=imagenet is for RGB images"):
      assemble(other, DataConfig(name="npz", statistics="imagenet"))


_REFUSED = {
  "no way to a test split": (_raw(test=False), {}, "--config.data.test_fraction=0.2"),
  "no test split to leave alone": (
    _raw(test=False),
    {"test_fraction": 0.5, "test_split": "held_out"},
    "leave data.test_split out",
  ),
  "two ways to a test split": (_raw(), {"test_fraction": 0.5}, "has its own test split"),
  "empty hold-out": (
    _raw(test=False),
    {"test_fraction": 0.001},
    "leaves the training or the test split empty",
  ),
  "draw too large": (
    _raw(),
    {"num_train": 61},
    "data.num_train=61 asks for more than the 60 examples",
  ),
  "unlike splits": (
    dataclasses.replace(_raw(), test=RawSplit(made.images(3, 5), np.arange(3))),
    {},
    "they must be alike",
  ),
  "class lost by a draw": (
    _raw(),
    {"num_train": 2},
    "1 of 3 classes have no training example: 2 (c)",
  ),
}


@pytest.mark.parametrize("name", _REFUSED)
def test_impossible_splits_and_draws_are_refused(name):
  raw, keys, message = _REFUSED[name]
  with pytest.raises(DataError) as caught:
    assemble(raw, DataConfig(name="npz", **keys))
  assert message in str(caught.value)


def test_an_empty_class_passes_only_where_allowed():
  raw = dataclasses.replace(_raw(), class_names=("a", "b", "c", "lonely"))
  with pytest.raises(DataError, match=r"3 \(lonely\)"):
    assemble(raw, DataConfig(name="npz"))
  assert len(assemble(raw, DataConfig(name="npz", allow_empty_class=True)).class_names) == 4


def test_damage_outside_the_draw_is_found():
  raw = _raw()
  raw.train.labels[57] = 99
  with pytest.raises(DataError, match="99 at example 57"):
    assemble(raw, DataConfig(name="npz", num_train=6))


def test_constant_images_are_named_and_kept():
  raw = _raw()
  raw.train.inputs[7] = 0
  raw.train.inputs[9] = [1, 2, 3]  # one colour: constant in every channel
  data = assemble(raw, DataConfig(name="npz"))
  assert data.notes[0] == "2 training image(s) are constant, all pixels alike; example ids 7, 9"
  assert len(data.train) == 60


def _one_class(*class_names):
  return Raw(
    RawSplit(made.images(8), np.zeros(8, int)),
    RawSplit(made.images(2), np.zeros(2, int)),
    class_names,
    where="here",
    variant="custom",
  )


def test_a_set_of_one_class_is_refused():
  # With one logit the log-odds of every example are infinite.
  with pytest.raises(DataError) as caught:
    assemble(_one_class("only"), DataConfig(name="npz", allow_empty_class=True))
  assert (
    str(caught.value)
    == "here: there is only 1 class (only), at least 2 are needed; add examples of another class"
  )


def test_all_of_one_class_is_accepted_where_another_may_be_empty():
  assert (
    assemble(
      _one_class("only", "none"), DataConfig(name="npz", allow_empty_class=True)
    ).train.labels.tolist()
    == [0] * 8
  )
