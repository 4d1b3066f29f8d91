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


_NETWORK: tuple[Conflict, ...] = (
  Conflict(
    ("model.start", "model.norm"),
    lambda of: of["model.start"] == "fixup" and of["model.norm"] != "none",
    "Fixup is for residual networks without norm",
    way_out="give model.norm=none too, or leave model.start out",
  ),
  Conflict(
    ("model.start", "model.pretrained"),
    lambda of: of["model.start"] is not None and of["model.pretrained"] is not None,
    "the weights of a file are trained, and a start would change them",
    way_out="leave one of the two out",
  ),
  Conflict(
    ("model.bias_start", "model.pretrained"),
    lambda of: of["model.bias_start"] != 0.0 and of["model.pretrained"] is not None,
    "the biases are those of the file",
    way_out="leave one of the two out",
  ),
  Conflict(
    ("model.initialisation", "model.pretrained_head"),
    lambda of: of["model.initialisation"] is not None and of["model.pretrained_head"],
    "all weights are those of the file",
    way_out="leave one of the two out",
  ),
  Conflict(
    ("model.start", "model.initialisation"),
    lambda of: (
      of["model.start"] in ("lsuv", "data")
      and (of["model.initialisation"] or "").startswith("constant")
    ),
    "the outputs of a layer would all be alike, and no factor gives them a spread",
    way_out="choose another model.initialisation, such as orthogonal",
  ),
  Conflict(
    ("model.groups", "model.norm"),
    lambda of: of["model.groups"] is not None and of["model.norm"] != "group",
    "no other norm reads the groups",
    way_out="give model.norm=group, or leave model.groups out",
  ),
  Conflict(
    ("parallel.batch_norm", "model.norm"),
    lambda of: of["parallel.batch_norm"] == "device" and of["model.norm"] not in (None, "batch"),
    "no other norm mixes the examples of a device",
    way_out="choose model.norm=batch, or leave parallel.batch_norm out",
  ),
)

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
