"""The verified arrays of a data set. Only these reach the training engine."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Int, Int32, UInt8

from sdt.data.checks import (
  AnyArray,
  check_difficulty,
  check_ids,
  check_inputs,
  check_labels,
  check_lengths,
  check_sizes,
)

type Inputs = UInt8[np.ndarray, "N H W C"] | Float32[np.ndarray, "N D"]
type Labels = Int32[np.ndarray, "N"] | Float32[np.ndarray, "N D"]


@dataclasses.dataclass(frozen=True)
class RawSplit:
  """One split as a reader returns it, unverified.

  The fields mean what those of `Dataset` mean; `example_ids` are 0 .. N-1 by default.
  """

  inputs: AnyArray
  labels: AnyArray
  example_ids: AnyArray | None = None
  source_files: tuple[str, ...] | None = None
  difficulty: AnyArray | None = None
  wrong_label: AnyArray | None = None
  sizes: AnyArray | None = None

  def take(self, positions: Int[np.ndarray, "M"]) -> "RawSplit":
    """Returns the examples at `positions`, with the ids that they have here."""
    return _taken(self, positions)


@dataclasses.dataclass(frozen=True)
class Dataset:
  """One split, verified and read-only; made by `make_dataset`.

  Attributes:
    inputs: uint8 [N, H, W, C] images, or finite float32 [N, D] vectors.
    labels: int32 [N] in [0, num_classes); finite float32 [N, D] where the labels are numbers and
      not classes.
    example_ids: int32 [N], ascending: the row in the original data, for ever.
    source_files: the path of every example relative to `data.path`, where examples are files.
    difficulty: float32 [N] in [0, 1] where it is known (procedural sets), larger is harder.
    wrong_label: bool [N] where it is known which labels are wrong (procedural sets).
    sizes: int32 [N, 2], height and width of every image where they differ: the image is at the top
      left of its H x W, with zeros around it.
  """

  inputs: Inputs
  labels: Labels
  example_ids: Int32[np.ndarray, "N"]
  source_files: tuple[str, ...] | None = None
  difficulty: Float32[np.ndarray, "N"] | None = None
  wrong_label: Bool[np.ndarray, "N"] | None = None
  sizes: Int32[np.ndarray, "N 2"] | None = None

  def __len__(self) -> int:
    return len(self.labels)

  def take(self, positions: Int[np.ndarray, "M"]) -> "Dataset":
    """Returns the examples at `positions`, which must ascend, with the ids that they have."""
    return _taken(self, positions)


def _taken[Split: (RawSplit, Dataset)](split: Split, positions: Int[np.ndarray, "M"]) -> Split:
  def pick(array: AnyArray) -> AnyArray:
    taken = array[positions]
    taken.flags.writeable = False
    return taken

  files, difficulty = split.source_files, split.difficulty
  return dataclasses.replace(
    split,
    inputs=pick(split.inputs),
    labels=pick(split.labels),
    example_ids=positions if split.example_ids is None else pick(split.example_ids),
    source_files=None if files is None else tuple(files[int(place)] for place in positions),
    difficulty=None if difficulty is None else pick(difficulty),
    wrong_label=None if split.wrong_label is None else pick(split.wrong_label),
    sizes=None if split.sizes is None else pick(split.sizes),
  )


class Copy(NamedTuple):
  """An example that a set holds more than once; a row of duplicates.csv.

  Attributes:
    group: number of the examples that are alike, from 0.
    kind: "exact" for equal inputs, "near" for images that look alike.
    split: "train", "test", or "dropped" for one that was left out of the test split.
    example_id: see `Dataset`.
    source_file: see `Dataset`; "" where examples are no files.
    label: the class that the set gives it.
  """

  group: int
  kind: str
  split: str
  example_id: int
  source_file: str
  label: int


@dataclasses.dataclass(frozen=True)
class Duplicates:
  """The examples that a set holds more than once.

  Attributes:
    copies: all of them, by group.
    counts: how many there are, by what they are; see docs/artifacts.md.
    warning: what must be told where much of the test set was trained on, else None.
  """

  copies: tuple[Copy, ...] = ()
  counts: Mapping[str, int] = dataclasses.field(default_factory=dict)
  warning: str | None = None


@dataclasses.dataclass(frozen=True)
class LabelChange:
  """What a file did to the labels of a set.

  Attributes:
    key: of the config, such as "data.corrections".
    file: its name, without the folder: results say nothing of where it lay.
    checksum: SHA-256 of the file, in hex.
    text: what the user must be told of it, such as "corrections: 14 relabelled, ...".
    counts: how many labels it changed, and how; see docs/artifacts.md.
    reviewed: ids of the examples that a person has looked at and that stay; in no result.
  """

  key: str
  file: str
  checksum: str
  text: str
  counts: Mapping[str, object]
  reviewed: frozenset[int] = frozenset()


@dataclasses.dataclass(frozen=True)
class Step:
  """A further step of the preprocessing.

  Attributes:
    kind: "affine": (x - shift) * scale; "image" and "dc": by the numbers of each example;
      "whiten": (x - mean) M of the flat example.
    arrays: float32; (shift, scale) like `Data.mean`, or (mean [D], M [D, D]); none of the others.
  """

  kind: str
  arrays: tuple[Float32[np.ndarray, "..."], ...] = ()


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
    checksum: see `checksum`; equal for equal content, however it was read.
    mean: float32 [C] or [H, W, C] in units of pixel/255, or float32 [D] in the units of the
      vectors: what is subtracted from the inputs first. It is that of the training split, unless
      the set or the config names another.
    std: float32 like `mean`: the standard deviation that the inputs are divided by (over N, not
      N - 1); 1 where it would be 0. See `data.normalise` for other choices of both.
    steps: of the preprocessing, after that.
    validation: what is held out of the training split to stop by; None without early stopping.
    notes: what the user must be told: constant images, skipped images, the variant.
    duplicates: the examples that are there more than once.
    label_changes: what files did to the labels, in this order.
    unlabelled: the training examples whose labels are hidden, with zeros in their place; None where
      all are known. No label of them reaches the run.
  """

  train: Dataset
  test: Dataset
  class_names: tuple[str, ...]
  name: str
  variant: str
  checksum: str
  mean: Float32[np.ndarray, "*s"]
  std: Float32[np.ndarray, "*s"]
  notes: tuple[str, ...] = ()
  duplicates: Duplicates = Duplicates()
  steps: tuple[Step, ...] = ()
  validation: Dataset | None = None
  label_changes: tuple[LabelChange, ...] = ()
  unlabelled: Dataset | None = None

  @property
  def test_label_texts(self) -> list[str]:
    """What every result says at its top of test labels that are not those of the set."""
    return [change.text for change in self.label_changes if change.key.endswith("_test")]

  def reviewed_ids(self, *, of_test: bool = False) -> frozenset[int]:
    """Returns the training (or test) examples that a file of corrections keeps or relabels."""
    changes = (one for one in self.label_changes if one.key.endswith("_test") == of_test)
    return frozenset().union(*(change.reviewed for change in changes))

  @property
  def label_checksums(self) -> dict[str, str]:
    """The SHA-256 of the files that changed labels, by their config key; of several, one a file."""
    found: dict[str, list[str]] = {}
    for change in self.label_changes:
      found.setdefault(change.key, []).append(change.checksum)
    return {key: " ".join(checksums) for key, checksums in found.items()}


