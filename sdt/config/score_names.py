"""Every score that can rank the training examples: which end is easy, its range, its source."""

import dataclasses
import math
import re
import types
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class Score:
  """What a score means; `sdt.scores` computes it.

  Attributes:
    direction: "higher_is_easier" or "higher_is_harder".
    range: lowest and highest value; None where there is no bound.
    source: what it is computed from, in the words of scores.json.
    note: a warning to its user, or None.
  """

  direction: str
  range: tuple[float | None, float | None]
  source: str
  note: str | None = None

  @property
  def is_higher_easier(self) -> bool:
    return self.direction == "higher_is_easier"

  @property
  def hardest(self) -> float:
    """The hardest value that the score can take; may be infinite."""
    low, high = self.range
    if self.is_higher_easier:
      return -math.inf if low is None else low
    return math.inf if high is None else high


# What scores are computed from: one pass with the networks of a round, or with networks that have
# not seen the example, or all steps of the baseline.
LAST_ROUND, OUT_OF_FOLD, DYNAMICS = "last round", "out of fold", "training dynamics"
# What suspicions are taken from where nothing better is known, in the words of results.json.
TRAINED_NETWORKS = "the trained networks"
_EARLY = (
  "its source means a network early in training (20 of 200 epochs): of the last round it is "
  "another quantity; score.at_round"
)


def _easier(low: float | None, high: float | None, source: str = LAST_ROUND) -> Score:
  return Score("higher_is_easier", (low, high), source)


def _harder(
  low: float | None, high: float | None, source: str = LAST_ROUND, note: str | None = None
) -> Score:
  return Score("higher_is_harder", (low, high), source, note=note)


SCORES: Mapping[str, Score] = types.MappingProxyType(
  {
    "log_odds": _easier(None, None),
    "confidence": _easier(0.0, 1.0),
    "loss": _harder(0.0, None),
    "margin": _easier(None, None),
    "normalized_margin": _easier(0.0, 1.0),
    "entropy": _harder(0.0, None),
    "el2n": _harder(0.0, math.sqrt(2.0), note=_EARLY),
    "grand_last_layer": _harder(0.0, None, note=_EARLY),
    "grand": _harder(0.0, None, note=_EARLY),
    "forgetting": _harder(0.0, None, DYNAMICS),
    "first_learned": _harder(1.0, None, DYNAMICS),
    "mean_confidence": _easier(0.0, 1.0, DYNAMICS),
    "variability": _harder(0.0, 0.5, DYNAMICS),
    "correctness": _easier(0.0, 1.0, DYNAMICS),
    "aum": _easier(None, None, DYNAMICS),
    # Only beside out-of-fold scores: the confidence of the baseline, which has seen every example.
    "confidence_in_sample": _easier(0.0, 1.0, "in sample"),
    # Which end is easy depends on the file: see `direction_of_column`.
    "file": _easier(None, None, "file"),
  }
)

# Beside the scores of a pass, under this name: the most probable class but the label's.
OTHER_CLASS = "other_class"
# With `score.probabilities`: those of all classes, [R, N, K].
PROBABILITIES = "probabilities"
# With `score.course`: the label's in every round of the baseline, uint8 [R, N, rounds].
COURSE = "course"
# Stored beside the scores where the attribute of `ScoreConfig` behind it asks for it.
ON_REQUEST = types.MappingProxyType({PROBABILITIES: "has_probabilities", COURSE: "course"})

# What else a table of sdt holds about an example and may rank it: the truth, where it is known.
_TRUTHS = {"difficulty": "harder", "wrong_label": "harder"}
_OF_A_SEED = re.compile(r"_seed\d+$")


def direction_of_column(name: str) -> str | None:
  """Returns which end of a column of scores.csv or scores.npz is hard or easy, by its name.

  "easier" or "harder": what a higher value means. None where the name says nothing, as that of a
  user's own score. The column of one seed, such as el2n_seed0, is the score's; capitals do not
  count.
  """
  name = _score_of(name)
  if name == "file" or name not in SCORES:
    return _TRUTHS.get(name)
  return SCORES[name].direction.removeprefix("higher_is_")


def is_column_of_file(name: str) -> bool:
  """Returns whether a column holds the scores that an earlier run took from a file."""
  return _score_of(name) == "file"


def _score_of(column: str) -> str:
  return _OF_A_SEED.sub("", column.strip().casefold())
