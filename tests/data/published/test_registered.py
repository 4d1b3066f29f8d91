"""CIFAR and SVHN from archives and folders: made-up records, and the real sets if present."""

import dataclasses
import io
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from sdt.config.schema import DataConfig
from sdt.data import sources
from sdt.data.published import catalogue, registered, svhn
from sdt.data.published.download import RemoteFile
from sdt.errors import DataError
from tests.support import registered_sets as made
from tests.support.places import SHARED_DATA


@pytest.fixture(autouse=True)
def no_other_places(tmp_path, monkeypatch):
  """Neither the user's own data directories nor a proxy take part."""
  monkeypatch.setenv("SDT_DATA_DIR", str(tmp_path / "cache"))
  monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "prepared"))
  for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
    monkeypatch.delenv(name, raising=False)


def _load(path, spec, **keys):
  return registered.load_registered(
    DataConfig(name="cifar10", path=str(path), **keys), spec, lambda line: None
  )


def _refused(folder, path, spec, **keys):
  before = made.tree(folder)
  with pytest.raises(DataError) as caught:
    _load(path, spec, **keys)
  assert made.tree(folder) == before
  text = str(caught.value)
  assert "\n" not in text
  return text


@pytest.mark.parametrize("num_label_bytes", [1, 2])
def test_an_archive_gives_the_planar_records_as_images_in_file_order(tmp_path, num_label_bytes):
  spec, contents, _ = made.make_cifar(num_label_bytes)
  path = tmp_path / "small.tar.gz"
  path.write_bytes(made.pack({f"small-bin/{name}": content for name, content in contents.items()}))
  spec = dataclasses.replace(
    spec,
    remotes=(
      RemoteFile("", path.name, path.stat().st_size, sha256=made.sha256(path.read_bytes())),
    ),
  )
  data = _load(path, spec)
  row = np.frombuffer(contents["b.bin"], np.uint8).reshape(20, -1)[4]
  image = data.train.inputs[24]
  for y, x, channel in ((0, 0, 0), (0, 1, 0), (1, 0, 1), (31, 30, 2)):
    assert image[y, x, channel] == row[num_label_bytes + 1024 * channel + 32 * y + x]
  np.testing.assert_array_equal(data.train.labels, np.tile(np.arange(20) % 4, 2))
  assert data.train.example_ids.tolist() == list(range(40))
  assert len(data.test) == 12
  assert (data.variant, data.notes) == ("canonical", ())
  np.testing.assert_array_equal(data.mean, np.float32([0.5, 0.5, 0.5]))
  assert made.tree(tmp_path) == [(str(path), path.stat().st_size, path.stat().st_mtime_ns)], (
    "nothing is extracted"
  )


def test_the_content_has_one_checksum_however_it_is_read(tmp_path):
  spec, contents, _ = made.make_cifar()
  archive = made.pack({f"small-bin/{name}": content for name, content in contents.items()})
  spec = dataclasses.replace(
    spec, remotes=(RemoteFile("", "small.tar.gz", len(archive), sha256=made.sha256(archive)),)
  )
  made.write(tmp_path / "one", {"small.tar.gz": archive})
  made.write(tmp_path / "two", contents)
  made.write(tmp_path / "three" / "small-bin", contents)
  places = [
    tmp_path / "one",
    tmp_path / "one" / "small.tar.gz",
    tmp_path / "two",
    tmp_path / "three",
  ]
  assert len({_load(place, spec, verify="known").checksum for place in places}) == 1


def test_a_known_variant_is_refused_by_name_and_accepted_on_demand(tmp_path):
  spec, contents, variant = made.make_cifar()
  made.write(tmp_path, contents | {"test.bin": variant})
  text = _refused(tmp_path, tmp_path, spec)
  assert (
    "test.bin is the known variant 'jpeg-2' (2 images are re-encoded), which data.verify=strict "
    "refuses"
  ) in text
  assert "--config.data.verify=known" in text
  data = _load(tmp_path, spec, verify="known")
  assert data.variant == "jpeg-2"
  assert data.notes == ("data variant 'jpeg-2': 2 images are re-encoded",)


def test_the_original_folder_passes_as_unverified_where_its_checksum_is_not_known(tmp_path):
  spec, contents, _ = made.make_cifar()
  made.write(tmp_path, contents)
  assert "test-2-unverified" in _refused(tmp_path, tmp_path, spec)
  assert _load(tmp_path, spec, verify="known").variant == "test-2-unverified"


