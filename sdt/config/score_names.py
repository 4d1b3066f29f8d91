"""Every score that can rank the training examples, whatever it comes from: which end is easy, its
range, its source.
"""

from __future__ import annotations

import dataclasses
import math
import types
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class Score:
  """What a score is, apart from how it is computed.

  Attributes:
    direction: "higher_is_easier" or "higher_is_harder".
    range: lowest and highest value; None where there is no bound.
    source: what it is computed from, in words, as it stands in scores.json.
    note: what whoever uses it should know, None where there is nothing.
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
    """The hardest value that the score can have; it may be infinite."""
    low, high = self.range
    if self.is_higher_easier:
      return -math.inf if low is None else low
    return math.inf if high is None else high


# What scores are computed from: one pass with networks of a round (also without the example), or
# all steps of the baseline.
LAST_ROUND, OUT_OF_FOLD, DYNAMICS = "last round", "out of fold", "training dynamics"
_EARLY = (
  "its "
  "source means a network early in training (20 of 200 epochs): of the last round it is "
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
    "confidence_in_sample": _easier(
      0.0, 1.0, "in sample"
    ),  # beside out-of-fold scores: of the baseline, which has seen every example
    "file": _easier(
      None, None, "file"
    ),  # or harder, as score.higher_is says: see score_artifacts.described
  }
)
