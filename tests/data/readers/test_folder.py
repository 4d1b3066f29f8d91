"""Images in folders: layouts, what counts as an image, damage."""

import numpy as np
import pytest
from PIL import Image

from sdt.config.schema import DataConfig
from sdt.data import sources
from sdt.errors import DataError
from tests.support import image_files
from tests.support import registered_sets as made


def _fill(root, counts, size=(6, 4)):
  """Writes counts[class] PNG images below root."""
  for label, (name, num) in enumerate(counts.items()):
    (root / name).mkdir(parents=True, exist_ok=True)
    for i in range(num):
      seed = 100 * label + i + 10_000 * (root.name != "train")  # other images in other splits
      image_files.noise(size, seed).save(root / name / f"{i:03d}.png")
  return root


def _load(root, **keys):
  return sources.load(DataConfig(name="folder", path=str(root), **keys))


def _refused(root, **keys):
  before = made.tree(root) if root.is_dir() else None
  with pytest.raises(DataError) as caught:
    _load(root, **keys)
  assert before is None or made.tree(root) == before
  assert "\n" not in str(caught.value)
  return str(caught.value)


def test_train_and_test_folders_are_read_in_sorted_order(tmp_path):
  _fill(tmp_path / "train", {"cat": 3, "ant": 2})
  _fill(tmp_path / "test", {"cat": 1, "ant": 1})
  data = _load(tmp_path)
  assert data.class_names == ("ant", "cat")
  assert data.train.source_files == (
    "train/ant/000.png",
    "train/ant/001.png",
    "train/cat/000.png",
    "train/cat/001.png",
    "train/cat/002.png",
  )
  assert data.train.labels.tolist() == [0, 0, 1, 1, 1]
  assert data.train.example_ids.tolist() == [0, 1, 2, 3, 4]
  assert data.train.inputs.shape == (5, 4, 6, 3)
  for i, file in enumerate(data.train.source_files):
    np.testing.assert_array_equal(data.train.inputs[i], np.asarray(Image.open(tmp_path / file)))
  assert (data.variant, data.notes) == ("custom", ())


@pytest.mark.parametrize("below", ["", "train"])
def test_without_a_test_folder_a_fraction_is_held_out(tmp_path, below):
  _fill(tmp_path / below, {"a": 8, "b": 4})
  data = _load(tmp_path, test_fraction=0.25)
  assert np.bincount(data.test.labels).tolist() == [2, 1]
  assert len(data.train) == 9
  prefix = below + "/" if below else ""
  assert set(data.train.source_files) | set(data.test.source_files) == {
    f"{prefix}{c}/{i:03d}.png" for c, n in (("a", 8), ("b", 4)) for i in range(n)
  }
  assert "data.test_fraction=0.2" in _refused(tmp_path)


@pytest.mark.parametrize("name", ["val", "valid"])
def test_a_validation_folder_is_the_test_split_where_there_is_no_other(tmp_path, name):
  _fill(tmp_path / "train", {"a": 3, "b": 2})
  _fill(tmp_path / name, {"a": 1, "b": 1})
  data = _load(tmp_path)
  assert data.test.source_files == (f"{name}/a/000.png", f"{name}/b/000.png")
  assert data.notes == (f"{name}/ is the test split",)
  _fill(tmp_path / "test", {"a": 2, "b": 2})
  both = _load(tmp_path)
  assert both.test.source_files[0] == "test/a/000.png"
  assert len(both.test) == 4
  assert both.notes == (f"{name}/ is not used",)


def test_every_kind_of_suffix_is_an_image(tmp_path):
  kinds = list(image_files.EXACT.values())
  for label in "ab":
    (tmp_path / label).mkdir()
    for i, (file, content, _) in enumerate(kinds):
      (tmp_path / label / f"{i:03d}{file[1:].upper()}").write_bytes(content)
  data = _load(tmp_path, test_fraction=0.5)
  assert len(data.train) + len(data.test) == 2 * len(kinds)
  for split in (data.train, data.test):
    for image, file in zip(split.inputs, split.source_files, strict=True):
      np.testing.assert_array_equal(image, kinds[int(file[2:5])][2])


def test_images_of_different_size_are_refused_by_name(tmp_path):
  _fill(tmp_path, {"a": 3, "b": 3})
  image_files.noise((7, 4)).save(tmp_path / "b" / "001.png")
  text = _refused(tmp_path, test_fraction=0.5)
  assert (
    "a/000.png is 6 x 4, b/001.png is 7 x 4; give one size, such as --config.data.image_size=32"
    in text
  )
  assert _load(tmp_path, test_fraction=0.5, image_size=8).train.inputs.shape[1:] == (8, 8, 3)


