"""The augmentation of a config as one ordered list of operations, whichever keys name them."""

import dataclasses
from typing import Protocol

from sdt.config.toolbox.block import Call
from sdt.config.toolbox.operation_blocks import MIXING, OPS, SMOTE, STATIC, strength_of
from sdt.config.toolbox.parse import parse_calls


class AugmentKeys(Protocol):
  """The keys of the section `augment`."""

  @property
  def ops(self) -> str | None: ...
  @property
  def strong(self) -> str: ...
  @property
  def fill(self) -> str: ...
  @property
  def pad_crop(self) -> int: ...
  @property
  def flip(self) -> bool: ...
  @property
  def resized_crop_area(self) -> float | None: ...
  @property
  def resized_crop_aspect(self) -> float: ...


@dataclasses.dataclass(frozen=True)
class Pipeline:
  """The operations of a training, in order.

  Attributes:
    calls: the operations with their numbers.
    fill: what is shown where no image is: black, mean or noise.
  """

  calls: tuple[Call, ...] = ()
  fill: str = "black"

  @property
  def names(self) -> tuple[str, ...]:
    return tuple(call.name for call in self.calls)

  @property
  def of_one(self) -> tuple[Call, ...]:
    """The operations that change an example by itself: those that read no other one."""
    return tuple(call for call in self.calls if call.name not in (*MIXING, SMOTE))

  @property
  def mixing(self) -> str | None:
    """The operation that mixes examples, or None."""
    return next((call.name for call in self.calls if call.name in MIXING), None)

  @property
  def strengths(self) -> dict[str, float]:
    """The first number of every operation, by the regulariser that may override it."""
    return {strength_of(call.name): call.numbers[0] for call in self.calls}

  @property
  def traced(self) -> tuple[str, ...]:
    """The strengths that are arguments of the program even if no phase overrides them."""
    return tuple(strength_of(call.name) for call in self.calls if call.name not in STATIC)

  @property
  def without_traced(self) -> "Pipeline":
    """The static part: other strengths make the same one."""
    calls = tuple(
      call if call.name in STATIC else Call(call.name, (0.0, *call.numbers[1:]))
      for call in self.calls
    )
    return dataclasses.replace(self, calls=calls)

  def find(self, name: str) -> Call | None:
    """Returns the operation of this name; None if it is not in the list."""
    return next((call for call in self.calls if call.name == name), None)


def pipeline_of(keys: AugmentKeys) -> Pipeline:
  """Returns the operations of `augment.ops`, or those of the older keys, which are spellings of it.

  Raises:
    ValueError: `augment.ops` cannot be read; see `parse_calls`.
  """
  if keys.ops is not None:
    return Pipeline(parse_calls(keys.ops, OPS), keys.fill)
  calls = []
  if keys.resized_crop_area is not None:
    calls.append(Call("resized_crop", (keys.resized_crop_area, keys.resized_crop_aspect)))
  elif keys.pad_crop:
    calls.append(Call("crop", (float(keys.pad_crop),)))
  if keys.flip:
    calls.append(Call("flip", (0.5,)))
  return Pipeline(tuple(calls), keys.fill)


def strong_pipeline_of(keys: AugmentKeys) -> Pipeline:
  """Returns the operations of `augment.strong`, whose numbers no phase overrides."""
  return Pipeline(parse_calls(keys.strong, OPS), keys.fill)
