"""One config value: from text or Python to the type and range of its key, or a refusal that says
what is expected.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
from collections.abc import Mapping
from typing import Any

from sdt.errors import ConfigError

# Step counts, ids and seeds become int32 on the device.
LARGEST_INT = 2**31 - 1

_FEW = 4  # choices that are seen at a glance; of more, the nearest is named

_OPENING = {")": "(", "]": "["}
_COMMA = re.compile(
  r",(?![^\[\]]*\])"
)  # not within brackets: 'mine = A@0[label_smoothing=0.2, dropout=0.3]' is one item
_INTEGER = re.compile(r"[+-]?[0-9]+(_[0-9]+)*")
_NOUNS = {bool: "True or False", int: "an integer", float: "a finite number", str: "a text"}
_PLURALS = {
  bool: "of True or False",
  int: "of integers",
  float: "of finite numbers",
  str: "of texts",
}
_SAMPLES = {bool: "(True, False)", int: "(1, 2)", float: "(0.1, 0.2)", str: "('a', 'b')"}


@dataclasses.dataclass(frozen=True)
class Key:
  """What one config key may hold.

  Attributes:
    name: dotted, as on the command line: `optim.learning_rate`.
    base: type of the value, or of a tuple's items.
    rule: see `sdt.config`: low, high, above, below, choices, min_length, unique, as_text.
  """

  name: str
  base: type
  is_tuple: bool
  optional: bool
  default: Any
  help: str
  rule: Mapping[str, Any]


class _WrongValueError(ValueError):
  """The value does not fit; the text says how to write it right, or is empty."""


def range_text(key: Key) -> str:
  """Returns the key's bounds in words, such as "above 0, at most 1", or an empty text."""
  words = {"low": "at least", "above": "above", "high": "at most", "below": "below"}
  return ", ".join(
    f"{word} {key.rule[name]:.10g}" for name, word in words.items() if name in key.rule
  )


def expected(key: Key) -> str:
  """Returns what the key takes, in words: type, bounds, choices, length."""
  if choices := key.rule.get("choices"):
    noun = "one of " + ", ".join(repr(choice) for choice in choices)
    if key.is_tuple:
      noun = "a tuple, each item " + noun
  elif key.is_tuple:
    noun = f"a tuple {_PLURALS[key.base]}"
  else:
    noun = _NOUNS[key.base]
  bounds = range_text(key)
  if bounds:
    noun += f", each {bounds}" if key.is_tuple else f" {bounds}"
  if key.rule.get("min_length"):
    noun += f", {key.rule['min_length']} or more items"
  if key.rule.get("unique"):
    noun += ", no item twice"
  if key.is_tuple:
    noun += f", such as {_sample(key)}"
  return noun + (", or None" if key.optional else "")


def _sample(key: Key) -> str:
  return str(key.default) if key.default else _SAMPLES[key.base]


def shown(value: object) -> str:
  """Returns `value` as Python would write it, in one short line."""
  text = re.sub(r"\s+", " ", repr(value))
  return text if len(text) <= 80 else text[:77] + "..."


def refusal(key: Key, given: str, hint: str = "") -> ConfigError:
  """Returns the one-line error for a value that `key` does not take; `given` is the value as the
  user wrote it.
  """
  return ConfigError(f"{given}: expected {expected(key)}{'; ' + hint if hint else ''} ({key.help})")


def check(key: Key, value: object) -> Any:
  """Returns `value`, from a config file or JSON, in the type of `key`: integers become floats and
  lists tuples where asked.

  Raises:
    ConfigError: wrong type (a bool is no integer), not finite, out of range, empty, twice the same.
  """
  try:
    return _checked(key, value)
  except _WrongValueError as error:
    raise refusal(key, f"{key.name} = {shown(value)}", str(error)) from None


def parse(key: Key, text: str) -> Any:
  """Returns the value that the command line's `--config.KEY=text` means for `key`.

  Numbers as Python writes them, True and False, None where the key allows it, text with or without
  quotes ('None' in quotes is a text), tuples as `(1, 2)`, `[1, 2]`, `1,2` or, of one item, `(1,)`,
  `1,` and `1`.

  Raises:
    ConfigError: as `check`.
  """
  try:
    return _checked(key, _parsed(key, text.strip()))
  except _WrongValueError as error:
    raise refusal(key, f"--config.{key.name}={shown(text)[1:-1]}", str(error)) from None


