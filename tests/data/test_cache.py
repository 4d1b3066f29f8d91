"""Decoded images are kept, found again, and never trusted unverified."""

import json
import multiprocessing
import os
import time
from pathlib import Path

import numpy as np
import pytest

from sdt import files
from sdt.config.schema import DataConfig
from sdt.data import cache
from sdt.data.readers import decoding, images
from sdt.data.readers.images import Listing, read_images
from sdt.errors import DataError
from sdt.files import formats
from tests.support import image_files as made

SIZES = [(6, 4), (5, 9), (8, 8), (11, 3)]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
  """The data directory of a test, and how many images it decoded."""
  monkeypatch.setenv("SDT_DATA_DIR", str(tmp_path / "data"))
  return tmp_path / "data" / "prepared"


@pytest.fixture
def decoded(monkeypatch):
  """The files that were decoded."""
  seen = []
  plain = images.decode
  monkeypatch.setattr(
    images, "decode", lambda content, config: seen.append(content) or plain(content, config)
  )
  return seen


@pytest.fixture
def root(tmp_path):
  root = tmp_path / "set"
  root.mkdir()
  for i, size in enumerate(SIZES):
    made.noise(size, seed=i).save(root / f"{i}.png")
  return root


def _read(root, log=lambda line: None, files=("0.png", "1.png", "2.png", "3.png"), **keys):
  config = DataConfig(**{"name": "folder", "image_size": 8} | keys)
  return read_images(root, Listing(files, np.arange(len(files))), config, "the split", log)


def _assert_alike(one, other):
  assert one[1] == other[1]
  for field in ("inputs", "labels", "example_ids", "sizes"):
    ours, theirs = getattr(one[0], field), getattr(other[0], field)
    assert (ours is None) == (theirs is None)
    if ours is not None:
      np.testing.assert_array_equal(ours, theirs)
      assert ours.dtype == theirs.dtype
  assert one[0].source_files == other[0].source_files


@pytest.mark.parametrize(
  "keys",
  [
    {},
    {"resize": "short_side", "crop_size": 4},
    {"image_size": None, "resize": "short_side", "crop_size": 3},
  ],
)
def test_the_second_reading_decodes_nothing_and_gives_the_same(root, folder, decoded, keys):
  lines = []
  first = _read(root, lines.append, **keys)
  assert len(decoded) == 4
  second = _read(root, lines.append, **keys)
  assert len(decoded) == 4
  _assert_alike(first, second)
  array = next(folder.glob("*.npy"))
  assert lines == [
    f"kept 4 decoded images, {first[0].inputs.nbytes / 2**20:.1f} MiB, in {array}",
    f"reading 4 prepared images from {array}",
  ]
  np.testing.assert_array_equal(np.load(array, allow_pickle=False), first[0].inputs)
  described = json.loads(array.with_suffix(".json").read_text())
  assert described["root"] == str(root)
  assert files.is_intact(array)


def test_skipped_images_and_their_reasons_are_kept_with_the_rest(root, decoded):
  (root / "1.png").write_bytes(b"")
  first = _read(root, on_bad_image="skip")
  second = _read(root, on_bad_image="skip")
  assert len(decoded) == 4
  _assert_alike(first, second)
  assert second[1] == [
    "1 of 4 images of the split were skipped; the first is 1.png: the file is empty"
  ]
  assert second[0].example_ids.tolist() == [0, 2, 3]
  with pytest.raises(
    DataError,
    match=r"1 of 4 images of the split cannot be read; the first is 1\.png: the file is empty",
  ):
    _read(root)
  assert len(decoded) == 4, "what was kept also knows what to refuse"


def test_a_refused_set_is_not_kept(root, folder):
  (root / "1.png").write_bytes(b"")
  with pytest.raises(DataError):
    _read(root)
  assert not folder.exists()


def test_a_file_that_could_not_be_opened_is_tried_again(root, folder, monkeypatch):
  plain = decoding._read_file

  def fail(path):
    if path.name == "2.png":
      raise OSError(5, "Input/output error")
    return plain(path)

  with monkeypatch.context() as patch:
    patch.setattr(decoding, "_read_file", fail)
    assert "Input/output error" in _read(root, on_bad_image="skip")[1][0]
  assert not folder.exists()
  assert _read(root, on_bad_image="skip")[1] == []


def _touch(root):
  os.utime(root / "2.png", ns=(0, 1))


