"""Images in folders: layouts, every kind of PNG and JPEG, damage."""

import io
import zlib

import numpy as np
import pytest
import registered_sets as made
from PIL import Image

from sdt.config import DataConfig
from sdt.data import sources
from sdt.errors import DataError


def _image(seed=0, size=(6, 4), mode="RGB"):
  return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)).convert(mode)


def _fill(root, counts, size=(6, 4)):
  """Writes counts[class] PNG images below root."""
  for label, (name, num) in enumerate(counts.items()):
    (root / name).mkdir(parents=True, exist_ok=True)
    for i in range(num):
      _image(100 * label + i, size).save(root / name / f"{i:03d}.png")
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


def _only(tmp_path, save, name="x.png", **keys):
  """Returns what the one image that `save(path)` writes, in every folder, is read as."""
  for folder in ("train/a", "train/b", "test/a"):
    (tmp_path / folder).mkdir(parents=True)
    save(tmp_path / folder / name)
  return _load(tmp_path, **keys).train.inputs[0]


def test_grey_becomes_three_equal_channels(tmp_path):
  grey = _image(mode="L")
  np.testing.assert_array_equal(_only(tmp_path, grey.save), np.repeat(np.asarray(grey)[..., None], 3, 2))


def test_sixteen_bit_grey_keeps_its_upper_byte(tmp_path):
  values = np.arange(24, dtype=np.uint16).reshape(4, 6) * 2700
  got = _only(tmp_path, Image.fromarray(values).save)
  np.testing.assert_array_equal(got[..., 1], values >> 8)


def test_palette_and_one_bit_become_their_colours(tmp_path):
  palette = _image().quantize(16)
  np.testing.assert_array_equal(_only(tmp_path, palette.save), np.asarray(palette.convert("RGB")))
  one_bit = _image().convert("1")
  np.testing.assert_array_equal(_only(tmp_path / "b", one_bit.save)[..., 0], np.asarray(one_bit) * 255)


def test_transparency_lies_over_white(tmp_path):
  pixels = np.zeros((4, 6, 4), np.uint8)
  pixels[..., 0], pixels[0, :, 3], pixels[1, :, 3] = 200, 255, 128
  got = _only(tmp_path, Image.fromarray(pixels).save)
  assert got[0, 0].tolist() == [200, 0, 0]
  np.testing.assert_allclose(got[1, 0], [200 * 128 / 255 + 127, 127, 127], atol=1)
  assert got[3, 0].tolist() == [255, 255, 255]


def test_cmyk_jpeg_becomes_rgb(tmp_path):
  cmyk = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
  got = _only(tmp_path, lambda path: cmyk.save(path, quality=95), "x.jpg")
  np.testing.assert_allclose(got, np.broadcast_to([255, 0, 0], (8, 8, 3)), atol=4)


def test_exif_orientation_is_applied(tmp_path):
  pixels = np.zeros((8, 16, 3), np.uint8)
  pixels[:, :8] = 255  # the left half is white
  exif = Image.Exif()
  exif[0x0112] = 6  # turn 90 degrees clockwise to look upright: left becomes top
  got = _only(tmp_path, lambda path: Image.fromarray(pixels).save(path, exif=exif, quality=95), "x.JPEG")
  assert got.shape == (16, 8, 3)
  assert got[:7].min() > 200
  assert got[9:].max() < 55


def test_resizing_scales_the_whole_image_bilinearly(tmp_path):
  image = _image(size=(40, 20))
  got = _only(tmp_path, image.save, image_size=8)
  np.testing.assert_array_equal(got, np.asarray(image.resize((8, 8), Image.Resampling.BILINEAR)))


def test_images_of_different_size_are_refused_by_name(tmp_path):
  _fill(tmp_path, {"a": 3, "b": 3})
  _image(size=(7, 4)).save(tmp_path / "b" / "001.png")
  text = _refused(tmp_path, test_fraction=0.5)
  assert "a/000.png is 6 x 4, b/001.png is 7 x 4; give one size, such as --config.data.image_size=32" in text
  assert _load(tmp_path, test_fraction=0.5, image_size=8).train.inputs.shape[1:] == (8, 8, 3)


