"""Scores: how well a network knows each training example, and the split into A and B by a score."""

from sdt.scores.formulas import SCORERS
from sdt.scores.split import Partition, split

__all__ = ["SCORERS", "Partition", "split"]
