"""Makes the verified `Data` of what a reader returned; reads no files but those of labels."""

import dataclasses
import math

import numpy as np
from jaxtyping import Float32

from sdt.config.schema import DataConfig
from sdt.data import (
  corrections,
  downsample,
  duplicates,
  hidden_labels,
  imbalance,
  labels,
  notes,
  preprocess,
  pretext,
  seeded,
)
from sdt.data.checks import some_of
from sdt.data.class_names import refuse_unwritable
from sdt.data.dataset import Data, Dataset, RawSplit, checksum, make_dataset
from sdt.data.statistics import constant_examples, mean_and_std
from sdt.errors import ConfigError, DataError

# Mean and standard deviation that public pretrained weights were trained with, by data.statistics.
_PUBLIC = {
  "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
  "inception": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}


@dataclasses.dataclass(frozen=True)
class Raw:
  """A set as read, unverified.

  Attributes:
    train: the training split.
    test: the test split, None where the set has none.
    class_names: one name per class.
    where: what messages call the set.
    variant: see `Data`.
    notes: what the user must be told.
    mean_std: of the channels, None where the training split decides.
  """

  train: RawSplit
  test: RawSplit | None
  class_names: tuple[str, ...]
  where: str
  variant: str
  notes: tuple[str, ...] = ()
  mean_std: tuple[tuple[float, ...], tuple[float, ...]] | None = None


def assemble(raw: Raw, config: DataConfig) -> Data:
  """Returns the verified Data of a set as read.

  The whole set is verified before anything is drawn, so a damaged example is found with any seed.

  Args:
    raw: what a reader returned.
    config: all of it but where the set lies and how it is read.

  Raises:
    ConfigError: ImageNet's statistics for what is no RGB image; a preprocessing that these inputs
      cannot have.
    DataError: wrong dtype, shape, value, label or length; fewer than 2 classes; an empty class; a
      draw larger than the set; no way to a test split; files of labels that are not of this set.
  """
  raw, config = _for_pretext(_without_own_test(raw, config), config)
  num_classes = _check_set(raw, config)
  whole = labels.Whole(*_splits(raw, config), raw.class_names)
  in_use = _drawn_for_training(whole.train, raw, config)
  drawn, unlabelled, inputs = _partly_labelled(in_use, raw, config)
  trained = labels.of_training(drawn, whole, config)
  train = _seen(trained.split, config, num_classes, where=f"{raw.where}, training split")
  tested, dropped = _tested(in_use, whole, raw, config=config)
  test = _seen(tested.split, config, num_classes, where=f"{raw.where}, test split")
  _check_training_set(train, raw, config)
  copies = duplicates.find(train, test, trained.unplanted, dropped=dropped, config=config)
  changes = (*tested.changes, *trained.changes)
  channels = _statistics(raw, inputs or train, config)
  fitted = preprocess.fit(config.normalise, inputs or train, channels)
  return Data(
    train=train,
    test=test,
    class_names=raw.class_names,
    name=config.name,
    variant=raw.variant,
    checksum=checksum(train, test, raw.class_names, unlabelled=unlabelled),
    mean=fitted.mean,
    std=fitted.std,
    steps=fitted.steps,
    notes=(
      *(change.text for change in changes),
      *raw.notes,
      *notes.of_set(train, test, raw.class_names, config=config, statistics=channels),
      *duplicates.notes(copies, train, test, config=config),
      *hidden_labels.notes(train, unlabelled),
    ),
    duplicates=copies,
    label_changes=changes,
    unlabelled=unlabelled,
  )


def _without_own_test(raw: Raw, config: DataConfig) -> Raw:
  """Returns the set as one without a test split, where `data.test_split` is held_out."""
  if config.test_split == "own":
    return raw
  if raw.test is None:
    raise DataError(
      f"{raw.where}: the set has no test split of its own, so one is held out in any case; leave "
      "data.test_split out"
    )
  note = (
    f"what is called test here is data.test_fraction={config.test_fraction} of the set's training "
    f"examples; its own {len(raw.test.labels)} test examples are left alone"
  )
  return dataclasses.replace(raw, test=None, notes=(*raw.notes, note))


def _for_pretext(raw: Raw, config: DataConfig) -> tuple[Raw, DataConfig]:
  """Returns the set of a pretext task, drawn from the set as read; both as they are without one."""
  if config.pretext is None:
    return raw, config
  _check_set(raw, config)
  train, test = _splits(raw, config)
  train = _drawn_for_training(train, raw, config)
  test = _draw(test, config.num_test, config, name="test", where=raw.where)
  turned = dataclasses.replace(
    raw,
    train=pretext.rotated(train, raw.where),
    test=pretext.rotated(test, raw.where),
    class_names=pretext.ROTATIONS,
    notes=(*raw.notes, pretext.note(len(train.labels))),
  )
  drawn = dataclasses.replace(
    config, num_train=None, num_test=None, test_fraction=None, imbalance=None
  )
  return turned, drawn


