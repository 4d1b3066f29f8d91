"""What `data.imbalance` cannot say, with the reason and the way out."""

from collections.abc import Mapping
from typing import Any

from sdt.config.conflict import Conflict
from sdt.config.toolbox.imbalance_blocks import IMBALANCES
from sdt.config.toolbox.parse import parse_call


def _is_reversed(values: Mapping[str, Any]) -> bool:
  if values["data.imbalance"] is None:
    return False
  call = parse_call(values["data.imbalance"], IMBALANCES)
  return call.name == "uniform" and call.numbers[0] > call.numbers[1]


IMBALANCE: tuple[Conflict, ...] = (
  Conflict(
    ("data.imbalance",),
    _is_reversed,
    "the lower number comes first",
    way_out="write uniform(low, high), such as uniform(500, 1000)",
  ),
)
