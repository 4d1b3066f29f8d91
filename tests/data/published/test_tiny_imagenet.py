"""Tiny-ImageNet-200 in its original layout: made-up folders, and the sample of the real set."""

import dataclasses
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sdt.config.schema import DataConfig
from sdt.data import sources
from sdt.data.published import catalogue, registered
from sdt.errors import DataError, MissingDataError
from tests.support import registered_sets as made
from tests.support.places import SHARED_DATA

SMALL = dataclasses.replace(
  catalogue.TINY_IMAGENET, sizes=registered.PublishedSizes(15, 3, 3, image_shape=(4, 6, 3))
)


@pytest.fixture(autouse=True)
def own_data_directory(tmp_path, monkeypatch):
  monkeypatch.setenv("SDT_DATA_DIR", str(tmp_path / "cache"))


def _load(path, spec=SMALL, **keys):
  config = DataConfig(
    name="tiny_imagenet", path=None if path is None else str(path), cache=False, **keys
  )
  return registered.load_registered(config, spec, lambda line: None)


def _refused(path, **keys):
  with pytest.raises(DataError) as caught:
    _load(path, verify="known", **keys)
  assert "\n" not in str(caught.value)
  return str(caught.value)


def test_labels_are_rows_of_wnids_and_ids_are_rows_of_the_whole_set_in_the_order_of_numbers(
  tmp_path,
):
  folder = made.make_tiny_imagenet(tmp_path)
  data = _load(folder)
  assert data.train.example_ids.tolist() == [
    0,
    2,
    9,
    10,
    499,
    500,
    502,
    509,
    510,
    999,
    1000,
    1002,
    1009,
    1010,
    1499,
  ]
  assert data.train.labels.tolist() == [0] * 5 + [1] * 5 + [2] * 5
  assert data.train.source_files[3] == "train/n00000030/images/n00000030_10.JPEG"
  assert data.test.example_ids.tolist() == [3, 20, 100]
  assert data.test.labels.tolist() == [1, 0, 1]
  for split in (data.train, data.test):
    for image, file in zip(split.inputs, split.source_files, strict=True):
      np.testing.assert_array_equal(image, np.asarray(Image.open(folder / file)))


def test_classes_have_the_first_of_their_names_and_the_id_where_two_share_it(tmp_path):
  data = _load(made.make_tiny_imagenet(tmp_path))
  assert data.class_names == ("sea snake", "crane (n00000010)", "crane (n00000020)")


def test_the_folder_its_parent_and_the_data_directory_are_the_same_set(tmp_path):
  folder = made.make_tiny_imagenet(tmp_path / "cache")
  checksums = {_load(place).checksum for place in (folder, folder.parent, None)}
  assert len(checksums) == 1


def test_a_whole_set_passes_and_says_that_its_images_were_only_counted(tmp_path):
  data = _load(made.make_tiny_imagenet(tmp_path), verify="strict")
  assert data.variant == "complete"
  assert data.notes[0] == (
    "data variant 'complete': all images are there; no checksum of them is registered to "
    "compare them with"
  )


def test_a_part_of_the_set_is_refused_or_named_with_its_counts(tmp_path):
  folder = made.make_tiny_imagenet(tmp_path)
  spec = catalogue.TINY_IMAGENET
  with pytest.raises(DataError) as caught:
    _load(folder, spec)
  counts = "3 of 200 classes, 15 of 100,000 training and 3 of 10,000 test images"
  assert f"{folder}: {counts}; data.verify=strict wants all of them" in str(caught.value)
  assert "--config.data.verify=known" in str(caught.value)
  data = _load(folder, spec, verify="known")
  assert data.variant == "subset-3-classes"
  assert data.notes[0] == f"data variant 'subset-3-classes': {counts}"


