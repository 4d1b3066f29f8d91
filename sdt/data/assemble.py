"""From what a reader returns to the verified `Data`: test split, seeded draws, checks, statistics,
checksum. Touches no files.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from sdt.config.schema import DataConfig
from sdt.data import seeded
from sdt.data.dataset import Data, Dataset, checksum, constant_examples, make_dataset, mean_and_std
from sdt.errors import ConfigError, DataError

_SHOWN = 5  # ids or classes named in a message before "..."
_IMAGENET = (
  (0.485, 0.456, 0.406),
  (0.229, 0.224, 0.225),
)  # mean and standard deviation that public pretrained weights were trained with


@dataclasses.dataclass(frozen=True)
class RawSplit:
  """One split as read, unverified; the fields are those of `Dataset`, ids are rows in the order
  read.
  """

  inputs: np.ndarray
  labels: np.ndarray
  example_ids: np.ndarray | None = None
  source_files: tuple[str, ...] | None = None
  difficulty: np.ndarray | None = None
  wrong_label: np.ndarray | None = None
  sizes: np.ndarray | None = None

  def take(self, positions: np.ndarray) -> RawSplit:
    """Returns the examples at `positions` with the ids that they have here."""

    def pick(array: np.ndarray | None) -> np.ndarray | None:
      return None if array is None else array[positions]

    return RawSplit(
      inputs=self.inputs[positions],
      labels=self.labels[positions],
      example_ids=positions if self.example_ids is None else self.example_ids[positions],
      source_files=None
      if self.source_files is None
      else tuple(self.source_files[int(p)] for p in positions),
      difficulty=pick(self.difficulty),
      wrong_label=pick(self.wrong_label),
      sizes=pick(self.sizes),
    )


@dataclasses.dataclass(frozen=True)
class Raw:
  """A set as read, unverified. `test` is None where the set has no test split; `mean_std` where the
  training split decides.
  """

  train: RawSplit
  test: RawSplit | None
  class_names: tuple[str, ...]
  where: str
  variant: str
  notes: tuple[str, ...] = ()
  mean_std: tuple[tuple[float, ...], tuple[float, ...]] | None = None


def _listed(values: np.ndarray | list[str]) -> str:
  """Returns the first few values, and "..." if there are more."""
  shown = ", ".join(str(value) for value in values[:_SHOWN])
  return shown + (", ..." if len(values) > _SHOWN else "")


def _verified(split: RawSplit, num_classes: int, where: str) -> Dataset:
  return make_dataset(
    split.inputs,
    split.labels,
    num_classes=num_classes,
    where=where,
    example_ids=split.example_ids,
    source_files=split.source_files,
    difficulty=split.difficulty,
    wrong_label=split.wrong_label,
    sizes=split.sizes,
  )


def _hold_out(raw: Raw, config: DataConfig) -> tuple[RawSplit, RawSplit]:
  """Returns (train, test): a seeded stratified draw of round(test_fraction * N) examples is the
  test split.
  """
  total = len(raw.train.labels)
  if config.test_fraction is None:
    raise DataError(
      f"{raw.where}: there is no test split; give the share to hold out, such as "
      "--config.data.test_fraction=0.2"
    )
  num_test = round(config.test_fraction * total)
  if not 0 < num_test < total:
    raise DataError(
      f"{raw.where}: data.test_fraction={config.test_fraction} of {total} examples leaves the "
      "training or the test split empty"
    )
  chosen = np.zeros(total, dtype=bool)
  chosen[
    seeded.stratified(
      raw.train.labels, num_test, config.split_seed, stream="test split", leave_one=True
    )
  ] = True
  return raw.train.take(np.flatnonzero(~chosen)), raw.train.take(np.flatnonzero(chosen))


def _draw(split: RawSplit, num: int | None, config: DataConfig, name: str, where: str) -> RawSplit:
  """Returns the seeded stratified draw that `data.num_<name>` asks for."""
  total = len(split.labels)
  if num is None or num == total:
    return split
  if num > total:
    raise DataError(
      f"{where}: data.num_{name}={num} asks for more than the {total} examples that there are"
    )
  return split.take(seeded.stratified(split.labels, num, config.split_seed, stream=f"{name} draw"))


def _with_wrong_labels(split: RawSplit, num_classes: int, config: DataConfig) -> RawSplit:
  """Returns the split with exactly round(wrong_label_fraction * N) labels replaced by another
  class, and `wrong_label` to tell which.

  Which examples, and which of the other classes (each as likely), is a pure function of
  `data.split_seed` and the example's id.
  """
  ids = np.arange(len(split.labels)) if split.example_ids is None else split.example_ids
  wrong = np.zeros(len(ids), bool)
  num_wrong = round(config.wrong_label_fraction * len(ids))
  wrong[
    np.argsort(seeded.bits(config.split_seed, "train wrong", ids), kind="stable")[:num_wrong]
  ] = True
  other = (
    split.labels
    + 1
    + seeded.integers(config.split_seed, "train other class", ids, high=num_classes - 1)
  ) % num_classes
  return dataclasses.replace(split, labels=np.where(wrong, other, split.labels), wrong_label=wrong)


def _on_one_canvas(train: RawSplit, test: RawSplit) -> tuple[RawSplit, RawSplit]:
  """Returns both splits with inputs of one shape: the higher and the wider of the two, images at
  the top left, zeros around them.
  """
  shape = tuple(
    max(sides) for sides in zip(train.inputs.shape[1:3], test.inputs.shape[1:3], strict=True)
  )

  def padded(split: RawSplit) -> RawSplit:
    num, height, width, channels = split.inputs.shape
    if (height, width) == shape:
      return split
    inputs = np.zeros((num, *shape, channels), np.uint8)
    inputs[:, :height, :width] = split.inputs
    sizes = (
      np.tile(np.array([[height, width]], np.int32), (num, 1))
      if split.sizes is None
      else split.sizes
    )
    return dataclasses.replace(split, inputs=inputs, sizes=sizes)

  return padded(train), padded(test)


def _statistics(raw: Raw, train: Dataset, config: DataConfig) -> tuple[np.ndarray, np.ndarray]:
  """Returns the (mean, std) to normalise by, float32 [C] or [D]."""
  known = raw.mean_std
  if config.statistics == "imagenet":
    if train.inputs.ndim != 4 or train.inputs.shape[3] != 3:
      raise ConfigError(
        f"{raw.where}: data.statistics=imagenet is for RGB images, these inputs are "
        f"{list(train.inputs.shape)}; leave it out"
      )
    known = _IMAGENET
  if known is None:
    return mean_and_std(train.inputs, train.sizes)
  return np.array(known[0], np.float32), np.array(known[1], np.float32)


def _check_classes(
  train: Dataset, class_names: tuple[str, ...], config: DataConfig, where: str
) -> None:
  counts = np.bincount(train.labels, minlength=len(class_names))
  empty = np.flatnonzero(counts == 0)
  if len(empty) and not config.allow_empty_class:
    names = [f"{label} ({class_names[label]})" for label in empty]
    raise DataError(
      f"{where}: {len(empty)} of {len(class_names)} classes have no training example: "
      f"{_listed(names)}; add examples, or accept it with"
      " --config.data.allow_empty_class=True"
    )


def assemble(raw: Raw, config: DataConfig) -> Data:
  """Returns the verified Data of a set as read.

  The whole set is verified before anything is drawn from it, so that a damaged example is found
  whatever the seed is.

  Args:
    raw: what a reader returned.
    config: `split_seed`, `test_fraction`, `num_train`, `num_test`, `wrong_label_fraction`,
      `allow_empty_class`, `resize`, `statistics`.

  Raises:
    ConfigError: ImageNet's statistics for what is no RGB image.
    DataError: wrong dtype, shape, value, label or length; fewer than 2 classes; an empty class; a
      draw larger than the set; no way to a test split.
  """
  num_classes = len(raw.class_names)
  sides = {"train": raw.train} if raw.test is None else {"train": raw.train, "test": raw.test}
  for side, split in sides.items():
    _verified(split, num_classes, f"{raw.where}, {side} split")
  if num_classes < 2:
    names = _listed(list(raw.class_names))
    raise DataError(
      f"{raw.where}: there is only {num_classes} class ({names}), at least 2 are needed; add "
      "examples of another class"
    )
  if raw.test is not None and config.test_fraction is not None:
    raise DataError(
      f"{raw.where}: the set has its own test split, so data.test_fraction={config.test_fraction} "
      "has no meaning; leave it out"
    )
  train_split, test_split = _hold_out(raw, config) if raw.test is None else (raw.train, raw.test)
  if config.resize == "short_side":
    train_split, test_split = _on_one_canvas(train_split, test_split)
  if (
    train_split.inputs.shape[1:] != test_split.inputs.shape[1:]
    or train_split.inputs.dtype != test_split.inputs.dtype
  ):
    raise DataError(
      f"{raw.where}: training inputs are {train_split.inputs.dtype} "
      f"{list(train_split.inputs.shape[1:])} each, but test inputs"
      f" {test_split.inputs.dtype} {list(test_split.inputs.shape[1:])}; they must be alike"
    )
  drawn = _draw(train_split, config.num_train, config, "train", raw.where)
  if config.wrong_label_fraction:
    drawn = _with_wrong_labels(drawn, num_classes, config)
  train = _verified(drawn, num_classes, f"{raw.where}, training split")
  test = _verified(
    _draw(test_split, config.num_test, config, "test", raw.where),
    num_classes,
    f"{raw.where}, test split",
  )
  _check_classes(train, raw.class_names, config, where=raw.where)
  mean, std = _statistics(raw, train, config)
  notes = list(raw.notes)
  if config.wrong_label_fraction and train.wrong_label is not None:
    count = int(train.wrong_label.sum())
    notes.append(
      f"{count} of {len(train)} training labels are wrong on purpose "
      f"(data.wrong_label_fraction={config.wrong_label_fraction})"
    )
  for name, dataset in (("training", train), ("test", test)):
    constant = constant_examples(dataset)
    if len(constant):
      notes.append(
        f"{len(constant)} {name} image(s) are constant, all pixels alike; example ids "
        f"{_listed(constant)}"
      )
  return Data(
    train=train,
    test=test,
    class_names=raw.class_names,
    name=config.name,
    variant=raw.variant,
    checksum=checksum(train, test, raw.class_names),
    mean=mean,
    std=std,
    notes=tuple(notes),
  )