def test_a_damaged_image_is_named_and_refused_or_skipped_and_counted(tmp_path):
  _fill(tmp_path / "train", {"a": 4, "b": 4})
  _fill(tmp_path / "test", {"a": 1, "b": 1})
  (tmp_path / "train" / "b" / "001.png").write_bytes(b"")
  text = _refused(tmp_path)
  assert (
    "1 of 8 images of train/ cannot be read; the first is train/b/001.png: the file is empty"
    in text
  )
  assert "--config.data.on_bad_image=skip" in text
  data = _load(tmp_path, on_bad_image="skip")
  assert data.notes == (
    "1 of 8 images of train/ were skipped; the first is train/b/001.png: the file is empty",
  )
  assert data.train.example_ids.tolist() == [0, 1, 2, 3, 4, 6, 7], "the others keep their ids"
  assert data.train.source_files[5] == "train/b/002.png"


def test_a_link_to_nowhere_is_a_damaged_image(tmp_path):
  _fill(tmp_path, {"a": 4, "b": 2})
  (tmp_path / "a" / "000b.png").symlink_to("nowhere.png")
  with pytest.raises(
    DataError, match=r"1 of 7 images of .* cannot be read; the first is a/000b\.png: No such file"
  ):
    _load(tmp_path, test_fraction=0.5)
  data = _load(tmp_path, test_fraction=0.5, on_bad_image="skip")
  assert data.notes[0].endswith("were skipped; the first is a/000b.png: No such file or directory")
  assert sorted([*data.train.example_ids, *data.test.example_ids]) == [0, 2, 3, 4, 5, 6]


def test_a_class_whose_images_were_all_skipped_is_an_empty_class(tmp_path):
  _fill(tmp_path, {"a": 4, "b": 1})
  (tmp_path / "b" / "000.png").write_bytes(b"")
  assert "1 of 2 classes have no training example: 1 (b)" in _refused(
    tmp_path, test_fraction=0.5, on_bad_image="skip"
  )


def test_what_is_left_out_is_counted_by_reason(tmp_path):
  _fill(tmp_path, {"a": 4, "b": 2, ".cache": 3})
  (tmp_path / "a" / "notes.txt").write_text("x")
  (tmp_path / "a" / ".DS_Store").write_text("x")
  (tmp_path / "a" / "folder.png").mkdir()
  image_files.noise().save(tmp_path / "loose.png")
  data = _load(tmp_path, test_fraction=0.5)
  assert data.class_names == ("a", "b")
  assert data.notes == (
    (
      "left out: 1 files that are no images (the first is a/notes.txt); 1 hidden files (the first "
      "is a/.DS_Store); 1 images beside the class folders (the first is loose.png); 3 images in "
      "system or hidden folders (the first is .cache/000.png)"
    ),
  )


def test_a_folder_of_one_class_is_refused(tmp_path):
  _fill(tmp_path, {"a": 4})
  assert "there is only 1 class (a), at least 2 are needed" in _refused(
    tmp_path, test_fraction=0.5, allow_empty_class=True
  )


def test_a_renamed_class_folder_is_other_data(tmp_path):
  _fill(tmp_path, {"a": 4, "b": 2})
  before = _load(tmp_path, test_fraction=0.5)
  (tmp_path / "b").rename(tmp_path / "c")
  after = _load(tmp_path, test_fraction=0.5)
  np.testing.assert_array_equal(after.train.inputs, before.train.inputs)
  assert after.checksum != before.checksum


def test_wrong_layouts_are_refused_with_the_right_one(tmp_path):
  assert "no such folder" in _refused(tmp_path / "none")
  assert "expected train/CLASS/*.png|jpg" in _refused(tmp_path, test_fraction=0.5)
  (tmp_path / "a").mkdir()
  assert "no image in the class folders" in _refused(tmp_path, test_fraction=0.5)
  _fill(tmp_path / "train", {"a": 2})
  _fill(tmp_path / "test", {"a": 1, "z": 1})
  assert "test/z/ without a folder of the same name below train/" in _refused(tmp_path)
  with pytest.raises(DataError, match="needs the folder"):
    sources.load(DataConfig(name="folder"))


def test_images_of_differing_sizes_train_and_test_share_a_canvas(tmp_path):
  _fill(tmp_path / "train", {"a": 2, "b": 2}, size=(9, 6))
  _fill(tmp_path / "test", {"a": 1, "b": 1}, size=(6, 8))
  data = _load(tmp_path, resize="short_side", crop_size=6)
  assert data.train.inputs.shape == (4, 8, 9, 3)
  assert data.test.inputs.shape == (2, 8, 9, 3)
  assert data.train.sizes.tolist() == [[6, 9]] * 4
  assert data.test.sizes.tolist() == [[8, 6]] * 2
  pixels = np.asarray(Image.open(tmp_path / "test" / "b" / "000.png"))
  np.testing.assert_array_equal(data.test.inputs[1, :8, :6], pixels)
  assert not data.test.inputs[1, :, 6:].any()
  own = np.concatenate([data.train.inputs[i, :6].reshape(-1, 3) for i in range(4)]) / 255
  np.testing.assert_allclose(data.mean, own.mean(axis=0), rtol=1e-6)