@pytest.mark.parametrize("lacking", ["train", "test"])
def test_one_image_less_is_a_part_and_changes_no_other_id(tmp_path, lacking):
  folder = made.make_tiny_imagenet(tmp_path)
  whole = _load(folder)
  if lacking == "train":
    (folder / "train" / made.WNIDS[1] / "images" / f"{made.WNIDS[1]}_2.JPEG").unlink()
  else:
    (folder / "val" / "images" / "val_20.JPEG").unlink()
    made.edit(folder / "val" / "val_annotations.txt", "val_20.JPEG\tn00000030\t0\t0\t5\t3\n", "")
  with pytest.raises(DataError, match="14 of 15 training" if lacking == "train" else "2 of 3 test"):
    _load(folder)
  part = _load(folder, verify="known")
  for ours, theirs in ((part.train, whole.train), (part.test, whole.test)):
    kept = np.isin(theirs.example_ids, ours.example_ids)
    np.testing.assert_array_equal(ours.inputs, theirs.inputs[kept])
    assert ours.source_files == tuple(np.array(theirs.source_files)[kept])
  assert part.variant == "subset-3-classes"


def test_more_than_was_published_is_refused(tmp_path):
  folder = made.make_tiny_imagenet(tmp_path)
  with pytest.raises(
    DataError, match="15 of 14 training and 3 of 3 test images; that is more than tiny_imagenet has"
  ):
    _load(
      folder, dataclasses.replace(SMALL, sizes=registered.PublishedSizes(14, 3, 3)), verify="known"
    )


def _crowd(folder):
  lines = [f"val_{number}.JPEG\t{made.WNIDS[2]}\t0\t0\t5\t3\n" for number in range(200, 251)]
  with (folder / "val" / "val_annotations.txt").open("a") as file:
    file.writelines(lines)
  made.write(
    folder / "val" / "images", {f"val_{number}.JPEG": made.picture(0) for number in range(200, 251)}
  )


_VAL, _WNIDS, _WORDS = "val/val_annotations.txt", "wnids.txt", "words.txt"
_FIRST_TRAIN = "train/n00000030/images/n00000030_0.JPEG"
_DAMAGE = {
  "image gone": (
    lambda root: (root / "val/images/val_3.JPEG").unlink(),
    f"{_VAL}, line 2: val_3.JPEG is not in",
  ),
  "annotation gone": (
    lambda root: made.edit(root / _VAL, "val_3.JPEG\tn00000010\t0\t0\t5\t3\n", ""),
    "val/images/val_3.JPEG: ",
  ),
  "unknown class": (
    lambda root: made.edit(root / _VAL, "val_20.JPEG\tn00000030", "val_20.JPEG\tn00000031"),
    f"{_VAL}, line 3: val_20.JPEG is of the class 'n00000031', which wnids.txt does not list",
  ),
  "annotated twice": (
    lambda root: made.edit(root / _VAL, "val_20.JPEG", "val_3.JPEG"),
    f"{_VAL}, line 3: val_3.JPEG occurs twice",
  ),
  "no such number": (
    lambda root: made.edit(root / _VAL, "val_20.", "val_10000."),
    f"{_VAL}, line 3: 'val_10000.JPEG' is no validation image",
  ),
  "a path": (
    lambda root: made.edit(root / _VAL, "val_20.", "../../val_20."),
    f"{_VAL}, line 3: '../../val_20.JPEG' is no validation image",
  ),
  "no tabs": (
    lambda root: made.edit(root / _VAL, "val_20.JPEG\t", "val_20.JPEG "),
    f"{_VAL}, line 3: 5 columns, expected 6",
  ),
  "no annotations": (lambda root: (root / _VAL).unlink(), f"{_VAL}: No such file or directory"),
  "crowded class": (_crowd, "val_annotations.txt: more than 50 images of n00000020"),
  "class listed twice": (
    lambda root: made.edit(root / _WNIDS, "n00000020", "n00000010"),
    "wnids.txt, line 3: 'n00000010' occurs twice",
  ),
  "class is a path": (
    lambda root: made.edit(root / _WNIDS, "n00000020", "../.."),
    "wnids.txt, line 3: '../..', expected one WordNet id",
  ),
  "class not listed": (
    lambda root: made.edit(root / _WNIDS, "n00000020\n", ""),
    "train/n00000020: a class that wnids.txt does not list",
  ),
  "nameless": (
    lambda root: made.edit(root / _WORDS, "n00000020\tcrane\n", ""),
    "words.txt: no line of n00000020, a class of wnids.txt",
  ),
  "no text": (
    lambda root: (root / _WORDS).write_bytes(b"\xff\xfe\x00"),
    "words.txt: no text in UTF-8",
  ),
  "other file": (
    lambda root: (root / _FIRST_TRAIN).rename(root / _FIRST_TRAIN.replace("_0.", "_500.")),
    "n00000030_500.JPEG: no image of the set",
  ),
  "second name": (
    lambda root: (root / _FIRST_TRAIN).rename(root / _FIRST_TRAIN.replace("_0.", "_02.")),
    "n00000030_02.JPEG: no image of the set",
  ),
  "empty class": (
    lambda root: [file.unlink() for file in (root / "train/n00000020/images").iterdir()],
    "1 of 3 classes have no training example: 2 (crane (n00000020))",
  ),
  "damaged image": (
    lambda root: (root / _FIRST_TRAIN).write_bytes(b"<html>"),
    f"1 of 15 images of the training split cannot be read; the first is {_FIRST_TRAIN}",
  ),
  "no validation images": (
    lambda root: [
      (root / _VAL).write_text(""),
      *(file.unlink() for file in (root / "val/images").iterdir()),
    ],
    "the test split has no images",
  ),
}


