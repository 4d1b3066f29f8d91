"""What the user must be told of a set: of its classes, its images, its two splits."""

from collections.abc import Iterator, Sequence

import numpy as np

from sdt.config.schema import DataConfig
from sdt.data.checks import AnyArray, some_of
from sdt.data.class_names import alike_notes, no_label_notes
from sdt.data.dataset import Dataset
from sdt.data.statistics import constant_examples, mean_and_std, value_span

_DARK = 32  # an eighth of the values of a pixel; images that span fewer are told
_MANY = 10  # classes; of fewer it is seen at a glance that each has one example
# Told of are splits whose means are further apart than this, in standard deviations of the training
# split, or whose standard deviations differ by more than this factor.
_FAR, _FACTOR = 1.0, 4.0
_ENOUGH = 8  # test examples whose mean is compared


def of_set(
  train: Dataset,
  test: Dataset,
  class_names: Sequence[str],
  *,
  config: DataConfig,
  statistics: tuple[AnyArray, AnyArray],
) -> Iterator[str]:
  """Yields what must be told of class names, classes, labels wrong on purpose, and inputs.

  Args:
    train, test, class_names: the set.
    config: `name`, `imbalance`, `wrong_label_fraction`, `statistics`.
    statistics: what the inputs are normalised by, see `Data`.
  """
  yield from alike_notes(class_names)
  if train.labels.dtype.kind == "i":
    yield from _of_classes(train, test, class_names)
    # The published sets are known, and some of them are normalised by other statistics.
    if config.name in ("folder", "csv", "npz"):
      is_own = config.statistics == "own"
      own = statistics if is_own else mean_and_std(train.inputs, train.sizes)
      yield from _of_the_difference(*own, test)
  if config.imbalance is not None:
    counts = np.bincount(train.labels, minlength=len(class_names))
    yield (
      f"the training set is imbalanced on purpose (data.imbalance={config.imbalance}): "
      f"{len(train)} examples, from {counts.max()} to {counts.min()} of a class"
    )
  if config.wrong_label_fraction and train.wrong_label is not None:
    yield (
      f"{int(train.wrong_label.sum())} of {len(train)} training labels are wrong on purpose "
      f"(data.wrong_label_fraction={config.wrong_label_fraction}"
      f"{', after data.corrections' if config.corrections else ''})"
    )
  levels = None if train.inputs.ndim != 4 else value_span(train.inputs, enough=_DARK)
  if levels is not None and levels[1] - levels[0] < _DARK:
    yield (
      f"the training images hold only the values {levels[0]} to {levels[1]} of 0 to 255, less than "
      "an eighth of them; if that is a mistake, write them anew over the whole range (for grey "
      "files of more than 8 bits see data.value_range)"
    )
  for name, dataset in (("training", train), ("test", test)):
    constant = constant_examples(dataset)
    if len(constant):
      yield (
        f"{len(constant)} {name} image(s) are constant, all pixels alike; example ids "
        f"{some_of(constant)}"
      )


def _of_classes(train: Dataset, test: Dataset, class_names: Sequence[str]) -> Iterator[str]:
  """Yields notes on classes without test examples, with a single one, or that are none."""
  num = len(class_names)
  counts, tested = (np.bincount(split.labels, minlength=num) for split in (train, test))
  yield from no_label_notes(class_names, counts)
  num_single = int((counts == 1).sum())
  if num >= _MANY and 2 * num_single > num:
    yield (
      f"{num_single} of {num} classes have a single training example; are the labels classes, and "
      "not numbers or names of images?"
    )
  untested = [class_names[label] for label in np.flatnonzero(tested == 0).tolist()]
  if untested:
    yield (
      f"{len(untested)} of {num} classes have no test example, so their accuracy is not measured: "
      f"{some_of(untested)}"
    )


def _of_the_difference(mean: AnyArray, std: AnyArray, test: Dataset) -> Iterator[str]:
  """Yields a note where the inputs of the splits look as if they were prepared in two ways.

  As where one of them was scaled, or inverted, and the other was not. The median over channels or
  columns decides.

  Args:
    mean, std: of the training split.
    test: the test split.
  """
  if len(test) < _ENOUGH:
    return
  test_mean, test_std = mean_and_std(test.inputs, test.sizes)
  apart, ratio = np.median(np.abs(test_mean - mean) / std), np.median(test_std / std)
  if apart <= _FAR and 1 / _FACTOR <= ratio <= _FACTOR:
    return
  unit = 255 if test.inputs.ndim == 4 else 1
  middle, of_test = (
    unit * np.median(np.stack(pair), axis=1) for pair in ((mean, std), (test_mean, test_std))
  )
  yield (
    f"the test inputs look as if they were prepared in another way than the training inputs: mean "
    f"{of_test[0]:.3g}, standard deviation {of_test[1]:.3g}, but in training {middle[0]:.3g} and "
    f"{middle[1]:.3g}; were both scaled, and neither inverted?"
  )
