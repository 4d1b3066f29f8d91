"""Building blocks that cannot stand together: a row of the tables in `conflicts`."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any


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
  when: Callable[[Mapping[str, Any]], object]
  reason: str
  way_out: str
