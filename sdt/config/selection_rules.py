"""What the keys of a selection must be together: equally many trials, and something to choose."""

import types
from collections.abc import Callable, Mapping
from typing import Any

from sdt.errors import ConfigError

# Every key by its dotted name; the type of a value depends on its key.
type Values = Mapping[str, Any]

# The lists of candidates, and the keys whose values a selection among them sets.
SELECTED: Mapping[str, tuple[str, ...]] = types.MappingProxyType(
  {
    "select.lambda_A": ("method.lambda_A",),
    "select.fraction": ("method.fraction", "method.num_easy"),
    "select.weight_decay": ("method.lambda_tuned",),
  }
)
_OF_SEARCH = ("select.method", "select.trials", "select.factor", "select.min_rounds")
# Keys of a search, and which methods read them.
_OF_METHOD: Mapping[str, Callable[[str], bool]] = types.MappingProxyType(
  {
    "select.trials": lambda method: method != "grid",
    "select.factor": lambda method: method == "halving",
    "select.min_rounds": lambda method: method == "halving",
  }
)


def check_selection(values: Values, defaults: Values) -> None:
  """Raises a ConfigError where the selection is unfair, impossible, or has no candidates.

  It is unfair if the method and uniform_tuned have unequal numbers of trials.
  """
  if values["select.space"]:
    _check_search(values, defaults)
    return
  for key in _OF_SEARCH:
    if values[key] != defaults[key]:
      raise ConfigError(
        f"{key} = {values[key]!r} has no meaning without select.space; leave it at its default, "
        f"{defaults[key]!r}, or give the keys to search"
      )
  if not any(values[name] for name in SELECTED):
    for key in ("data.validation_fraction", "select.num_seeds"):
      is_read = key == "data.validation_fraction" and (
        values["stop.patience"] or values["evaluate.prior_shift"]
      )
      if values[key] != defaults[key] and not is_read:
        raise ConfigError(
          f"{key} = {values[key]!r} has no meaning without candidates to choose among; leave it "
          f"at its default, {defaults[key]!r}, or give {', '.join(SELECTED)} or select.space"
        )
    return
  decays, fractions, tuned = (values[name] for name in SELECTED)
  num_method = max(1, len(decays)) * max(1, len(fractions))
  if (decays or fractions) and tuned and num_method != len(tuned):
    raise ConfigError(
      f"select: the method has {num_method} trials ({max(1, len(decays))} of lambda_A x "
      f"{max(1, len(fractions))} of fraction), and uniform_tuned has {len(tuned)} "
      "(select.weight_decay); more trials alone make one look better, give both equally many"
    )
  _check_seeds(values)
  for name, keys in SELECTED.items():
    for key in keys:
      if values[name] and key in (values["sweep.key"], values["sweep.also_key"]):
        raise ConfigError(
          f"sweep: {key} is chosen among {name} = {values[name]} in every run, so it cannot be "
          "swept; leave one of the two out"
        )


def _check_search(values: Values, defaults: Values) -> None:
  """Raises a ConfigError where a key does not go with `select.space`, whatever stands in it."""
  _check_seeds(values)
  for name in (*SELECTED, "sweep.key"):
    if values[name]:
      raise ConfigError(
        f"{name} = {values[name]!r} with select.space: the search tries all keys by itself; "
        "leave one of the two out"
      )
  method = values["select.method"]
  for key, is_read in _OF_METHOD.items():
    if values[key] != defaults[key] and not is_read(method):
      raise ConfigError(
        f"{key} = {values[key]!r} has no meaning with select.method = {method!r}; leave it at its "
        f"default, {defaults[key]!r}, or choose another method"
      )
  if values["select.min_rounds"] > values["rounds"]:
    raise ConfigError(
      f"select.min_rounds = {values['select.min_rounds']}: expected at most rounds = "
      f"{values['rounds']}"
    )


def _check_seeds(values: Values) -> None:
  num_seeds = values["select.num_seeds"]
  if num_seeds is not None and num_seeds > len(values["seeds"]):
    raise ConfigError(
      f"select.num_seeds = {num_seeds}: expected at most {len(values['seeds'])}, the number of "
      "seeds"
    )
