"""The sets without files, and the keys that a set would ignore."""

import numpy as np
import pytest
import sklearn.datasets

from sdt.config.schema import DataConfig, ShapesConfig
from sdt.data import sources
from sdt.data.readers import shapes
from sdt.errors import ConfigError, DataError


def test_digits_are_scikit_learns_split_by_class():
  data = sources.load(DataConfig())
  bunch = sklearn.datasets.load_digits()
  assert data.train.inputs.shape == (1438, 8, 8, 1)
  assert len(data.test) == 359
  assert data.variant == "canonical"
  for split in (data.train, data.test):
    np.testing.assert_array_equal(
      split.inputs[..., 0], np.rint(bunch.images[split.example_ids] * 255 / 16)
    )
    np.testing.assert_array_equal(split.labels, bunch.target[split.example_ids])
  assert not set(data.train.example_ids) & set(data.test.example_ids)
  shares = np.bincount(data.test.labels) / np.bincount(bunch.target)
  np.testing.assert_allclose(shares, 0.2, atol=0.003)


def test_digits_are_the_same_in_every_call_and_another_split_under_another_seed():
  assert sources.load(DataConfig()).checksum == sources.load(DataConfig()).checksum
  assert sources.load(DataConfig(split_seed=1)).checksum != sources.load(DataConfig()).checksum


@pytest.mark.parametrize(
  ("keys", "named"),
  [
    ({"path": "x"}, "data.path"),
    ({"image_size": 32}, "data.image_size"),
    ({"on_bad_image": "skip"}, "data.on_bad_image"),
    ({"name": "npz", "value_range": (0, 9)}, "data.value_range"),
    ({"name": "folder", "channels": 2}, "data.channels"),
    ({"name": "curve", "on_duplicate_test": "drop"}, "data.on_duplicate_test"),
    ({"name": "cifar10", "test_fraction": 0.2}, "data.test_fraction"),
    ({"name": "shapes", "test_fraction": 0.2}, "data.test_fraction"),
    ({"name": "tiny_imagenet", "test_fraction": 0.2}, "data.test_fraction"),
    ({"name": "cub", "test_fraction": 0.2}, "data.test_fraction"),
    ({"test_split": "held_out", "test_fraction": 0.2}, "data.test_split"),
    ({"name": "curve", "test_split": "held_out"}, "data.test_split"),
    ({"name": "npz", "resize": "short_side", "crop_size": 8}, "data.resize"),
    ({"name": "svhn", "cache": False}, "data.cache"),
    ({"name": "cifar10", "labels": "coarse"}, "data.labels"),
    ({"name": "folder", "labels": "coarse"}, "data.labels"),
  ],
)
def test_a_key_that_the_set_ignores_is_refused(keys, named):
  with pytest.raises(ConfigError, match=f"{named}=.* has no meaning"):
    sources.load(DataConfig(**keys))


def test_a_held_out_test_split_of_no_given_size_is_refused_before_the_set_is_looked_for():
  with pytest.raises(ConfigError, match=r"such as --config\.data\.test_fraction=0\.2"):
    sources.load(DataConfig(name="cifar10", path="nowhere", test_split="held_out"))


@pytest.mark.parametrize(
  ("keys", "message"),
  [
    ({"image_size": 32, "crop_size": 33}, "data.crop_size=33: expected at most data.image_size=32"),
    (
      {"image_size": 32, "resize": "short_side"},
      "the network needs one: give it, such as --config.data.crop_size=28",
    ),
  ],
)
@pytest.mark.parametrize("name", ["folder", "csv", "tiny_imagenet", "cub"])
def test_sizes_that_no_image_can_have_are_refused_before_anything_is_read(name, keys, message):
  with pytest.raises(ConfigError) as caught:
    sources.load(DataConfig(name=name, path="/none", **keys))
  assert message in str(caught.value)


@pytest.mark.parametrize("name", ["npz", "folder", "csv", "cifar10", "svhn"])
@pytest.mark.parametrize(
  "path", ["", "x" * 300, "a\0b", "~nobody-of-that-name/x", "/dev/null", "/dev/null/x"]
)
def test_an_impossible_path_is_a_data_error(name, path, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  with pytest.raises(DataError) as caught:
    sources.load(DataConfig(name=name, path=path, test_fraction=None))
  assert "\n" not in str(caught.value)
  assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["x" * 300, "a\0b", "~nobody-of-that-name/x", "/dev/null/x"])
def test_an_impossible_path_is_left_to_the_reader_where_the_workdir_is_checked(path, tmp_path):
  sources.check_workdir(DataConfig(name="folder", path=path), tmp_path / "run")


def _shapes(wrong=0.0, **keys):
  return sources.load(
    DataConfig(name="shapes", wrong_label_fraction=wrong, shapes=ShapesConfig(**keys))
  )


def test_shapes_have_the_asked_sizes_and_balanced_true_classes():
  data = _shapes(num_train=90, num_test=30, num_classes=6, image_size=9)
  assert data.train.inputs.shape == (90, 9, 9, 3)
  assert np.bincount(data.train.labels).tolist() == [15] * 6
  assert np.bincount(data.test.labels).tolist() == [5] * 6
  assert not data.train.wrong_label.any()
  assert data.class_names[3] == "cross red on black"
  assert data.variant == "procedural"


