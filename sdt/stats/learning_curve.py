"""Learning curves over labels: their area, and by how much each strategy is ahead of random."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from sdt.stats import paired
from sdt.stats.answers import over_seeds
from sdt.stats.paired import Contrast, Pair

CONTROL = "random"
# Strategy -> seed -> accuracy at each number of labels; None where a network diverged, and after.
type Accuracies = Mapping[str, Mapping[int, Sequence[float | None]]]


def area(labels: Sequence[int], accuracies: Sequence[float | None]) -> float | None:
  """Returns the area under accuracy over labels by the trapezoidal rule, over the range of labels.

  It is the mean accuracy on the way from the first number of labels to the last, a fraction.

  Args:
    labels: ascending, at least two.
    accuracies: one for each; None anywhere gives None.

  Source: Guyon et al. 2011, "Results of the Active Learning Challenge". Differs from source: of
  the accuracy, over the labels and not their logarithm; not rescaled to that of random.
  """
  known = [value for value in accuracies if value is not None]
  if len(known) < len(accuracies):
    return None
  parts = [
    (labels[place] - labels[place - 1]) * (known[place] + known[place - 1]) / 2
    for place in range(1, len(labels))
  ]
  return math.fsum(parts) / (labels[-1] - labels[0])


def summarised(labels: Sequence[int], accuracies: Accuracies, margin: float) -> dict[str, Any]:
  """Returns the entries `curves`, `areas`, `primary` and `at_labels` of acquire.json.

  `primary` holds one contrast of areas for each strategy against random; they are one family.
  `at_labels` has those at each number of labels but the first, where all strategies are the same
  network; all of them together are a second family.

  Args:
    labels: the numbers of labels.
    accuracies: of every strategy.
    margin: differences within this are called equal, a fraction.
  """
  areas = {
    name: {seed: area(labels, row) for seed, row in of.items()} for name, of in accuracies.items()
  }
  curves = {
    name: [
      over_seeds({seed: row[place] for seed, row in of.items()}) for place in range(len(labels))
    ]
    for name, of in accuracies.items()
  }
  return {
    "curves": curves,
    "areas": {name: over_seeds(of) for name, of in areas.items()},
    "primary": _against_control(areas, margin),
    "at_labels": _at_labels(labels, accuracies, margin),
  }


def _against_control(
  values: Mapping[str, Mapping[int, float | None]], margin: float
) -> dict[str, Contrast]:
  if CONTROL not in values:
    return {}
  pairs = {
    name: Pair(name, CONTROL, of, of_second=values[CONTROL])
    for name, of in values.items()
    if name != CONTROL
  }
  return paired.contrasts(pairs, margin)


def _at_labels(
  labels: Sequence[int], accuracies: Accuracies, margin: float
) -> dict[str, list[Contrast]]:
  """Returns the contrasts with random at each number of labels after the first, by strategy."""
  if CONTROL not in accuracies:
    return {}
  names = [name for name in accuracies if name != CONTROL]

  def at(name: str, place: int) -> dict[int, float | None]:
    return {seed: row[place] for seed, row in accuracies[name].items()}

  pairs = {
    f"{name} at {labels[place]}": Pair(name, CONTROL, at(name, place), of_second=at(CONTROL, place))
    for name in names
    for place in range(1, len(labels))
  }
  found = paired.contrasts(pairs, margin)
  return {name: [found[f"{name} at {number}"] for number in labels[1:]] for name in names}
