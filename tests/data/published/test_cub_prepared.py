"""CUB-200-2011 as tfds prepares it."""

import dataclasses
import io
import sys

import numpy as np
import pytest

from sdt.data.published import registered
from sdt.data.readers.decoding import decode
from sdt.errors import DataError
from tests.support import registered_sets as made
from tests.support.cub import SMALL, config, load

pytestmark = pytest.mark.usefixtures("no_network")


def _prepare(root, rows=made.CUB_ROWS, pictures=None, without=()):
  """Prepares the made-up set as tfds's builder does; returns the version folder."""
  import tensorflow_datasets as tfds

  pictures = pictures or made.cub_pictures()

  class CaltechBirds2011(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("0.2.0")

    def _info(self):
      features = {
        "image": tfds.features.Image(),
        "image/filename": tfds.features.Text(),
        "label": tfds.features.ClassLabel(num_classes=200),
        "label_name": tfds.features.Text(),
        "bbox": tfds.features.BBoxFeature(),
        "segmentation_mask": tfds.features.Image(shape=(None, None, 1)),
      }
      kept = {name: kind for name, kind in features.items() if name not in without}
      return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(kept))

    def _split_generators(self, dl_manager):
      return {"train": self._generate_examples(1), "test": self._generate_examples(0)}

    def _generate_examples(self, side):
      for _, number, is_train, file in rows:
        if is_train == side:
          example = {
            "image": io.BytesIO(pictures[file]),
            "image/filename": f"CUB_200_2011/images/{file}",
            "label": number - 1,
            "label_name": file.split("/")[0].partition(".")[2].lower(),
            "bbox": tfds.features.BBox(0.0, 0.0, 0.5, 0.5),
            "segmentation_mask": io.BytesIO(made.picture(0, form="PNG")),
          }
          yield file, {name: value for name, value in example.items() if name not in without}

  registry = tfds.core.registered._DATASET_REGISTRY
  registry.pop("caltech_birds2011")  # the next test registers its own
  CaltechBirds2011(data_dir=root, file_format="array_record").download_and_prepare()
  return root / "caltech_birds2011" / "0.2.0"


def _renumbered():
  """Returns (rows, pictures) of the made-up set with the classes 1 and 2, as tfds numbers them."""
  rows = [
    (image_id, min(number, 2), side, file.replace("003.", "002."))
    for image_id, number, side, file in made.CUB_ROWS
  ]
  pictures = {
    file.replace("003.", "002."): content for file, content in made.cub_pictures().items()
  }
  return rows, pictures


def _by_file(split):
  return {
    file: (image.tobytes(), int(label))
    for file, image, label in zip(split.source_files, split.inputs, split.labels, strict=True)
  }


def test_a_prepared_set_has_the_same_images_by_source_file_and_ids_in_the_order_of_file_names(
  tmp_path,
):
  rows, pictures = _renumbered()
  folder = _prepare(tmp_path / "prepared", rows, pictures)
  data = load(None, verify="known")
  assert data.checksum == load(folder, verify="known").checksum
  original = load(made.make_cub(tmp_path))
  for ours, theirs in ((data.train, original.train), (data.test, original.test)):
    assert _by_file(ours) == {
      file.replace("003.", "002."): pair for file, pair in _by_file(theirs).items()
    }
  files = dict(zip(data.train.example_ids.tolist(), data.train.source_files, strict=True))
  files |= dict(zip(data.test.example_ids.tolist(), data.test.source_files, strict=True))
  assert [files[i] for i in range(6)] == sorted(files.values())
  assert data.class_names == ("Black_footed_Albatross", "Sooty_Albatross")
  assert data.variant == "tfds-prepared"
  assert "tensorflow" not in sys.modules
  with pytest.raises(DataError, match="no checksum of cub as tfds prepares it is registered"):
    load(folder)


def test_images_of_a_prepared_set_may_keep_their_shape(tmp_path):
  rows, pictures = _renumbered()
  data = load(_prepare(tmp_path, rows, pictures), verify="known", resize="short_side", crop_size=16)
  rule = config(resize="short_side", crop_size=16)
  for image, (height, width), file in zip(
    data.train.inputs, data.train.sizes, data.train.source_files, strict=True
  ):
    np.testing.assert_array_equal(
      image[:height, :width], decode(pictures[file.removeprefix("images/")], rule).pixels
    )


_DOUBTFUL = {
  "label and folder differ": (
    {"rows": [*made.CUB_ROWS[:5], (9, 2, 1, made.CUB_ROWS[5][3])]},
    "with label 1; expected CUB_200_2011/images/NNN",
  ),
  "another size": ({"rows": made.CUB_ROWS[:5]}, "train split: it has 3 examples, expected 4"),
  "other features": (
    {"without": ("image/filename",)},
    "its examples have no image/filename, only bbox, image, label",
  ),
  "damaged image": (
    {"pictures": made.cub_pictures() | {made.CUB_ROWS[1][3]: made.picture(0)[:300]}},
    (
      "1 of 4 images of prepared set .* cannot be read; the first is "
      "images/001.Black_footed_Albatross/a_0009.jpg"
    ),
  ),
}


@pytest.mark.parametrize("name", _DOUBTFUL)
def test_a_prepared_set_that_is_not_cub_or_damaged_is_refused(tmp_path, name):
  keys, message = _DOUBTFUL[name]
  folder = _prepare(tmp_path, **keys)
  with pytest.raises(DataError, match=message):
    load(
      folder,
      dataclasses.replace(SMALL, sizes=registered.PublishedSizes(4, 2, 3, image_shape=None)),
      verify="known",
    )
