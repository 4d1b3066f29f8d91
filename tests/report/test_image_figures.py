"""The figures made of images: their pixels and their words."""

import io

import numpy as np
from PIL import Image

from sdt.report import figures, image_figures
from tests.support.fake_figures import add_cam
from tests.support.report_page import small_run


def test_a_contact_sheet_shows_exact_pixels_below_the_name_of_its_row():
  images = np.zeros((2, 3, 8, 8, 1), np.uint8)
  images[1, 2, 2, 5] = 200
  png = figures.render(image_figures.contact_sheet, ["plain", "flip"], images)
  pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
  tile, gap, caption = image_figures.TILE, image_figures.TILE_GAP, image_figures.CAPTION
  scale = tile // 8
  assert pixels.shape == (2 * (tile + caption), 3 * (tile + gap), 3)
  bright = np.argwhere((pixels == 200).all(axis=2))
  top = tile + caption + caption - 8 + (tile - 8 * scale) // 2 + 2 * scale
  left = 2 * (tile + gap) + gap // 2 + (tile - 8 * scale) // 2 + 5 * scale
  inside = [
    (row, column) for row in range(top, top + scale) for column in range(left, left + scale)
  ]
  assert set(inside) <= set(map(tuple, bright.tolist()))


def test_confidence_of_one_is_only_bounded():
  assert image_figures.percent_of_confidence(1.0) == ">99.99 %"
  assert image_figures.percent_of_confidence(0.5) == "50.00 %"


def test_activation_maps_stand_beside_their_image_in_the_row_of_their_group(tmp_path, drawn):
  workdir = small_run(tmp_path)
  content = add_cam(workdir)
  made, pictures = drawn(workdir)
  figure = made["class_activation_maps"][0]
  texts = [text.get_text() for text in figure.axes[0].texts]
  assert [text for text in texts if text in content["groups"]] == [
    "all right",
    "only one right",
    "all wrong",
  ]
  assert f"id 41\n{content['labels'][1]}" in texts
  share = image_figures.percent_of_confidence(float(content["probabilities"][1, 6]))
  assert f"method\n{content['predictions'][1, 6]}\n{share}" in texts
  (picture,) = figure.axes[0].images
  canvas = np.asarray(picture.get_array())
  tile = image_figures.tile_of(content["images"][6])
  expected = image_figures.overlay(tile, content["maps"][1, 6])
  width = 3 * image_figures.TILE + 2 * 4 + 26
  top, left = 2 * (30 + image_figures.TILE + 50) + 30, 2 * width + 13
  np.testing.assert_array_equal(canvas[top : top + 96, left : left + 96], tile)
  np.testing.assert_array_equal(canvas[top : top + 96, left + 200 : left + 296], expected)
  assert "baseline's and the method's map" in pictures["cam"].caption


def test_an_overlay_is_brightest_where_the_map_is_highest_and_grey_images_stay_grey():
  grey = np.full((8, 8, 3), 100, np.uint8)
  values = np.zeros((4, 4))
  values[3, 0] = 5.0
  light = image_figures.overlay(grey, values).astype(int).sum(axis=2)
  assert np.unravel_index(light.argmax(), light.shape) == (7, 0)
  assert light[7, 0] > light[0, 7] + 200
  np.testing.assert_array_equal(
    image_figures.overlay(grey, np.ones((4, 4))), image_figures.overlay(grey, np.zeros((2, 2)))
  )
  np.testing.assert_array_equal(
    image_figures.overlay(grey, values), image_figures.overlay(grey, 3 * values - 7)
  )  # a scale of its own
