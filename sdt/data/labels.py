"""The labels that a run trains on and is tested on, and what changed them.

The training labels are those of the set, or of `data.labels_file`; then `data.wrong_label_fraction`
makes some wrong; then `data.corrections` mends them. Which examples are drawn or held out depends
on the labels of the set alone, so no file changes the test set, nor which examples are trained on
but for those that it drops.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int

from sdt.config.schema import DataConfig
from sdt.data import corrections, labels_file, seeded
from sdt.data.corrections import Examples, ids_of
from sdt.data.dataset import LabelChange, RawSplit

_TRAIN, _TEST = "data.corrections", "data.corrections_test"


@dataclasses.dataclass(frozen=True)
class Labelled:
  """A split with the labels of the run.

  Attributes:
    split: without what was dropped; `wrong_label` says which labels differ from the truth, where
      that is known.
    unplanted: [N], its labels without those that are wrong on purpose.
    changes: what files did, in order.
  """

  split: RawSplit
  unplanted: Int[np.ndarray, "N"]
  changes: tuple[LabelChange, ...] = ()


@dataclasses.dataclass(frozen=True)
class Whole:
  """The two splits before anything is drawn from them.

  Attributes:
    train, test: as the reader returns them, or as they were held out.
    class_names: one name per class.
  """

  train: RawSplit
  test: RawSplit
  class_names: Sequence[str]


def check_files(config: DataConfig) -> None:
  """Refuses files that are not there or not of their form, before the data are read.

  Raises:
    DataError: see `corrections.read`.
  """
  if config.labels_file is not None:
    labels_file.find(config.labels_file)
  for key, paths in ((_TRAIN, config.corrections), (_TEST, config.corrections_test)):
    for path in paths:
      corrections.read(key, path)


def of_training(drawn: RawSplit, whole: Whole, config: DataConfig) -> Labelled:
  """Returns the training examples in use with the labels that the run trains on.

  Args:
    drawn: the examples in use, with the labels of the set.
    whole: both splits before the draw.
    config: `labels_file`, `labels_key`, `wrong_label_fraction`, `split_seed`, `corrections`,
      `on_bad_image`.

  Raises:
    DataError: see `labels_file.load`, `corrections.read` and `corrections.apply`.
  """
  own = np.asarray(drawn.labels)
  split, changes = _from_file(drawn, whole, config)
  has_truth = bool(changes or config.wrong_label_fraction or drawn.wrong_label is not None)
  unplanted = np.asarray(split.labels)
  if config.wrong_label_fraction:
    split = _with_wrong_labels(split, len(whole.class_names), config)
  found = _corrected(
    Labelled(split, unplanted, changes), own, whole, config=config, side="training"
  )
  return found if has_truth else _without_truth(found)


def of_test(drawn: RawSplit, whole: Whole, config: DataConfig) -> Labelled:
  """Returns the test examples in use, corrected by `data.corrections_test` alone.

  Args:
    drawn: the examples in use.
    whole: both splits before the draw.
    config: `corrections_test`, `on_bad_image`.

  Raises:
    DataError: see `corrections.read` and `corrections.apply`.
  """
  own = np.asarray(drawn.labels)
  found = _corrected(Labelled(drawn, own), own, whole, config=config, side="test")
  return found if drawn.wrong_label is not None else _without_truth(found)


def _ids(split: RawSplit) -> frozenset[int]:
  return frozenset(ids_of(split).tolist())


def _without_truth(labelled: Labelled) -> Labelled:
  split = dataclasses.replace(labelled.split, wrong_label=None)
  return dataclasses.replace(labelled, split=split)


def _from_file(
  drawn: RawSplit, whole: Whole, config: DataConfig
) -> tuple[RawSplit, tuple[LabelChange, ...]]:
  """Returns the examples with the labels of `data.labels_file`, and what it changed."""
  path = config.labels_file
  if path is None:
    return drawn, ()
  found = labels_file.load(
    path,
    config.labels_key,
    ids_of(drawn),
    lengths=_lengths(whole, config),
    class_names=whole.class_names,
  )
  file = Path(path).name
  num_other, num = int((found.labels != drawn.labels).sum()), len(found.labels)
  counts = {
    "examples": num,
    "column": found.column,
    "different": num_other,
    "not_used": found.num_unused,
  }
  text = (
    f"labels: {num_other:,} of {num:,} training labels differ from the set's own, which count as "
    f"the truth, from {file} ({found.column})"
  )
  change = LabelChange(labels_file.KEY, file, found.checksum, text=text, counts=counts)
  return dataclasses.replace(drawn, labels=found.labels), (change,)


def _lengths(whole: Whole, config: DataConfig) -> tuple[int, ...]:
  """Returns how many labels by example id there may be; () where skipped images hide it."""
  if config.on_bad_image == "skip":
    return ()
  train, test = ids_of(whole.train), ids_of(whole.test)
  ends = [int(train[-1]) + 1]
  if not np.isin(train, test).any():  # both splits are of one list
    ends.append(max(ends[0], int(test[-1]) + 1))
  return tuple(dict.fromkeys(ends))


def _with_wrong_labels(split: RawSplit, num_classes: int, config: DataConfig) -> RawSplit:
  """Returns the split with a share of wrong labels.

  Exactly round(wrong_label_fraction * N) labels are replaced by another class, each other class
  with the same probability. Which examples and which classes is a pure function of
  `data.split_seed` and the example's id.
  """
  ids = ids_of(split)
  num_wrong = round(config.wrong_label_fraction * len(ids))
  order = np.argsort(seeded.bits(config.split_seed, "train wrong", ids), kind="stable")
  wrong = np.zeros(len(ids), bool)
  wrong[order[:num_wrong]] = True
  steps = seeded.integers(config.split_seed, "train other class", ids, high=num_classes - 1)
  other = (split.labels + 1 + steps) % num_classes
  return dataclasses.replace(split, labels=np.where(wrong, other, split.labels))


def _corrected(
  start: Labelled, truth: Int[np.ndarray, "N"], whole: Whole, *, config: DataConfig, side: str
) -> Labelled:
  """Returns the split corrected by the files of its side, one after the other.

  Args:
    start: before; its changes stay.
    truth: [N], the classes that the set gives.
    whole: both splits before the draw.
    config: the files, and `on_bad_image`.
    side: "training" or "test".
  """
  split, unplanted, changes = start.split, start.unplanted, list(start.changes)
  key = _TRAIN if side == "training" else _TEST
  paths = config.corrections if side == "training" else config.corrections_test
  if not paths:
    return dataclasses.replace(start, split=_with_truth(split, truth))
  examples = _examples(split, whole, config, side=side)
  for path in paths:
    done = corrections.apply(corrections.read(key, path), split, examples)
    split = dataclasses.replace(split, labels=done.labels)
    unplanted = np.where(done.is_relabelled, done.labels, unplanted)
    changes.append(done.change)
    if not done.is_kept.all():
      kept = np.flatnonzero(done.is_kept)
      split, unplanted, truth = split.take(kept), unplanted[kept], truth[kept]
  return Labelled(_with_truth(split, truth), unplanted, tuple(changes))


def _with_truth(split: RawSplit, truth: Int[np.ndarray, "N"]) -> RawSplit:
  return dataclasses.replace(split, wrong_label=np.asarray(split.labels) != truth)


def _examples(split: RawSplit, whole: Whole, config: DataConfig, *, side: str) -> Examples:
  """Returns what corrections of this side are compared with; `split` is what was drawn."""
  own, other = (whole.train, whole.test) if side == "training" else (whole.test, whole.train)
  ids, others = _ids(own), _ids(other)
  return Examples(
    side,
    ids - _ids(split),
    elsewhere=others if ids.isdisjoint(others) else frozenset(),
    may_lack=config.on_bad_image == "skip",
    class_names=whole.class_names,
  )