def _png_bomb():
  """A PNG of 10,000 x 10,000 pixels in some hundred bytes."""

  def chunk(kind, body):
    return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")

  header = (10_000).to_bytes(4, "big") * 2 + bytes([1, 0, 0, 0, 0])
  return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


def _png(size=(6, 4)):
  buffer = io.BytesIO()
  _image(5, size).save(buffer, "png")
  return buffer.getvalue()


_DAMAGE = {
  "empty": b"",
  "text": b"<html>not found</html>",
  "cut": _png((40, 40))[:900],
  "bomb": _png_bomb(),
  "gif": b"GIF89a\x06\x00\x04\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff,\x00\x00\x00\x00\x06\x00\x04\x00\x00\x02\x04\x84\x8f\xa9\x05\x00;",
}


@pytest.mark.parametrize("name", _DAMAGE)
def test_a_damaged_image_is_named_and_refused_or_skipped_and_counted(tmp_path, name):
  _fill(tmp_path / "train", {"a": 4, "b": 4})
  _fill(tmp_path / "test", {"a": 1, "b": 1})
  (tmp_path / "train" / "b" / "001.png").write_bytes(_DAMAGE[name])
  text = _refused(tmp_path)
  assert "1 of 8 images cannot be read; the first is train/b/001.png: " in text
  assert "--config.data.on_bad_image=skip" in text
  assert ("could be decompression bomb" in text) == (name == "bomb")
  data = _load(tmp_path, on_bad_image="skip")
  assert len(data.notes) == 1
  assert data.notes[0].startswith("1 of 8 images below train/ were skipped; the first is train/b/001.png: ")
  assert data.train.example_ids.tolist() == [0, 1, 2, 3, 4, 6, 7], "the others keep their ids"
  assert data.train.source_files[5] == "train/b/002.png"


def test_a_folder_of_damaged_images_is_refused_also_when_skipping(tmp_path):
  _fill(tmp_path, {"a": 2})
  for file in (tmp_path / "a").iterdir():
    file.write_bytes(b"")
  assert "2 of 2 images cannot be read" in _refused(tmp_path, test_fraction=0.5, on_bad_image="skip")


def test_a_class_whose_images_were_all_skipped_is_an_empty_class(tmp_path):
  _fill(tmp_path, {"a": 4, "b": 1})
  (tmp_path / "b" / "000.png").write_bytes(b"")
  assert "1 of 2 classes have no training example: 1 (b)" in _refused(tmp_path, test_fraction=0.5, on_bad_image="skip")


def test_other_files_are_counted_and_hidden_ones_are_not(tmp_path):
  _fill(tmp_path, {"a": 4, "b": 2, ".cache": 3})
  (tmp_path / "a" / "notes.txt").write_text("x")
  (tmp_path / "a" / ".DS_Store").write_text("x")
  (tmp_path / "loose.png").write_bytes(_png())
  data = _load(tmp_path, test_fraction=0.5)
  assert data.class_names == ("a", "b")
  assert data.notes == (f"1 files below {tmp_path.name}/ that are no .png or .jpg were ignored",)


def test_a_folder_of_one_class_is_refused(tmp_path):
  _fill(tmp_path, {"a": 4})
  assert "there is only 1 class (a), at least 2 are needed" in _refused(tmp_path, test_fraction=0.5, allow_empty_class=True)


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
  assert "no .png or .jpg below" in _refused(tmp_path, test_fraction=0.5)
  _fill(tmp_path / "train", {"a": 2})
  _fill(tmp_path / "test", {"a": 1, "z": 1})
  assert "test/z is a class without a folder below train/" in _refused(tmp_path)
  with pytest.raises(DataError, match="needs the folder"):
    sources.load(DataConfig(name="folder"))


def test_a_set_beyond_memory_is_refused_before_allocation(tmp_path):
  _fill(tmp_path, {"a": 4})
  from sdt.data import folder

  with pytest.raises(DataError, match="more than half of this machine's memory"):
    folder._room(10**9, (512, 512, 3), tmp_path)
