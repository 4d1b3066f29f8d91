"""The verified arrays of a data set. Nothing else in sdt may hand data to the training engine."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator

import numpy as np

from sdt.errors import DataError

_PART_BYTES = 2**24  # of images that are looked at together


@dataclasses.dataclass(frozen=True)
class Dataset:
  """One split, verified and read-only; made by `make_dataset`.

  Attributes:
    inputs: uint8 [N, H, W, C] images, or float32 [N, D] vectors, finite.
    labels: int32 [N] in [0, num_classes); float32 [N, D], finite, where they are no classes but
      numbers.
    example_ids: int32 [N], ascending: the row in the original data, for ever.
    source_files: path of every example relative to `data.path`, where examples are files.
    difficulty: float32 [N] in [0, 1] where it is known (procedural sets), larger is harder.
    wrong_label: bool [N] where it is known which labels are wrong (procedural sets).
    sizes: int32 [N, 2], height and width of every image where they differ: it stands at the top
      left of its H x W, zeros around it.
  """

  inputs: np.ndarray
  labels: np.ndarray
  example_ids: np.ndarray
  source_files: tuple[str, ...] | None = None
  difficulty: np.ndarray | None = None
  wrong_label: np.ndarray | None = None
  sizes: np.ndarray | None = None

  def __len__(self) -> int:
    return len(self.labels)


@dataclasses.dataclass(frozen=True)
class Data:
  """A data set as a run uses it.

  Attributes:
    train: the training split.
    test: the test split.
    class_names: one name per class, [num_classes].
    name: `data.name`.
    variant: "canonical", "procedural", "custom", or the name of a known variant such as
      "jpeg-test-20".
    checksum: SHA-256 over inputs, labels, ids and sizes of both splits and the class names, hex;
      equal for equal content however read.
    mean: float32 [C], in units of pixel/255, by which the inputs are normalised: of the training
      split, unless the set or the config names one; float32 [D], in the units of the inputs, for
      vectors.
    std: the same for the standard deviation (divided by N); 1 where it would be 0.
    notes: what the user must be told: constant images, skipped images, the variant.
  """

  train: Dataset
  test: Dataset
  class_names: tuple[str, ...]
  name: str
  variant: str
  checksum: str
  mean: np.ndarray
  std: np.ndarray
  notes: tuple[str, ...] = ()


def _first_bad(bad: np.ndarray, example_ids: np.ndarray) -> tuple[int, int, int]:
  """Returns (how many examples are bad, position of the first, id of the first)."""
  first = int(np.argmax(bad))
  return int(bad.sum()), first, int(example_ids[first])


def _check_inputs(inputs: np.ndarray, example_ids: np.ndarray, where: str) -> None:
  images = inputs.dtype == np.uint8 and inputs.ndim == 4
  vectors = inputs.dtype == np.float32 and inputs.ndim == 2
  if not (images or vectors):
    raise DataError(
      f"{where}: inputs are {inputs.dtype} {list(inputs.shape)}, expected uint8 [N, height, "
      "width, channels] or float32 [N, size]"
    )
  if 0 in inputs.shape:
    raise DataError(
      f"{where}: inputs of shape {list(inputs.shape)} hold nothing; at least one example with one "
      "value is needed"
    )
  if vectors:
    _check_finite(inputs, example_ids, where)


def _check_finite(vectors: np.ndarray, example_ids: np.ndarray, where: str) -> None:
  bad = ~np.isfinite(vectors).all(axis=1)
  if bad.any():
    num, first, example_id = _first_bad(bad, example_ids)
    column = int(np.argmin(np.isfinite(vectors[first])))
    raise DataError(
      f"{where}: {num} of {len(vectors)} examples hold values that are not finite in float32; the "
      f"first is {vectors[first, column]}"
      f" in example {example_id}, column {column}"
    )


def _check_labels(
  labels: np.ndarray, example_ids: np.ndarray, num_classes: int, where: str
) -> None:
  if labels.dtype == np.float32 and labels.ndim == 2:
    _check_finite(labels, example_ids, where)
    return
  if labels.ndim != 1 or labels.dtype.kind not in "iu":
    raise DataError(
      f"{where}: labels are {labels.dtype} {list(labels.shape)}, expected integers [N]"
    )
  bad = (labels < 0) | (labels >= num_classes)
  if bad.any():
    num, first, example_id = _first_bad(bad, example_ids)
    raise DataError(
      f"{where}: {num} of {len(labels)} labels are outside [0, {num_classes}); the first is "
      f"{labels[first]} at example {example_id}"
    )


def _check_sizes(
  sizes: np.ndarray, inputs: np.ndarray, example_ids: np.ndarray, where: str
) -> None:
  """Refuses sizes [N, 2] that are none, or images with something outside their size: it would be
  mistaken for a part of them.
  """
  if inputs.ndim != 4 or sizes.dtype.kind not in "iu" or sizes.shape != (len(inputs), 2):
    raise DataError(
      f"{where}: sizes are {sizes.dtype} {list(sizes.shape)} of inputs {list(inputs.shape)}, "
      "expected integers [N, 2]: the height and width"
      " of every image"
    )
  height, width = inputs.shape[1:3]
  bad = (sizes < 1).any(axis=1) | (sizes[:, 0] > height) | (sizes[:, 1] > width)
  if bad.any():
    num, first, example_id = _first_bad(bad, example_ids)
    raise DataError(
      f"{where}: {num} of {len(inputs)} sizes are outside [1, {height}] x [1, {width}]; the first "
      f"is {sizes[first].tolist()} at example"
      f" {example_id}"
    )
  bad = np.array(
    [
      image[h:].any() or image[:h, w:].any()
      for image, (h, w) in zip(inputs, sizes.tolist(), strict=True)
    ]
  )
  if bad.any():
    num, _, example_id = _first_bad(bad, example_ids)
    raise DataError(
      f"{where}: {num} of {len(inputs)} images are not zero outside their size; the first is "
      f"example {example_id}"
    )


def make_dataset(
  inputs: np.ndarray,
  labels: np.ndarray,
  *,
  num_classes: int,
  where: str,
  example_ids: np.ndarray | None = None,
  source_files: Iterable[str] | None = None,
  difficulty: np.ndarray | None = None,
  wrong_label: np.ndarray | None = None,
  sizes: np.ndarray | None = None,
) -> Dataset:
  """Returns a verified, read-only Dataset.

  Args:
    inputs: uint8 [N, H, W, C] or float32 [N, D].
    labels: integers [N] in [0, num_classes), or float32 [N, D].
    num_classes: K >= 1.
    where: what the messages call this split, such as "npz training set (my.npz)".
    example_ids: integers [N], strictly ascending, >= 0; 0 .. N-1 by default.
    source_files: N paths.
    difficulty: [N] in [0, 1].
    wrong_label: bool [N].
    sizes: integers [N, 2], height and width of every image, in [1, H] and [1, W]; beyond them the
      inputs are zero.

  Raises:
    DataError: with the first bad example and the number of bad ones.
  """
  ids = np.arange(len(inputs), dtype=np.int32) if example_ids is None else np.asarray(example_ids)
  files = None if source_files is None else tuple(source_files)
  lengths = {"labels": labels, "example ids": ids, "source files": files, "difficulty": difficulty}
  lengths |= {"wrong_label": wrong_label, "sizes": sizes}
  for what, values in lengths.items():
    if values is not None and len(values) != len(inputs):
      raise DataError(
        f"{where}: {len(inputs)} inputs but {len(values)} {what}; there must be one for every "
        "example"
      )
  if (
    ids.dtype.kind not in "iu"
    or (np.diff(ids.astype(np.int64)) <= 0).any()
    or (len(ids) and ids[0] < 0)
    or (len(ids) and ids[-1] >= 2**31)
  ):
    raise DataError(
      f"{where}: example ids must be integers in [0, 2**31) in strictly ascending order"
    )
  _check_inputs(inputs, ids, where)
  _check_labels(labels, ids, num_classes, where=where)
  if sizes is not None:
    _check_sizes(sizes, inputs, ids, where=where)
  if difficulty is not None and not ((difficulty >= 0) & (difficulty <= 1)).all():
    raise DataError(f"{where}: difficulty must be in [0, 1]")
  return Dataset(
    inputs=_frozen(inputs, inputs.dtype),
    labels=_frozen(labels, np.float32 if labels.dtype.kind == "f" else np.int32),
    example_ids=_frozen(ids, np.int32),
    source_files=files,
    difficulty=None if difficulty is None else _frozen(difficulty, np.float32),
    wrong_label=None if wrong_label is None else _frozen(wrong_label, np.bool_),
    sizes=None if sizes is None else _frozen(sizes, np.int32),
  )


def _frozen(array: np.ndarray, dtype: np.dtype | type) -> np.ndarray:
  """Returns the array as contiguous, read-only `dtype`; without a copy where it is that already."""
  array = np.ascontiguousarray(array, dtype=dtype).view()
  array.flags.writeable = False
  return array


def checksum(train: Dataset, test: Dataset, class_names: tuple[str, ...]) -> str:
  """Returns the SHA-256 (hex) over name, dtype, shape and bytes of the arrays of both splits, and
  the class names.

  The arrays are inputs, labels, example ids and, where images differ in size, the sizes.

  The names, because with other names the same labels say something else: two class folders may have
  changed places.
  """
  digest = hashlib.sha256()
  for split, dataset in (("train", train), ("test", test)):
    for field in ("inputs", "labels", "example_ids", "sizes"):
      array = getattr(dataset, field)
      if array is None:
        continue
      digest.update(f"{split}.{field} {array.dtype.str} {array.shape}\n".encode())
      digest.update(array.data)
  digest.update(json.dumps(class_names).encode())
  return digest.hexdigest()


def mean_and_std(
  inputs: np.ndarray, sizes: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
  """Returns (mean, std), float32 [C] of images in units of pixel/255, or float32 [D] of vectors;
  std divides by N and is 1 where it is 0.

  Images are summed exactly, from the histogram of each channel. Where `sizes` [N, 2] are given, the
  zeros outside them do not count.
  """
  if inputs.dtype == np.uint8:
    values = np.arange(256) / 255
    padding = (
      0
      if sizes is None
      else len(inputs) * inputs.shape[1] * inputs.shape[2]
      - int(sizes.prod(axis=1, dtype=np.int64).sum())
    )
    mean, variance = [], []
    for counts in _histograms(inputs):
      counts[0] -= padding
      share = counts / counts.sum()
      mean.append(share @ values)
      variance.append(share @ (values - mean[-1]) ** 2)
    means, std = np.array(mean), np.sqrt(np.array(variance))
  else:
    means, std = inputs.mean(axis=0, dtype=np.float64), inputs.std(axis=0, dtype=np.float64)
  constant = std < 1e-12
  return means.astype(np.float32), np.where(constant, 1.0, std).astype(np.float32)


def _histograms(images: np.ndarray) -> np.ndarray:
  """Returns int64 [C, 256], how often each value occurs in each channel."""
  counts = np.zeros((images.shape[3], 256), np.int64)
  for part in _parts(images):
    for channel in range(images.shape[3]):
      values = np.ascontiguousarray(part[..., channel]).reshape(-1)
      counts[channel] += np.bincount(values[: len(values) % 2], minlength=256)
      # Two values at a time: `bincount` makes eight bytes of every number, which is most of its
      # time.
      pairs = np.bincount(values[len(values) % 2 :].view(np.uint16), minlength=2**16).reshape(
        256, 256
      )
      counts[channel] += pairs.sum(axis=0) + pairs.sum(axis=1)
  return counts


def _parts(images: np.ndarray) -> Iterator[np.ndarray]:
  """Yields the images some at a time, so that what is computed of them takes little memory."""
  step = max(1, _PART_BYTES // images[0].nbytes)
  for start in range(0, len(images), step):
    yield images[start : start + step]


def image_sizes(dataset: Dataset) -> np.ndarray:
  """Returns the height and width of every image, int32 [N, 2]; (1, D) of vectors."""
  if dataset.sizes is not None:
    return dataset.sizes
  shape = dataset.inputs.shape[1:3] if dataset.inputs.ndim == 4 else (1, dataset.inputs.shape[1])
  return np.tile(np.array([shape], np.int32), (len(dataset), 1))


def constant_examples(dataset: Dataset) -> np.ndarray:
  """Returns the ids of the images whose pixels are all alike (in every channel); none for
  vectors.
  """
  if dataset.inputs.ndim != 4:
    return np.zeros(0, np.int32)
  sizes = image_sizes(dataset)
  last = dataset.inputs[np.arange(len(dataset)), sizes[:, 0] - 1, sizes[:, 1] - 1]
  suspects = np.flatnonzero(
    (dataset.inputs[:, 0, 0] == last).all(axis=1)
  )  # first and last pixel alike: few of the others
  constant = [
    i for i in suspects if (dataset.inputs[i, : sizes[i, 0], : sizes[i, 1]] == last[i]).all()
  ]
  return dataset.example_ids[np.array(constant, np.int64)]
