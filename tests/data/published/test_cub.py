"""CUB-200-2011 in its original layout, fetched and unpacked; and the sample of the real set."""

import dataclasses
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sdt.data import sources
from sdt.data.published import catalogue, registered, unpack
from sdt.data.published.download import RemoteFile
from sdt.errors import ConfigError, DataError, MissingDataError
from tests.support import registered_sets as made
from tests.support.cub import SMALL, config, load
from tests.support.places import SHARED_DATA

pytestmark = pytest.mark.usefixtures("no_network")


def _refused(path, **keys):
  with pytest.raises(DataError) as caught:
    load(path, **({"verify": "known"} | keys))
  assert "\n" not in str(caught.value)
  return str(caught.value)


def test_ids_are_image_ids_less_one_under_the_official_split(tmp_path):
  folder = made.make_cub(tmp_path)
  data = load(folder)
  assert data.train.example_ids.tolist() == [1, 2, 4, 8]
  assert data.test.example_ids.tolist() == [0, 5]
  assert data.train.labels.tolist() == [0, 0, 1, 1]
  assert data.test.labels.tolist() == [0, 1]
  assert data.train.source_files[3] == "images/003.Sooty_Albatross/s_10.jpg"
  assert data.class_names == ("Black_footed_Albatross", "Sooty_Albatross"), (
    "classes without an image are left out"
  )
  for split in (data.train, data.test):
    for image, file in zip(split.inputs, split.source_files, strict=True):
      np.testing.assert_array_equal(
        image, np.asarray(Image.open(folder / file).resize((16, 16), Image.Resampling.BILINEAR))
      )


def test_the_lists_may_stand_in_any_order(tmp_path):
  folder = made.make_cub(tmp_path)
  before = load(folder).checksum
  for name in ("images.txt", "image_class_labels.txt", "train_test_split.txt", "classes.txt"):
    lines = (folder / name).read_text().splitlines()
    (folder / name).write_text("\r\n".join(lines[::-1]) + "\r\n\r\n")
  assert load(folder).checksum == before


def test_the_folder_its_parent_and_the_data_directory_are_the_same_set(tmp_path):
  folder = made.make_cub(tmp_path / "cache")
  assert len({load(place).checksum for place in (folder, folder.parent, None)}) == 1


