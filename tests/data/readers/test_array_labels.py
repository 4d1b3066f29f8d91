"""Labels and images of arrays in another form: the message has the call, and the call is right."""

import numpy as np
import pytest

from sdt.config.schema import DataConfig
from sdt.data import sources
from sdt.errors import DataError

CLASSES = np.arange(12) % 3
IMAGES = np.random.default_rng(0).integers(0, 256, (12, 4, 4, 3), dtype=np.uint8)


def _load(path, **arrays):
  """Returns the set of these arrays; whatever is held out, the training split has every class."""
  np.savez(path, **({"train_x": IMAGES, "train_y": CLASSES} | arrays))
  fraction = None if "test_y" in arrays else 0.25
  return sources.load(DataConfig(name="npz", path=str(path), test_fraction=fraction))


def _advice(path, **arrays):
  """Returns what comes after "write it anew as" in the refusal of these arrays."""
  with pytest.raises(DataError, match="expected class numbers 0, 1") as caught:
    _load(path, **arrays)
  text = str(caught.value)
  return text.split("anew as ", 1)[1] if "anew as " in text else text.split("anew: ", 1)[1]


_NAMES = np.array(["cat", "dog", "eel"])
_FORMS = {
  "one column": CLASSES[:, None],
  "one-hot": np.eye(3)[CLASSES],
  "one-hot integers": np.eye(3, dtype=np.uint8)[CLASSES],
  "whole floats": CLASSES.astype(np.float32),
  "from 1": CLASSES + 1,
  "from -1": CLASSES.astype(np.int8) - 1,
}


@pytest.mark.parametrize("form", _FORMS)
def test_the_call_gives_the_labels_that_were_meant(tmp_path, form):
  call = _advice(tmp_path / "bad.npz", train_y=_FORMS[form]).split(";")[0]
  labels = eval(call, {"train_y": _FORMS[form]})
  np.testing.assert_array_equal(labels, CLASSES)
  assert _load(tmp_path / "good.npz", train_y=labels).class_names == ("0", "1", "2")


def test_truth_values_are_two_classes(tmp_path):
  truth = CLASSES > 0
  assert _advice(tmp_path / "bad.npz", train_y=truth) == "train_y.astype(int)"
  assert len(_load(tmp_path / "good.npz", train_y=truth.astype(int)).class_names) == 2


@pytest.mark.parametrize(
  "values", [_NAMES, _NAMES.astype("S3"), np.array([3, 7, 500]), np.array([-5, 0, 9])], ids=str
)
def test_the_calls_give_numbers_and_names_also_of_a_test_split(tmp_path, values):
  arrays = {"train_y": values[CLASSES], "test_x": IMAGES[:5], "test_y": values[[2, 1, 0, 1, 2]]}
  calls = _advice(tmp_path / "bad.npz", **arrays).split(", or accept")[0].split("; ")
  assert len(calls) == 4
  known = {"numpy": np} | arrays
  for call in calls[:3]:
    exec(call, known)
  names = eval(calls[3].removeprefix("and class_names="), known)
  arrays |= {"train_y": known["train_y"], "test_y": known["test_y"], "class_names": names}
  data = _load(tmp_path / "good.npz", **arrays)
  assert data.class_names == tuple(values.astype(str))
  np.testing.assert_array_equal(data.train.labels, CLASSES)
  np.testing.assert_array_equal(data.test.labels, [2, 1, 0, 1, 2])


def test_the_calls_give_no_training_class_to_a_name_that_only_the_test_split_has(tmp_path):
  arrays = {"train_y": _NAMES[CLASSES], "test_x": IMAGES[:2], "test_y": np.array(["dog", "doe"])}
  calls = _advice(tmp_path / "bad.npz", **arrays).split("; ")
  known = {"numpy": np} | arrays
  for call in calls[:3]:
    exec(call, known)
  names = np.array(["cat", "doe", "dog", "eel"])
  arrays |= {"train_y": known["train_y"], "test_y": known["test_y"], "class_names": names}
  with pytest.raises(DataError, match=r"1 of 4 classes have no training example: 1 \(doe\)"):
    _load(tmp_path / "good.npz", **arrays)


