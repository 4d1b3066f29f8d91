"""One config value: brings it to the type and range of its key, or says what is expected."""

import dataclasses
import math
import re
import types
import typing
from typing import Any

from sdt.config.keys.declare import Rule
from sdt.config.toolbox.parse import UnknownBlockError, parse_call, parse_calls, split_commas
from sdt.errors import ConfigError, nearest

type Scalar = bool | int | float | str
# What a config key can hold.
type Value = Scalar | tuple[Scalar, ...] | None

# Step counts, ids and seeds become int32 on the device.
LARGEST_INT = 2**31 - 1

_FEW = 4  # up to so many choices are seen at a glance; of more, the message names the nearest
_MANY = 20  # of more blocks the message names the page

_OPENING = {")": "(", "]": "["}
_INTEGER = re.compile(r"[+-]?[0-9]+(_[0-9]+)*")
_POINT = "fractions are written with a point, such as 0.001"
_LEADING_ZERO = re.compile(r"[+-]?0[0-9_]")
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
    is_tuple: whether the value is a tuple.
    optional: whether the value may be None.
    default: the value where none is given.
    help: what the key means.
    rule: bounds, choices and lengths.
  """

  name: str
  base: type
  is_tuple: bool
  optional: bool
  default: Value
  help: str
  rule: Rule


def key_of(name: str, field: dataclasses.Field[Any], hint: object) -> Key:
  """Returns the key that a dataclass field declares.

  Args:
    name: what messages call the key.
    field: made by `config_key`.
    hint: the type of the field: `float`, `tuple[int, ...]`, `str | None` and so on.
  """
  options = [option for option in typing.get_args(hint) if option is not Ellipsis]
  optional = types.NoneType in options
  inner = options[0] if optional else hint
  is_tuple = typing.get_origin(inner) is tuple
  rule = dict(field.metadata)
  return Key(
    name=name,
    base=typing.cast(type, typing.get_args(inner)[0] if is_tuple else inner),
    is_tuple=is_tuple,
    optional=optional,
    default=typing.cast(Value, field.default),
    help=rule.pop("help"),
    rule=typing.cast(Rule, rule),
  )


class _WrongValueError(ValueError):
  """The value does not fit. The text says how to write it right; it may be empty.

  `says_all`: whether the text says what is expected.
  """

  says_all = False


class _WrongBlockError(_WrongValueError):
  """A block that is there is written wrong."""

  says_all = True


def range_text(key: Key) -> str:
  """Returns the key's bounds in words, such as "above 0, at most 1", or an empty text."""
  rule = key.rule
  bounds = {
    "at least": rule.get("low"),
    "above": rule.get("above"),
    "at most": rule.get("high"),
    "below": rule.get("below"),
  }
  return ", ".join(f"{word} {bound:.10g}" for word, bound in bounds.items() if bound is not None)


def blocks_of(key: Key) -> list[str]:
  """Returns the building blocks that a text may name, as they are written; else nothing."""
  blocks = key.rule.get("call") or key.rule.get("calls") or {}
  return [block.form(name) for name, block in blocks.items()]


def expected(key: Key) -> str:
  """Returns what the key takes, in words: type, bounds, choices, length."""
  if blocks := blocks_of(key):
    forms = ", ".join(blocks)
    if len(blocks) > _MANY:
      forms = f"the {len(blocks)} blocks in docs/toolbox.md"
    noun = f"{'one' if 'call' in key.rule else 'some'} of {forms}"
  elif choices := key.rule.get("choices"):
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
  words = [f"or {key.rule['word'][0]}"] if "word" in key.rule else []
  words += ["or None"] if key.optional else []
  return ", ".join([noun, *words])


def _sample(key: Key) -> str:
  """Returns an example of a tuple: the default, or some of the choices, or any."""
  some = key.default or key.rule.get("choices", ())[:2]
  return str(some) if some else _SAMPLES[key.base]


def shown(value: object) -> str:
  """Returns `value` as Python would write it, in one short line."""
  text = re.sub(r"\s+", " ", repr(value))
  return text if len(text) <= 80 else text[:77] + "..."


def refusal(key: Key, given: str, hint: str = "", *, says_all: bool = False) -> ConfigError:
  """Returns the one-line error for a value that `key` does not take.

  Args:
    key: the key.
    given: the key and its value as the user wrote them.
    hint: how to write it right, or an empty text.
    says_all: whether the hint says what is expected.
  """
  parts = [hint] if says_all else [f"expected {expected(key)}", *([hint] if hint else [])]
  return ConfigError(f"{given}: {'; '.join(parts)} ({key.help})")


