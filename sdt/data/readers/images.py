"""Image files: every common kind of PNG, JPEG, BMP, WebP, PPM, TIFF and GIF becomes upright 8-bit
RGB, decoded on all cores.
"""

from __future__ import annotations

import collections
import dataclasses
import io
import os
import re
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

from sdt.config.schema import DataConfig
from sdt.data import cache
from sdt.data.assemble import RawSplit
from sdt.data.cache import Prepared
from sdt.errors import DataError

Log = Callable[[str], None]

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".ppm", ".pgm", ".tif", ".tiff", ".gif")
_FORMATS = (
  "PNG",
  "JPEG",
  "BMP",
  "WEBP",
  "PPM",
  "TIFF",
  "GIF",
)  # of Pillow; a file is what its content says, whatever its name
_MAX_PIXELS = 89_478_485  # from where on Pillow suspects a decompression bomb
_MAX_FILE_BYTES = 2**30
LONGEST = 1.5  # times image_size, of the longer side
_IN_FLIGHT = 256  # images decoded ahead of the one that is stored
_PROGRESS_SECS = 2.0
_BITS, _PHOTOMETRIC = ExifTags.Base.BitsPerSample, ExifTags.Base.PhotometricInterpretation
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
_TURNS = {
  2: Image.Transpose.FLIP_LEFT_RIGHT,
  3: Image.Transpose.ROTATE_180,
  4: Image.Transpose.FLIP_TOP_BOTTOM,
  5: Image.Transpose.TRANSPOSE,
  6: Image.Transpose.ROTATE_270,
  7: Image.Transpose.TRANSVERSE,
  8: Image.Transpose.ROTATE_90,
}


@dataclasses.dataclass(frozen=True)
class Listing:
  """The image files of a split.

  Attributes:
    files: their paths relative to the root of the set, with slashes, in the order of the example
      ids.
    labels: integers [len(files)].
    contents: returns what the file at a place in the list holds; None where the files are on disk.
  """

  files: tuple[str, ...]
  labels: np.ndarray
  contents: Callable[[int], bytes] | None = None


@dataclasses.dataclass(frozen=True)
class _Decoded:
  """One file: its pixels, uint8 [h, w, 3], or why there are none; whether its ends were cut off;
  whether trying again may help.
  """

  pixels: np.ndarray | None
  reason: str = ""
  is_cut: bool = False
  may_pass: bool = False


def _orientation(image: Image.Image) -> int:
  try:
    return int(image.getexif().get(ExifTags.Base.Orientation, 1))
  except Exception:  # a damaged EXIF block says nothing; the pixels may be sound all the same
    return 1


def _deep_to_rgb(image: Image.Image) -> Image.Image:
  """Returns 8-bit RGB of grey pixels of 12 or 16 bits (the upper 8), or of floats in [0, 1]; raises
  ValueError for other values.
  """
  values, tags = np.asarray(image), getattr(image, "tag_v2", {})
  if image.mode == "F":
    if not (values.min() >= 0 and values.max() <= 1):  # written so that NaN is refused
      raise ValueError("its floating-point pixels are not within [0, 1]")
    grey = np.rint(values * 255).astype(np.uint8)
  else:
    if values.min() < 0 or values.max() > 65535:
      raise ValueError("its pixels are not within [0, 65535]")
    # Of all kinds only TIFF has 12 bits; Pillow leaves them as they are.
    grey = (values >> (4 if tags.get(_BITS) == (12,) else 8)).astype(np.uint8)
    if isinstance(image.info.get("transparency"), int):
      grey[values == image.info["transparency"]] = 255
  if tags.get(_PHOTOMETRIC) == 0:  # white is zero: Pillow heeds it in 8 bits only
    grey = 255 - grey
  return Image.fromarray(grey).convert("RGB")


def _to_rgb(image: Image.Image) -> Image.Image:
  """Returns an 8-bit RGB image: 16-bit grey by its upper byte, transparency over white."""
  if image.mode.startswith(("I", "F")):  # a plain conversion would clip at 255
    return _deep_to_rgb(image)
  if image.has_transparency_data:
    layer = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
  return image.convert("RGB")


