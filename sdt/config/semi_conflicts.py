"""What partial labels cannot stand beside, with the reason and the way out."""

from collections.abc import Mapping
from typing import Any

from sdt.config.conflict import Conflict
from sdt.config.toolbox.operation_blocks import CROPS, MIXING, OPS, SMOTE
from sdt.config.toolbox.parse import parse_calls


def _strong(values: Mapping[str, Any]) -> list[str]:
  """Returns the names of the operations of `augment.strong`."""
  return [call.name for call in parse_calls(values["augment.strong"], OPS)]


def _beside_pretext(key: str) -> Conflict:
  """Returns the conflict of a pretext task with any value of a key about labels."""
  return Conflict(
    ("data.pretext", key),
    lambda values: values["data.pretext"] is not None and values[key],
    "a pretext task makes its labels from the images",
    way_out=f"leave {key} out",
  )


SEMI: tuple[Conflict, ...] = (
  *(
    _beside_pretext(f"data.{name}")
    for name in (
      *("labelled", "labels_file", "wrong_label_fraction"),
      *("corrections", "corrections_test"),
    )
  ),
  Conflict(
    ("data.pretext", "data.name"),
    lambda values: values["data.pretext"] is not None and values["data.name"] == "curve",
    "the curve has no images",
    way_out="leave data.pretext out",
  ),
  Conflict(
    ("data.pretext", "score.folds"),
    lambda values: values["data.pretext"] is not None and values["score.folds"],
    "the four turns of an image would lie in several folds",
    way_out="leave score.folds out",
  ),
  Conflict(
    ("data.labelled", "data.name"),
    lambda values: values["data.labelled"] is not None and values["data.name"] == "curve",
    "the targets of the curve are numbers, and labels are hidden by class",
    way_out="leave data.labelled out",
  ),
  Conflict(
    ("augment.strong",),
    lambda values: set(_strong(values)) & {*MIXING, SMOTE},
    "a guess belongs to one image, and " + ", ".join((*MIXING, SMOTE)) + " make one of several",
    way_out="leave them out",
  ),
  Conflict(
    ("augment.strong",),
    lambda values: any(name in CROPS for name in _strong(values)[1:]),
    "a crop sets the size of the images for what follows",
    way_out="write one crop, and first",
  ),
  Conflict(
    ("augment.strong",),
    lambda values: len(set(_strong(values))) < len(_strong(values)),
    "an operation stands in it twice",
    way_out="name every operation once",
  ),
)
