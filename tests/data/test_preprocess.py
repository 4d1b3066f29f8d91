"""The statistics of `data.normalise`, against scikit-learn and by hand."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from sdt.config.schema import DataConfig
from sdt.config.toolbox.preprocessing_blocks import NORMALISERS
from sdt.data import preprocess
from sdt.data.assemble import Raw, assemble
from sdt.data.dataset import RawSplit, make_dataset
from sdt.data.stand_in import stand_in
from sdt.data.statistics import mean_and_std
from sdt.errors import ConfigError

RNG = np.random.default_rng(5)
IMAGES = RNG.integers(0, 256, (60, 3, 4, 2), dtype=np.uint8)
VECTORS = (RNG.normal(size=(40, 5)) @ RNG.normal(size=(5, 5)) + 3).astype(np.float32)


def split_of(inputs, sizes=None):
  labels = np.arange(len(inputs)) % 2
  return make_dataset(RawSplit(inputs, labels, sizes=sizes), num_classes=2, where="here")


def prepared(text, inputs):
  """Returns all inputs [N, ...] as the network is given them, in float64, and what was fitted."""
  train = split_of(inputs)
  fitted = preprocess.fit(text, train, mean_and_std(train.inputs))
  return np.concatenate(list(preprocess._parts(train, fitted))), fitted


def unit(inputs):
  return inputs / 255.0 if inputs.dtype == np.uint8 else inputs.astype(np.float64)


def flat(inputs):
  return inputs.reshape(len(inputs), -1)


def by_column(inputs):
  """Returns the values of each channel, or of each column, as a table for scikit-learn."""
  return inputs.reshape(-1, inputs.shape[-1])


def each_image(x):
  values = flat(x)
  floor = 1 / np.sqrt(values.shape[1])
  sd = np.maximum(values.std(axis=1, keepdims=True), floor)
  return (values - values.mean(axis=1, keepdims=True)) / sd


TWINS = {
  "channel": lambda x: StandardScaler().fit_transform(by_column(x)),
  "unit": by_column,
  "mean": lambda x: StandardScaler(with_std=False).fit_transform(by_column(x)),
  "image_mean": lambda x: StandardScaler(with_std=False).fit_transform(flat(x)),
  "min_max": lambda x: MinMaxScaler().fit_transform(by_column(x)),
  "pixel": lambda x: StandardScaler().fit_transform(flat(x)),
  "image": each_image,
  "dc": lambda x: flat(x) - flat(x).mean(axis=1, keepdims=True),
}


@pytest.mark.parametrize("name", [name for name in NORMALISERS if name not in ("pca", "zca")])
@pytest.mark.parametrize("inputs", [IMAGES, VECTORS], ids=["images", "vectors"])
@pytest.mark.parametrize("first", ["", "dc "], ids=["alone", "after another"])
def test_every_block_equals_scikit_learn(name, inputs, first):
  if first and name == "dc":
    return
  x = unit(inputs)
  x = TWINS["dc"](x).reshape(x.shape) if first else x
  ours, _ = prepared(f"{first}{name}", inputs)
  np.testing.assert_allclose(ours, TWINS[name](x).reshape(x.shape), rtol=0, atol=3e-6)


@pytest.mark.parametrize("inputs", [IMAGES, VECTORS], ids=["images", "vectors"])
def test_pca_equals_that_of_scikit_learn_up_to_signs_and_has_its_own(inputs):
  ours, fitted = prepared("pca(0)", inputs)
  theirs = PCA(whiten=True).fit_transform(flat(unit(inputs)))
  sign = np.sign((flat(ours) * theirs).sum(axis=0))
  np.testing.assert_allclose(flat(ours), theirs * sign, rtol=0, atol=2e-4)
  mean, matrix = fitted.steps[0].arrays
  largest = np.abs(matrix).argmax(axis=0)
  assert (matrix[largest, np.arange(len(mean))] > 0).all()


@pytest.mark.parametrize("name", ["pca", "zca"])
@pytest.mark.parametrize("inputs", [IMAGES, VECTORS], ids=["images", "vectors"])
def test_the_covariance_of_whitened_inputs_is_the_identity(name, inputs):
  ours, _ = prepared(f"image_mean {name}(0)", inputs)
  np.testing.assert_allclose(np.cov(flat(ours).T), np.eye(flat(ours).shape[1]), atol=1e-4)
  np.testing.assert_allclose(flat(ours).mean(axis=0), 0, atol=1e-4)


def test_zca_is_the_symmetric_whitening_and_epsilon_damps_it():
  x = flat(unit(IMAGES))
  values, vectors = np.linalg.eigh(np.cov(x.T))
  for epsilon in (0.0, 0.1):
    ours, _ = prepared(f"zca({epsilon})", IMAGES)
    twin = (x - x.mean(axis=0)) @ vectors @ np.diag((values + epsilon) ** -0.5) @ vectors.T
    np.testing.assert_allclose(flat(ours), twin, rtol=0, atol=2e-4)


def test_unit_is_pixel_by_255_and_channel_is_what_the_set_says():
  np.testing.assert_array_equal(prepared("unit", IMAGES)[0], IMAGES / 255.0)
  given = np.array([0.5, 0.25], np.float32), np.array([2.0, 3.0], np.float32)
  train = split_of(IMAGES)
  assert preprocess.fit("channel", train, given) == (*given, ())
  fitted = preprocess.fit("mean", train, given)
  np.testing.assert_array_equal(fitted.mean, given[0])
  np.testing.assert_array_equal(fitted.std, [1.0, 1.0])


@pytest.mark.parametrize("text", ["image_mean zca", "min_max", "pca"])
@settings(max_examples=5)
@given(order=st.permutations(range(8)))
def test_no_statistic_depends_on_the_test_set(text, order):
  train = RawSplit(IMAGES, np.arange(60) % 2)
  other = IMAGES[list(order)] ^ np.uint8(order[0])
  sets = [
    assemble(
      Raw(train, RawSplit(test, np.arange(8) % 2), ("a", "b"), where="here", variant="custom"),
      DataConfig(name="npz", normalise=text),
    )
    for test in (IMAGES[:8], other)
  ]
  for one, two in zip(*(arrays_of(data) for data in sets), strict=True):
    np.testing.assert_array_equal(one, two)


def arrays_of(of):
  return [of.mean, of.std, *(array for step in of.steps for array in step.arrays)]


def test_constant_values_are_divided_by_one():
  still = IMAGES.copy()
  still[:, 0, 0] = 7
  for name in ("pixel", "min_max", "channel"):
    ours, _ = prepared(name, still if name == "pixel" else np.full_like(still, 7))
    assert np.isfinite(ours).all()
    np.testing.assert_allclose(ours[:, 0, 0], 0, atol=1e-7)


def test_of_images_of_several_sizes_the_margins_do_not_count():
  sizes = np.tile([[2, 3]], (60, 1)).astype(np.int32)
  images = IMAGES // 2 + 64
  images[:, 2:] = images[:, :, 3:] = 0
  train = split_of(images, sizes)
  inside = images[:, :2, :3].reshape(-1, 2) / 255
  fitted = preprocess.fit("min_max", train, mean_and_std(train.inputs, train.sizes))
  np.testing.assert_allclose(fitted.mean, inside.min(axis=0), rtol=1e-6)
  np.testing.assert_allclose(fitted.std, np.ptp(inside, axis=0), rtol=1e-6)
  for text in ("pixel", "image_mean", "zca", "dc channel"):
    with pytest.raises(ConfigError, match="these differ in size; choose 'channel' or 'mean'"):
      preprocess.fit(text, train, (fitted.mean, fitted.std))


@pytest.mark.parametrize(
  ("text", "inputs", "told"),
  [
    ("zca", np.zeros((4, 40, 40, 3), np.uint8), "at most 4096 numbers and two examples or more"),
    ("pca", IMAGES[:1], "these are 1 of 24"),
    ("zca(0)", IMAGES[:5], r"zca\(0\): the 5 training examples fill 4 of 24 dimensions"),
  ],
)
def test_a_whitening_that_cannot_be_is_refused(text, inputs, told):
  train = split_of(inputs)
  with pytest.raises(ConfigError, match=told):
    preprocess.fit(text, train, mean_and_std(train.inputs))


@pytest.mark.parametrize("text", [*NORMALISERS, "image_mean zca", "dc pixel"])
def test_a_stand_in_has_the_shapes_of_the_set(text):
  config = dataclasses.replace(DataConfig(name="cifar10", num_train=20), normalise=text)
  images = RNG.integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
  size = 3072
  of_set = stand_in(config)
  small = prepared(text, images[:, :2, :2])[1]

  def shapes(arrays):
    return [tuple(size if n == 12 else 32 if n == 2 else n for n in one.shape) for one in arrays]

  assert [one.shape for one in arrays_of(of_set)] == shapes(
    [small.mean, small.std, *(array for step in small.steps for array in step.arrays)]
  )
  assert [step.kind for step in of_set.steps] == [step.kind for step in small.steps]
