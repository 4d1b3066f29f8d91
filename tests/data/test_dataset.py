"""What `make_dataset` and `assemble` refuse, and what they compute."""

import dataclasses
import os

import numpy as np
import pytest

from sdt.config.schema import DataConfig
from sdt.data import statistics
from sdt.data.assemble import Raw, assemble
from sdt.data.dataset import RawSplit, checksum, image_sizes, make_dataset
from sdt.data.statistics import constant_examples, mean_and_std
from sdt.errors import ConfigError, DataError


def _images(num=6, side=4, channels=3):
  return np.random.default_rng(0).integers(0, 256, (num, side, side, channels), dtype=np.uint8)


def _make(inputs=None, labels=None, **overrides):
  inputs = _images() if inputs is None else inputs
  labels = np.arange(len(inputs)) % 2 if labels is None else labels
  return make_dataset(RawSplit(inputs, labels, **overrides), num_classes=2, where="here")


def test_arrays_are_read_only_and_of_the_promised_types():
  dataset = _make(difficulty=np.linspace(0, 1, 6), wrong_label=np.zeros(6, bool))
  assert (dataset.inputs.dtype, dataset.labels.dtype, dataset.example_ids.dtype) == (
    np.uint8,
    np.int32,
    np.int32,
  )
  assert dataset.difficulty.dtype == np.float32
  assert len(dataset) == 6
  for array in (
    dataset.inputs,
    dataset.labels,
    dataset.example_ids,
    dataset.difficulty,
    dataset.wrong_label,
  ):
    with pytest.raises(ValueError, match="read-only"):
      array[0] = 0


_NAN = np.zeros((6, 3), np.float32)
_NAN[[2, 5], 1] = np.nan
_BAD = {
  "float images": (
    dict(inputs=_images().astype(np.float32)),
    "float32 [6, 4, 4, 3], expected uint8",
  ),
  "uint8 vectors": (
    dict(inputs=np.zeros((6, 3), np.uint8)),
    "expected uint8 [N, height, width, channels] or float32",
  ),
  "float64 vectors": (dict(inputs=np.zeros((6, 3))), "float64 [6, 3]"),
  "nothing": (dict(inputs=_images(0)), "hold nothing"),
  "no pixels": (dict(inputs=np.zeros((6, 0, 4, 3), np.uint8)), "hold nothing"),
  "NaN": (
    dict(inputs=_NAN),
    (
      "2 of 6 examples hold values that are not finite in float32; the first is nan in example 2, "
      "column 1"
    ),
  ),
  "label -1": (
    dict(labels=np.array([0, 1, -1, 0, -1, 1])),
    "2 of 6 labels are outside [0, 2); the first is -1 at example 2",
  ),
  "label K": (
    dict(labels=np.array([0, 1, 1, 0, 0, 2])),
    "1 of 6 labels are outside [0, 2); the first is 2 at example 5",
  ),
  "uint64 label": (
    dict(labels=np.array([0, 1, 1, 0, 0, 2**63], np.uint64)),
    "the first is 9223372036854775808 at example 5",
  ),
  "float labels": (dict(labels=np.zeros(6)), "labels are float64 [6], expected integers"),
  "bool labels": (dict(labels=np.zeros(6, bool)), "expected integers"),
  "one-hot labels": (dict(labels=np.zeros((6, 2), np.int32)), "expected integers [N]"),
  "too few labels": (dict(labels=np.zeros(5, np.int32)), "6 inputs but 5 labels"),
  "too few files": (dict(source_files=("a", "b")), "6 inputs but 2 source files"),
  "repeated ids": (dict(example_ids=np.array([0, 1, 1, 2, 3, 4])), "strictly ascending"),
  "negative ids": (dict(example_ids=np.arange(-1, 5)), "strictly ascending"),
  "huge ids": (dict(example_ids=np.arange(6) + 2**31 - 3), "strictly ascending"),
  "difficulty": (dict(difficulty=np.full(6, 1.5)), "difficulty must be in [0, 1]"),
  "too few sizes": (dict(sizes=np.full((5, 2), 4)), "6 inputs but 5 sizes"),
  "sizes of one side": (
    dict(sizes=np.full((6, 1), 4)),
    "sizes are int64 [6, 1] of inputs [6, 4, 4, 3], expected integers [N, 2]",
  ),
  "sizes in halves": (dict(sizes=np.full((6, 2), 3.5)), "expected integers [N, 2]"),
  "sizes of vectors": (
    dict(inputs=np.zeros((6, 4), np.float32), sizes=np.full((6, 2), 1)),
    "sizes are int64 [6, 2] of inputs [6, 4]",
  ),
  "size 0": (
    dict(sizes=np.array([[4, 4]] * 4 + [[4, 0]] * 2)),
    "2 of 6 sizes are outside [1, 4] x [1, 4]; the first is [4, 0] at example 4",
  ),
  "size 5": (
    dict(sizes=np.array([[4, 4]] * 5 + [[5, 4]])),
    "1 of 6 sizes are outside [1, 4] x [1, 4]; the first is [5, 4] at example 5",
  ),
  "pixels below": (
    dict(sizes=np.array([[4, 4]] * 4 + [[3, 4]] * 2)),
    "2 of 6 images are not zero outside their size; the first is example 4",
  ),
  "pixels beside": (
    dict(sizes=np.array([[4, 4]] * 5 + [[4, 3]])),
    "1 of 6 images are not zero outside their size; the first is example 5",
  ),
}