@pytest.mark.parametrize(
  ("labels", "why"),
  [
    (np.eye(3)[CLASSES] + np.eye(3)[(CLASSES + 1) % 3], "every example has one class"),
    (np.full((12, 3), 1 / 3), "every example has one class"),
    (CLASSES / 7, "these are fractions: numbers, not classes"),
    (np.where(CLASSES == 2, np.nan, CLASSES), "4 of these are not finite"),
    (CLASSES.astype("datetime64[D]"), "one class number for each example"),
  ],
  ids=["several", "probabilities", "fractions", "NaN", "dates"],
)
def test_what_is_no_class_is_refused_with_the_reason(tmp_path, labels, why):
  with pytest.raises(DataError) as caught:
    _load(tmp_path / "bad.npz", train_y=labels)
  assert why in str(caught.value)


def test_labels_from_1_are_told_where_there_are_as_many_names(tmp_path):
  path = tmp_path / "bad.npz"
  assert _advice(path, train_y=CLASSES + 1, class_names=_NAMES) == "train_y - 1"
  with pytest.raises(DataError, match="1 of 4 classes have no training example: 0 "):
    _load(path, train_y=CLASSES + 1, class_names=np.array(["ground", *_NAMES]))
  test = {"test_x": IMAGES[:3], "test_y": np.array([1, 2, 3])}
  assert _advice(path, train_y=CLASSES + 1, **test) == "train_y - 1 and test_y - 1"


_FLOATS = np.linspace(0, 1, IMAGES.size, dtype=np.float32).reshape(IMAGES.shape)
_TYPES = {
  "-1 to 1": 2 * _FLOATS - 1,
  "standardised": (_FLOATS - 0.45) / 0.22,
  "bytes with a sign": np.rint(255 * _FLOATS - 128).astype(np.int8),
  "a little below 0": 1.1 * _FLOATS - 0.1,
  "12 bits": np.rint(4095 * _FLOATS).astype(np.uint16),
  "truth": _FLOATS > 0.5,
}


@pytest.mark.parametrize("name", _TYPES)
def test_the_call_for_images_keeps_all_of_them_also_below_0_and_is_one_for_both_splits(
  tmp_path, name
):
  values = _TYPES[name]
  brightest = values.reshape(12, -1).max(axis=1) == values.max()
  arrays = {"train_x": values[~brightest], "train_y": CLASSES[~brightest]}
  arrays |= {"test_x": values[brightest], "test_y": CLASSES[brightest]}
  calls = []
  for right in ({}, {"train_x": np.uint8(arrays["train_x"] != 0)}):
    with pytest.raises(DataError, match="images must be uint8, 0 to 255") as caught:
      _load(tmp_path / "bad.npz", **arrays | right)
    calls.append(str(caught.value).split("such as ")[1])
  images = eval(calls[0], {"numpy": np, "x": values})
  low, high = min(0, float(values.min())), float(values.max())
  expected = 255 * (values.astype(np.float64) - low) / (high - low)
  np.testing.assert_allclose(images, expected, atol=0.51)
  assert images.dtype == np.uint8
  assert int(images.max()) == 255


def test_images_that_are_not_finite_are_counted_and_get_no_call(tmp_path):
  images = _FLOATS.copy()
  images[3, 0, 0, 0], images[7] = np.inf, np.nan
  with pytest.raises(DataError, match="2 of its 12 images hold values that are not finite, the "):
    _load(tmp_path / "bad.npz", train_x=images)


@pytest.mark.parametrize("kind", [np.uint8, np.int64, bool])
def test_rows_of_integers_get_both_ways_out(tmp_path, kind):
  rows = IMAGES.reshape(12, -1).astype(kind)
  with pytest.raises(DataError, match=r"x\.astype\(numpy\.float32\), or images as x\.reshape"):
    _load(tmp_path / "bad.npz", train_x=rows)
  assert _load(tmp_path / "a.npz", train_x=rows.astype(np.float32)).train.inputs.ndim == 2
