"""The contact sheet of a dry run: drawn where the data are, never over a file of the user's."""

import io

import numpy as np
import pytest
from PIL import Image

from sdt.commands import dry_run, sheet
from sdt.errors import ConfigError, MissingDataError, WorkdirError
from sdt.report import image_figures
from sdt.stages import contact_sheet
from tests.support import tiny

OF = {"augment__ops": "crop(2) rotate(20)"}
OPERATIONS = (
  "augment   crop(2) rotate(20), each at its largest in any arm; --sheet=FILE.png draws it"
)


def described(config, path, *, overwrites=False):
  return list(dry_run.describe(config, detail=dry_run.Detail(sheet=path, overwrites=overwrites)))


def test_the_sheet_has_a_row_for_each_operation_and_shows_the_images_as_they_are(tmp_path):
  config, path = tiny.config(**OF), tmp_path / "sheet.png"
  lines = described(config, path)
  assert OPERATIONS in lines
  content = contact_sheet.contact_sheet(config, tiny.data(config))
  ids = ", ".join(map(str, content["ids"]))
  assert f"sheet     {path} has the training images {ids} under 3 rows of operations" in lines
  assert list(tmp_path.iterdir()) == [path]
  with Image.open(io.BytesIO(path.read_bytes())) as picture:
    pixels = np.asarray(picture.convert("RGB"))
  assert pixels.shape[0] == 4 * (image_figures.TILE + image_figures.CAPTION)
  # The middle of every pixel of the first image, twelve times as large.
  top, left = image_figures.CAPTION - 8, image_figures.TILE_GAP // 2
  scale = image_figures.TILE // 8
  own = pixels[top : top + image_figures.TILE, left : left + image_figures.TILE]
  middles = own[scale // 2 :: scale, scale // 2 :: scale].astype(int)
  np.testing.assert_allclose(middles, content["images"][0, 0], atol=1)


def test_a_file_of_the_user_is_kept_until_it_may_be_replaced(tmp_path):
  path, config = tmp_path / "mine.png", tiny.config(**OF)
  path.write_bytes(b"mine")
  with pytest.raises(ConfigError, match=r"--sheet=.*mine.png: exists already; give --overwrite"):
    sheet.check(config, path, overwrite=False)
  with pytest.raises(ConfigError, match="exists already"):
    described(config, path)
  assert path.read_bytes() == b"mine"
  sheet.check(config, path, overwrite=True)
  described(config, path, overwrites=True)
  assert path.read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize("ops", [None, "", "smote"])
def test_a_config_that_has_nothing_to_draw_is_refused(ops, tmp_path):
  with pytest.raises(ConfigError, match="the keys of augment name no operation that can be drawn"):
    sheet.check(tiny.config(augment__ops=ops), tmp_path / "sheet.png", overwrite=False)


def test_an_arm_that_is_not_there_is_refused_as_without_a_sheet(tmp_path):
  config = tiny.config(arms=("baseline", "methud"), **OF)
  with pytest.raises(ConfigError, match="'methud' is not an arm; did you mean 'method'"):
    sheet.check(config, tmp_path / "sheet.png", overwrite=False)


def test_a_folder_that_is_not_there_is_refused(tmp_path):
  with pytest.raises(WorkdirError, match="no folder"):
    sheet.check(tiny.config(**OF), tmp_path / "none" / "sheet.png", overwrite=False)


def test_vectors_are_refused_before_the_first_line(tmp_path):
  path, drawn = tmp_path / "sheet.png", np.random.default_rng(0)
  x, y = drawn.random((40, 5)), np.arange(40) % 3
  np.savez(tmp_path / "vectors.npz", train_x=x, train_y=y, test_x=x[::-1] + 1.0, test_y=y)
  config = tiny.config(
    data__name="npz", data__path=str(tmp_path / "vectors.npz"), augment__ops="mixup(0.2)"
  )
  lines = dry_run.describe(config, detail=dry_run.Detail(sheet=path))
  with pytest.raises(ConfigError, match="has no images to draw"):
    next(lines)


def test_without_the_data_there_is_no_sheet(tmp_path, monkeypatch):
  monkeypatch.setenv("SDT_DATA_DIR", str(tmp_path / "data"))
  monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "prepared"))
  path = tmp_path / "sheet.png"
  with pytest.raises(MissingDataError):
    described(tiny.config(data__name="svhn", data__download=False, **OF), path)
  assert not path.exists()