@pytest.mark.parametrize("level", ["strict", "known"])
@pytest.mark.parametrize("name", ["a.bin", "test.bin"])
def test_one_flipped_bit_outside_the_unknown_pixels_is_refused(tmp_path, name, level):
  spec, contents, _ = made.make_cifar()
  damaged = bytearray(contents[name])
  damaged[5 * 3073 + 100] ^= 4
  made.write(tmp_path, contents | {name: bytes(damaged)})
  assert f"SHA-256 of {name} is {made.sha256(damaged)}, expected" in _refused(
    tmp_path, tmp_path, spec, verify=level
  )


def test_a_changed_label_of_an_unknown_record_is_refused(tmp_path):
  spec, contents, _ = made.make_cifar()
  damaged = bytearray(contents["test.bin"])
  damaged[made.CHANGED[0] * 3073] ^= 1
  made.write(tmp_path, contents | {"test.bin": bytes(damaged)})
  assert "SHA-256 of test.bin" in _refused(tmp_path, tmp_path, spec, verify="known")


@pytest.mark.parametrize("change", [-1, 1, -3073])
def test_short_and_long_files_are_refused_before_reading(tmp_path, change):
  spec, contents, _ = made.make_cifar()
  content = contents["b.bin"] + b"\0" if change > 0 else contents["b.bin"][:change]
  made.write(tmp_path, contents | {"b.bin": content})
  assert f"b.bin: {61460 + change} bytes, expected 61460" in _refused(
    tmp_path, tmp_path, spec, verify="known"
  )


def test_a_missing_file_is_named(tmp_path):
  spec, contents, _ = made.make_cifar()
  made.write(tmp_path, {"a.bin": contents["a.bin"]})
  assert "b.bin: No such file or directory; expected the files a.bin, b.bin, test.bin" in _refused(
    tmp_path, tmp_path, spec
  )


def test_a_changed_archive_is_refused_by_its_own_checksum(tmp_path):
  spec, contents, _ = made.make_cifar()
  path = tmp_path / "small.tar.gz"
  path.write_bytes(made.pack({f"small-bin/{name}": contents["a.bin"] for name in contents}))
  text = _refused(tmp_path, path, spec)
  assert (
    f"SHA-256 {made.sha256(path.read_bytes())}; registered are {spec.remotes[0].size} bytes "
    f"with {spec.remotes[0].sha256}"
  ) in text


def _member(name, kind, content=b"", **fields):
  info = tarfile.TarInfo(name)
  info.type, info.size = kind, len(content)
  for key, value in fields.items():
    setattr(info, key, value)
  return info, content


_HOSTILE = {
  "parent": _member("../escaped", tarfile.REGTYPE, b"x"),
  "absolute": _member("/sdt-escaped", tarfile.REGTYPE, b"x"),
  "symlink": _member("small-bin/link", tarfile.SYMTYPE, linkname="/etc/passwd"),
  "hard link": _member("small-bin/hard", tarfile.LNKTYPE, linkname="../../escaped"),
  "device": _member("small-bin/dev", tarfile.CHRTYPE, devmajor=1, devminor=3),
}


@pytest.mark.parametrize("name", _HOSTILE)
def test_hostile_members_of_an_archive_touch_nothing(tmp_path, name):
  spec, contents, variant = made.make_cifar()
  path = tmp_path / "in" / "small.tar.gz"
  path.parent.mkdir()
  members = {
    f"small-bin/{file}": content for file, content in (contents | {"test.bin": variant}).items()
  }
  path.write_bytes(made.pack(members, [_HOSTILE[name]]))
  before = made.tree(tmp_path)
  assert _load(path, spec, verify="known").variant == "jpeg-2"
  assert made.tree(tmp_path) == before
  assert not Path("/sdt-escaped").exists()


_WRONG_MEMBERS = {
  "twice": _member("small-bin/a.bin", tarfile.REGTYPE, b"\0" * 61460),
  "link in its place": _member("small-bin/a.bin", tarfile.SYMTYPE, linkname="b.bin"),
  "pipe in its place": _member("./small-bin/a.bin", tarfile.FIFOTYPE),
}


