"""Sets that are made imbalanced on purpose: how many of each class, and which."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdt.config import resolve
from sdt.config.schema import DataConfig, ShapesConfig
from sdt.data import imbalance, seeded
from sdt.data.sources import load
from sdt.data.stand_in import stand_in
from sdt.errors import ConfigError, DataError
from tests.support.places import GOLDEN


def test_a_long_tail_of_cifar_has_the_counts_of_the_formula():
  counts = imbalance.counts_of("longtail(100)", np.full(10, 2000), seed=0)
  assert counts.tolist() == [2000, 1199, 719, 431, 258, 155, 93, 56, 33, 20]
  assert counts.sum() == 4964


def test_the_long_tail_is_as_long_as_the_rarest_class_allows():
  counts = imbalance.counts_of("longtail(4)", np.array([100, 30, 90]), seed=0)
  assert counts.tolist() == [60, 30, 15]


def test_uniform_counts_are_between_the_two_numbers_and_reach_both():
  counts = imbalance.counts_of("uniform(500,503)", np.full(400, 600), seed=3)
  assert set(counts.tolist()) == {500, 501, 502, 503}
  other = imbalance.counts_of("uniform(500,503)", np.full(400, 600), seed=4)
  assert (counts != other).any()


def test_the_counts_of_imbalanced_learn_leave_as_many():
  golden = np.load(GOLDEN / "imbalance.npz")
  ratio = golden["kept"][0] / golden["kept"][-1]
  counts = imbalance.counts_of(f"longtail({ratio:g})", np.bincount(golden["balanced"]), seed=0)
  assert counts.tolist() == golden["kept"].tolist() == np.bincount(golden["labels"]).tolist()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31 - 1), st.integers(2, 6), st.integers(0, 3))
def test_which_examples_stay_depends_on_their_ids_alone_and_more_of_them_hold_fewer(
  order_seed, num_classes, seed
):
  labels = np.arange(30 * num_classes) % num_classes
  ids = np.arange(len(labels)) * 7 + 3
  config = DataConfig(imbalance="longtail(5)", split_seed=seed)
  kept = imbalance.positions(labels, ids, num_classes, config)
  counts = imbalance.counts_of("longtail(5)", np.bincount(labels), seed=seed)
  np.testing.assert_array_equal(np.bincount(labels[kept]), counts)
  assert (np.diff(kept) > 0).all()
  order = np.random.default_rng(order_seed).permutation(len(labels))
  again = imbalance.positions(labels[order], ids[order], num_classes, config)
  assert set(ids[order][again]) == set(ids[kept])
  fewer = dataclasses.replace(config, imbalance="longtail(10)")
  assert set(imbalance.positions(labels, ids, num_classes, fewer)) <= set(kept)


def shapes(**changes):
  size = ShapesConfig(num_train=400, num_test=60, num_classes=4, image_size=8)
  return DataConfig(name="shapes", shapes=size, **changes)


def test_the_test_set_and_the_ids_stay_and_wrong_labels_and_statistics_come_after():
  whole, made = load(shapes()), load(shapes(imbalance="longtail(10)"))
  np.testing.assert_array_equal(made.test.inputs, whole.test.inputs)
  places = np.searchsorted(whole.train.example_ids, made.train.example_ids)
  np.testing.assert_array_equal(whole.train.inputs[places], made.train.inputs)
  assert np.bincount(made.train.labels)[[0, -1]].tolist() == [
    (most := np.bincount(made.train.labels).max()),
    round(most / 10),
  ]
  np.testing.assert_allclose(
    made.mean, made.train.inputs.mean(axis=(0, 1, 2)) / 255, rtol=1e-5, atol=1e-6
  )
  assert any("imbalanced on purpose (data.imbalance=longtail(10))" in note for note in made.notes)
  wrong = load(shapes(imbalance="longtail(10)", wrong_label_fraction=0.2))
  np.testing.assert_array_equal(wrong.train.example_ids, made.train.example_ids)
  assert wrong.train.wrong_label.sum() == round(0.2 * len(made.train))


def test_a_draw_of_fewer_examples_comes_first():
  config = shapes(num_train=200, imbalance="longtail(10)")
  drawn, made = load(dataclasses.replace(config, imbalance=None)), load(config)
  assert set(made.train.example_ids) <= set(drawn.train.example_ids)


def test_a_stand_in_has_the_sizes_of_the_imbalanced_set():
  data = stand_in(DataConfig(name="cifar10", num_train=20_000, imbalance="longtail(100)"))
  assert len(data.train) == 4964
  assert np.bincount(data.train.labels).max() == 2000


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("longtail(1000)", "would leave class 3 with 0 of its 100 .*; expected from 1 .*num_train"),
    ("uniform(90,400)", r"with \d+ of its 100 examples; expected from 1 to all of them"),
  ],
)
def test_a_class_that_has_too_few_examples_is_refused(text, message):
  assert seeded.integers(0, "imbalance of class", np.arange(4), high=311).max() > 10
  with pytest.raises(DataError, match=message):
    imbalance.counts_of(text, np.full(4, 100), seed=0)


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("uniform(3,2)", "data.imbalance = 'uniform.3,2.': the lower number comes first; write"),
    ("longtail(1)", "ratio = 1 of longtail.ratio.: expected a number above 1"),
    ("longtale(3)", "there is no 'longtale'; did you mean 'longtail'"),
    ("longtail(3) uniform(1,2)", "one name is expected, there are 2"),
  ],
)
def test_what_is_no_imbalance_is_refused_by_the_config(text, message):
  with pytest.raises(ConfigError, match=message):
    resolve({"data": {"name": "digits", "imbalance": text}})
