"""Damage that Pillow reads without an error is found, and nothing sound is taken for damaged."""

import io

import numpy as np
import pytest
from PIL import Image

from sdt.config.schema import DataConfig
from sdt.data.readers import decoding
from sdt.data.readers.decoding import CUT, GREY_BELOW, SEVERAL, decode
from sdt.data.readers.images import Listing, read_images
from sdt.errors import DataError
from tests.support import image_files as made

CONFIG = DataConfig(name="folder")


def _picture(height=160):
  """Returns an image that compresses as a photograph does: shades and some noise."""
  rows, columns = np.mgrid[:height, :160]
  shades = np.stack([rows + columns, columns, rows * columns // 97], axis=2)
  noise = np.random.default_rng(0).integers(-9, 9, shades.shape)
  return Image.fromarray(np.clip(shades + noise, 0, 255).astype(np.uint8))


def _pixels(content):
  return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


PNGS = {level: made.saved(_picture(), "PNG", compress_level=level) for level in (0, 6)}
JPEG = made.saved(_picture(), "JPEG", quality=90)


def _with_zeros(content, share):
  at = int(share * len(content))
  return content[:at] + bytes(len(content) - at)


@pytest.mark.parametrize("level", PNGS)
def test_of_a_png_with_zeros_at_its_end_no_pixel_is_read(level):
  for share in np.linspace(0.02, 0.999, 40):
    assert decode(_with_zeros(PNGS[level], share), CONFIG).pixels is None, share


@pytest.mark.parametrize("level", PNGS)
def test_a_png_with_changed_bytes_is_refused_or_read_as_it_was(level):
  rng, refused = np.random.default_rng(0), 0
  expected = _pixels(PNGS[level])
  for _ in range(40):
    content = bytearray(PNGS[level])
    content[int(rng.integers(33, len(content)))] ^= 1 << int(rng.integers(8))
    got = decode(bytes(content), CONFIG).pixels
    refused += got is None
    assert got is None or np.array_equal(got, expected)
  assert refused > 35


@pytest.mark.parametrize("change", ["as it is", "more behind its end", "without its end"])
def test_sound_pngs_are_read(change):
  content = PNGS[6]
  content = {"more": content + bytes(99), "with": content[:-12]}.get(change[:4], content)
  np.testing.assert_array_equal(decode(content, CONFIG).pixels, _pixels(PNGS[6]))


def test_a_jpeg_without_an_end_is_refused_whatever_follows():
  start = JPEG[: len(JPEG) // 2]
  for content in (start, _with_zeros(JPEG, 0.5), start + bytes(20 * len(JPEG)), JPEG[:-2]):
    assert decode(content, CONFIG).pixels is None
  assert "its data have no end" in decode(start + bytes(20 * len(JPEG)), CONFIG).reason


def test_a_jpeg_with_something_behind_its_end_or_a_preview_before_it_is_read():
  preview = made.saved(made.noise(), "JPEG")
  exif = b"Exif\0\0" + preview
  segment = b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif
  for content in (JPEG + bytes(4096), JPEG + preview[:300], JPEG[:2] + segment + JPEG[2:]):
    np.testing.assert_array_equal(decode(content, CONFIG).pixels, _pixels(JPEG))
  cut = JPEG[:2] + segment + JPEG[2 : len(JPEG) // 2] + bytes(20 * len(JPEG))
  assert "its data have no end" in decode(cut, CONFIG).reason, "the end is that of the preview"


@pytest.mark.parametrize("kind", [{"format": "WEBP"}, {"format": "AVIF"}], ids=str)
def test_a_file_without_checksum_whose_last_eighth_is_zeros_is_refused(kind):
  content = made.saved(_picture(), kind["format"])
  assert decode(content, CONFIG).pixels is not None
  for share in (0.3, 0.5, 0.8):
    assert decode(_with_zeros(content, share), CONFIG).pixels is None


@pytest.mark.parametrize("kind", ["WEBP", "AVIF", "PNG", "JPEG", "GIF"])
@pytest.mark.parametrize("color", ["black", "white", (10, 20, 30)])
def test_plain_images_are_sound(kind, color):
  for size in ((32, 32), (700, 500)):
    content = made.saved(Image.new("RGB", size, color), kind)
    assert decode(content, CONFIG).pixels is not None


def test_a_jpeg_that_was_closed_too_early_is_told_and_also_when_it_was_saved_anew():
  closed = JPEG[: len(JPEG) // 2] + b"\xff\xd9"
  saved_anew = made.saved(Image.fromarray(_pixels(closed)), "JPEG", quality=95)
  for content in (closed, saved_anew):
    assert decode(content, CONFIG).remarks == (GREY_BELOW,)


@pytest.mark.parametrize(
  "image",
  [_picture(), Image.new("RGB", (64, 64), (128, 128, 128)), Image.new("L", (64, 64), 127)],
  ids=["a picture", "all of it grey", "another grey"],
)
def test_other_jpegs_are_not_told(image):
  assert decode(made.saved(image, "JPEG"), CONFIG).remarks == ()
  assert decode(made.saved(image, "PNG"), CONFIG).remarks == ()


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "TIFF", "PNG", "AVIF"])
def test_a_file_of_several_frames_is_told(kind):
  more = {"save_all": True, "append_images": [made.noise(seed=1), made.noise(seed=2)]}
  assert decode(made.saved(made.noise(), kind, **more), CONFIG).remarks == (SEVERAL,)
  assert decode(made.saved(made.noise(), kind), CONFIG).remarks == ()


def test_the_second_picture_of_a_jpeg_is_not_told():
  assert decode(made.JPEGS["two pictures in one file"][0], CONFIG).remarks == ()


def test_remarks_are_counted_with_the_first_and_kept_in_the_cache(tmp_path, monkeypatch):
  monkeypatch.setenv("SDT_DATA_DIR", str(tmp_path / "data"))
  more = {"save_all": True, "append_images": [made.noise(seed=99)]}
  for i, several in enumerate([False, True, True, False]):
    made.noise((6, 12), seed=i).save(tmp_path / f"{i}.gif", **(more if several else {}))
  listing = Listing(tuple(f"{i}.gif" for i in range(4)), np.arange(4))
  config = DataConfig(name="folder", image_size=4, resize="short_side", crop_size=4)
  notes = [
    f"4 of 4 images of train/ {CUT} (the first is 0.gif)",
    f"2 of 4 images of train/ {SEVERAL} (the first is 1.gif)",
  ]
  for _ in range(2):
    found = read_images(tmp_path, listing, config, "train/", log=lambda line: None)[1]
    assert sorted(found, reverse=True) == notes
    monkeypatch.setattr(decoding, "_read_file", None)  # the second time nothing is decoded


def test_skipping_is_not_advised_where_nothing_would_be_left(tmp_path):
  listing = Listing(("a.png", "b.png"), np.zeros(2, int))
  for skip in ("refuse", "skip"):
    config = DataConfig(name="folder", cache=False, on_bad_image=skip)
    with pytest.raises(DataError, match=r"mend or remove them$"):
      read_images(tmp_path, listing, config, "train/", log=lambda line: None)