def _change_back_in_time(root):
  """Puts another image in place, of the same size and mtime, as unpacking may."""
  before = (root / "2.png").stat()
  content = bytearray((root / "2.png").read_bytes())
  content[-13] ^= 1
  time.sleep(0.02)
  (root / "2.png").write_bytes(content)
  os.utime(root / "2.png", ns=(before.st_atime_ns, before.st_mtime_ns))


def _lengthen(root):
  with (root / "2.png").open("ab") as file:
    file.write(b"x")


@pytest.mark.parametrize("change", [_touch, _change_back_in_time, _lengthen])
def test_a_changed_file_is_decoded_again(root, decoded, change):
  _read(root, on_bad_image="skip")
  change(root)
  _read(root, on_bad_image="skip")
  assert len(decoded) == 8


@pytest.mark.parametrize(
  "keys",
  [
    {"image_size": 9},
    {"resize": "short_side", "crop_size": 4},
    {"files": ("0.png", "1.png", "2.png")},
    {"files": ("1.png", "0.png", "2.png", "3.png")},
    {"name": "csv"},
  ],
)
def test_another_list_or_another_way_to_decode_is_another_entry(root, folder, keys):
  _read(root)
  fresh = _read(root, cache=False, **keys)
  _assert_alike(_read(root, **keys), fresh)
  assert len(list(folder.glob("*.npy"))) == 2


def test_another_root_rule_or_pillow_is_another_key(root, monkeypatch):
  def key(place=root):
    return cache.key(place, ("0.png",), ("0.png",), DataConfig(name="folder"))

  keys = {key(), key(root.parent)}
  with monkeypatch.context() as patch:
    patch.setattr(cache, "_RULES", cache._RULES + 1)
    keys.add(key())
  with monkeypatch.context() as patch:
    patch.setattr(cache.PIL, "__version__", "99")
    keys.add(key())
  assert len(keys) == 4
  assert key() in keys


def test_what_is_cropped_or_refused_does_not_change_the_key(root, decoded):
  _read(root)
  _read(root, crop_size=4, on_bad_image="skip", num_train=2)
  assert len(decoded) == 4


def _flip(path, at):
  content = bytearray(path.read_bytes())
  content[at] ^= 1
  path.write_bytes(content)


_DAMAGE = {
  "a bit of the pixels": lambda array: _flip(array, -7),
  "a bit of the header": lambda array: _flip(array, 30),
  "a bit of the description": lambda array: _flip(array.with_suffix(".json"), 9),
  "a cut array": lambda array: array.write_bytes(array.read_bytes()[:-1]),
  "an empty description": lambda array: array.with_suffix(".json").write_bytes(b""),
  "no array": lambda array: array.unlink(),
  "no seal": lambda array: (array.parent / ".sha256" / array.name).unlink(),
  "another's description": lambda array: files.write_json(
    array.with_suffix(".json"), {"format": 7}
  ),
  "a wrong shape": lambda array: files.write_json(
    array.with_suffix(".json"), {"shape": [4, 8, 8, 4], "skipped": {}, "sizes": None}
  ),
  "too few images": lambda array: files.write_json(
    array.with_suffix(".json"), {"shape": [3, 8, 8, 3], "skipped": {}, "sizes": None}
  ),
  "more images than files": lambda array: files.write_json(
    array.with_suffix(".json"),
    {"shape": [4, 8, 8, 3], "skipped": {"0": "x"}, "sizes": None, "remarks": {}},
  ),
}


@pytest.mark.parametrize("name", _DAMAGE)
def test_damage_is_found_told_and_mended(root, folder, decoded, name):
  first = _read(root)
  _DAMAGE[name](next(folder.glob("*.npy")))
  lines = []
  _assert_alike(_read(root, lines.append), first)
  assert len(decoded) == 8
  assert any("are damaged" in line and "made again" in line for line in lines)
  _assert_alike(_read(root), first)
  assert len(decoded) == 8


def test_without_a_cache_nothing_is_written_or_read(root, folder, decoded):
  _read(root, cache=False)
  assert not folder.exists()
  _read(root)
  _read(root, cache=False)
  assert len(decoded) == 12


def _tree(folder):
  return [path for path in folder.rglob("*") if path.is_file()]


def test_a_directory_that_cannot_be_written_is_told_and_no_failure(root, folder):
  folder.parent.mkdir()
  folder.write_text("a file where a folder is needed")
  lines = []
  fresh = _read(root, cache=False)
  _assert_alike(_read(root, lines.append), fresh)
  assert len(lines) == 1
  assert lines[0].startswith(f"the 4 decoded images were not kept in {folder}: ")


