"""Images in folders, one folder per class: every kind of PNG and JPEG becomes upright 8-bit RGB."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from sdt.config import DataConfig
from sdt.data.assemble import Raw, RawSplit, assemble
from sdt.data.dataset import Data
from sdt.errors import DataError

Log = Callable[[str], None]

_SUFFIXES = (".png", ".jpg", ".jpeg")
_CHUNK = 512  # images in flight
_PROGRESS_SECS = 2.0
_LAYOUT = "expected train/CLASS/*.png|jpg with test/CLASS/*, or CLASS/*.png|jpg with data.test_fraction"


def _to_rgb(image: Image.Image) -> Image.Image:
  """Returns an 8-bit RGB image: 16-bit grey by its upper byte, transparency over white."""
  if image.mode.startswith("I"):  # a plain conversion would clip 16 bits at 255
    grey = np.asarray(image).astype(np.int64) >> 8
    return Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8)).convert("RGB")
  if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
    layer = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
  return image.convert("RGB")


def _decode(path: Path, image_size: int | None) -> np.ndarray | str:
  """Returns the image as uint8 [H, W, 3], turned as its EXIF orientation says; or why it cannot be read."""
  try:
    with Image.open(path, formats=("PNG", "JPEG")) as opened:
      opened.load()
      image = _to_rgb(ImageOps.exif_transpose(opened))
    if image_size is not None and image.size != (image_size, image_size):
      image = image.resize((image_size, image_size), Image.Resampling.BILINEAR)
    return np.asarray(image)
  except Exception as error:  # Pillow raises errors of many types on damaged files, and bombs come as a warning turned error
    return str(error).splitlines()[0].replace(str(path), path.name) if str(error) else type(error).__name__


def _subfolders(folder: Path) -> list[str]:
  return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))


def _list_images(folder: Path, class_names: tuple[str, ...]) -> tuple[list[tuple[str, int]], int]:
  """Returns ([(path below `folder`, label)] sorted by class and name, number of other files)."""
  found, num_other = [], 0
  for label, name in enumerate(class_names):
    if not (folder / name).is_dir():
      continue
    entries = sorted(entry.name for entry in os.scandir(folder / name) if entry.is_file() and not entry.name.startswith("."))
    images = [entry for entry in entries if entry.lower().endswith(_SUFFIXES)]
    num_other += len(entries) - len(images)
    found += [(f"{name}/{entry}", label) for entry in images]
  return found, num_other


def _decoded(paths: list[Path], image_size: int | None, log: Log) -> Iterator[np.ndarray | str]:
  """Yields what `_decode` returns for every path, in order, decoded on all cores."""
  last = time.monotonic()
  with ThreadPoolExecutor(os.cpu_count()) as pool:  # threads: Pillow decodes outside the interpreter's lock
    for start in range(0, len(paths), _CHUNK):
      yield from pool.map(lambda path: _decode(path, image_size), paths[start : start + _CHUNK])
      if time.monotonic() - last > _PROGRESS_SECS:
        last = time.monotonic()
        log(f"decoded {min(start + _CHUNK, len(paths))} of {len(paths)} images")


def _room(num: int, shape: tuple[int, ...], root: Path) -> np.ndarray:
  """Returns an array for `num` images; refuses what would take more than half of the machine's memory."""
  num_bytes = num * int(np.prod(shape))
  memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
  if num_bytes > memory // 2:
    raise DataError(
      f"data.path={root}: {num} images of {shape[0]} x {shape[1]} take {num_bytes / 2**30:.1f} GiB, more than half of this machine's"
      " memory; use smaller ones, such as --config.data.image_size=32"
    )
  return np.empty((num, *shape), np.uint8)


def _read_split(root: Path, folder: Path, class_names: tuple[str, ...], config: DataConfig, log: Log) -> tuple[RawSplit, list[str]]:
  """Returns the images below `folder` and the notes on what was left out; ids are places in the sorted list, skipped images included."""
  found, num_other = _list_images(folder, class_names)
  if not found:
    raise DataError(f"data.path={root}: no .png or .jpg below {folder}; {_LAYOUT}")
  files = [(folder / name).relative_to(root).as_posix() for name, _ in found]
  images: np.ndarray | None = None
  first_file = ""
  good: list[int] = []
  bad: list[str] = []
  for i, image in enumerate(_decoded([root / file for file in files], config.image_size, log)):
    if isinstance(image, str):
      bad.append(f"{files[i]}: {image}")
      continue
    if images is None:
      images, first_file = _room(len(files), image.shape, root), files[i]
    if image.shape != images.shape[1:]:
      raise DataError(
        f"data.path={root}: images differ in size: {first_file} is {images.shape[2]} x {images.shape[1]}, {files[i]} is {image.shape[1]} x"
        f" {image.shape[0]}; give one size, such as --config.data.image_size=32"
      )
    images[len(good)] = image
    good.append(i)
  if images is None or (bad and config.on_bad_image == "refuse"):
    raise DataError(
      f"data.path={root}: {len(bad)} of {len(files)} images cannot be read; the first is {bad[0]}; mend or remove them, or leave them"
      " out with --config.data.on_bad_image=skip"
    )
  notes = [f"{len(bad)} of {len(files)} images below {folder.name}/ were skipped; the first is {bad[0]}"] if bad else []
  if num_other:
    notes.append(f"{num_other} files below {folder.name}/ that are no .png or .jpg were ignored")
  ids = np.array(good)
  labels = np.array([label for _, label in found])[ids]
  return RawSplit(images[: len(good)], labels, ids, tuple(files[i] for i in good)), notes


def load_folder(config: DataConfig, log: Log) -> Data:
  """Returns the images below `data.path`: uint8 [N, H, W, 3], classes in the order of their names.

  The example ids are places in the list of files sorted by class and name. With `data.image_size` the whole image is scaled (bilinear) to a
  square; without it all images must have one size.

  Raises:
    DataError: no folder, no classes, no images, images that cannot be read or differ in size, a test class that the training split lacks.
  """
  if config.path is None:
    raise DataError("data.name=folder needs the folder: --config.data.path=DIR")
  root = Path(config.path).expanduser()
  if not root.is_dir():
    raise DataError(f"data.path={root}: no such folder; {_LAYOUT}")
  try:
    train_folder = root / "train" if (root / "train").is_dir() else root
    test_folder = root / "test" if train_folder != root and (root / "test").is_dir() else None
    class_names = tuple(_subfolders(train_folder))
    if not class_names:
      raise DataError(f"data.path={root}: no class folders below {train_folder}; {_LAYOUT}")
    if test_folder is not None:
      unknown = sorted(set(_subfolders(test_folder)) - set(class_names))
      if unknown:
        raise DataError(f"data.path={root}: test/{unknown[0]} is a class without a folder below train/; every test class must be trained")
    elif config.test_fraction is None:
      raise DataError(f"data.path={root}: there is no test/ folder; give the share to hold out, such as --config.data.test_fraction=0.2")
    with warnings.catch_warnings():
      warnings.simplefilter("error", Image.DecompressionBombWarning)  # set here, because filters belong to all threads
      train, notes = _read_split(root, train_folder, class_names, config, log)
      test, test_notes = (None, []) if test_folder is None else _read_split(root, test_folder, class_names, config, log)
  except OSError as error:
    raise DataError(f"data.path={root}: {error.strerror}: {error.filename}") from error
  raw = Raw(train, test, class_names, f"folder set {root}", "custom", (*notes, *test_notes))
  return assemble(raw, config)
