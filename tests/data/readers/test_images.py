"""Every kind of image file becomes upright RGB; sizes; damage; lists of files."""

import dataclasses
import itertools
import os
import threading
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sdt.config.schema import DataConfig
from sdt.data import cache
from sdt.data.readers import decoding, images
from sdt.data.readers.image_kinds import has_image_suffix
from sdt.data.readers.images import Listing, read_images
from sdt.errors import DataError
from tests.support import image_files as made

CONFIG = DataConfig(name="folder", cache=False)


def decode(content, config):
  """Returns the pixels, or the reason why there are none."""
  decoded = decoding.decode(content, config)
  return decoded.reason if decoded.pixels is None else decoded.pixels


@pytest.mark.parametrize("name", made.EXACT)
def test_every_kind_of_file_shows_its_colours(name, tmp_path):
  file, content, pixels = made.EXACT[name]
  (tmp_path / file).write_bytes(content)
  got = decode(tmp_path / file, CONFIG)
  np.testing.assert_array_equal(got, pixels)
  assert got.dtype == np.uint8
  assert has_image_suffix(file)
  np.testing.assert_array_equal(decode(content, CONFIG), pixels)


@pytest.mark.parametrize("name", made.JPEGS)
def test_every_kind_of_jpeg_shows_its_colour(name):
  content, color = made.JPEGS[name]
  got = decode(content, CONFIG)
  assert got.shape == (16, 16, 3)
  np.testing.assert_allclose(got, np.broadcast_to(np.float64(color), got.shape), atol=4)


def test_transparency_is_blended_with_white():
  pixels = np.zeros((1, 3, 4), np.uint8)
  pixels[..., 0], pixels[0, :, 3] = 200, (255, 128, 0)
  got = decode(made.saved(Image.fromarray(pixels), "PNG"), CONFIG)[0]
  assert got[0].tolist() == [200, 0, 0]
  np.testing.assert_allclose(got[1], [200 * 128 / 255 + 127, 127, 127], atol=1)
  assert got[2].tolist() == [255, 255, 255]


# What a viewer does with the stored pixels [h, w, 3], by EXIF 2.3, table of the tag Orientation:
# where row 0 and column 0 belong.
_UPRIGHT = {
  1: lambda stored: stored,
  2: lambda stored: stored[:, ::-1],
  3: lambda stored: stored[::-1, ::-1],
  4: lambda stored: stored[::-1],
  5: lambda stored: stored.transpose(1, 0, 2),
  6: lambda stored: stored[::-1].transpose(1, 0, 2),
  7: lambda stored: stored[::-1, ::-1].transpose(1, 0, 2),
  8: lambda stored: stored[:, ::-1].transpose(1, 0, 2),
}


@pytest.mark.parametrize("orientation", _UPRIGHT)
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "JPEG"])
def test_every_orientation_is_turned_upright(kind, orientation):
  stored = np.kron(np.asarray(made.noise((3, 2))), np.ones((16, 16, 1), np.uint8))
  exif = Image.Exif()
  exif[0x0112] = orientation
  options = {
    "PNG": {},
    "WEBP": {"lossless": True},
    "TIFF": {},
    "JPEG": {"quality": 95, "subsampling": 0},
  }[kind]
  got = decode(made.saved(Image.fromarray(stored), kind, exif=exif, **options), CONFIG)
  np.testing.assert_allclose(
    got.astype(int), _UPRIGHT[orientation](stored).astype(int), atol=12 if kind == "JPEG" else 0
  )


def test_sixteen_bit_and_transparent_images_are_turned_too():
  exif = Image.Exif()
  exif[0x0112] = 6
  deep = np.arange(6, dtype=np.uint16).reshape(2, 3) << 8
  got = decode(made.saved(Image.fromarray(deep), "PNG", exif=exif), CONFIG)
  np.testing.assert_array_equal(got[..., 0], deep[::-1].T >> 8)