def _parsed(key: Key, text: str) -> Any:
  if key.optional and text == "None":
    return None
  return _parsed_tuple(key, text) if key.is_tuple else _parsed_scalar(key.base, text)


def _parsed_tuple(key: Key, text: str) -> tuple[Any, ...]:
  inner, last = text, text[-1:]
  # A bracket at the end may belong to the last item, as in mine = all@baseline[dropout].
  closed = last in _OPENING and text.count(last) > text.count(_OPENING[last])
  if text[:1] in _OPENING.values() or closed:
    if text[:1] + text[-1:] not in ("()", "[]"):
      raise _WrongValueError("its brackets do not match")
    inner = text[1:-1]
  if not text:
    raise _WrongValueError("it is empty")
  items = [item.strip() for item in _COMMA.split(inner)]
  if items[-1] == "":
    items.pop()  # `(1,)`, and `()`
  return tuple(_parsed_scalar(key.base, item) for item in items)


def _parsed_scalar(base: type, text: str) -> Any:
  if base is str:
    return _unquoted(text)
  if base is bool:
    if text not in ("True", "False", "true", "false"):
      raise _WrongValueError
    return text in ("True", "true")
  try:
    if _INTEGER.fullmatch(text):
      return int(text)
    return float(text)
  except ValueError:
    raise _WrongValueError from None


def _unquoted(text: str) -> str:
  for quote in "'\"":
    starts, ends = text.startswith(quote), text.endswith(quote)
    if starts and ends and len(text) >= 2:
      return text[1:-1]
    if starts != ends or text == quote:
      raise _WrongValueError("its quotes do not match")
  return text


def _checked(key: Key, value: object) -> Any:
  if value is None and key.optional:
    return None
  if not key.is_tuple:
    return _checked_scalar(key, value)
  if not isinstance(value, tuple | list):
    raise _WrongValueError("" if value is None else f"one item is written ({shown(value)},)")
  if key.rule.get("as_text"):
    value = [
      repr(item) if item is None or isinstance(item, bool | int | float | tuple | list) else item
      for item in value
    ]
  items = tuple(_checked_scalar(key, item) for item in value)
  if len(items) < key.rule.get("min_length", 0):
    raise _WrongValueError("it is empty" if not items else f"it has {len(items)}")
  if key.rule.get("unique") and len(set(items)) < len(items):
    twice = next(item for item in items if items.count(item) > 1)
    raise _WrongValueError(f"{twice!r} stands there more than once")
  return items


def _checked_scalar(key: Key, value: object) -> Any:
  number = _typed(key.base, value)
  rule = key.rule
  if "choices" in rule and number not in rule["choices"]:
    near = (
      difflib.get_close_matches(number, rule["choices"], 1) if len(rule["choices"]) > _FEW else []
    )
    raise _WrongValueError(f"did you mean {near[0]!r}?" if near else "")
  outside = (
    ("low" in rule and number < rule["low"])
    or ("above" in rule and number <= rule["above"])
    or ("high" in rule and number > rule["high"])
    or ("below" in rule and number >= rule["below"])
  )
  if outside:
    raise _WrongValueError
  return number


def _typed(base: type, value: object) -> Any:
  """Returns `value` as a plain bool, int, float or str, so that every later repr, hash and JSON is
  the same.
  """
  if base is str and isinstance(value, str):
    if not value or "\0" in value:
      raise _WrongValueError("it is empty" if not value else "it holds a NUL character")
    return str(value)
  if base is bool and isinstance(value, bool):
    return value
  if isinstance(value, bool):
    raise _WrongValueError
  if base is int and isinstance(value, int):
    if abs(value) > LARGEST_INT:
      raise _WrongValueError(f"integers end at {LARGEST_INT}")
    return int(value)
  if base is float and isinstance(value, int | float):
    try:
      number = float(value)
    except OverflowError:
      raise _WrongValueError from None
    if not math.isfinite(number):
      raise _WrongValueError
    return number + 0.0  # -0.0 becomes 0.0: equal values must have equal hashes
  raise _WrongValueError
