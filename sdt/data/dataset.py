"""The verified arrays of a data set. Nothing else in sdt may hand data to the training engine."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable

import numpy as np

from sdt.errors import DataError


@dataclasses.dataclass(frozen=True)
class Dataset:
  """One split, verified and read-only; made by `make_dataset`.

  Attributes:
    inputs: uint8 [N, H, W, C] images, or float32 [N, D] vectors, finite.
    labels: int32 [N] in [0, num_classes).
    example_ids: int32 [N], ascending: the row in the original data, for ever.
    source_files: path of every example relative to `data.path`, where examples are files.
    difficulty: float32 [N] in [0, 1] where it is known (procedural sets), larger is harder.
    wrong_label: bool [N] where it is known which labels are wrong (procedural sets).
  """

  inputs: np.ndarray
  labels: np.ndarray
  example_ids: np.ndarray
  source_files: tuple[str, ...] | None = None
  difficulty: np.ndarray | None = None
  wrong_label: np.ndarray | None = None

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
    variant: "canonical", "procedural", "custom", or the name of a known variant such as "jpeg-test-20".
    checksum: SHA-256 over inputs, labels and ids of both splits and the class names, hex; equal for equal content however it was read.
    mean: float32 [C], of the training split, in units of pixel/255; float32 [D], in the units of the inputs, for vectors.
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
      f"{where}: inputs are {inputs.dtype} {list(inputs.shape)}, expected uint8 [N, height, width, channels] or float32 [N, size]"
    )
  if 0 in inputs.shape:
    raise DataError(f"{where}: inputs of shape {list(inputs.shape)} hold nothing; at least one example with one value is needed")
  if vectors:
    bad = ~np.isfinite(inputs).all(axis=1)
    if bad.any():
      num, first, example_id = _first_bad(bad, example_ids)
      column = int(np.argmin(np.isfinite(inputs[first])))
      raise DataError(
        f"{where}: {num} of {len(inputs)} examples hold values that are not finite in float32; the first is {inputs[first, column]}"
        f" in example {example_id}, column {column}"
      )


def _check_labels(labels: np.ndarray, example_ids: np.ndarray, num_classes: int, where: str) -> None:
  if labels.ndim != 1 or labels.dtype.kind not in "iu":
    raise DataError(f"{where}: labels are {labels.dtype} {list(labels.shape)}, expected integers [N]")
  bad = (labels < 0) | (labels >= num_classes)
  if bad.any():
    num, first, example_id = _first_bad(bad, example_ids)
    raise DataError(
      f"{where}: {num} of {len(labels)} labels are outside [0, {num_classes}); the first is {labels[first]} at example {example_id}"
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
) -> Dataset:
  """Returns a verified, read-only Dataset.

  Args:
    inputs: uint8 [N, H, W, C] or float32 [N, D].
    labels: integers [N] in [0, num_classes).
    num_classes: K >= 1.
    where: what the messages call this split, such as "npz training set (my.npz)".
    example_ids: integers [N], strictly ascending, >= 0; 0 .. N-1 by default.
    source_files: N paths.
    difficulty: [N] in [0, 1].
    wrong_label: bool [N].

  Raises:
    DataError: with the first bad example and the number of bad ones.
  """
  ids = np.arange(len(inputs), dtype=np.int32) if example_ids is None else np.asarray(example_ids)
  files = None if source_files is None else tuple(source_files)
  lengths = {"labels": labels, "example ids": ids, "source files": files, "difficulty": difficulty, "wrong_label": wrong_label}
  for what, values in lengths.items():
    if values is not None and len(values) != len(inputs):
      raise DataError(f"{where}: {len(inputs)} inputs but {len(values)} {what}; there must be one for every example")
  if (
    ids.dtype.kind not in "iu" or (np.diff(ids.astype(np.int64)) <= 0).any() or (len(ids) and ids[0] < 0) or (len(ids) and ids[-1] >= 2**31)
  ):
    raise DataError(f"{where}: example ids must be integers in [0, 2**31) in strictly ascending order")
  _check_inputs(inputs, ids, where)
  _check_labels(labels, ids, num_classes, where)
  if difficulty is not None and not ((difficulty >= 0) & (difficulty <= 1)).all():
    raise DataError(f"{where}: difficulty must be in [0, 1]")
  return Dataset(
    inputs=_frozen(inputs, inputs.dtype),
    labels=_frozen(labels, np.int32),
    example_ids=_frozen(ids, np.int32),
    source_files=files,
    difficulty=None if difficulty is None else _frozen(difficulty, np.float32),
    wrong_label=None if wrong_label is None else _frozen(wrong_label, np.bool_),
  )


def _frozen(array: np.ndarray, dtype: np.dtype | type) -> np.ndarray:
  """Returns the array as contiguous, read-only `dtype`; without a copy where it is that already."""
  array = np.ascontiguousarray(array, dtype=dtype).view()
  array.flags.writeable = False
  return array


def checksum(train: Dataset, test: Dataset, class_names: tuple[str, ...]) -> str:
  """Returns the SHA-256 (hex) over name, dtype, shape and bytes of inputs, labels and example ids of both splits, and the class names.

  The names, because with other names the same labels say something else: two class folders may have changed places.
  """
  digest = hashlib.sha256()
  for split, dataset in (("train", train), ("test", test)):
    for field in ("inputs", "labels", "example_ids"):
      array = getattr(dataset, field)
      digest.update(f"{split}.{field} {array.dtype.str} {array.shape}\n".encode())
      digest.update(array.data)
  digest.update(json.dumps(class_names).encode())
  return digest.hexdigest()


def mean_and_std(inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Returns (mean, std), float32 [C] of images in units of pixel/255, or float32 [D] of vectors; std divides by N and is 1 where it is 0.

  Images are summed exactly, from the histogram of each channel.
  """
  if inputs.dtype == np.uint8:
    values = np.arange(256) / 255
    mean, variance = [], []
    for channel in range(inputs.shape[3]):
      share = np.bincount(inputs[..., channel].reshape(-1), minlength=256) / inputs[..., channel].size
      mean.append(share @ values)
      variance.append(share @ (values - mean[-1]) ** 2)
    means, std = np.array(mean), np.sqrt(np.array(variance))
  else:
    means, std = inputs.mean(axis=0, dtype=np.float64), inputs.std(axis=0, dtype=np.float64)
  constant = std < 1e-12
  return means.astype(np.float32), np.where(constant, 1.0, std).astype(np.float32)


def constant_examples(dataset: Dataset) -> np.ndarray:
  """Returns the ids of the images whose pixels are all alike (in every channel); none for vectors."""
  if dataset.inputs.ndim != 4:
    return np.zeros(0, np.int32)
  images = dataset.inputs.reshape(len(dataset), -1, dataset.inputs.shape[3])
  return dataset.example_ids[(images == images[:, :1]).all(axis=(1, 2))]
