"""Partial labels: which examples keep theirs, and that nothing sees the others."""

import dataclasses
import pickle

import numpy as np
import pytest

from sdt.config.schema import DataConfig
from sdt.data import hidden_labels, seeded
from sdt.data.assemble import Raw, assemble
from sdt.data.dataset import RawSplit
from sdt.data.stand_in import stand_in
from sdt.errors import DataError

CONFIG = DataConfig(name="npz", labelled=24)


def raw_set(seed=0):
  rng = np.random.default_rng(seed)
  labels = np.repeat(np.arange(3), (60, 90, 150))[rng.permutation(300)]
  images = rng.integers(0, 255, (300, 4, 4, 1)).astype(np.uint8)
  test = RawSplit(images[:30], labels[:30])
  return Raw(RawSplit(images[30:], labels[30:]), test, ("a", "b", "c"), "a set", "custom")


def test_labels_stay_in_the_proportion_of_the_classes_by_the_ids_alone():
  raw = raw_set()
  data = assemble(raw, CONFIG)
  counts = np.bincount(raw.train.labels)
  expected = seeded.largest_remainder(counts, 24, counts)
  assert np.bincount(data.train.labels).tolist() == expected.tolist()
  ids = np.concatenate([data.train.example_ids, data.unlabelled.example_ids])
  assert sorted(ids.tolist()) == list(range(270))
  np.testing.assert_array_equal(
    data.unlabelled.inputs, raw.train.inputs[data.unlabelled.example_ids]
  )
  order = np.random.default_rng(1).permutation(270)
  moved = RawSplit(raw.train.inputs[order], raw.train.labels[order], example_ids=order)
  found = order[hidden_labels.labelled_positions(moved, CONFIG)]
  assert sorted(found.tolist()) == data.train.example_ids.tolist()
  fewer = assemble(raw, dataclasses.replace(CONFIG, labelled=12))
  assert set(fewer.train.example_ids) < set(data.train.example_ids)


def test_permuting_hidden_labels_changes_no_byte_of_what_a_run_is_given():
  """Of those that the draw by class did not look at: examples whose hash is above all it took."""
  raw = raw_set()
  data = assemble(raw, CONFIG)
  bits = seeded.bits(CONFIG.split_seed, "labelled", np.arange(270))
  free = np.flatnonzero(bits > bits[data.train.example_ids].max())
  assert len(free) > 150
  labels = raw.train.labels.copy()
  labels[free] = np.random.default_rng(2).permutation(labels[free])
  assert (labels != raw.train.labels).sum() > 50
  other = assemble(
    dataclasses.replace(raw, train=dataclasses.replace(raw.train, labels=labels)), CONFIG
  )
  for split in ("train", "test", "unlabelled"):
    for field in ("inputs", "labels", "example_ids"):
      ours, theirs = (getattr(getattr(one, split), field) for one in (data, other))
      np.testing.assert_array_equal(ours, theirs)
  rest = [
    {
      field.name: getattr(one, field.name)
      for field in dataclasses.fields(one)
      if field.name not in ("train", "test", "unlabelled", "mean", "std")
    }
    for one in (data, other)
  ]
  assert rest[0] == rest[1]
  assert (data.mean.tolist(), data.std.tolist()) == (other.mean.tolist(), other.std.tolist())
  assert not data.unlabelled.labels.any()


def test_inputs_are_normalised_by_all_of_them_and_wrong_labels_are_among_the_known_ones():
  raw = raw_set()
  whole = assemble(raw, dataclasses.replace(CONFIG, labelled=None))
  data = assemble(raw, dataclasses.replace(CONFIG, wrong_label_fraction=0.25))
  assert (data.mean.tolist(), data.std.tolist()) == (whole.mean.tolist(), whole.std.tolist())
  assert data.train.wrong_label.sum() == 6
  assert data.checksum != assemble(raw, CONFIG).checksum
  assert "24 of 270 training examples have a label" in data.notes[-1]


def test_hiding_no_label_is_refused():
  with pytest.raises(DataError, match="=270 of 270 training examples hides no label"):
    assemble(raw_set(), dataclasses.replace(CONFIG, labelled=270))


def test_fewer_labels_than_classes_are_refused():
  with pytest.raises(DataError, match=r"data\.labelled=2 leaves classes without.* the 3 classes"):
    assemble(raw_set(), dataclasses.replace(CONFIG, labelled=2))
  of = assemble(raw_set(), dataclasses.replace(CONFIG, labelled=2, allow_empty_class=True))
  assert len(of.train) == 2


def test_a_stand_in_has_as_many_of_both():
  found = stand_in(DataConfig(name="cifar10", labelled=250))
  assert (len(found.train), len(found.unlabelled)) == (250, 49_750)
  assert found.unlabelled.inputs.strides[0] == 0  # it takes no memory


def test_revealed_data_know_the_asked_labels_and_no_byte_of_them_depends_on_another():
  raw = raw_set()
  pool = assemble(raw, dataclasses.replace(CONFIG, labelled=None))
  ids = np.array([200, 7, 31])
  found = hidden_labels.revealed(pool, ids)
  assert found.train.example_ids.tolist() == [7, 31, 200]
  assert found.train.labels.tolist() == raw.train.labels[[7, 31, 200]].tolist()
  assert not found.unlabelled.labels.any()
  assert len(found.unlabelled) == 267
  is_hidden = ~np.isin(np.arange(270), ids)
  labels = raw.train.labels.copy()
  labels[is_hidden] = np.random.default_rng(2).permutation(labels[is_hidden])
  turned = dataclasses.replace(raw, train=dataclasses.replace(raw.train, labels=labels))
  other = hidden_labels.revealed(assemble(turned, dataclasses.replace(CONFIG, labelled=None)), ids)
  assert pickle.dumps(found) == pickle.dumps(other)
  labels[7] = (labels[7] + 1) % 3
  turned = dataclasses.replace(raw, train=dataclasses.replace(raw.train, labels=labels))
  third = hidden_labels.revealed(assemble(turned, dataclasses.replace(CONFIG, labelled=None)), ids)
  assert third.checksum != found.checksum