def test_a_directory_that_may_not_be_entered_is_told_and_no_failure(root, folder, monkeypatch):
  fresh, plain = _read(root, cache=False), os.stat

  def stat(
    path, **keys
  ):  # as for a user without rights: the tests may run as root, who has them all
    if folder in Path(os.fspath(path)).parents:
      raise PermissionError(13, "Permission denied", str(path))
    return plain(path, **keys)

  def mkdir(path, *args, **keys):
    raise PermissionError(13, "Permission denied", str(path))

  lines = []
  with monkeypatch.context() as patch:
    patch.setattr(os, "stat", stat)
    patch.setattr(os, "mkdir", mkdir)
    split = _read(root, lines.append)
  _assert_alike(split, fresh)
  assert lines == [f"the 4 decoded images were not kept in {folder}: Permission denied"]


@pytest.mark.parametrize("fatal", range(1, 9))
def test_a_disk_that_fills_up_leaves_nothing_half_written(root, folder, monkeypatch, fatal):
  calls = []
  plain = os.fsync

  def fsync(handle):
    calls.append(handle)
    if len(calls) == fatal:
      raise OSError(28, "No space left on device")
    plain(handle)

  lines = []
  with monkeypatch.context() as patch:
    patch.setattr(formats.os, "fsync", fsync)
    fresh = _read(root, lines.append)
  assert lines == [f"the 4 decoded images were not kept in {folder}: No space left on device"]
  assert _tree(folder) == []
  _assert_alike(_read(root), fresh)
  assert len(_tree(folder)) == 4


def test_the_cache_does_not_fill_the_disk(root, folder, monkeypatch):
  monkeypatch.setattr(cache.shutil, "disk_usage", lambda place: type("usage", (), {"free": 1000}))
  lines = []
  _read(root, lines.append)
  assert lines == [
    (
      "the 4 decoded images were not kept: their 0.0 MiB are more than half of what is free in "
      f"{folder}"
    )
  ]
  assert _tree(folder) == []


def test_what_killed_writers_left_is_removed_and_what_living_ones_write_is_not(root, folder):
  (folder / ".sha256").mkdir(parents=True)
  old, new = folder / ".sdt-tmp-1-0", folder / ".sdt-tmp-2-0"
  old_seal = folder / ".sha256" / ".sdt-tmp-1-1"
  for path in (old, new, old_seal):
    path.write_text("x")
  for path in (old, old_seal):
    os.utime(path, (0, 0))
  _read(root)
  assert new.exists()
  assert not old.exists()
  assert not old_seal.exists()


def test_files_that_change_while_they_are_decoded_are_not_kept(root, folder, monkeypatch):
  plain = images.decode

  def decode(content, config):
    _touch(root)
    return plain(content, config)

  monkeypatch.setattr(images, "decode", decode)
  _read(root)
  assert not folder.exists()


def test_contents_of_one_file_are_decoded_again_when_that_file_changes(root, decoded):
  listing = Listing(("a", "b"), np.arange(2), lambda i: (root / f"{i}.png").read_bytes())
  other = Listing(("b", "a"), np.arange(2), lambda i: (root / f"{1 - i}.png").read_bytes())
  config = DataConfig(name="cub", image_size=8)

  def read(listing=listing):
    return read_images(root, listing, config, "the split", lambda line: None)

  first = read()
  _assert_alike(read(), first)
  assert len(decoded) == 2
  np.testing.assert_array_equal(read(other)[0].inputs, first[0].inputs[::-1])
  assert len(decoded) == 4
  _touch(root)
  read()
  assert len(decoded) == 6


def _read_often(root, data, barrier, results):
  os.environ["SDT_DATA_DIR"] = str(data)
  barrier.wait()
  for _ in range(10):
    split, _ = _read(root)
    results.put(int(split.inputs.astype(np.int64).sum()))
    for path in (data / "prepared").glob("*.json"):
      path.unlink(missing_ok=True)  # so that the next reading writes again


@pytest.mark.slow
def test_processes_that_write_at_once_do_not_disturb_each_other(root, folder):
  context = multiprocessing.get_context("spawn")
  barrier, results = context.Barrier(2), context.Queue()
  processes = [
    context.Process(target=_read_often, args=(root, folder.parent, barrier, results))
    for _ in range(2)
  ]
  for process in processes:
    process.start()
  found = [results.get(timeout=60) for _ in range(20)]
  for process in processes:
    process.join(60)
    assert process.exitcode == 0
  fresh, _ = _read(root, cache=False)
  assert set(found) == {int(fresh.inputs.astype(np.int64).sum())}
  assert not [path for path in _tree(folder) if path.name.startswith(".sdt-tmp")]
