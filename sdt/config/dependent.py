"""Keys whose default depends on the values of other keys."""

import types
from collections.abc import Callable, Mapping
from typing import Any

from sdt.config.differences import leaves

# The sets that are the user's own, or drawn: nobody compares their results with the paper's.
OWN_SETS = ("folder", "csv", "npz", "arrays", "digits", "shapes")


def _is_balanced(values: Mapping[str, Any]) -> bool:
  """Returns whether A is balanced by class: on own data, wherever A has a size to divide.

  The easiest tenth of a small set may hold few classes, and the first steps on it can leave a
  network at chance (docs/method.md, "A collapsed training"). The paper's A is not balanced.
  """
  has_size = values["split.policy"] != "threshold" and set(values["arms"]) - {"baseline"}
  return values["data.name"] in OWN_SETS and bool(has_size)


# Key -> its default, from the values of all keys. A config file or command line that gives another
# value than None wins.
DEPENDENT: Mapping[str, Callable[[Mapping[str, Any]], Any]] = types.MappingProxyType(
  {"split.class_balanced": _is_balanced}
)


def dependent_defaults(values: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the defaults of the keys in `DEPENDENT`; `values` has every key by its dotted name."""
  return {name: default(values) for name, default in DEPENDENT.items()}


def without_dependent(plain: Mapping[str, Any]) -> dict[str, Any]:
  """Returns a config as nested dicts, with None for the keys of `DEPENDENT` at their default.

  With other values of other keys, these find their default anew.
  """
  values, nested = dict(leaves(plain)), dict(plain)
  for name, default in dependent_defaults(values).items():
    section, _, last = name.partition(".")
    if values[name] == default:
      nested[section] = {**nested[section], last: None}
  return nested