def test_a_larger_set_begins_with_the_smaller_one():
  small, large = _shapes(num_train=40, num_test=8), _shapes(num_train=400, num_test=16)
  np.testing.assert_array_equal(large.train.inputs[:40], small.train.inputs)
  np.testing.assert_array_equal(large.train.difficulty[:40], small.train.difficulty)
  np.testing.assert_array_equal(large.test.inputs[:8], small.test.inputs)
  assert not np.array_equal(small.train.inputs[:8], small.test.inputs)


def test_shapes_do_not_depend_on_how_many_are_drawn_at_a_time(monkeypatch):
  whole = _shapes(num_train=50, num_test=8).checksum
  monkeypatch.setattr(shapes, "_CHUNK_VALUES", 3 * 16 * 16 * 7)
  assert _shapes(num_train=50, num_test=8).checksum == whole


def test_the_known_share_of_labels_is_wrong_and_the_images_still_show_the_truth():
  clean, noisy = _shapes(num_train=500), _shapes(num_train=500, wrong=0.13)
  assert noisy.train.wrong_label.sum() == 65
  np.testing.assert_array_equal(noisy.train.labels != np.arange(500) % 4, noisy.train.wrong_label)
  np.testing.assert_array_equal(noisy.train.inputs, clean.train.inputs)
  np.testing.assert_array_equal(noisy.test.labels, np.arange(500) % 4)
  assert len(np.unique(noisy.train.labels[noisy.train.wrong_label])) == 4


def test_a_known_share_of_any_sets_labels_is_wrong_whatever_part_of_it_is_drawn():
  keys = {"name": "digits", "num_train": 1000, "split_seed": 3}
  clean, noisy, again = (
    sources.load(DataConfig(**keys, wrong_label_fraction=share)) for share in (0.0, 0.2, 0.2)
  )
  other = sources.load(DataConfig(**keys | {"split_seed": 4}, wrong_label_fraction=0.2))
  assert clean.train.wrong_label is None
  assert noisy.train.wrong_label.sum() == 200
  np.testing.assert_array_equal(noisy.train.labels != clean.train.labels, noisy.train.wrong_label)
  np.testing.assert_array_equal(noisy.train.example_ids, clean.train.example_ids)
  np.testing.assert_array_equal(noisy.test.labels, clean.test.labels)
  assert (
    "200 of 1000 training labels are wrong on purpose (data.wrong_label_fraction=0.2)"
    in noisy.notes
  )
  assert noisy.checksum == again.checksum
  assert len({clean.checksum, noisy.checksum, other.checksum}) == 3
  # Each of the nine other classes is as likely: 200 draws over the distance to the true one, four
  # sds wide.
  counts = np.bincount(
    (noisy.train.labels - clean.train.labels)[noisy.train.wrong_label] % 10, minlength=10
  )
  assert counts[0] == 0
  assert (np.abs(counts[1:] - 200 / 9) < 4 * np.sqrt(200 / 9)).all()


@pytest.mark.parametrize("size", [*range(4, 33), 64])
def test_the_ten_figures_differ_at_every_size(size):
  masks = shapes._masks(size).reshape(10, -1)
  assert len({mask.tobytes() for mask in masks}) == 10
  assert 0 < masks.sum(1).min()
  assert masks.sum(1).max() < size * size


def _clean(num_classes, size, contrast):
  """Every class without noise, in every position: float64 [positions, num_classes, pixels]."""
  labels, reach = np.arange(num_classes), range(-(size // 8), size // 8 + 1)
  mask = shapes._masks(size)[labels % 10][..., None]
  ink, paper = (
    shapes._INK_RGB[labels // 10 % 10][:, None, None],
    shapes._PAPER_RGB[labels // 100][:, None, None],
  )
  image = np.where(mask, paper + contrast * (ink - paper), paper)
  return np.stack(
    [np.roll(image, (y, x), (1, 2)).reshape(num_classes, -1) for y in reach for x in reach]
  ).astype(np.float64)


@pytest.mark.parametrize(("num_classes", "size"), [(4, 4), (4, 8), (10, 16), (100, 8), (1000, 8)])
def test_classes_can_be_told_apart_and_difficulty_makes_it_harder(num_classes, size):
  num = 300
  ids = np.arange(num) * 7
  classes, drawing = ids % num_classes, shapes._Split(size, seed=0, stream="t")

  def nearest_template_accuracy(difficulty):
    drawn = drawing.drawn(classes, np.full(num, difficulty, np.float32), ids)
    images = drawn.reshape(num, -1).astype(np.float64)
    templates = _clean(num_classes, size, 1 - 0.75 * difficulty)
    distances = (templates**2).sum(2)[:, None] - 2 * np.einsum(
      "np,skp->snk", images, templates, optimize=True
    )
    return (distances.min(0).argmin(1) == classes).mean()

  easy, middle, hard = (nearest_template_accuracy(difficulty) for difficulty in (0.0, 0.5, 1.0))
  assert easy > 0.99
  assert easy >= middle > hard > 1.5 / num_classes