def test_images_of_many_sizes_need_a_size_and_may_keep_their_shape(tmp_path):
  folder = made.make_cub(tmp_path)
  with pytest.raises(
    ConfigError,
    match=(
      r"--config\.data\.image_size=256 --config\.data\.resize=short_side "
      r"--config\.data\.crop_size=224"
    ),
  ):
    load(folder, image_size=None)
  data = load(folder, resize="short_side", crop_size=16)
  for size, file in zip(data.train.sizes, data.train.source_files, strict=True):
    width, height = Image.open(io.BytesIO((folder / file).read_bytes())).size
    assert tuple(size) == (16, min(16 * width // height, 24))


def test_the_whole_set_passes_and_a_part_is_refused_or_named_with_its_counts(tmp_path):
  folder = made.make_cub(tmp_path)
  assert load(folder).variant == "complete"
  counts = "2 of 200 classes, 4 of 5,994 training and 2 of 5,794 test images"
  with pytest.raises(DataError, match=f"{counts}; data.verify=strict wants all of them"):
    load(folder, catalogue.CUB)
  data = load(folder, catalogue.CUB, verify="known")
  assert (data.variant, data.notes) == (
    "subset-2-classes",
    (f"data variant 'subset-2-classes': {counts}",),
  )
  assert sum(getattr(catalogue.CUB.sizes, f"num_{split}") for split in ("train", "test")) == 11_788


_SOOTY = "images/003.Sooty_Albatross"
_DAMAGE = {
  "image gone": (
    lambda root: (root / _SOOTY / "s_1.jpg").unlink(),
    "images.txt, line 5: '003.Sooty_Albatross/s_1.jpg' is not in",
  ),
  "image not listed": (
    lambda root: made.write(root / _SOOTY, {"new.jpg": b""}),
    f"{_SOOTY}/new.jpg: ",
  ),
  "class folder not listed": (
    lambda root: made.write(root / "images/004.New", {"new.jpg": b""}),
    "images/004.New: ",
  ),
  "listed twice": (
    lambda root: made.edit(root / "images.txt", "s_1.jpg", "s_2.jpg"),
    "line 5: '003.Sooty_Albatross/s_2.jpg' is not in",
  ),
  "id twice": (
    lambda root: made.edit(root / "images.txt", "6 003", "5 003"),
    "images.txt, line 5: '5' as the id, expected a whole number from 1 that no other line has",
  ),
  "no id": (
    lambda root: made.edit(root / "images.txt", "6 003", "-6 003"),
    "images.txt, line 5: '-6' as the id",
  ),
  "huge id": (
    lambda root: made.edit(root / "images.txt", "6 003", f"{'9' * 5000} 003"),
    "images.txt, line 5: '999",
  ),
  "no class": (
    lambda root: made.edit(root / "image_class_labels.txt", "6 3\n", ""),
    "images.txt, line 5: image 6, of which",
  ),
  "no side": (
    lambda root: made.edit(root / "train_test_split.txt", "6 0\n", ""),
    "train_test_split.txt has no line",
  ),
  "class of no image": (
    lambda root: made.edit(root / "image_class_labels.txt", "6 3\n", "6 3\n7 3\n"),
    "image_class_labels.txt, line 6: image 7, which images.txt does not list",
  ),
  "unknown class": (
    lambda root: made.edit(root / "image_class_labels.txt", "6 3", "6 4"),
    "image_class_labels.txt, line 5: '4', expected one of 1, 2, 3",
  ),
  "other class": (
    lambda root: made.edit(root / "image_class_labels.txt", "6 3", "6 1"),
    (
      "is in the folder of another class than image_class_labels.txt says, "
      "001.Black_footed_Albatross"
    ),
  ),
  "third side": (
    lambda root: made.edit(root / "train_test_split.txt", "6 0", "6 2"),
    "train_test_split.txt, line 5: '2', expected one of 0, 1",
  ),
  "outside": (
    lambda root: made.edit(root / "images.txt", "003.Sooty_Albatross/s_1.jpg", "../../s_1.jpg"),
    "images.txt, line 5: '../../s_1.jpg' is in the folder of another class",
  ),
  "outside, in the class": (
    lambda root: made.edit(
      root / "images.txt", "003.Sooty_Albatross/s_1.jpg", "003.Sooty_Albatross/../x.jpg"
    ),
    "is not in",
  ),
  "three columns": (
    lambda root: made.edit(root / "images.txt", "s_1.jpg", "s_1.jpg x"),
    "images.txt, line 5: 3 columns, expected 2",
  ),
  "no classes": (
    lambda root: (root / "classes.txt").unlink(),
    "classes.txt: No such file or directory",
  ),
  "damaged image": (
    lambda root: (root / _SOOTY / "s_10.jpg").write_bytes(b"<html>"),
    f"1 of 4 images of the training split cannot be read; the first is {_SOOTY}/s_10.jpg",
  ),
}


@pytest.mark.parametrize("name", _DAMAGE)
def test_lists_and_files_that_disagree_are_refused_with_file_and_line(tmp_path, name):
  folder = made.make_cub(tmp_path)
  damage, message = _DAMAGE[name]
  damage(folder)
  text = _refused(folder)
  assert str(folder) in text
  assert message in text


def test_a_damaged_image_is_skipped_on_demand_and_the_others_keep_their_ids(tmp_path):
  folder = made.make_cub(tmp_path)
  (folder / "images" / made.CUB_ROWS[2][3]).write_bytes(b"")
  assert load(folder, on_bad_image="skip").train.example_ids.tolist() == [1, 4, 8]


def test_a_missing_set_says_how_to_get_it(tmp_path, monkeypatch):
  monkeypatch.setattr(
    registered, "unreachable", lambda url: "cannot reach data.caltech.edu: refused"
  )
  for path, keys in ((tmp_path, {}), (None, {}), (None, {"download": False})):
    with pytest.raises(MissingDataError) as caught:
      load(path, catalogue.CUB, **keys)
    remote, archive = catalogue.CUB.remotes[0], tmp_path / "cache" / "CUB_200_2011.tgz"
    for part in (
      f"-o {archive} '{remote.url}' (SHA-256 {remote.sha256})",
      f"tar -xzf {archive} -C {tmp_path / 'cache'}",
    ):
      assert part in str(caught.value)


def _archived(tmp_path, extra=()):
  """Puts the archive of the made-up set into the data directory; returns the set for it."""
  folder = made.make_cub(tmp_path / "in")
  members = {
    f"CUB_200_2011/{file.relative_to(folder)}": file.read_bytes()
    for file in folder.rglob("*")
    if file.is_file()
  }
  content = made.pack({"attributes.txt": b"not wanted"} | members, extra)
  made.write(tmp_path / "cache", {"CUB_200_2011.tgz": content})
  remote = RemoteFile(
    catalogue.CUB.remotes[0].url, "CUB_200_2011.tgz", len(content), sha256=made.sha256(content)
  )
  return dataclasses.replace(SMALL, remotes=(remote,))


def test_an_archive_in_the_data_directory_is_unpacked_once_after_its_checksum(tmp_path):
  spec = _archived(tmp_path)
  data = load(None, spec)
  assert data.checksum == load(tmp_path / "in").checksum
  assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == [
    "CUB_200_2011",
    "CUB_200_2011.tgz",
  ]
  (tmp_path / "cache" / "CUB_200_2011.tgz").unlink()
  assert load(None, spec).checksum == data.checksum


def test_an_archive_with_another_checksum_is_refused_before_anything_is_unpacked(tmp_path):
  spec = _archived(tmp_path)
  path = tmp_path / "cache" / "CUB_200_2011.tgz"
  path.write_bytes(path.read_bytes() + b"\0")
  with pytest.raises(DataError, match="SHA-256"):
    load(None, spec)
  assert [path.name for path in (tmp_path / "cache").iterdir()] == ["CUB_200_2011.tgz"]


def test_what_stands_in_the_way_of_the_folder_is_named_and_kept(tmp_path):
  spec = _archived(tmp_path)
  made.write(tmp_path / "cache" / "CUB_200_2011", {"classes.txt": b"half a set"})
  with pytest.raises(
    DataError, match=r"cache/CUB_200_2011: is there but not the whole set; remove it"
  ):
    load(None, spec)
  assert sorted(path.name for path in (tmp_path / "cache").rglob("*")) == [
    "CUB_200_2011",
    "CUB_200_2011.tgz",
    "classes.txt",
  ]


def test_a_folder_that_another_process_unpacked_meanwhile_is_taken(tmp_path, monkeypatch):
  spec, plain = _archived(tmp_path), unpack.os.replace

  def replace(source, target):
    if Path(target).name == "CUB_200_2011":
      made.make_cub(tmp_path / "cache")
    plain(source, target)

  monkeypatch.setattr(unpack.os, "replace", replace)
  assert load(None, spec).checksum == load(tmp_path / "in").checksum
  assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == [
    "CUB_200_2011",
    "CUB_200_2011.tgz",
  ]


def test_a_folder_that_another_process_unpacked_while_this_one_fetched_is_taken(
  tmp_path, monkeypatch
):
  spec = _archived(tmp_path)
  (tmp_path / "cache" / "CUB_200_2011.tgz").unlink()
  monkeypatch.setattr(registered, "unreachable", lambda url: None)
  monkeypatch.setattr(registered, "fetch", lambda *args, **keys: made.make_cub(tmp_path / "cache"))
  monkeypatch.setattr(registered, "unpack", lambda *args, **keys: pytest.fail("unpacked"))
  assert load(None, spec).checksum == load(tmp_path / "in").checksum


def test_members_that_are_no_files_are_left_in_the_archive_and_those_that_would_escape_stop_it(
  tmp_path,
):
  link = tarfile.TarInfo("CUB_200_2011/images/link.jpg")
  link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
  assert load(None, _archived(tmp_path, [(link, b"")])).variant == "complete"
  assert not (tmp_path / "cache" / "CUB_200_2011" / "images" / "link.jpg").exists()


def test_a_member_that_would_escape_stops_the_unpacking_and_nothing_is_left(tmp_path):
  escape = tarfile.TarInfo("CUB_200_2011/../../../escaped")
  spec = _archived(tmp_path, [(escape, b"")])
  with pytest.raises(DataError, match=r"cannot be unpacked .* nothing of it was kept"):
    load(None, spec)
  assert [path.name for path in (tmp_path / "cache").iterdir()] == ["CUB_200_2011.tgz"]
  assert not list(tmp_path.rglob("escaped"))


def test_the_sample_of_the_real_set_is_read_and_its_ids_follow_no_order_of_file_names(tmp_path):
  sample = SHARED_DATA / "samples/CUB_200_2011-sample.tar"
  if not sample.is_file():
    pytest.skip("the CUB sample is not at ../shared/data/samples")
  with tarfile.open(sample) as archive:
    archive.extractall(tmp_path, filter="data")
  data = sources.load(config(tmp_path, verify="known"))
  assert np.bincount(data.train.labels).tolist() == [8] * 10
  assert np.bincount(data.test.labels).tolist() == [4] * 10
  assert data.class_names[9] == "Red_winged_Blackbird"
  assert data.variant == "subset-10-classes"
  listed = [
    line.split() for line in (tmp_path / "CUB_200_2011" / "images.txt").read_text().splitlines()
  ]
  files = {int(image_id) - 1: f"images/{file}" for image_id, file in listed}
  for split in (data.train, data.test):
    assert [files[i] for i in split.example_ids.tolist()] == list(split.source_files)
    assert all(
      data.class_names[label] in file
      for label, file in zip(split.labels, split.source_files, strict=True)
    )
  assert list(files.values()) != sorted(files.values())
