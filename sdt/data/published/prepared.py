"""Sets that tensorflow-datasets has prepared (array_record files), read through tfds without
TensorFlow.

A builder is only ever made from a directory that exists: asking tfds for an unprepared set by name
starts downloads that take minutes to fail without a network.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sdt.errors import DataError

_CHUNK = 512  # examples in flight: of large images they are some hundred megabytes


def default_directory() -> Path:
  """Returns where tfds keeps prepared sets: $TFDS_DATA_DIR, else ~/tensorflow_datasets."""
  return Path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()


def find(root: Path, tfds_name: str) -> Path | None:
  """Returns the folder of the newest prepared version of a set: `root` itself, or below `root` or
  `root/tfds_name`; else None.
  """
  if (root / "dataset_info.json").is_file():
    return root
  found = [
    info.parent
    for pattern in (f"{tfds_name}/*/dataset_info.json", "*/dataset_info.json")
    for info in root.glob(pattern)
  ]

  def version(folder: Path) -> tuple[int, ...]:
    return tuple(int(part) if part.isdigit() else -1 for part in folder.name.split("."))

  return max(found, key=version, default=None)


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
  """The examples of a split, by feature, in the order in which tfds stored them; images are left
  encoded, as bytes.
  """

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
    found = file_format(folder)
    if found != "array_record":
      raise DataError(
        f"{folder}: prepared as {found}, which needs TensorFlow to read; prepare it again with "
        "file_format='array_record', or leave it to"
        " sdt, which reads the original files"
      )
    import tensorflow_datasets as tfds

    with self._told():
      builder = tfds.builder_from_directory(str(folder))
      # Decoded here and not by tfds, which warns that it would rather use OpenCV, and decodes what
      # nobody asked for.
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
    """Yields every example; raises a DataError if one cannot be read or has not all of these
    features.
    """
    for start in range(0, len(self), _CHUNK):
      with self._told():
        examples = self._source.__getitems__(list(range(start, min(start + _CHUNK, len(self)))))
      for example in examples:
        lacking = sorted(set(features) - example.keys())
        if lacking:
          raise DataError(
            f"{self.where}: its examples have no {', '.join(lacking)}, but "
            f"{', '.join(sorted(example))}; it is another set"
          )
        yield example

  @contextlib.contextmanager
  def _told(self) -> Iterator[None]:
    try:
      yield
    except (DataError, MemoryError):
      raise
    except Exception as error:  # tfds and array_record raise errors of many types on damaged files
      what = " ".join(str(error).split())
      raise DataError(
        f"{self.where}: cannot be read: {type(error).__name__}: {what[:200]}"
      ) from error


def _decode_png(content: bytes) -> np.ndarray | str:
  """Returns the pixels, or why there are none."""
  try:
    with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
      return np.asarray(image)
  except Exception as error:  # Pillow raises errors of many types on damaged files
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"


def _rows(ids: list[bytes], split: str, where: str) -> np.ndarray:
  """Returns the row of every example in the original data, from ids such as b"train_00042"."""
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
) -> tuple[np.ndarray, np.ndarray]:
  """Returns (images uint8 [num, *shape], labels int64 [num, len(label_keys)]) of a split, in the
  order of the original data.

  tfds shuffles what it prepares; the feature `id` leads back.

  Args:
    folder: a version folder, with dataset_info.json.
    split: its name.
    num: how many examples it must have.
    label_keys: the features that are labels.
    shape: of every image.

  Raises:
    DataError: not an array_record set, damaged, of another size or shape, without such features, or
      ids that do not lead back.
  """
  source = PreparedSplit(folder, split, num)
  ids: list[bytes] = []
  images, labels = np.empty((num, *shape), np.uint8), np.empty((num, len(label_keys)), np.int64)
  for i, example in enumerate(source.examples(("id", "image", *label_keys))):
    image = _decode_png(example["image"])  # in a plain loop: at 32 x 32 pixels threads gain nothing
    if isinstance(image, str) or image.shape != shape or image.dtype != np.uint8:
      what = image if isinstance(image, str) else f"{image.dtype} {list(image.shape)}"
      raise DataError(f"{source.where}: image {i} is {what}, expected uint8 {list(shape)}")
    images[i], labels[i] = image, [example[key] for key in label_keys]
    ids.append(example["id"])
  order = np.argsort(_rows(ids, split, source.where))
  return images[order], labels[order]