@pytest.mark.parametrize("name", _DAMAGE)
def test_lists_and_files_that_disagree_are_refused_with_file_and_line(tmp_path, name):
  folder = made.make_tiny_imagenet(tmp_path)
  damage, message = _DAMAGE[name]
  damage(folder)
  text = _refused(folder)
  assert str(folder) in text
  assert message in text


def test_a_damaged_image_is_skipped_on_demand_and_the_others_keep_their_ids(tmp_path):
  folder = made.make_tiny_imagenet(tmp_path)
  (folder / "train" / made.WNIDS[0] / "images" / f"{made.WNIDS[0]}_2.JPEG").write_bytes(b"")
  data = _load(folder, on_bad_image="skip")
  assert data.train.example_ids.tolist()[:4] == [0, 9, 10, 499]
  assert "1 of 15 images of the training split were skipped" in data.notes[1]


def test_images_may_be_made_smaller(tmp_path):
  assert _load(made.make_tiny_imagenet(tmp_path), image_size=4).train.inputs.shape == (15, 4, 4, 3)


@pytest.mark.parametrize("place", ["none", "empty", "archive", None])
def test_a_missing_set_is_never_fetched_and_the_commands_are_told(tmp_path, monkeypatch, place):
  monkeypatch.setattr(registered, "unreachable", lambda url: pytest.fail("asked the network"))
  (tmp_path / "empty").mkdir()
  (tmp_path / "archive").write_bytes(b"PK")
  with pytest.raises(MissingDataError) as caught:
    _load(None if place is None else tmp_path / place)
  text = str(caught.value)
  for part in (
    (
      f"curl -fL --create-dirs -o {tmp_path}/cache/tiny-imagenet-200.zip "
      "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
    ),
    f"unzip -q {tmp_path}/cache/tiny-imagenet-200.zip -d {tmp_path}/cache",
    "--config.data.path",
  ):
    assert part in text
  assert "tfds" not in text
  assert "prepared" not in text
  assert "\n" not in text


@pytest.mark.slow
def test_the_sample_of_the_real_set_is_read(tmp_path):
  sample = SHARED_DATA / "samples/tiny-imagenet-200-sample.tar"
  if not sample.is_file():
    pytest.skip("the Tiny-ImageNet sample is not at ../shared/data/samples")
  with tarfile.open(sample) as archive:
    archive.extractall(tmp_path, filter="data")
  config = DataConfig(name="tiny_imagenet", path=str(tmp_path), verify="known", cache=False)
  data = sources.load(config)
  assert data.train.inputs.shape == (2000, 64, 64, 3)
  assert np.bincount(data.train.labels).tolist() == [200] * 10
  assert np.bincount(data.test.labels).tolist() == [50] * 10
  assert data.class_names[:3] == ("Egyptian cat", "reel", "volleyball")
  assert data.variant == "subset-10-classes"
  folder = tmp_path / "tiny-imagenet-200"
  annotated = dict(
    line.split("\t")[:2] for line in (folder / "val/val_annotations.txt").read_text().splitlines()
  )
  wnids = (folder / "wnids.txt").read_text().split()
  assert [wnids[label] for label in data.test.labels] == [
    annotated[Path(file).name] for file in data.test.source_files
  ]
  assert [wnids[label] for label in data.train.labels] == [
    Path(file).name.split("_")[0] for file in data.train.source_files
  ]