def check(key: Key, value: object) -> Value:
  """Returns a value from a config file or JSON in the type of its key.

  Integers become floats, and lists become tuples, where the key asks for these.

  Raises:
    ConfigError: wrong type (a bool is no integer), not finite, out of range, empty, an item twice.
  """
  try:
    return _checked(key, value)
  except _WrongValueError as error:
    given = f"{key.name} = {shown(value)}"
    raise refusal(key, given, str(error), says_all=error.says_all) from None


def parse(key: Key, text: str) -> Value:
  """Returns the value that `--config.KEY=text` on the command line means for `key`.

  Numbers are written as in Python, also True and False, and None where the key allows it. Texts may
  have quotes ('None' in quotes is a text). Tuples are written `(1, 2)`, `[1, 2]` or `1,2`; a tuple
  of one item `(1,)`, `1,` or `1`.

  Raises:
    ConfigError: as `check`.
  """
  try:
    return _checked(key, _parsed(key, text.strip()))
  except _WrongValueError as error:
    given = f"--config.{key.name}={shown(text)[1:-1]}"
    raise refusal(key, given, str(error), says_all=error.says_all) from None


def _parsed(key: Key, text: str) -> Value:
  if key.optional and text == "None":
    return None
  return _parsed_tuple(key, text) if key.is_tuple else _parsed_scalar(key.base, text)


def _parsed_tuple(key: Key, text: str) -> tuple[Scalar, ...]:
  inner, last = text, text[-1:]
  # A bracket at the end may belong to the last item, as in mine = all@baseline[dropout].
  closed = last in _OPENING and text.count(last) > text.count(_OPENING[last])
  if text[:1] in _OPENING.values() or closed:
    if text[:1] + text[-1:] not in ("()", "[]"):
      raise _WrongValueError("its brackets do not match")
    inner = text[1:-1]
  if not text:
    raise _WrongValueError("it is empty")
  # 'mine = A@0[label_smoothing=0.2, dropout=0.3]' is one item.
  items = [item.strip() for item in split_commas(inner)]
  if items[-1] == "":
    items.pop()  # `(1,)`, and `()`
  return tuple(_parsed_scalar(key.base, item) for item in items)


def _parsed_scalar(base: type, text: str) -> Scalar:
  if base is str:
    return _unquoted(text)
  if base is bool:
    if text not in ("True", "False", "true", "false"):
      raise _WrongValueError
    return text in ("True", "true")
  # Python refuses it too. 0,001 for 0.001 would be the two numbers 0 and 1.
  if _LEADING_ZERO.match(text):
    raise _WrongValueError(f"{text!r} begins with a zero; {_POINT}")
  try:
    if _INTEGER.fullmatch(text):
      return int(text)
    return float(text)
  except ValueError:
    raise _WrongValueError(_POINT if "," in text else "") from None


def _unquoted(text: str) -> str:
  for quote in "'\"":
    starts, ends = text.startswith(quote), text.endswith(quote)
    if starts and ends and len(text) >= 2:
      return text[1:-1]
    if starts != ends or text == quote:
      raise _WrongValueError("its quotes do not match")
  return text


def _checked(key: Key, value: object) -> Value:
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
    raise _WrongValueError(f"{twice!r} occurs more than once")
  return items


def _checked_scalar(key: Key, value: object) -> Scalar:
  rule = key.rule
  if value == "" and "calls" in rule:  # no block at all
    return ""
  checked = _typed(key.base, value)
  if isinstance(checked, str):
    _check_blocks(rule, checked)
    choices = rule.get("choices")
    if choices is not None and checked not in choices:
      near = nearest(checked, choices) if key.is_tuple or len(choices) > _FEW else None
      told = [f"{checked!r} is none of these"] if key.is_tuple else []
      told += [f"did you mean {near!r}?"] if near else []
      raise _WrongValueError("; ".join(told))
  elif (
    ("low" in rule and checked < rule["low"])
    or ("above" in rule and checked <= rule["above"])
    or ("high" in rule and checked > rule["high"])
    or ("below" in rule and checked >= rule["below"])
  ):
    raise _WrongValueError
  return checked


def _check_blocks(rule: Rule, text: str) -> None:
  """Refuses a text that should name building blocks and does not."""
  try:
    if "calls" in rule:
      parse_calls(text, rule["calls"])
    elif "call" in rule:
      parse_call(text, rule["call"])
  except UnknownBlockError as error:
    raise _WrongValueError(str(error)) from None
  except ValueError as error:
    raise _WrongBlockError(str(error)) from None


def _typed(base: type, value: object) -> Scalar:
  """Returns `value` as a plain bool, int, float or str: equal values get equal hashes and JSON."""
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
