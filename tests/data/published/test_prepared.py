"""Sets that tfds prepared, read without TensorFlow in the order of the original files."""

import json
import sys

import pytest

from sdt.config.schema import DataConfig
from sdt.data.published import catalogue, prepared, registered
from sdt.errors import DataError
from tests.support import registered_sets as made

pytestmark = pytest.mark.usefixtures("own_places")


def _load(path, spec, **keys):
  config = DataConfig(name="cifar10", path=None if path is None else str(path), **keys)
  return registered.load_registered(config, spec, lambda line: None)


@pytest.mark.parametrize("num_label_bytes", [1, 2])
def test_a_prepared_set_equals_its_original_files_and_needs_no_tensorflow(
  tmp_path, num_label_bytes
):
  spec, contents, variant = made.make_cifar(num_label_bytes)
  contents = contents | {"test.bin": variant}
  folder = made.prepare(tmp_path / "elsewhere", contents, num_label_bytes)
  files = _load(made.write(tmp_path / "files", contents), spec, verify="known")
  for place in (folder, folder.parent, folder.parents[1]):
    data = _load(place, spec, verify="known")
    assert data.checksum == files.checksum
    assert data.variant == "jpeg-2"
  assert data.train.example_ids.tolist() == list(range(40))
  assert "tensorflow" not in sys.modules
  with pytest.raises(DataError, match="jpeg-2"):
    _load(folder, spec)


def test_a_set_in_the_directory_of_tfds_is_found_without_a_path(tmp_path, monkeypatch):
  monkeypatch.setattr(registered, "unreachable", lambda url: pytest.fail("asked the network"))
  spec, contents, _ = made.make_cifar()
  made.prepare(tmp_path / "prepared", contents)
  assert _load(None, spec, verify="known").variant == "test-2-unverified"


def test_a_prepared_set_with_one_changed_pixel_is_refused(tmp_path):
  spec, contents, _ = made.make_cifar()
  changed = bytearray(contents["b.bin"])
  changed[3073 * 3 + 500] ^= 1
  folder = made.prepare(tmp_path, contents | {"b.bin": bytes(changed)})
  with pytest.raises(DataError, match=r"SHA-256 of b\.bin"):
    _load(folder, spec, verify="known")


@pytest.mark.parametrize(
  ("ids", "message"),
  [
    ([f"test_{i:05d}" for i in [*range(11), 3]], "once"),
    ([f"picture {i}" for i in range(12)], "are not those of test_00000"),
  ],
)
def test_ids_that_do_not_lead_back_are_refused(tmp_path, ids, message):
  spec, contents, _ = made.make_cifar()
  with pytest.raises(DataError, match=message):
    _load(made.prepare(tmp_path, contents, test_ids=ids), spec, verify="known")


def test_a_set_of_another_size_is_refused(tmp_path):
  spec, contents, _ = made.make_cifar()
  folder = made.prepare(tmp_path, contents | {"test.bin": contents["test.bin"][:3073]})
  with pytest.raises(DataError, match="test split: it has 1 examples, expected 12"):
    _load(folder, spec, verify="known")


def _damage_info(folder, text):
  (folder / "dataset_info.json").write_text(text)


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 100_000, '{"fileFormat": "array_record"}'])
def test_a_damaged_description_is_refused(tmp_path, text):
  spec, contents, _ = made.make_cifar()
  folder = made.prepare(tmp_path, contents)
  _damage_info(folder, text)
  with pytest.raises(DataError, match=str(folder)):
    _load(folder, spec, verify="known")


def test_a_set_prepared_for_tensorflow_says_what_to_do(tmp_path, monkeypatch):
  spec, contents, _ = made.make_cifar()
  folder = made.prepare(tmp_path / "prepared", contents)
  info = json.loads((folder / "dataset_info.json").read_text())
  _damage_info(folder, json.dumps(info | {"fileFormat": "tfrecord"}))
  with pytest.raises(
    DataError,
    match=(
      "prepared as tfrecord, which needs TensorFlow to read; prepare it again with "
      "file_format='array_record'"
    ),
  ):
    _load(folder, spec, verify="known")
  monkeypatch.setattr(registered, "unreachable", lambda url: "no network")
  with pytest.raises(DataError, match="is missing"):  # found in the default place it is passed over
    _load(None, spec, verify="known")


@pytest.mark.parametrize("how", ["cut", "gone", "noise"])
def test_damaged_shards_are_refused(tmp_path, how):
  spec, contents, _ = made.make_cifar()
  folder = made.prepare(tmp_path, contents)
  (shard,) = folder.glob("*train*")
  content = shard.read_bytes()
  shard.unlink()
  if how != "gone":
    shard.write_bytes(content[: len(content) // 2] if how == "cut" else bytes(len(content)))
  with pytest.raises(DataError, match=str(folder)):
    _load(folder, spec, verify="known")


def test_the_newest_version_is_chosen(tmp_path):
  for version in ("3.0.2", "3.0.10", "2.9.9"):
    (tmp_path / "small" / version).mkdir(parents=True)
    (tmp_path / "small" / version / "dataset_info.json").write_text("{}")
  assert prepared.find(tmp_path, "small").name == "3.0.10"
  assert prepared.find(tmp_path / "small", "small").name == "3.0.10"
  assert prepared.find(tmp_path / "none", "small") is None


def test_prepared_svhn_has_no_registered_checksum_and_is_named_a_variant(tmp_path):
  import dataclasses

  _, contents, _ = made.make_cifar()
  spec = dataclasses.replace(
    catalogue.SVHN, tfds_name="small", sizes=registered.PublishedSizes(40, 12, 10)
  )
  folder = made.prepare(tmp_path, contents)
  with pytest.raises(DataError, match="no checksum of svhn as tfds prepares it is registered"):
    _load(folder, spec)
  data = _load(folder, spec, verify="known", allow_empty_class=True)
  assert data.variant == "tfds-prepared"
