"""Building blocks that cannot stand together: one table, with the reason and the way out."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

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

_AUGMENTATION: tuple[Conflict, ...] = ()

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
