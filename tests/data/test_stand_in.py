"""What stands in for a set that is not there: the shapes of the real thing, and no memory."""

import dataclasses

import numpy as np
import pytest

from sdt.config.schema import DataConfig
from sdt.data.published.catalogue import SETS, SIZES
from sdt.data.stand_in import stand_in

CUB = DataConfig(name="cub", image_size=256, resize="short_side")


@pytest.mark.parametrize(
  ("config", "train", "test", "num_classes"),
  [
    (DataConfig(name="svhn"), (73_257, 32, 32, 3), 26_032, 10),
    (DataConfig(name="cifar10"), (50_000, 32, 32, 3), 10_000, 10),
    (DataConfig(name="cifar100"), (50_000, 32, 32, 3), 10_000, 100),
    (DataConfig(name="cifar100", labels="coarse"), (50_000, 32, 32, 3), 10_000, 20),
    (DataConfig(name="cifar10", num_train=70, num_test=30), (70, 32, 32, 3), 30, 10),
    (DataConfig(name="tiny_imagenet"), (100_000, 64, 64, 3), 10_000, 200),
    (DataConfig(name="tiny_imagenet", image_size=32), (100_000, 32, 32, 3), 10_000, 200),
    (CUB, (5_994, 384, 384, 3), 5_794, 200),
    (dataclasses.replace(CUB, resize="stretch"), (5_994, 256, 256, 3), 5_794, 200),
  ],
)
def test_a_stand_in_has_the_published_sizes_and_takes_no_memory(config, train, test, num_classes):
  data = stand_in(config)
  assert (data.name, data.train.inputs.shape, data.test.inputs.shape) == (
    config.name,
    train,
    (test, *train[1:]),
  )
  assert (data.train.inputs.dtype, data.train.labels.dtype, data.train.example_ids.dtype) == (
    np.uint8,
    np.int32,
    np.int32,
  )
  assert (len(data.train), len(data.test), len(data.class_names)) == (train[0], test, num_classes)
  assert set(data.train.inputs.strides) == {0}
  assert (data.mean.shape, data.std.shape) == ((3,), (3,))


@pytest.mark.parametrize(
  "config", [DataConfig(name="folder"), DataConfig(name="npz"), DataConfig(name="cub")]
)
def test_without_published_sizes_there_is_no_stand_in(config):
  assert stand_in(config) is None


def test_every_published_set_has_its_sizes():
  assert SIZES.keys() == SETS.keys() == {"svhn", "cifar10", "cifar100", "tiny_imagenet", "cub"}


def test_of_wrong_labels_made_on_purpose_there_are_as_many_and_of_a_file_none_are_known():
  config = DataConfig(name="cifar10", num_train=1000, wrong_label_fraction=0.15)
  assert stand_in(config).train.wrong_label.sum() == 150
  of_file = DataConfig(name="cifar10", num_train=1000, labels_file="labels.npz")
  assert stand_in(of_file).train.wrong_label.sum() == 0
  assert stand_in(DataConfig(name="cifar10")).train.wrong_label is None
