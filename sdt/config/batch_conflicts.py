"""What a batch size that follows from the data cannot stand beside: a part of the table of
conflicts.
"""

from collections.abc import Callable, Mapping
from typing import Any

from sdt.config.conflict import Conflict
from sdt.config.toolbox.training_blocks import FULL_BATCH

_LATER = "how many examples A has is decided after the batch size"
_GIVE = "give batch_size as a number"


# What the sizes of the parts follow from.
_SIZES = ("method.fraction", "method.num_easy", "arms", "own_arms")


def _searched(values: Mapping[str, Any]) -> set[str]:
  return {text.partition("=")[0].strip() for text in values["select.space"]}


def _beside(key: str, when: Callable[[Mapping[str, Any]], object], reason: str) -> Conflict:
  """Returns the conflict of batch_size=auto with the values of a key that `when` names."""
  return Conflict(
    ("fit_batch", key), lambda values: values["fit_batch"] and when(values), reason, way_out=_GIVE
  )


def _in_sweep(key: str) -> Conflict:
  def when(values: Mapping[str, Any]) -> bool:
    swept = values[key] or ""
    return swept.startswith("split.") or swept in ("batch_size", "fit_batch", *_SIZES)

  return _beside(key, when, "every value would have another batch size, its baseline too")


BATCH: tuple[Conflict, ...] = (
  _beside(
    "optim.name",
    lambda values: values["optim.name"] in FULL_BATCH,
    "this optimiser needs all examples in one batch",
  ),
  _beside("split.policy", lambda values: values["split.policy"] == "threshold", _LATER),
  _beside("select.fraction", lambda values: values["select.fraction"], _LATER),
  _beside(
    "select.space",
    lambda values: {"batch_size", *_SIZES} & _searched(values),
    "the search chooses what the batch size follows from, or the batch size itself",
  ),
  _beside(
    "acquire.strategies",
    lambda values: values["acquire.strategies"],
    "every number of labels would have another batch size",
  ),
  _in_sweep("sweep.key"),
  _in_sweep("sweep.also_key"),
)
