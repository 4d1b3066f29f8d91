"""Building blocks that cannot stand together: one table, with the reason and the way out."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from sdt.config.toolbox.block import Call
from sdt.config.toolbox.operation_blocks import CROPS, MIXING, OPS
from sdt.config.toolbox.parse import parse_calls
from sdt.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class Conflict:
  """Choices that are right alone, and wrong together.

  Attributes:
    keys: the config keys whose values the message shows, at least one.
    when: whether the values of a config, by their dotted names, are in this conflict.
    reason: why it cannot be, a clause.
    way_out: what the user can do, an imperative.
  """

  keys: tuple[str, ...]
  when: Callable[[Mapping[str, Any]], bool]
  reason: str
  way_out: str


_NETWORK: tuple[Conflict, ...] = ()

_OPTIMISER: tuple[Conflict, ...] = ()


def _operations(values: Mapping[str, Any]) -> tuple[Call, ...]:
  return parse_calls(values["augment.ops"] or "", OPS)


def _names(values: Mapping[str, Any]) -> list[str]:
  return [call.name for call in _operations(values)]


def _with_ops(key: str, written: str) -> Conflict:
  return Conflict(
    ("augment.ops", key),
    lambda values: values["augment.ops"] is not None and bool(values[key]),
    "both say what becomes of the images",
    way_out=f"write {written} into augment.ops and leave {key} out",
  )


_AUGMENTATION: tuple[Conflict, ...] = (
  _with_ops("augment.pad_crop", "crop(pixels)"),
  _with_ops("augment.flip", "flip"),
  _with_ops("augment.resized_crop_area", "resized_crop(area)"),
  Conflict(
    ("augment.fill", "augment.ops"),
    lambda values: values["augment.fill"] != "black" and values["augment.ops"] is None,
    "no operation is named that fills anything",
    way_out="name one in augment.ops, such as 'crop(4) flip', or leave augment.fill out",
  ),
  Conflict(
    ("augment.ops",),
    lambda values: set(CROPS) <= set(_names(values)),
    "crop and resized_crop each choose the part of the image that is seen",
    way_out="keep one of them",
  ),
  Conflict(
    ("augment.ops",),
    lambda values: len([name for name in _names(values) if name in MIXING]) > 1,
    "a batch is mixed once, by one of " + ", ".join(MIXING),
    way_out="keep one of them",
  ),
  Conflict(
    ("augment.ops",),
    lambda values: len(set(_names(values))) < len(_names(values)),
    "an operation stands in it twice, and its strength has one name",
    way_out="name every operation once",
  ),
  Conflict(
    ("augment.ops",),
    lambda values: any(name in CROPS for name in _names(values)[1:]),
    "a crop sets the size of the images for what follows",
    way_out="write it first",
  ),
  Conflict(
    ("augment.ops",),
    lambda values: any(name in MIXING for name in _names(values)[:-1]),
    "whole batches are mixed after every example has been changed by itself",
    way_out="write " + " or ".join(MIXING) + " last",
  ),
)

_PREPROCESSING: tuple[Conflict, ...] = ()

CONFLICTS = (*_NETWORK, *_OPTIMISER, *_AUGMENTATION, *_PREPROCESSING)


def check_conflicts(values: Mapping[str, Any]) -> None:
  """Refuses the first conflict of the table.

  Args:
    values: of every key, by its dotted name.

  Raises:
    ConfigError: names the keys and their values, the reason and the way out.
  """
  for conflict in CONFLICTS:
    if conflict.when(values):
      shown = " with ".join(f"{key} = {values[key]!r}" for key in conflict.keys)
      raise ConfigError(f"{shown}: {conflict.reason}; {conflict.way_out}")
