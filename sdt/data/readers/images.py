"""Reads the image files of a split: decodes them on all cores into one array, or maps the cache."""

import collections
import contextlib
import dataclasses
import functools
import os
import re
import time
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
from jaxtyping import Int32, Integer, UInt8

from sdt.config.schema import DataConfig
from sdt.data import cache
from sdt.data.cache import Prepared
from sdt.data.dataset import RawSplit
from sdt.data.readers.decoding import Decoded, Levels, decode
from sdt.errors import DataError
from sdt.types import Log

_IN_FLIGHT = 256  # images decoded ahead of the one that is stored
_PROGRESS_SECS = 2.0
_LONGEST_SILENCE = 60.0  # seconds
# Deep grey images that use a smaller share of their values are told, or refused.
_DARK, _BLACK = 1 / 8, 1 / 256
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")


@dataclasses.dataclass(frozen=True)
class Listing:
  """The image files of a split.

  Attributes:
    files: their paths relative to the root of the set, with slashes, in the order of the example
      ids.
    labels: integers [N].
    contents: returns the bytes of the file at a place in the list; None for files on disk.
  """

  files: tuple[str, ...]
  labels: Integer[np.ndarray, "N"]
  contents: Callable[[int], bytes] | None = None


def in_order[Item, Result](
  work: Callable[[Item], Result], items: Iterable[Item], *, ahead: int = _IN_FLIGHT
) -> Generator[Result, None, None]:
  """Yields work(item) of all items in their order; threads on all cores work `ahead` of them."""
  waiting: collections.deque[Future[Result]] = collections.deque()
  pool = ThreadPoolExecutor(os.cpu_count())  # Pillow releases the interpreter's lock
  try:
    for item in items:
      waiting.append(pool.submit(work, item))
      if len(waiting) > ahead:
        yield waiting.popleft().result()
    while waiting:
      yield waiting.popleft().result()
  finally:
    pool.shutdown(cancel_futures=True)


def _with_progress(
  results: Iterator[Decoded], total: int, where: str, log: Log
) -> Iterator[Decoded]:
  """Yields the results, and logs how many are done and how long is left.

  After two seconds first, then each time after half of the time that has passed, a minute at most.
  """
  begin = last = time.monotonic()
  for done, result in enumerate(results, 1):
    yield result
    now = time.monotonic()
    if now - last > max(_PROGRESS_SECS, min(_LONGEST_SILENCE, (now - begin) / 2)):
      last, rate = now, done / (now - begin)
      log(
        f"{where}: decoded {done:,} of {total:,} images, {rate:,.0f} images/s, "
        f"{(total - done) / rate:.0f} s left"
      )


def _zeros(
  num: int, height: int, width: int, root: Path, may_spill: bool
) -> UInt8[np.ndarray, "N H W 3"]:
  """Returns zeros uint8 [num, height, width, 3], in memory or in a file.

  They are in a file, or refused, if they would take more than half of the machine's memory.
  """
  num_bytes = num * height * width * 3
  memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
  if num_bytes <= memory // 2:
    return np.zeros((num, height, width, 3), np.uint8)  # a page takes memory once it is written
  zeros = cache.zeros_on_disk((num, height, width, 3)) if may_spill else None
  if zeros is None:
    raise DataError(
      f"data.path={root}: {num} images in {width} x {height} pixels each take "
      f"{num_bytes / 2**30:.1f} GiB, more than half of this machine's memory; leave data.cache on "
      f"and three times as much free in {cache.directory()}, or use smaller images, such as "
      "--config.data.image_size=32"
    )
  return zeros


