"""The images under each operation that a run leaves for its report."""

import numpy as np

from sdt.report import figures, image_figures
from sdt.stages import contact_sheet, outline
from tests.support import tiny


def test_rows_are_the_same_images_under_each_operation_alone_and_under_all():
  of = tiny.resnet(augment__ops="crop(2) flip(1) cutout(4) cutmix(1)", augment__fill="mean")
  data = tiny.data(of)
  content = contact_sheet.contact_sheet(of, data)
  assert content["rows"].tolist() == [
    "as in evaluation",
    *("crop(2)", "flip(1)", "cutout(4)", "cutmix(1)"),
    "all together",
  ]
  plain, cropped, flipped, cut, mixed, together = content["images"]
  at = np.searchsorted(data.train.example_ids, content["ids"])
  np.testing.assert_array_equal(plain, data.train.inputs[at])
  np.testing.assert_array_equal(content["labels"], data.train.labels[at])
  np.testing.assert_array_equal(flipped, plain[:, :, ::-1])
  mean = np.rint(255 * data.mean)
  changed = (cut != plain).any(axis=3)
  assert 0 < changed.sum() <= 8 * 16
  np.testing.assert_array_equal(cut[changed], np.broadcast_to(mean, cut[changed].shape))
  others = np.roll(plain, -1, axis=0)
  assert ((mixed == plain) | (mixed == others)).all()
  assert (cropped != plain).any()
  assert (together != plain).any(axis=(1, 2, 3)).all()
  rows = [str(row) for row in content["rows"]]
  png = figures.render(image_figures.contact_sheet, rows, content["images"])
  assert png[:4] == b"\x89PNG"


def test_each_operation_is_shown_at_its_largest_strength_in_any_arm():
  of = tiny.resnet(
    augment__ops="resized_crop(1) rotate(0) noise(0.3)",
    everywhere=("rotate=10",),
    own_arms=(
      "strong = A@0[rotate=40, resized_crop=0.4] + B@0[noise=0.1]",
      "idle = all@0[rotate=90]",
    ),
    arms=("baseline", "strong"),
  )
  content = contact_sheet.contact_sheet(of, tiny.data(of))
  rows = ["resized_crop(0.4, 1.33333)", "rotate(40)", "noise(0.3)"]
  assert content["rows"].tolist() == ["as in evaluation", *rows, "all together"]
  assert all((row != content["images"][0]).any() for row in content["images"][1:])


def test_a_run_has_the_file_where_operations_are_named_and_the_dry_run_tells_it():
  of = tiny.resnet(augment__ops="flip")
  assert contact_sheet.FILE in outline.outputs(of, tiny.data(of))
  for other in (tiny.resnet(augment__flip=True), tiny.resnet()):
    assert contact_sheet.FILE not in outline.outputs(other, tiny.data(other))
