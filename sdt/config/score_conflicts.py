"""Scores that cannot be had together: a part of the table of sdt/config/conflicts.py."""

from sdt.config.conflict import Conflict

SCORES: tuple[Conflict, ...] = (
  Conflict(
    ("score.cleanlab", "score.folds"),
    lambda values: values["score.cleanlab"] and values["score.folds"] is None,
    "a network gives back the labels that it has learned by heart, the wrong ones too, so that "
    "cleanlab needs networks that have not seen the example",
    way_out="give score.folds too, such as --config.score.folds=4, or leave score.cleanlab out",
  ),
)