class _Canvas:
  """Collects images one by one in one array, as high and as wide as the largest image needs.

  Each image is at the top left of its field, with zeros around it.
  """

  def __init__(self, num: int, root: Path, may_spill: bool):
    self._num, self._root, self._may_spill = num, root, may_spill
    self._images = np.zeros((num, 0, 0, 3), np.uint8)
    self._sizes: list[tuple[int, int]] = []

  def add(self, image: UInt8[np.ndarray, "h w 3"]) -> None:
    num, (height, width) = len(self._sizes), self._images.shape[1:3]
    if image.shape[0] > height or image.shape[1] > width:
      larger_height, larger_width = max(image.shape[0], height), max(image.shape[1], width)
      larger = _zeros(
        self._num, larger_height, larger_width, root=self._root, may_spill=self._may_spill
      )
      larger[:num, :height, :width] = self._images[:num]
      self._images = larger
    self._images[num, : image.shape[0], : image.shape[1]] = image
    self._sizes.append((image.shape[0], image.shape[1]))

  def contents(self) -> tuple[UInt8[np.ndarray, "n H W 3"], Int32[np.ndarray, "n 2"] | None]:
    """Returns (images [n, H, W, 3], sizes [n, 2]), sizes None where every image fills its field."""
    sizes = np.array(self._sizes, np.int32).reshape(-1, 2)
    return self._images[: len(sizes)], None if (sizes == self._images.shape[1:3]).all() else sizes


def _decode_files(
  root: Path, listing: Listing, config: DataConfig, where: str, log: Log
) -> tuple[Prepared, bool]:
  """Returns (the readable images, whether every file could be opened).

  Raises:
    DataError: sizes differ and may not.
  """
  files, may_differ = listing.files, config.resize == "short_side"
  canvas, skipped, all_read = _Canvas(len(files), root, config.cache), {}, True
  remarks: dict[str, tuple[int, int]] = {}
  levels: Levels | None = None
  first: tuple[str, str] | None = None
  # One by one: together the contents of a set may not fit into memory.
  contents = (
    (root / file for file in files)
    if listing.contents is None
    else map(listing.contents, range(len(files)))
  )
  decoded = functools.partial(decode, config=config)
  # Closed here, also after an error: the garbage collector may close it in a thread that it waits
  # for.
  with warnings.catch_warnings(), contextlib.closing(in_order(decoded, contents)) as results:
    # Pillow warns of oddities of single files. Set here, because filters are shared by all threads.
    warnings.simplefilter("ignore")
    for i, result in enumerate(_with_progress(results, len(files), where, log=log)):
      if result.pixels is None:
        skipped[i], all_read = result.reason, all_read and not result.may_pass
        continue
      shape = f"{result.pixels.shape[1]} x {result.pixels.shape[0]}"
      first = first or (files[i], shape)
      if shape != first[1] and not may_differ:
        raise DataError(
          f"data.path={root}: images differ in size: {first[0]} is {first[1]}, {files[i]} is "
          f"{shape}; give one size, such as --config.data.image_size=32, or let them differ: "
          "--config.data.resize=short_side --config.data.crop_size=32"
        )
      canvas.add(result.pixels)
      for remark in result.remarks:
        num, place = remarks.get(remark, (0, i))
        remarks[remark] = (num + 1, place)
      levels = levels if result.levels is None else result.levels.with_others(levels)
  images, sizes = canvas.contents()
  return Prepared(images, sizes, skipped, remarks=remarks, levels=levels), all_read


def _cache_key(root: Path, listing: Listing, config: DataConfig) -> str:
  """Returns the key of the images in the cache.

  Images that are not single files are inside the files of `root`.
  """
  stored_in = listing.files
  if listing.contents is not None:
    stored_in = tuple(sorted(entry.name for entry in os.scandir(root) if entry.is_file()))
  return cache.key(root, listing.files, stored_in, config=config)


def _check_names(files: tuple[str, ...], root: Path) -> None:
  """Refuses file names that no table can show: not UTF-8, or with control characters in them."""
  bad = [file for file in files if _UNPRINTABLE.search(file)]
  if bad:
    raise DataError(
      f"data.path={root}: the file name {bad[0]!a} is not UTF-8 or holds control characters, as "
      f"do {len(bad)} of {len(files)}; rename them"
    )