def _tested(
  in_use: RawSplit, whole: labels.Whole, raw: Raw, *, config: DataConfig
) -> tuple[labels.Labelled, Dataset | None]:
  """Returns the test examples in use, and those that were dropped as copies of training ones."""
  split, dropped = _without_copies(in_use, whole.test, raw, config=config)
  drawn = _draw(split, config.num_test, config, name="test", where=raw.where)
  return labels.of_test(drawn, whole, config), dropped


def _partly_labelled(
  in_use: RawSplit, raw: Raw, config: DataConfig
) -> tuple[RawSplit, Dataset | None, Dataset | None]:
  """Returns what keeps its labels, the others without, and all examples without labels.

  The last two are None where all labels are known. Nothing after this sees a hidden label.
  """
  if config.labelled is None:
    return in_use, None, None
  known = hidden_labels.labelled_positions(in_use, config, raw.where)
  bare = hidden_labels.without_labels(in_use)
  inputs = _seen(bare, config, len(raw.class_names), where=f"{raw.where}, training split")
  hidden = np.setdiff1d(np.arange(len(inputs)), known)
  return in_use.take(known), inputs.take(hidden), inputs


def _seen(split: RawSplit, config: DataConfig, num_classes: int, *, where: str) -> Dataset:
  """Returns a split as networks see it: in the size that `data.downsample` leaves."""
  split = downsample.smaller(split, config.downsample, where)
  return make_dataset(split, num_classes=num_classes, where=where)


def _check_set(raw: Raw, config: DataConfig) -> int:
  """Refuses damaged examples, a single class, and a test_fraction beside a test split.

  Returns the number of classes.
  """
  num_classes = len(raw.class_names)
  refuse_unwritable(raw.class_names, raw.where)
  sides = {"train": raw.train} if raw.test is None else {"train": raw.train, "test": raw.test}
  for side, split in sides.items():
    make_dataset(split, num_classes=num_classes, where=f"{raw.where}, {side} split")
  if num_classes < 2:
    raise DataError(
      f"{raw.where}: there is only {num_classes} class ({some_of(raw.class_names)}), at least 2 "
      "are needed; add examples of another class"
    )
  if raw.test is not None and config.test_fraction is not None:
    raise DataError(
      f"{raw.where}: the set has its own test split, so data.test_fraction={config.test_fraction} "
      "has no meaning; leave it out"
    )
  return num_classes


def _splits(raw: Raw, config: DataConfig) -> tuple[RawSplit, RawSplit]:
  """Returns (train, test) with inputs of one shape and dtype; raises a DataError if they differ."""
  train, test = _hold_out(raw, config) if raw.test is None else (raw.train, raw.test)
  if config.resize == "short_side":
    train, test = _on_one_canvas(train, test)
  ours, theirs = train.inputs, test.inputs
  if (ours.shape[1:], ours.dtype) != (theirs.shape[1:], theirs.dtype):
    raise DataError(
      f"{raw.where}: training inputs are {ours.dtype} {list(ours.shape[1:])} each, but test inputs "
      f"{theirs.dtype} {list(theirs.shape[1:])}; they must be alike"
    )
  return train, test


