"""What `make_dataset` refuses, and the checksum and the statistics of a set."""

import os
import subprocess
import sys

import numpy as np
import pytest

from sdt.data import statistics
from sdt.data.dataset import RawSplit, checksum, image_sizes, make_dataset
from sdt.data.statistics import constant_examples, mean_and_std
from sdt.errors import DataError
from tests.support import raw_sets as made


def _make(inputs=None, labels=None, **overrides):
  inputs = made.images() if inputs is None else inputs
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
    dict(inputs=made.images().astype(np.float32)),
    "float32 [6, 4, 4, 3], expected uint8",
  ),
  "uint8 vectors": (
    dict(inputs=np.zeros((6, 3), np.uint8)),
    "expected uint8 [N, height, width, channels] or float32",
  ),
  "float64 vectors": (dict(inputs=np.zeros((6, 3))), "float64 [6, 3]"),
  "nothing": (dict(inputs=made.images(0)), "hold nothing"),
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
  images = made.images(50, 5, channels)
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


def test_statistics_count_the_pixels_of_the_images_and_no_others():
  images, sizes = made.ragged()
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
  images = made.images(50, 5)
  images[[0, 7, 49]] = 9
  before = mean_and_std(images)
  monkeypatch.setattr(statistics, "_PART_BYTES", part_bytes)
  np.testing.assert_array_equal(mean_and_std(images), before)
  assert constant_examples(_make(images)).tolist() == [0, 7, 49]


def test_constant_images_are_found_by_their_own_pixels():
  images, sizes = made.ragged(8)
  images[2, : sizes[2, 0], : sizes[2, 1]] = [4, 5, 6]
  images[5] = 0
  assert constant_examples(_make(images, sizes=sizes)).tolist() == [2, 5]


def test_sizes_are_kept_read_only_and_known_of_every_image():
  images, sizes = made.ragged(8)
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
  changed = made.images()
  changed[5, 3, 3, 2] ^= 1
  others = [
    _make(changed),
    _make(labels=1 - first.labels),
    _make(example_ids=np.arange(1, 7)),
    _make(made.images().reshape(6, 2, 8, 3)),
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


def test_importing_the_readers_loads_no_heavy_library():
  code = (
    "import sys, sdt.data.sources; print([m for m in ('tensorflow_datasets', 'sklearn', 'scipy', "
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
