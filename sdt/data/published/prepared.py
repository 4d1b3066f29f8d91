"""Reads sets that tensorflow-datasets has prepared (array_record files), without TensorFlow.

We open only directories that exist. Asked for an unprepared set by name, tfds starts downloads that
take minutes to fail without a network.
"""

import contextlib
import io
import json
import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64, Shaped, UInt8
from PIL import Image

from sdt.errors import DataError

_CHUNK = 512  # examples read together; large images take some hundred megabytes


def default_directory() -> Path:
  """Returns where tfds keeps prepared sets: $TFDS_DATA_DIR, else ~/tensorflow_datasets."""
  return Path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()


def find(root: Path, tfds_name: str) -> Path | None:
  """Returns the folder of the newest prepared version of a set; None if there is none.

  It is `root` itself, or a folder below `root` or `root/tfds_name`.
  """
  if (root / "dataset_info.json").is_file():
    return root
  folders = [
    info.parent
    for pattern in (f"{tfds_name}/*/dataset_info.json", "*/dataset_info.json")
    for info in root.glob(pattern)
  ]

  def version(folder: Path) -> tuple[int, ...]:
    return tuple(int(part) if part.isdigit() else -1 for part in folder.name.split("."))

  return max(folders, key=version, default=None)


def file_format(folder: Path) -> str:
  """Returns the format that `dataset_info.json` declares, such as "array_record"."""
  try:
    info = json.loads((folder / "dataset_info.json").read_text(encoding="utf-8"))
    return str(info.get("fileFormat", "tfrecord"))
  except (OSError, ValueError, AttributeError, RecursionError) as error:
    raise DataError(
      f"{folder / 'dataset_info.json'}: not readable as the description of a prepared set: {error}"
    ) from error


class PreparedSplit:
  """The examples of a split, in the order in which tfds stored them; images stay encoded bytes."""

  def __init__(self, folder: Path, split: str, num: int):
    """Opens a split.

    Args:
      folder: a version folder, with dataset_info.json.
      split: its name.
      num: how many examples it must have.

    Raises:
      DataError: not an array_record set, damaged, or of another size.
    """
    self.where = f"prepared set {folder}, {split} split"
    kind = file_format(folder)
    if kind != "array_record":
      raise DataError(
        f"{folder}: prepared as {kind}, which needs TensorFlow to read; prepare it again with "
        "file_format='array_record', or let sdt read the original files"
      )
    import tensorflow_datasets as tfds

    with self._told():
      builder = tfds.builder_from_directory(str(folder))
      # We decode the images: tfds warns that it prefers OpenCV, and decodes features nobody needs.
      encoded = {
        name: tfds.decode.SkipDecoding()
        for name, kind in builder.info.features.items()
        if isinstance(kind, tfds.features.Image)
      }
      self._source = builder.as_data_source(split=split, decoders=encoded)
      if len(self._source) != num:
        raise DataError(f"{self.where}: it has {len(self._source)} examples, expected {num}")

  def __len__(self) -> int:
    return len(self._source)

  def __getitem__(self, place: int) -> dict[str, Any]:
    """Returns one example; raises a DataError if it cannot be read."""
    with self._told():
      example: dict[str, Any] = self._source[place]
    return example

  def examples(self, features: Collection[str]) -> Iterator[dict[str, Any]]:
    """Yields every example; raises a DataError if one is damaged or lacks one of the features."""
    for start in range(0, len(self), _CHUNK):
      with self._told():
        examples = self._source.__getitems__(list(range(start, min(start + _CHUNK, len(self)))))
      for example in examples:
        lacking = sorted(set(features) - example.keys())
        if lacking:
          raise DataError(
            f"{self.where}: its examples have no {', '.join(lacking)}, only "
            f"{', '.join(sorted(example))}; it is another set"
          )
        yield example

  @contextlib.contextmanager
  def _told(self) -> Iterator[None]:
    """Turns whatever tfds raises inside the block into a DataError."""
    try:
      yield
    except (DataError, MemoryError):
      raise
    except Exception as error:  # tfds and array_record raise errors of many types on damaged files
      what = " ".join(str(error).split())
      raise DataError(
        f"{self.where}: cannot be read: {type(error).__name__}: {what[:200]}"
      ) from error


def _decode_png(content: bytes) -> Shaped[np.ndarray, "..."] | str:
  """Returns the pixels, or the reason why there are none."""
  try:
    with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
      return np.asarray(image)
  except Exception as error:  # Pillow raises errors of many types on damaged files
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"


def _rows(ids: list[bytes], split: str, where: str) -> Int64[np.ndarray, "N"]:
  """Returns the row of every example in the original data, read from ids like b"train_00042"."""
  try:
    rows = np.array([int(text.decode().removeprefix(f"{split}_")) for text in ids])
  except ValueError as error:
    raise DataError(
      f"{where}: example ids such as {ids[0]!r} are not those of {split}_00000 and on"
    ) from error
  if not np.array_equal(np.sort(rows), np.arange(len(rows))):
    raise DataError(f"{where}: the ids do not name each of the rows 0 to {len(rows) - 1} once")
  return rows


def read_images(
  folder: Path, split: str, num: int, label_keys: tuple[str, ...], shape: tuple[int, int, int]
) -> tuple[UInt8[np.ndarray, "num H W C"], Int64[np.ndarray, "num L"]]:
  """Returns (images, labels) of a split in the order of the original data.

  Images are uint8 [num, *shape], labels int64 [num, len(label_keys)]. tfds shuffles the examples;
  the feature `id` tells the original row.

  Args:
    folder: a version folder, with dataset_info.json.
    split: its name.
    num: how many examples it must have.
    label_keys: the features that are labels.
    shape: of every image.

  Raises:
    DataError: not an array_record set, damaged, of another size or shape, without such features, or
      ids that are not those of the rows.
  """
  source = PreparedSplit(folder, split, num)
  ids: list[bytes] = []
  images, labels = np.empty((num, *shape), np.uint8), np.empty((num, len(label_keys)), np.int64)
  for i, example in enumerate(source.examples(("id", "image", *label_keys))):
    image = _decode_png(example["image"])  # no threads: they gain nothing at 32 x 32 pixels
    if isinstance(image, str) or image.shape != shape or image.dtype != np.uint8:
      what = image if isinstance(image, str) else f"{image.dtype} {list(image.shape)}"
      raise DataError(f"{source.where}: image {i} is {what}, expected uint8 {list(shape)}")
    images[i], labels[i] = image, [example[key] for key in label_keys]
    ids.append(example["id"])
  order = np.argsort(_rows(ids, split, source.where))
  return images[order], labels[order]
