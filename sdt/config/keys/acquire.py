"""The keys of active learning."""

import dataclasses

from sdt.config.keys.declare import config_key
from sdt.config.toolbox.acquire_blocks import STRATEGIES


@dataclasses.dataclass(frozen=True)
class AcquireConfig:
  """Active learning: which labels are asked for, how many at a time, and how often.

  Without a strategy there is none.
  """

  strategies: tuple[str, ...] = config_key(
    (),
    "active learning: how the next labels are chosen; several are compared, each with random",
    choices=tuple(STRATEGIES),
    unique=True,
    is_later=True,
  )
  start: int = config_key(
    100, "labels that are known at the start, drawn at random for each seed", low=1, is_later=True
  )
  add: int = config_key(100, "labels that are asked for each time", low=1, is_later=True)
  times: int = config_key(
    5, "how often labels are asked for; after each a network is trained anew", low=1, is_later=True
  )
  arm: str = config_key(
    "baseline",
    "the arm whose network asks for labels, and whose accuracy is the learning curve",
    is_later=True,
  )