@pytest.mark.parametrize("name", _WRONG_MEMBERS)
def test_a_file_that_is_there_twice_or_is_no_file_is_refused(tmp_path, name):
  spec, contents, _ = made.make_cifar()
  path = tmp_path / "small.tar.gz"
  keep = {
    f"small-bin/{file}": content
    for file, content in contents.items()
    if name == "twice" or file != "a.bin"
  }
  path.write_bytes(made.pack(keep, [_WRONG_MEMBERS[name]]))
  assert "must be there once, a regular file of 61460 bytes" in _refused(
    tmp_path, path, spec, verify="known"
  )


def test_an_archive_bomb_is_refused_from_its_size(tmp_path):
  spec, contents, _ = made.make_cifar()
  path = tmp_path / "small.tar.gz"
  path.write_bytes(
    made.pack(
      {"small-bin/zeros": b"\0" * 30_000_000}
      | {f"small-bin/{file}": content for file, content in contents.items()}
    )
  )
  assert "unpacks to more than the set it should hold" in _refused(
    tmp_path, path, spec, verify="known"
  )


@pytest.mark.parametrize("content", [b"", b"no archive", "cut", "python version"])
def test_what_is_no_archive_is_refused(tmp_path, content):
  spec, contents, _ = made.make_cifar()
  path = tmp_path / "small.tar.gz"
  whole = made.pack({f"small-bin/{file}": value for file, value in contents.items()})
  path.write_bytes(
    {"cut": whole[: len(whole) // 2], "python version": made.pack({"small-py/a": b"x"})}.get(
      content, content
    )
  )
  assert str(path) in _refused(tmp_path, path, spec, verify="known")


def test_a_place_without_the_set_says_how_to_get_it(tmp_path):
  spec, _, _ = made.make_cifar()
  for place in (tmp_path, tmp_path / "none"):
    text = _refused(tmp_path, place, spec)
    assert (
      f"curl -fL --create-dirs -o {tmp_path / 'cache' / 'small.tar.gz'} {spec.remotes[0].url} "
      f"(SHA-256 {spec.remotes[0].sha256})"
    ) in text
    assert "--config=configs/digits.py" in text


def _mat(num=20, labels=None, **other):
  images = np.random.default_rng(0).integers(0, 256, (32, 32, 3, num), dtype=np.uint8)
  labels = (np.arange(num) % 10 + 1).astype(np.uint8)[:, None] if labels is None else labels
  buffer = io.BytesIO()
  scipy.io.savemat(buffer, {"X": images, "y": labels} | other, do_compression=True)
  return images, buffer.getvalue()


def test_svhn_label_ten_is_digit_zero_and_images_keep_their_orientation():
  images, content = _mat()
  split = svhn.decode_mat(content, "here")
  np.testing.assert_array_equal(split.labels, (np.arange(20) + 1) % 10)
  assert split.inputs[13, 5, 9, 2] == images[5, 9, 2, 13]
  assert split.inputs.flags.c_contiguous


@pytest.mark.parametrize(
  ("labels", "message"),
  [
    (
      np.array([[1], [0], [11]] + [[2]] * 17, np.uint8),
      "2 of 20 labels are outside 1 .. 10; the first is 0 at example 1",
    ),
    (np.full((20, 1), 1.5), "20 of 20 labels are outside 1 .. 10; the first is 1.5"),
    (np.ones((19, 1), np.uint8), "y [19, 1], expected uint8 [32, 32, 3, N] and [N, 1]"),
  ],
)
def test_wrong_svhn_labels_are_refused(labels, message):
  with pytest.raises(DataError) as caught:
    svhn.decode_mat(_mat(labels=labels)[1], "here")
  assert message in str(caught.value)


def test_svhn_damage_is_refused():
  content = _mat()[1]
  for damaged in (b"", b"text" * 99, content[: len(content) // 2]):
    with pytest.raises(DataError, match="here: "):
      svhn.decode_mat(damaged, "here")
  without_labels = io.BytesIO()
  scipy.io.savemat(without_labels, {"X": np.zeros((32, 32, 3, 2), np.uint8)})
  with pytest.raises(DataError, match="no variable y"):
    svhn.decode_mat(without_labels.getvalue(), "here")


def _svhn_spec(train, test):
  files = (("train_32x32.mat", train), ("test_32x32.mat", test))
  remotes = tuple(
    RemoteFile(f"http://localhost:9/{name}", name, len(content), sha256=made.sha256(content))
    for name, content in files
  )
  return dataclasses.replace(
    catalogue.SVHN, remotes=remotes, sizes=registered.PublishedSizes(40, 20, 10)
  )


def test_svhn_files_are_verified_and_the_label_rule_is_told(tmp_path):
  train, test = _mat(40)[1], _mat(20)[1]
  spec = _svhn_spec(train, test)
  made.write(tmp_path, {"train_32x32.mat": train, "test_32x32.mat": test})
  data = _load(tmp_path, spec)
  assert (len(data.train), len(data.test), data.variant) == (40, 20, "canonical")
  assert data.notes == (svhn.LABEL_NOTE,)
  (tmp_path / "test_32x32.mat").write_bytes(test[:-1] + b"\x01")
  assert "registered is" in _refused(tmp_path, tmp_path, spec, verify="known")
  (tmp_path / "test_32x32.mat").write_bytes(test[:-1])
  assert f"{len(test) - 1} bytes, registered are {len(test)}" in _refused(tmp_path, tmp_path, spec)
  (tmp_path / "test_32x32.mat").unlink()
  for place in (tmp_path, tmp_path / "train_32x32.mat"):
    assert "expected the folder with train_32x32.mat and test_32x32.mat" in _refused(
      tmp_path, place, spec
    )


def test_addresses_and_checksums_are_those_that_tfds_registers():
  import tensorflow_datasets as tfds

  for spec in (spec for spec in catalogue.SETS.values() if spec.remotes):
    infos = tfds.builder_cls(spec.tfds_name).url_infos
    for remote in spec.remotes:
      assert (remote.size, remote.sha256, remote.name) == (
        infos[remote.url].size,
        infos[remote.url].checksum,
        infos[remote.url].filename,
      )
  assert len(set(catalogue.CIFAR100.form.class_names)) == 100
  assert list(catalogue.CIFAR100.form.class_names) == sorted(catalogue.CIFAR100.form.class_names)


@pytest.mark.slow
@pytest.mark.parametrize(
  ("name", "level", "variant"),
  [("cifar10", "known", "jpeg-test-20"), ("cifar100", "strict", "canonical")],
)
def test_the_real_cifar_files_are_recognised(tmp_path, name, level, variant):
  if not (SHARED_DATA / "unpack.py").is_file():
    pytest.skip("the packed CIFAR sets are not at ../shared/data")
  command = [
    sys.executable,
    SHARED_DATA / "unpack.py",
    SHARED_DATA / name,
    tmp_path / "set.npz",
    "--bin",
    tmp_path / "bin",
  ]
  subprocess.run(command, check=True, capture_output=True, timeout=600)
  data = sources.load(DataConfig(name=name, path=str(tmp_path / "bin"), verify=level))
  assert data.variant == variant
  with np.load(tmp_path / "set.npz") as arrays:
    np.testing.assert_array_equal(data.train.inputs, arrays["train_x"])
    np.testing.assert_array_equal(data.train.labels, arrays["train_y"])
    np.testing.assert_array_equal(data.test.inputs, arrays["test_x"])
    np.testing.assert_array_equal(data.test.labels, arrays["test_y"])
  if level == "known":
    with pytest.raises(DataError, match="jpeg-test-20"):
      sources.load(DataConfig(name=name, path=str(tmp_path / "bin")))


def test_real_svhn_images_are_read_with_made_labels():
  sample = SHARED_DATA / "samples" / "svhn-train_32x32-first1083-X-only.mat"
  if not sample.is_file():
    pytest.skip("the SVHN sample is not at ../shared/data")
  images = scipy.io.loadmat(sample)["X"]
  buffer = io.BytesIO()
  scipy.io.savemat(
    buffer, {"X": images, "y": (np.arange(images.shape[3]) % 10 + 1).astype(np.uint8)[:, None]}
  )
  split = svhn.decode_mat(buffer.getvalue(), "sample")
  assert split.inputs.shape == (1083, 32, 32, 3)
  np.testing.assert_array_equal(split.labels, (np.arange(1083) + 1) % 10)  # class 10 is the digit 0
  np.testing.assert_array_equal(split.inputs[1000], images[..., 1000])