def _resized(image: Image.Image, config: DataConfig) -> tuple[Image.Image, bool]:
  """Returns the image as `data.resize` and `data.image_size` say, bilinear and antialiased, and
  whether its ends were cut off.

  The shorter side becomes S and the longer one int(S * long / short), as in torchvision's Resize;
  at most 1.5 S of it, around the centre.
  """
  size, (width, height) = config.image_size, image.size
  if size is None:
    return image, False
  if config.resize == "stretch":
    return (
      image if image.size == (size, size) else image.resize((size, size), Image.Resampling.BILINEAR)
    ), False
  scaled = [size * side // min(width, height) for side in (width, height)]
  kept = [min(side, int(LONGEST * size)) for side in scaled]
  # Only what is kept is scaled: the whole of a line of a million pixels would not fit into memory.
  spare = [
    (side - side * part / new) / 2 for side, part, new in zip(image.size, kept, scaled, strict=True)
  ]
  box = (spare[0], spare[1], width - spare[0], height - spare[1])
  return image.resize((kept[0], kept[1]), Image.Resampling.BILINEAR, box=box), kept != scaled


def _read_file(path: Path) -> bytes:
  """Returns the content; raises OSError or ValueError, also for what is no ordinary file and could
  block or never end.
  """
  if path.is_dir():
    raise ValueError("it is a folder")
  size = path.stat().st_size
  if not path.is_file():
    raise ValueError("it is no ordinary file")
  if size > _MAX_FILE_BYTES:
    raise ValueError(f"{size} bytes, more than the {_MAX_FILE_BYTES} allowed")
  return path.read_bytes()


def _decode(content: Path | bytes, config: DataConfig) -> _Decoded:
  try:
    data = _read_file(content) if isinstance(content, Path) else content
  except OSError as error:
    return _Decoded(None, error.strerror or type(error).__name__, may_pass=True)
  except ValueError as error:  # also a null byte in the path
    return _Decoded(None, str(error))
  if not data:
    return _Decoded(None, "the file is empty")
  try:
    with Image.open(io.BytesIO(data), formats=_FORMATS) as opened:
      if opened.width * opened.height > _MAX_PIXELS:
        return _Decoded(
          None,
          f"{opened.width} x {opened.height} pixels, more than {_MAX_PIXELS}: a decompression "
          "bomb?",
        )
      opened.load()
      turn = _TURNS.get(_orientation(opened))
      image = _to_rgb(opened)
    image, is_cut = _resized(image if turn is None else image.transpose(turn), config)
    return _Decoded(np.asarray(image), is_cut=is_cut)
  except MemoryError:  # says nothing about the file
    raise
  except Image.UnidentifiedImageError:
    return _Decoded(
      None, f"no image of a known kind ({', '.join(_FORMATS)}), or its beginning is damaged"
    )
  except Exception as error:  # Pillow raises errors of many types on damaged files
    return _Decoded(None, " ".join(str(error).split())[:200] or type(error).__name__)


def decode(content: Path | bytes, config: DataConfig) -> np.ndarray | str:
  """Returns the image as uint8 [h, w, 3], upright RGB, sized by `data.image_size` and
  `data.resize`; or why it cannot be read.

  Grey, palette, CMYK and YCCK become RGB, 12 and 16 bits their upper 8, floats in [0, 1] times 255;
  transparency lies over white; of several frames the first counts. EXIF orientation is applied
  before the size.

  Args:
    content: a file, or what one holds.
    config: `image_size` and `resize`.
  """
  decoded = _decode(content, config)
  return decoded.reason if decoded.pixels is None else decoded.pixels


def _decode_all(contents: Iterable[Path | bytes], config: DataConfig) -> Iterator[_Decoded]:
  """Yields what `_decode` returns for every content, in order, decoded on all cores."""
  waiting: collections.deque[Future[_Decoded]] = collections.deque()
  pool = ThreadPoolExecutor(
    os.cpu_count()
  )  # threads: Pillow decodes outside the interpreter's lock
  try:
    for content in contents:
      waiting.append(pool.submit(_decode, content, config))
      if len(waiting) > _IN_FLIGHT:
        yield waiting.popleft().result()
    while waiting:
      yield waiting.popleft().result()
  finally:
    pool.shutdown(cancel_futures=True)


def _with_progress(
  results: Iterator[_Decoded], total: int, where: str, log: Log
) -> Iterator[_Decoded]:
  begin = last = time.monotonic()
  for done, result in enumerate(results, 1):
    yield result
    now = time.monotonic()
    if now - last > _PROGRESS_SECS:
      last, rate = now, done / (now - begin)
      log(
        f"{where}: decoded {done:,} of {total:,} images, {rate:,.0f} images/s, "
        f"{(total - done) / rate:.0f} s left"
      )


def _room(num: int, height: int, width: int, root: Path, may_spill: bool) -> np.ndarray:
  """Returns zeros uint8 [num, height, width, 3]: what would take more than half of the machine's
  memory lies in a file, or is refused.
  """
  num_bytes = num * height * width * 3
  memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
  if num_bytes <= memory // 2:
    return np.zeros((num, height, width, 3), np.uint8)  # pages that nobody writes to take no memory
  spare = cache.spare_room((num, height, width, 3)) if may_spill else None
  if spare is None:
    raise DataError(
      f"data.path={root}: {num} images in {width} x {height} pixels each take "
      f"{num_bytes / 2**30:.1f} GiB, more than half of this machine's"
      f" memory; leave data.cache on and three times as much free in {cache.directory()}, or use "
      "smaller ones, such as"
      " --config.data.image_size=32"
    )
  return spare


class _Canvas:
  """Images that arrive one by one, each at the top left of a field that is as high and wide as the
  largest of them needs.
  """

  def __init__(self, num: int, root: Path, may_spill: bool):
    self._num, self._root, self._may_spill = num, root, may_spill
    self._images = np.zeros((num, 0, 0, 3), np.uint8)
    self._sizes: list[tuple[int, int]] = []

  def add(self, image: np.ndarray) -> None:
    height, width = self._images.shape[1:3]
    if image.shape[0] > height or image.shape[1] > width:
      larger = _room(
        self._num,
        max(image.shape[0], height),
        max(image.shape[1], width),
        root=self._root,
        may_spill=self._may_spill,
      )
      larger[: len(self._sizes), :height, :width] = self._images[: len(self._sizes)]
      self._images = larger
    self._images[len(self._sizes), : image.shape[0], : image.shape[1]] = image
    self._sizes.append((image.shape[0], image.shape[1]))

  def contents(self) -> tuple[np.ndarray, np.ndarray | None]:
    """Returns (images [n, H, W, 3], sizes [n, 2]), sizes None where every image fills its field."""
    sizes = np.array(self._sizes, np.int32).reshape(-1, 2)
    return self._images[: len(sizes)], None if (sizes == self._images.shape[1:3]).all() else sizes


def _decode_files(
  root: Path, listing: Listing, config: DataConfig, where: str, log: Log
) -> tuple[Prepared, bool]:
  """Returns the readable images among the files, and whether all of the files could be read, sound
  or not.

  Raises:
    DataError: sizes differ and may not.
  """
  files, may_differ = listing.files, config.resize == "short_side"
  canvas, skipped, num_cut, all_read = _Canvas(len(files), root, config.cache), {}, 0, True
  first: tuple[str, str] | None = None
  with warnings.catch_warnings():
    warnings.simplefilter(
      "ignore"
    )  # of Pillow, on oddities of single files; set here, because filters belong to all threads
    # Asked for one by one, as the images are decoded: together the contents of a set may not fit
    # into memory.
    contents = (
      (root / file for file in files)
      if listing.contents is None
      else map(listing.contents, range(len(files)))
    )
    results = _decode_all(contents, config)
    for i, result in enumerate(_with_progress(results, len(files), where, log=log)):
      if result.pixels is None:
        skipped[i], all_read = result.reason, all_read and not result.may_pass
        continue
      shape = f"{result.pixels.shape[1]} x {result.pixels.shape[0]}"
      first = first or (files[i], shape)
      if shape != first[1] and not may_differ:
        raise DataError(
          f"data.path={root}: images differ in size: {first[0]} is {first[1]}, {files[i]} is "
          f"{shape}; give one size, such as"
          " --config.data.image_size=32, or let them differ: --config.data.resize=short_side "
          "--config.data.crop_size=32"
        )
      canvas.add(result.pixels)
      num_cut += result.is_cut
  images, sizes = canvas.contents()
  return Prepared(images, sizes, skipped, num_cut=num_cut), all_read


def _cache_key(root: Path, listing: Listing, config: DataConfig) -> str:
  """Returns the key of the images in the cache. Contents that are no files of their own lie in the
  files of `root`.
  """
  if listing.contents is None:
    return cache.key(root, listing.files, listing.files, config=config)
  return cache.key(
    root,
    listing.files,
    tuple(sorted(entry.name for entry in os.scandir(root) if entry.is_file())),
    config=config,
  )


def _check_names(files: tuple[str, ...], root: Path) -> None:
  """Refuses file names that no table or message can show: those that are not UTF-8, and those with
  line ends in them.
  """
  bad = [file for file in files if _UNPRINTABLE.search(file)]
  if bad:
    raise DataError(
      f"data.path={root}: the file name {bad[0]!a} is not UTF-8 or holds control characters, as "
      f"do {len(bad)} of {len(files)}; rename them"
    )


def read_images(
  root: Path, listing: Listing, config: DataConfig, where: str, log: Log
) -> tuple[RawSplit, list[str]]:
  """Returns the images of a split, and the notes on what was left out or cut.

  The example ids are the places in the list, those of skipped images included, so that no other
  image changes its id.

  Args:
    root: the folder that the files are relative to.
    listing: at least one file.
    config: `image_size` and `resize` (see `decode`), `on_bad_image`, `cache`.
    where: what the notes and messages call these images, such as "train/".
    log: gets a line of progress every two seconds.

  Raises:
    DataError: images that cannot be read, unless `data.on_bad_image=skip`; none that can; sizes
      that differ without `data.resize=short_side`; more than half of the memory.
  """
  files = listing.files
  _check_names(files, root)
  name = _cache_key(root, listing, config) if config.cache else ""
  kept = cache.load(name, len(files), log) if name else None
  found, may_keep = (
    (kept, False)
    if kept is not None
    else _decode_files(root, listing, config, where=where, log=log)
  )
  num_bad = len(found.skipped)
  if num_bad:
    place = min(found.skipped)
    first = f"the first is {files[place]}: {found.skipped[place]}"
    if config.on_bad_image == "refuse" or num_bad == len(files):
      raise DataError(
        f"data.path={root}: {num_bad} of {len(files)} images of {where} cannot be read; {first}; "
        "mend or remove them, or leave them out"
        " with --config.data.on_bad_image=skip"
      )
  if (
    name and may_keep and _cache_key(root, listing, config) == name
  ):  # otherwise a file changed meanwhile
    cache.store(name, root, found, log=log)
  notes = [f"{num_bad} of {len(files)} images of {where} were skipped; {first}"] if num_bad else []
  if found.num_cut:
    notes.append(
      f"{found.num_cut} of {len(files)} images of {where} are more than {LONGEST} times as long "
      "as wide; the middle of them is kept"
    )
  ids = np.delete(np.arange(len(files)), sorted(found.skipped))
  split = RawSplit(
    found.images,
    listing.labels[ids],
    ids,
    source_files=tuple(files[i] for i in ids),
    sizes=found.sizes,
  )
  return split, notes