def make_dataset(split: RawSplit, *, num_classes: int, where: str) -> Dataset:
  """Returns the split as a verified, read-only Dataset.

  Args:
    split: inputs uint8 [N, H, W, C] or float32 [N, D]; labels integers [N] in [0, num_classes), or
      float32 [N, D]; ids integers [N], strictly ascending, in [0, 2**31); N source files;
      difficulty [N] in [0, 1]; wrong_label bool [N]; sizes integers [N, 2], in [1, H] and [1, W],
      with zeros in the inputs beyond them.
    num_classes: K >= 1.
    where: what the messages call this split, such as "npz training set (my.npz)".

  Raises:
    DataError: with the first bad example and the number of bad ones.
  """
  inputs, labels, sizes, difficulty = split.inputs, split.labels, split.sizes, split.difficulty
  ids = split.example_ids
  ids = np.arange(len(inputs), dtype=np.int32) if ids is None else ids
  others = {
    "labels": labels,
    "example ids": ids,
    "source files": split.source_files,
    "difficulty": difficulty,
    "wrong_label": split.wrong_label,
    "sizes": sizes,
  }
  check_lengths(len(inputs), others, where)
  check_ids(ids, where)
  check_inputs(inputs, ids, where)
  check_labels(labels, ids, num_classes, where=where)
  if sizes is not None:
    check_sizes(sizes, inputs, ids, where=where)
  if difficulty is not None:
    check_difficulty(difficulty, where)
  return Dataset(
    inputs=_frozen(inputs, inputs.dtype),
    labels=_frozen(labels, np.float32 if labels.dtype.kind == "f" else np.int32),
    example_ids=_frozen(ids, np.int32),
    source_files=split.source_files,
    difficulty=None if difficulty is None else _frozen(difficulty, np.float32),
    wrong_label=None if split.wrong_label is None else _frozen(split.wrong_label, np.bool_),
    sizes=None if sizes is None else _frozen(sizes, np.int32),
  )


def _frozen(array: AnyArray, dtype: np.dtype | type) -> AnyArray:
  """Returns the array as contiguous, read-only `dtype`; copies only where it must."""
  array = np.ascontiguousarray(array, dtype=dtype).view()
  array.flags.writeable = False
  return array


def checksum(
  train: Dataset,
  test: Dataset,
  class_names: tuple[str, ...],
  unlabelled: Dataset | None = None,
) -> str:
  """Returns the SHA-256 (hex) of the arrays of the splits and the class names.

  It covers name, dtype, shape and bytes of the inputs, labels, example ids and, where images differ
  in size, the sizes. The names count because with other names the same labels mean something else:
  two class folders may have changed places.
  """
  digest = hashlib.sha256()
  splits = {"train": train, "test": test}
  if unlabelled is not None:
    splits["unlabelled"] = unlabelled
  for split, dataset in splits.items():
    for field in ("inputs", "labels", "example_ids", "sizes"):
      array = getattr(dataset, field)
      if array is None:
        continue
      digest.update(f"{split}.{field} {array.dtype.str} {array.shape}\n".encode())
      digest.update(array.data)
  digest.update(json.dumps(class_names).encode())
  return digest.hexdigest()


def image_sizes(dataset: Dataset) -> Int32[np.ndarray, "N 2"]:
  """Returns the height and width of every image, int32 [N, 2]; (1, D) for vectors."""
  if dataset.sizes is not None:
    return dataset.sizes
  shape = dataset.inputs.shape[1:3] if dataset.inputs.ndim == 4 else (1, dataset.inputs.shape[1])
  return np.tile(np.array([shape], np.int32), (len(dataset), 1))