def _skipped(
  root: Path, listing: Listing, decoded: Prepared, config: DataConfig, where: str
) -> list[str]:
  """Returns a note on the images that were skipped, if any.

  Raises:
    DataError: there are some and `data.on_bad_image` does not allow it, or none can be read.
  """
  num, num_bad = len(listing.files), len(decoded.skipped)
  if not num_bad:
    return []
  place = min(decoded.skipped)
  first = f"the first is {listing.files[place]}: {decoded.skipped[place]}"
  if config.on_bad_image == "refuse" or num_bad == num:
    skip = ", or leave them out with --config.data.on_bad_image=skip" if num_bad < num else ""
    raise DataError(
      f"data.path={root}: {num_bad} of {num} images of {where} cannot be read; {first}; mend or "
      f"remove them{skip}"
    )
  return [f"{num_bad} of {num} images of {where} were skipped; {first}"]


def _level_notes(root: Path, decoded: Prepared, config: DataConfig, where: str) -> Iterator[str]:
  """Yields what must be told of the values of deep grey images.

  Raises:
    DataError: they use less than one of the 256 values that are kept of them.
  """
  if decoded.levels is None:
    if config.value_range is not None:
      yield f"data.value_range changes nothing in {where}: no image there is deep grey"
    return
  low, high, _ = decoded.levels
  black, white = config.value_range or (0.0, decoded.levels[2])
  used = (min(high, white) - max(low, black)) / (white - black)
  values = f"the deep grey images of {where} hold the values {low:g} to {high:g}"
  remedy = f"--config.data.value_range={low:g},{high:g} makes these black and white"
  if used < _BLACK and low < high:
    raise DataError(
      f"data.path={root}: {values}, and as {black:g} is black and {white:g} is white, nothing of "
      f"them can be seen; {remedy}"
    )
  if used < _DARK and low < high:
    yield (
      f"{values}, {100 * used:.2g} % of what is between black, {black:g}, and white, {white:g}; "
      f"{remedy}, {1 / used:.3g} times the contrast"
    )
  if config.value_range is not None and (low < black or high > white):
    yield f"{values}; those beyond data.value_range={black:g},{white:g} are black or white"


def read_images(
  root: Path, listing: Listing, config: DataConfig, where: str, log: Log
) -> tuple[RawSplit, list[str]]:
  """Returns (the images of a split, notes on what was left out or cut).

  The example ids are the places in the list. Skipped images keep their place, so no other image
  changes its id.

  Args:
    root: the folder that the files are relative to.
    listing: at least one file.
    config: `image_size`, `resize` and `value_range` (see `decode`), `on_bad_image`, `cache`.
    where: what the notes and messages call these images, such as "train/".
    log: gets a line of progress every two seconds.

  Raises:
    DataError: images that cannot be read, unless `data.on_bad_image=skip`; none that can; sizes
      that differ without `data.resize=short_side`; more than half of the memory.
  """
  files = listing.files
  _check_names(files, root)
  name = _cache_key(root, listing, config) if config.cache else ""
  decoded, may_keep = (cache.load(name, len(files), log) if name else None), False
  if decoded is None:
    decoded, may_keep = _decode_files(root, listing, config, where=where, log=log)
  notes = _skipped(root, listing, decoded, config=config, where=where)
  # Not if a file changed while it was read.
  if name and may_keep and _cache_key(root, listing, config) == name:
    cache.store(name, root, decoded, log=log)
  notes += [
    f"{num} of {len(files)} images of {where} {remark} (the first is {files[first]})"
    for remark, (num, first) in decoded.remarks.items()
  ]
  notes += _level_notes(root, decoded, config, where=where)
  ids = np.delete(np.arange(len(files)), sorted(decoded.skipped))
  split = RawSplit(
    inputs=decoded.images,
    labels=listing.labels[ids],
    example_ids=ids,
    source_files=tuple(files[i] for i in ids),
    sizes=decoded.sizes,
  )
  return split, notes