def test_a_damaged_exif_block_does_not_damage_the_image():
  content = made.saved(made.noise((16, 16)), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
  plain = made.saved(made.noise((16, 16)), "JPEG")
  with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    np.testing.assert_array_equal(decode(content, CONFIG), decode(plain, CONFIG))


@pytest.mark.parametrize("name", made.DAMAGED)
def test_damage_is_told_in_one_line(name):
  content, reason = made.DAMAGED[name]
  got = decode(content, CONFIG)
  assert isinstance(got, str)
  assert reason in got
  assert "\n" not in got
  assert "0x" not in got, "an address would differ from run to run"


def test_a_bomb_is_told_with_its_size_where_warnings_are_no_errors():
  with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    assert (
      decode(made.png_bomb(10_000), CONFIG)
      == "10000 x 10000 pixels, more than 89478485: a decompression bomb?"
    )


def test_what_is_no_ordinary_file_is_told_and_never_waited_for(tmp_path, monkeypatch):
  (tmp_path / "folder.png").mkdir()
  os.mkfifo(tmp_path / "pipe.png")
  (tmp_path / "loop.png").symlink_to("loop.png")
  (tmp_path / "large.png").write_bytes(bytes(100))
  monkeypatch.setattr(decoding, "_MAX_FILE_BYTES", 99)
  reasons = {
    name: decode(tmp_path / name, CONFIG)
    for name in ("folder.png", "pipe.png", "none.png", "large.png", "a\0b.png", "loop.png")
  }
  assert reasons["folder.png"] == "it is a folder"
  assert reasons["pipe.png"] == "it is no ordinary file"
  assert reasons["none.png"] == "No such file or directory"
  assert reasons["large.png"] == "100 bytes, more than the 99 allowed"
  assert all(isinstance(reason, str) for reason in reasons.values())


_SOUND = tuple(
  made.saved(made.noise((9, 7)), kind)
  for kind in ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM")
)


@pytest.mark.filterwarnings("ignore")
@given(st.binary(max_size=200), st.sampled_from(_SOUND), st.data())
def test_no_bytes_whatever_raise_anything(junk, sound, data):
  at = data.draw(st.integers(0, len(sound)))
  for content in (junk, sound[:8] + junk, sound[:at], sound[:at] + junk + sound[at + len(junk) :]):
    got = decode(content, CONFIG)
    assert isinstance(got, str) or (got.dtype == np.uint8 and got.ndim == 3 and got.shape[2] == 3)


def _scaled(pixels, height, width):
  """Returns float64 [height, width, 3] by the triangle filter, in plain NumPy.

  The filter is as wide as a source or a target pixel, whichever is larger.
  """

  def weights(old, new):
    scale = old / new
    centres = (np.arange(new)[:, None] + 0.5) * scale
    found = np.maximum(0, 1 - np.abs(np.arange(old)[None] + 0.5 - centres) / max(scale, 1))
    return found / found.sum(axis=1, keepdims=True)

  rows, columns = weights(pixels.shape[0], height), weights(pixels.shape[1], width)
  return np.einsum("oh,pw,hwc->opc", rows, columns, pixels.astype(np.float64))


@pytest.mark.parametrize("size", [(40, 20), (20, 40), (5, 6), (16, 9)])
def test_stretching_scales_the_whole_image_to_a_square(size):
  image = made.noise(size)
  got = decode(made.saved(image, "PNG"), DataConfig(name="folder", image_size=8))
  np.testing.assert_allclose(got, _scaled(np.asarray(image), 8, 8), atol=1.01)


def test_an_image_of_the_asked_size_keeps_its_bits():
  image = made.noise((8, 8))
  for keys in ({}, {"resize": "short_side", "crop_size": 4}):
    np.testing.assert_array_equal(
      decode(made.saved(image, "PNG"), DataConfig(name="folder", image_size=8, **keys)), image
    )


@given(st.integers(1, 300), st.integers(1, 300), st.integers(4, 40))
def test_the_shorter_side_becomes_the_size_and_the_shape_stays_within_limits(width, height, size):
  config = DataConfig(name="folder", image_size=size, resize="short_side", crop_size=4)
  got = decode(made.saved(Image.new("RGB", (width, height), made.BLUE), "PNG"), config)
  longer = min(int(size * max(width, height) / min(width, height)), 3 * size // 2)
  assert got.shape == ((size, longer, 3) if height <= width else (longer, size, 3))
  assert (got == made.BLUE).all()


@pytest.mark.parametrize("size", [(29, 20), (20, 29), (70, 20), (20, 71)])
def test_short_side_equals_scaling_and_cutting_the_middle_out(size):
  image = made.noise(size)
  got = decode(
    made.saved(image, "PNG"),
    DataConfig(name="folder", image_size=10, resize="short_side", crop_size=4),
  ).astype(int)
  width, height = (10 * side // 20 for side in size)
  whole = _scaled(np.asarray(image), height, width)
  top, left = (height - got.shape[0]) // 2, (width - got.shape[1]) // 2
  cut = whole[top : top + got.shape[0], left : left + got.shape[1]]
  border = (
    2 * (got.shape[0] < height),
    2 * (got.shape[1] < width),
  )  # the filter does not reach beyond what is kept
  inner = tuple(slice(side, -side or None) for side in border)
  np.testing.assert_allclose(got[inner], cut[inner], atol=1.01)


def test_a_line_of_a_million_pixels_takes_no_memory():
  content = made.saved(Image.new("L", (1_000_000, 1), 200), "PNG")
  got = decode(content, DataConfig(name="folder", image_size=64, resize="short_side", crop_size=64))
  assert got.shape == (64, 96, 3)
  assert (got == 200).all()


def _fill(root, sizes):
  for i, size in enumerate(sizes):
    made.noise(size, seed=i).save(root / f"{i}.png")
  return Listing(tuple(f"{i}.png" for i in range(len(sizes))), np.arange(len(sizes)) % 2)


def _read(root, listing, log=lambda line: None, **keys):
  return read_images(
    root, listing, DataConfig(**{"name": "folder", "cache": False} | keys), "the split", log
  )


def test_images_of_one_size_fill_an_array_in_the_order_of_the_list(tmp_path):
  listing = _fill(tmp_path, [(6, 4)] * 300)
  split, notes = _read(tmp_path, listing)
  assert (split.inputs.shape, split.sizes, notes) == ((300, 4, 6, 3), None, [])
  for i in (0, 1, 255, 256, 257, 299):
    np.testing.assert_array_equal(split.inputs[i], made.noise((6, 4), seed=i))
  assert split.source_files == listing.files
  np.testing.assert_array_equal(split.example_ids, np.arange(300))
  np.testing.assert_array_equal(split.labels, listing.labels)


def test_images_of_differing_sizes_stand_at_the_top_left_of_one_canvas(tmp_path):
  sizes = [(6, 4), (5, 9), (6, 4), (11, 3), (2, 2)]
  split, _ = _read(tmp_path, _fill(tmp_path, sizes), resize="short_side", crop_size=4)
  assert split.inputs.shape == (5, 9, 11, 3)
  np.testing.assert_array_equal(split.sizes, [(height, width) for width, height in sizes])
  for i, (width, height) in enumerate(sizes):
    expected = np.zeros((9, 11, 3), np.uint8)
    expected[:height, :width] = made.noise((width, height), seed=i)
    np.testing.assert_array_equal(split.inputs[i], expected)


def test_images_that_lose_their_ends_are_counted(tmp_path):
  listing = _fill(tmp_path, [(60, 20), (30, 20), (20, 31), (20, 20)])
  split, notes = _read(tmp_path, listing, image_size=20, resize="short_side", crop_size=16)
  assert notes == [
    "2 of 4 images of the split are more than 1.5 times as long as wide; the middle of them is "
    "kept (the first is 0.png)"
  ]
  np.testing.assert_array_equal(split.sizes, [[20, 30], [20, 30], [30, 20], [20, 20]])


def test_differing_sizes_are_refused_with_two_files_and_two_ways_out(tmp_path):
  with pytest.raises(DataError) as caught:
    _read(tmp_path, _fill(tmp_path, [(6, 4), (6, 4), (7, 4)]))
  text = str(caught.value)
  assert (
    "images differ in size: 0.png is 6 x 4, 2.png is 7 x 4; give one size, such as "
    "--config.data.image_size=32"
  ) in text
  assert "--config.data.resize=short_side --config.data.crop_size=32" in text


def test_bad_images_are_refused_with_count_and_first_or_skipped_and_counted(tmp_path):
  listing = _fill(tmp_path, [(6, 4)] * 6)
  (tmp_path / "4.png").write_bytes(b"")
  (tmp_path / "1.png").unlink()
  with pytest.raises(DataError) as caught:
    _read(tmp_path, listing)
  text = str(caught.value)
  assert text.startswith(
    f"data.path={tmp_path}: 2 of 6 images of the split cannot be read; the first is 1.png: No "
    "such file or directory;"
  )
  assert text.endswith("--config.data.on_bad_image=skip")
  split, notes = _read(tmp_path, listing, on_bad_image="skip")
  assert notes == [
    "2 of 6 images of the split were skipped; the first is 1.png: No such file or directory"
  ]
  assert split.example_ids.tolist() == [0, 2, 3, 5], "the others keep their ids"
  assert split.labels.tolist() == [0, 0, 1, 1]
  assert split.source_files == ("0.png", "2.png", "3.png", "5.png")
  np.testing.assert_array_equal(split.inputs[3], made.noise((6, 4), seed=5))


def test_a_list_of_bad_images_only_is_refused_also_when_skipping(tmp_path):
  with pytest.raises(
    DataError, match=r"2 of 2 images of the split cannot be read; the first is a\.png"
  ):
    _read(tmp_path, Listing(("a.png", "b.png"), np.zeros(2, int)), on_bad_image="skip")


def test_images_may_be_contents_that_are_no_files(tmp_path):
  contents = [made.saved(made.noise(seed=i), "PNG") for i in range(3)]
  split, _ = _read(tmp_path, Listing(("a", "b", "c"), np.arange(3), contents.__getitem__))
  np.testing.assert_array_equal(split.inputs[2], made.noise(seed=2))


def test_a_name_that_no_message_can_show_is_refused(tmp_path):
  for name in ("a\nb.png", "\udcff.png"):
    with pytest.raises(DataError, match="is not UTF-8 or holds control characters") as caught:
      _read(tmp_path, Listing(("0.png", name), np.zeros(2, int)))
    str(caught.value).encode()
    assert "\n" not in str(caught.value)


def test_a_set_beyond_half_of_the_memory_lies_in_a_file_or_is_refused_before_allocation(
  tmp_path, monkeypatch
):
  with pytest.raises(DataError, match="more than half of this machine's memory"):
    images._zeros(10**9, 512, 512, root=tmp_path, may_spill=True)
  monkeypatch.setattr(images.os, "sysconf", {"SC_PAGE_SIZE": 100, "SC_PHYS_PAGES": 72}.get)
  assert images._zeros(3, 20, 20, root=tmp_path, may_spill=False).shape == (3, 20, 20, 3)
  with pytest.raises(DataError, match="3 images in 21 x 20 pixels each take"):
    images._zeros(3, 20, 21, root=tmp_path, may_spill=False)
  spilled = images._zeros(3, 20, 21, root=tmp_path, may_spill=True)
  assert isinstance(spilled, np.memmap)
  assert (spilled.shape, spilled.any(), spilled.flags.writeable) == ((3, 20, 21, 3), False, True)
  with cache.reading_only(), pytest.raises(DataError, match="leave data"):
    images._zeros(3, 20, 21, root=tmp_path, may_spill=True)


def test_images_beyond_half_of_the_memory_are_read_as_others_are(tmp_path, monkeypatch):
  listing = _fill(tmp_path, [(6, 4)] * 5)
  config = dataclasses.replace(CONFIG, cache=True)
  expected = _read(tmp_path, listing)[0].inputs
  monkeypatch.setattr(images.os, "sysconf", {"SC_PAGE_SIZE": 1, "SC_PHYS_PAGES": 2}.get)
  first, second = (
    read_images(tmp_path, listing, config, "the split", lambda line: None)[0].inputs
    for _ in range(2)
  )
  assert isinstance(first, np.memmap)
  for found in (first, second):  # from the files, and from the cache
    np.testing.assert_array_equal(found, expected)


def test_progress_tells_how_many_how_fast_and_how_long(tmp_path, monkeypatch):
  monkeypatch.setattr(images, "_PROGRESS_SECS", 0.0)
  monkeypatch.setattr(images, "_LONGEST_SILENCE", 0.0)
  lines = []
  _read(tmp_path, _fill(tmp_path, [(6, 4)] * 3), lines.append)
  assert len(lines) == 3
  assert lines[1].startswith("the split: decoded 2 of 3 images, ")
  assert lines[2].endswith("images/s, 0 s left")


def test_the_lines_of_progress_grow_rarer(monkeypatch):
  seconds = itertools.count()  # the clock is asked at the begin, then once for each image
  monkeypatch.setattr(images.time, "monotonic", lambda: float(next(seconds)))
  lines = []
  for _ in images._with_progress(iter(range(600)), 600, "the split", lines.append):
    pass
  told = [int(line.split()[3]) for line in lines]
  assert told[:6] == [3, 7, 15, 31, 63, 124]
  assert np.diff(told).max() == 61


def test_a_full_memory_is_no_fault_of_the_image(monkeypatch):
  def fail(*_args, **_keys):
    raise MemoryError

  monkeypatch.setattr(decoding.Image, "open", fail)
  with pytest.raises(MemoryError):
    decode(made.saved(made.noise(), "PNG"), CONFIG)


def test_the_threads_that_decode_end_with_the_reading_also_where_it_fails(tmp_path):
  for i, size in enumerate([(6, 4), (7, 4)]):
    made.noise(size, seed=i).save(tmp_path / f"{i}.png")
  before = threading.active_count()
  with pytest.raises(DataError, match="images differ in size") as caught:
    read_images(
      tmp_path, Listing(("0.png", "1.png"), np.zeros(2, int)), CONFIG, "x", log=lambda line: None
    )
  # The error still holds the frames of the reading, and with them the iterator of the images.
  assert caught.tb is not None
  assert threading.active_count() == before
