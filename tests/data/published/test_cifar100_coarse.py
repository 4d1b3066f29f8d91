"""CIFAR-100 with its 20 coarse classes as labels, from every place that it is read from."""

import subprocess
import sys

import numpy as np
import pytest

from sdt.config.schema import DataConfig
from sdt.data import sources
from sdt.data.published import catalogue, registered
from sdt.errors import ConfigError
from tests.support import registered_sets as made
from tests.support.places import SHARED_DATA

pytestmark = pytest.mark.usefixtures("own_places")


def _load(path, spec, labels):
  return registered.load_registered(
    DataConfig(name="cifar100", path=str(path), verify="known", labels=labels),
    spec,
    lambda line: None,
  )


def _place(tmp_path, kind, contents):
  if kind == "prepared":
    return made.prepare(tmp_path, contents, num_label_bytes=2)
  if kind == "folder":
    return made.write(tmp_path / "files", contents)
  path = tmp_path / "small.tar.gz"
  path.write_bytes(made.pack({f"small-bin/{name}": content for name, content in contents.items()}))
  return path


@pytest.mark.parametrize("kind", ["archive", "folder", "prepared"])
def test_the_coarse_classes_come_from_the_first_label_byte_and_are_told(tmp_path, kind):
  spec, contents, variant = made.make_cifar(num_label_bytes=2)
  place = _place(tmp_path, kind, contents | {"test.bin": variant})
  fine, coarse = _load(place, spec, "fine"), _load(place, spec, "coarse")
  assert fine.class_names == ("a", "b", "c", "d")
  np.testing.assert_array_equal(fine.train.labels, np.tile(np.arange(20) % 4, 2))
  assert coarse.class_names == ("low", "high")
  np.testing.assert_array_equal(coarse.train.labels, np.tile(np.arange(20) % 4 // 2, 2))
  np.testing.assert_array_equal(coarse.test.labels, np.arange(12) % 4 // 2)
  np.testing.assert_array_equal(coarse.train.inputs, fine.train.inputs)
  assert (fine.variant, coarse.variant) == ("jpeg-2", "jpeg-2-coarse")
  assert coarse.notes == (
    *fine.notes,
    "the labels are the 2 coarse classes, not the 4 fine ones (data.labels=coarse)",
  )
  assert coarse.checksum != fine.checksum


@pytest.mark.parametrize("name", ["cifar10", "svhn", "tiny_imagenet", "cub", "digits"])
def test_sets_without_coarse_classes_refuse_them(name):
  with pytest.raises(ConfigError, match=r"data\.labels=coarse has no meaning"):
    sources.load(DataConfig(name=name, labels="coarse"))


def test_the_twenty_names_are_in_the_order_of_their_labels():
  names = catalogue.CIFAR100.form.coarse_class_names
  assert len(set(names)) == 20
  assert list(names) == sorted(names)
  assert catalogue.CIFAR10.form.coarse_class_names is None


# Krizhevsky's table of the coarse classes, of which two are enough to see that names and labels
# belong together.
_KNOWN = {
  "flowers": {"orchid", "poppy", "rose", "sunflower", "tulip"},
  "large_man-made_outdoor_things": {"bridge", "castle", "house", "road", "skyscraper"},
  "vehicles_2": {"lawn_mower", "rocket", "streetcar", "tank", "tractor"},
}


@pytest.mark.slow
def test_every_fine_class_of_the_real_set_is_in_exactly_one_of_twenty_coarse_classes_of_five(
  tmp_path,
):
  if not (SHARED_DATA / "unpack.py").is_file():
    pytest.skip("the packed CIFAR sets are not at ../shared/data")
  command = [
    sys.executable,
    SHARED_DATA / "unpack.py",
    SHARED_DATA / "cifar100",
    tmp_path / "set.npz",
    "--bin",
    tmp_path / "bin",
  ]
  subprocess.run(command, check=True, capture_output=True, timeout=600)
  fine, coarse = (
    sources.load(DataConfig(name="cifar100", path=str(tmp_path / "bin"), labels=labels))
    for labels in ("fine", "coarse")
  )
  assert coarse.variant == "canonical-coarse"
  with np.load(tmp_path / "set.npz") as arrays:
    np.testing.assert_array_equal(coarse.train.labels, arrays["train_coarse"])
    np.testing.assert_array_equal(coarse.test.labels, arrays["test_coarse"])
  assert np.bincount(coarse.train.labels).tolist() == [2500] * 20
  pairs = {
    (a, b)
    for split in ("train", "test")
    for a, b in zip(getattr(fine, split).labels, getattr(coarse, split).labels, strict=True)
  }
  assert len(pairs) == 100
  assert sorted(a for a, _ in pairs) == list(range(100))
  members = {
    name: {fine.class_names[a] for a, b in pairs if b == label}
    for label, name in enumerate(coarse.class_names)
  }
  assert {len(names) for names in members.values()} == {5}
  assert {name: members[name] for name in _KNOWN} == _KNOWN