@pytest.mark.parametrize("name", _BAD)
def test_bad_arrays_are_refused_with_place_and_expectation(name):
  arguments, message = _BAD[name]
  with pytest.raises(DataError) as caught:
    _make(**arguments)
  text = str(caught.value)
  assert message in text
  assert text.startswith("here: ")
  assert "\n" not in text
  assert caught.value.exit_code == 3


def test_bad_labels_are_named_by_their_original_id():
  with pytest.raises(DataError, match="first is 7 at example 30"):
    _make(labels=np.array([0, 0, 7, 0, 0, 0]), example_ids=np.arange(6) + 28)


@pytest.mark.parametrize("channels", [1, 3])
def test_mean_and_std_equal_float64_numpy(channels):
  images = _images(50, 5, channels)
  mean, std = mean_and_std(images)
  scaled = images.astype(np.float64).reshape(-1, channels) / 255
  np.testing.assert_allclose(mean, scaled.mean(0), rtol=1e-6)
  np.testing.assert_allclose(std, scaled.std(0), rtol=1e-6)


def test_vectors_keep_their_units_and_constant_columns_get_std_one():
  vectors = np.random.default_rng(0).normal(5, 3, (200, 4)).astype(np.float32)
  vectors[:, 2] = 0.1
  mean, std = mean_and_std(vectors)
  assert mean.dtype == std.dtype == np.float32
  np.testing.assert_allclose(mean, vectors.mean(0, dtype=np.float64), rtol=1e-6)
  np.testing.assert_allclose(std[[0, 1, 3]], vectors.std(0, dtype=np.float64)[[0, 1, 3]], rtol=1e-6)
  assert std[2] == 1


def _ragged(num=60, sides=(9, 7), seed=3):
  """Returns (images [num, 9, 7, 3] with zeros around them, sizes)."""
  rng = np.random.default_rng(seed)
  sizes = np.stack([rng.integers(2, side + 1, num) for side in sides], axis=1)
  images = np.zeros((num, *sides, 3), np.uint8)
  for image, (height, width) in zip(images, sizes, strict=True):
    image[:height, :width] = rng.integers(0, 256, (height, width, 3))
  return images, sizes


def test_statistics_count_the_pixels_of_the_images_and_no_others():
  images, sizes = _ragged()
  own = (
    np.concatenate(
      [image[:h, :w].reshape(-1, 3) for image, (h, w) in zip(images, sizes, strict=True)]
    ).astype(np.float64)
    / 255
  )
  mean, std = mean_and_std(images, sizes)
  np.testing.assert_allclose(mean, own.mean(0), rtol=1e-6)
  np.testing.assert_allclose(std, own.std(0), rtol=1e-6)


@pytest.mark.parametrize("part_bytes", [1, 400, 1000, 10**9])
def test_statistics_and_constants_do_not_depend_on_how_many_are_looked_at_together(
  part_bytes, monkeypatch
):
  images = _images(50, 5)
  images[[0, 7, 49]] = 9
  before = mean_and_std(images)
  monkeypatch.setattr(statistics, "_PART_BYTES", part_bytes)
  np.testing.assert_array_equal(mean_and_std(images), before)
  assert constant_examples(_make(images)).tolist() == [0, 7, 49]


def test_constant_images_are_found_by_their_own_pixels():
  images, sizes = _ragged(8)
  images[2, : sizes[2, 0], : sizes[2, 1]] = [4, 5, 6]
  images[5] = 0
  assert constant_examples(_make(images, sizes=sizes)).tolist() == [2, 5]


def test_sizes_are_kept_read_only_and_known_of_every_image():
  images, sizes = _ragged(8)
  dataset = _make(images, sizes=sizes)
  assert dataset.sizes.dtype == np.int32
  np.testing.assert_array_equal(image_sizes(dataset), sizes)
  with pytest.raises(ValueError, match="read-only"):
    dataset.sizes[0] = 1
  np.testing.assert_array_equal(image_sizes(_make()), [[4, 4]] * 6)