def _hold_out(raw: Raw, config: DataConfig) -> tuple[RawSplit, RawSplit]:
  """Returns (train, test); the test split is a seeded stratified draw.

  It has round(test_fraction * N) examples.
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
  given, seed = raw.train.labels, config.split_seed
  _check_can_hold_out(raw, num_test, config)
  chosen = np.zeros(total, dtype=bool)
  chosen[seeded.stratified(given, num_test, seed, stream="test split", leave_one=True)] = True
  return raw.train.take(np.flatnonzero(~chosen)), raw.train.take(np.flatnonzero(chosen))


def _check_can_hold_out(raw: Raw, num_test: int, config: DataConfig) -> None:
  """Refuses a held-out split that would take the last example of a class."""
  counts = np.bincount(raw.train.labels, minlength=len(raw.class_names))
  counts = counts[counts > 0]
  most, total = int((counts - 1).sum()), len(raw.train.labels)
  if num_test <= most or config.allow_empty_class:
    return
  num_single = int((counts == 1).sum())
  fraction = math.floor(1e4 * most / total) / 1e4  # never more than would be left
  remedy = f" --config.data.test_fraction={fraction:g} or less, or" if fraction else ""
  raise DataError(
    f"{raw.where}: {num_single} of {len(counts)} classes have a single example, so "
    f"data.test_fraction={config.test_fraction} of {total} examples would leave classes without a "
    f"training example; are the labels classes, and not numbers or names of images? If they are, "
    f"give{remedy} more examples of these classes"
  )


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


def _drawn_for_training(split: RawSplit, raw: Raw, config: DataConfig) -> RawSplit:
  """Returns the draw that `data.num_train` asks for, and of it what `data.imbalance` keeps."""
  split = _draw(split, config.num_train, config, name="train", where=raw.where)
  if config.imbalance is None:
    return split
  ids, num_classes = corrections.ids_of(split), len(raw.class_names)
  kept = imbalance.positions(
    np.asarray(split.labels), ids, num_classes, config=config, where=raw.where
  )
  return split.take(kept)


def _without_copies(
  train: RawSplit, test: RawSplit, raw: Raw, *, config: DataConfig
) -> tuple[RawSplit, Dataset | None]:
  """Returns (the test split, what was left out of it); see `data.on_duplicate_test`.

  The examples that stay keep their ids. `train` is what was drawn: training examples that
  corrections drop do not bring their copies back, so the test split stays the same.
  """
  if config.on_duplicate_test != "drop":
    return test, None
  is_copy = duplicates.is_in_training_set(train, test)
  if is_copy.all():
    raise DataError(
      f"{raw.where}: all {len(is_copy)} test examples are in the training set too, so "
      "data.on_duplicate_test=drop leaves no test split; give other test examples"
    )
  left_out = test.take(np.flatnonzero(is_copy))
  where, num_classes = f"{raw.where}, test split", len(raw.class_names)
  dropped = make_dataset(left_out, num_classes=num_classes, where=where) if is_copy.any() else None
  return test.take(np.flatnonzero(~is_copy)), dropped


def _on_one_canvas(train: RawSplit, test: RawSplit) -> tuple[RawSplit, RawSplit]:
  """Returns both splits with inputs as high and as wide as the larger of the two.

  Images stay at the top left, with zeros around them.
  """
  height = max(train.inputs.shape[1], test.inputs.shape[1])
  width = max(train.inputs.shape[2], test.inputs.shape[2])

  def padded(split: RawSplit) -> RawSplit:
    num, old_height, old_width, channels = split.inputs.shape
    if (old_height, old_width) == (height, width):
      return split
    inputs = np.zeros((num, height, width, channels), np.uint8)
    inputs[:, :old_height, :old_width] = split.inputs
    sizes = split.sizes
    if sizes is None:
      sizes = np.tile(np.array([[old_height, old_width]], np.int32), (num, 1))
    return dataclasses.replace(split, inputs=inputs, sizes=sizes)

  return padded(train), padded(test)


def _check_training_set(train: Dataset, raw: Raw, config: DataConfig) -> None:
  """Refuses a class without examples, unless `data.allow_empty_class`, and what shows nothing."""
  num_classes = len(raw.class_names)
  empty = np.flatnonzero(np.bincount(train.labels, minlength=num_classes) == 0)
  if len(empty) and not config.allow_empty_class:
    names = [f"{label} ({raw.class_names[label]})" for label in empty]
    remedy = "keep one in data.corrections" if config.corrections else "add examples"
    raise DataError(
      f"{raw.where}: {len(empty)} of {num_classes} classes have no training example: "
      f"{some_of(names)}; {remedy}, or accept it with --config.data.allow_empty_class=True"
    )
  _check_content(train, raw)


def _check_content(train: Dataset, raw: Raw) -> None:
  """Refuses images that are all constant: they show nothing but their brightness."""
  if train.inputs.ndim == 4 and train.inputs.shape[1:3] != (1, 1):
    if len(constant_examples(train)) == len(train):
      raise DataError(
        f"{raw.where}: all {len(train)} training images are constant, all pixels of each alike; "
        "look at the files, and at how they were written"
      )


def _statistics(
  raw: Raw, train: Dataset, config: DataConfig
) -> tuple[Float32[np.ndarray, "D"], Float32[np.ndarray, "D"]]:
  """Returns the (mean, std) of each channel or column, float32 [C] or [D]."""
  known = _PUBLIC.get(config.statistics, raw.mean_std)
  if config.statistics in _PUBLIC and (train.inputs.ndim != 4 or train.inputs.shape[3] != 3):
    raise ConfigError(
      f"{raw.where}: data.statistics={config.statistics} is for RGB images, these inputs are "
      f"{list(train.inputs.shape)}; leave it out"
    )
  if known is None:
    return mean_and_std(train.inputs, train.sizes)
  return np.array(known[0], np.float32), np.array(known[1], np.float32)
