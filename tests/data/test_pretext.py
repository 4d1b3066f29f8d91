"""Rotation as a pretext task: the set that it makes, and the weights that another run reads."""

import dataclasses

import numpy as np
import pytest

from sdt import experiment
from sdt.config.schema import DataConfig
from sdt.data import pretext
from sdt.data.assemble import assemble
from sdt.data.dataset import RawSplit
from sdt.data.stand_in import stand_in
from sdt.data.validation_split import hold_out
from sdt.errors import ConfigError, DataError
from sdt.models import pretrained
from sdt.run.load_inputs import load_weights
from tests.data.test_hidden_labels import raw_set
from tests.support import tiny

CONFIG = DataConfig(name="npz", pretext="rotation")


def test_every_image_is_there_turned_by_each_quarter_and_its_label_is_gone():
  raw = raw_set()
  data = assemble(raw, dataclasses.replace(CONFIG, num_train=20))
  assert (len(data.train), len(data.test), data.class_names) == (80, 120, pretext.ROTATIONS)
  assert data.train.labels.tolist() == [0, 1, 2, 3] * 20
  ids = data.train.example_ids // 4
  assert (data.train.example_ids % 4 == data.train.labels).all()
  for image, of, turns in zip(data.train.inputs, ids, data.train.labels, strict=True):
    by_hand = raw.train.inputs[of]
    for _ in range(turns):
      by_hand = by_hand.transpose(1, 0, 2)[::-1]  # a quarter turn, counter-clockwise
    np.testing.assert_array_equal(image, by_hand)
  labels = np.random.default_rng(3).permutation(raw.train.labels)
  other = dataclasses.replace(raw, train=dataclasses.replace(raw.train, labels=labels))
  assert assemble(other, CONFIG).checksum == assemble(raw, CONFIG).checksum


def test_what_cannot_be_turned_and_labels_beside_it_are_refused():
  with pytest.raises(DataError, match="turns square images of one size, these inputs are"):
    pretext.rotated(RawSplit(np.zeros((2, 4, 5, 1), np.uint8), np.zeros(2, np.int32)), "a set")
  for key, value in (("labelled", 20), ("wrong_label_fraction", 0.1), ("labels_file", "a.npz")):
    with pytest.raises(ConfigError, match=rf"data.pretext = 'rotation' with data.{key} = "):
      tiny.config(data__pretext="rotation", **{f"data__{key}": value})


def test_an_image_is_held_out_with_all_its_turns():
  data = assemble(raw_set(), dataclasses.replace(CONFIG, num_train=41))
  cut = hold_out(data, CONFIG)
  held_out, rest = (set((one.example_ids // 4).tolist()) for one in (cut.test, cut.train))
  assert (len(held_out), len(rest)) == (4, 37)  # of 41 images a tenth
  assert not held_out & rest
  assert np.bincount(cut.test.labels).tolist() == [4] * 4
  again = hold_out(dataclasses.replace(data, train=data.train.take(np.arange(164)[::-1])), CONFIG)
  assert set((again.test.example_ids // 4).tolist()) == held_out
  with pytest.raises(ConfigError, match="the four turns of an image would lie in several folds"):
    tiny.config(data__pretext="rotation", score__folds=2)


def test_a_stand_in_has_four_classes_of_turned_images():
  found = stand_in(DataConfig(name="cifar10", pretext="rotation", num_train=100))
  assert (len(found.train), len(found.test), len(found.class_names)) == (400, 40_000, 4)


@pytest.mark.slow
def test_the_weights_of_such_a_run_start_another_one(tmp_path):
  of = tiny.resnet(data__pretext="rotation", seeds=(0,), rounds=2, arms=("baseline",))
  of = dataclasses.replace(of, optim=dataclasses.replace(of.optim, milestones=(1,)))
  assert experiment.run(of, tmp_path / "turned", "turned") == 0
  file = str(tmp_path / "turned" / "models" / "baseline-seed0.safetensors")  # at chance, so far
  then = tiny.resnet(model__pretrained=file, seeds=(0,))
  found = load_weights(then, tiny.data(then))
  kernel = tiny.first_state(then)  # drawn, without the file
  path = "params/stem_conv/kernel"
  assert isinstance(found, pretrained.Pretrained)
  assert found.head == "the head starts afresh"
  assert (found.leaves[path] != kernel.params["stem_conv"]["kernel"]).any()