def test_checksum_covers_sizes_and_stays_what_it_was_without_them():
  images, names = np.zeros((6, 4, 4, 3), np.uint8), ("a", "b")
  images[:, :2, :2] = 7
  three = [
    _make(images, sizes=sizes)
    for sizes in (None, np.full((6, 2), 2), np.array([[2, 2]] * 5 + [[3, 2]]))
  ]
  assert len({checksum(train, test, names) for train in three for test in three}) == 9
  # Computed before images could differ in size: a run that began then goes on.
  assert (
    checksum(_make(), _make(), names)
    == "c2604012453ef78919a91b7a6a61831aef8891d8665e5c7771e7fa9882af6ecf"
  )


def test_checksum_depends_on_content_only():
  first, second = _make(), _make(source_files=tuple("abcdef"))
  names = ("a", "b")
  assert checksum(first, first, names) == checksum(second, first, names)
  changed = _images()
  changed[5, 3, 3, 2] ^= 1
  others = [
    _make(changed),
    _make(labels=1 - first.labels),
    _make(example_ids=np.arange(1, 7)),
    _make(_images().reshape(6, 2, 8, 3)),
  ]
  pairs = [
    (first, first),
    *((other, first) for other in others),
    *((first, other) for other in others),
  ]
  assert len({checksum(*pair, names) for pair in pairs}) == 9


@pytest.mark.parametrize("names", [("b", "a"), ("a", "c"), ("a", "b", "c"), ("ab", ""), ("a,b",)])
def test_checksum_depends_on_the_class_names(names):
  dataset = _make()
  assert checksum(dataset, dataset, names) != checksum(dataset, dataset, ("a", "b"))


def test_classes_that_were_renamed_are_other_data():
  config = DataConfig(name="npz")
  renamed = dataclasses.replace(_raw(), class_names=("a", "c", "b"))
  assert assemble(renamed, config).checksum != assemble(_raw(), config).checksum


def _raw(num=60, num_classes=3, test=True):
  labels = np.arange(num) % num_classes
  split = RawSplit(_images(num), labels, source_files=tuple(f"{i}.png" for i in range(num)))
  return Raw(
    split,
    RawSplit(_images(12), np.arange(12) % 3) if test else None,
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
  np.testing.assert_array_equal(data.train.inputs, _images(60)[data.train.example_ids])
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


def test_holding_out_leaves_a_training_example_of_every_class():
  labels = np.array([0] * 9 + [1] * 2 + [2])
  data = assemble(
    Raw(RawSplit(_images(12), labels), None, tuple("abc"), where="here", variant="custom"),
    DataConfig(name="npz", test_fraction=0.5),
  )
  assert np.bincount(data.train.labels).tolist() == [4, 1, 1]


def test_statistics_are_of_the_training_split_in_use():
  data = assemble(_raw(test=False), DataConfig(name="npz", test_fraction=0.25, num_train=9))
  np.testing.assert_array_equal(data.mean, mean_and_std(data.train.inputs)[0])


def _ragged_raw(test_sides=(6, 11)):
  images, sizes = _ragged(12)
  others, other_sizes = _ragged(6, test_sides, seed=4)
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
    RawSplit(_images(12, 5), np.arange(12) % 3),
    _ragged_raw().test,
    tuple("abc"),
    where="here",
    variant="custom",
  )
  data = assemble(full, _ragged_config())
  np.testing.assert_array_equal(data.train.sizes, [[5, 5]] * 12)
  np.testing.assert_array_equal(data.train.inputs[:, :5, :5], _images(12, 5))
  np.testing.assert_array_equal(data.mean, mean_and_std(_images(12, 5))[0])
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
  grey = dataclasses.replace(_raw(), train=RawSplit(_images(60, channels=1), np.arange(60) % 3))
  grey = dataclasses.replace(grey, test=grey.train)
  for other in (grey, _vectors()):
    with pytest.raises(ConfigError, match=r"data\.statistics=imagenet is for RGB images"):
      assemble(other, DataConfig(name="npz", statistics="imagenet"))


_REFUSED = {
  "no way to a test split": (_raw(test=False), {}, "--config.data.test_fraction=0.2"),
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
    dataclasses.replace(_raw(), test=RawSplit(_images(3, 5), np.arange(3))),
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
  assert data.notes == ("2 training image(s) are constant, all pixels alike; example ids 7, 9",)
  assert len(data.train) == 60


def _one_class(*class_names):
  return Raw(
    RawSplit(_images(8), np.zeros(8, int)),
    RawSplit(_images(2), np.zeros(2, int)),
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


def test_importing_the_rooms_loads_no_heavy_library():
  import subprocess
  import sys

  code = (
    "import "
    "sys, sdt.data.sources; print([m for m in ('tensorflow_datasets', 'sklearn', 'scipy', "
    "'jax') if m in sys.modules])"
  )
  out = subprocess.run(
    [sys.executable, "-c", code],
    capture_output=True,
    text=True,
    check=True,
    env={**os.environ},
    timeout=60,
  )
  assert out.stdout.strip() == "[]"
