"""Resolves a config: the defaults, what a config file changes, what the command line overrides.

`configs/*.py` return a ConfigDict that holds only what differs from the defaults in
`sdt.config.schema`; `--config.key=value` overrides both. The result is a tree of frozen
dataclasses: the rest of the program never sees a ConfigDict.
"""

import dataclasses
import functools
import hashlib
import json
import operator
import types
import typing
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from sdt.config.combinations import check_combinations
from sdt.config.dependent import DEPENDENT, dependent_defaults
from sdt.config.schema import Config
from sdt.config.values import (
  Key,
  Value,
  blocks_of,
  check,
  expected,
  key_of,
  parse,
  range_text,
  shown,
)
from sdt.errors import ConfigError, nearest


def resolve(
  config_dict: ConfigDict | Mapping[str, Any], overrides: Sequence[tuple[str, str]] = ()
) -> Config:
  """Returns the config: the defaults, replaced by `config_dict`, replaced by `overrides`.

  Args:
    config_dict: any part of the keys, nested, as `configs/*.py` and `to_dict` return them (lists in
      place of tuples are fine).
    overrides: (dotted key, text) pairs of the command line, such as ("optim.milestones", "(15,
      22)").

  A key whose default depends on other keys (`sdt.config.dependent`) has its value in the result.

  Raises:
    ConfigError: unknown key (with the nearest), section given as a value or the reverse, wrong
      type, not finite, out of range, key given twice, impossible combination.
  """
  values: dict[str, Value] = dict(_checked_items(config_dict, ""))
  given: dict[str, str] = {}
  for name, text in overrides:
    if name in given:
      raise ConfigError(
        f"--config.{name} is given twice: {shown(given[name])} and {shown(text)}; give it once"
      )
    given[name] = text
    if name in _sections():
      raise _section_as_value(f"--config.{name}={text}", name)
    key = _known(name, "--config.")
    values |= _set_by(key, text, dict(overrides), value=functools.partial(parse, key, text))
  defaults = {name: key.default for name, key in _keys().items()}
  defaults |= dependent_defaults(defaults | values)
  values = {**values, **{name: defaults[name] for name in DEPENDENT if values.get(name) is None}}
  check_combinations(defaults | values, defaults)
  return _built(Config, "", values)


def to_dict(config: Config, *, every_key: bool = False) -> dict[str, Any]:
  """Returns the config as nested dicts of plain JSON values; tuples become lists.

  Keys that are declared `is_later` are left out at their default, unless `every_key` is wanted.
  """
  plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config)))
  later = () if every_key else (key for key in _keys().values() if key.rule.get("is_later"))
  for key in later:
    if operator.attrgetter(key.name)(config) == key.default:
      _leave_out(plain, key.name)
  return plain


def _leave_out(plain: dict[str, Any], name: str) -> None:
  """Takes the key `name` out of nested dicts, and the sections that it leaves empty."""
  part, _, rest = name.partition(".")
  if not rest:
    plain.pop(part, None)
  elif part in plain:
    _leave_out(plain[part], rest)
    if not plain[part]:
      del plain[part]


def from_dict(plain: Mapping[str, Any]) -> Config:
  """Returns the config that `to_dict` wrote, checked again; absent keys take their defaults."""
  return resolve(plain)


def config_hash(config: Config) -> str:
  """Returns the SHA-256 of the config's canonical JSON, in hex.

  The JSON has sorted keys, no spaces, and the shortest exact floats. Keys that are declared
  `is_unhashed` are not in it.
  """
  plain = to_dict(config)
  for key in _keys().values():
    if key.rule.get("is_unhashed"):
      _leave_out(plain, key.name)
  text = json.dumps(plain, sort_keys=True, separators=(",", ":"), allow_nan=False)
  return hashlib.sha256(text.encode("ascii")).hexdigest()


def is_key(name: str) -> bool:
  """Returns whether a key of this dotted name exists."""
  return name in _keys()


def known_key(name: str) -> Key:
  """Returns the key of this dotted name; where there is none, raises a ConfigError."""
  return _known(name)


def nearest_key(name: str) -> str:
  """Returns `name` if there is such a key, else the key that is most likely meant."""
  return name if is_key(name) else _nearest(name, _keys())


def off_value(name: str) -> str:
  """Returns what turns the key `name` off on the command line; VALUE if it cannot be off."""
  key = _keys()[name]
  return "False" if key.base is bool else "None" if key.optional else "VALUE"


def key_names() -> list[str]:
  """Returns the dotted names of all keys, in the order of `Config`."""
  return list(_keys())


def choices_of(name: str) -> Sequence[str]:
  """Returns the values that the key `name` takes, where there are few; else nothing."""
  key = _keys()[name]
  if key.base is bool:
    return ("True", "False")
  return key.rule.get("choices") or tuple(key.rule.get("call", ()))


def describe_keys(names: Iterable[str]) -> str:
  """Returns lines for each of the keys, grouped by section: name, default, meaning, type, range."""
  lines, section = [], None
  for key in (_keys()[name] for name in names):
    here = key.name.rpartition(".")[0]
    if here != section:
      section = here
      lines += ["", f"{section or 'the run'}:"]
    kind = key.base.__name__
    kind = (f"tuple of {kind}" if key.is_tuple else kind) + (" or None" if key.optional else "")
    choices = "|".join(key.rule.get("choices", ()) or blocks_of(key))
    limits = "; ".join(text for text in (choices, range_text(key)) if text)
    lines.append(f"  {key.name} = {key.default!r}")
    lines.append(f"      {key.help} [{kind}{'; ' + limits if limits else ''}]")
  return "\n".join(lines).strip("\n")


@functools.cache
def _keys() -> Mapping[str, Key]:
  """Returns every key by its dotted name, in the order of `Config`.

  Within a section the keys come first, then the sections inside it.
  """
  return types.MappingProxyType({key.name: key for key in _keys_of(Config, "")})


@functools.cache
def _sections() -> frozenset[str]:
  return frozenset(name[:at] for name in _keys() for at, letter in enumerate(name) if letter == ".")


def _keys_of(section: type, prefix: str) -> Iterator[Key]:
  hints = typing.get_type_hints(section)
  fields = dataclasses.fields(section)
  for field in (field for field in fields if field.metadata):
    yield key_of(prefix + field.name, field, hints[field.name])
  for field in (field for field in fields if not field.metadata):
    yield from _keys_of(hints[field.name], f"{prefix}{field.name}.")


def _checked_items(
  section: ConfigDict | Mapping[str, Any], prefix: str
) -> Iterator[tuple[str, Value]]:
  """Yields (dotted name, checked value) of every key that the section and its sections hold."""
  for part, value in section.items():
    name, is_section = f"{prefix}{part}", isinstance(value, ConfigDict | Mapping)
    if name in _sections():
      if not is_section:
        raise _section_as_value(f"{name} = {shown(value)}", name)
      yield from _checked_items(value, f"{name}.")
    elif is_section and name not in _keys():
      raise ConfigError(
        f"{name}: no such section; did you mean {_nearest(name, _sections())}? (--help=all lists "
        "every key)"
      )
    elif is_section:
      raise ConfigError(
        f"{name}: a section is given, expected {expected(_keys()[name])} ({_keys()[name].help})"
      )
    else:
      key, inside = _known(name), {f"{prefix}{other}" for other in section}
      own = _set_by(key, value, inside, value=functools.partial(check, key, value))
      yield from own.items()


def _set_by(
  key: Key, given: object, beside: Container[str], *, value: Callable[[], Value]
) -> dict[str, Value]:
  """Returns what a key sets: itself to its value, or by its word another key.

  Args:
    key: with the word, if there is one.
    given: as the user wrote it.
    beside: the keys that are given in the same place; their values stand.
    value: returns the checked value.

  Raises:
    ConfigError: the word stands beside the key that it sets.
  """
  word, switch = key.rule.get("word", (None, ""))
  if word is not None and given == word:
    if switch in beside:
      raise ConfigError(
        f"{key.name}={word} sets {switch}, and {switch} is given beside it; give one of the two"
      )
    return {switch: True}
  own = {key.name: value()}
  return own if word is None or switch in beside else {switch: False, **own}


def _known(name: str, before: str = "") -> Key:
  """Returns the key called `name`; where there is none, raises a ConfigError with the nearest."""
  if name in _keys():
    return _keys()[name]
  for parent in (name[:at] for at, letter in enumerate(name) if letter == "."):
    if parent in _keys():
      raise ConfigError(
        f"{before}{name}: no such key; {parent} is a value, not a section ({_keys()[parent].help})"
      )
  raise ConfigError(
    f"{before}{name}: no such key; did you mean {before}{_nearest(name, _keys())}? (--help=all "
    "lists every key)"
  )


def _nearest(name: str, candidates: Iterable[str]) -> str:
  """Returns the candidate that `name` most likely means.

  First choice: the same last word in another section, or its initials (`lr`). Then the nearest
  spelling, of the whole name or of the last word.
  """
  by_lower = {candidate.lower(): candidate for candidate in candidates}
  asked = name.lower()
  leaf = asked.rpartition(".")[2]
  leaves = {lower: lower.rpartition(".")[2] for lower in by_lower}
  initials = {lower: "".join(word[0] for word in last.split("_")) for lower, last in leaves.items()}
  likely = [lower for lower in by_lower if leaf in (leaves[lower], initials[lower])]
  close = nearest(asked, likely, cutoff=0.0) or nearest(asked, by_lower)
  if close is None:
    match = nearest(leaf, leaves.values())
    close = next((lower for lower in by_lower if leaves[lower] == match), None)
  return by_lower[close or nearest(asked, by_lower, cutoff=0.0) or min(by_lower)]


def _section_as_value(given: str, section: str) -> ConfigError:
  inside = [name for name in [*_keys(), *sorted(_sections())] if name.rpartition(".")[0] == section]
  return ConfigError(
    f"{given}: {section} is a section, not a value; its keys are {', '.join(inside)}"
  )


def _built[Section](section: type[Section], prefix: str, values: Mapping[str, Value]) -> Section:
  """Returns the section as its dataclass; keys that `values` lacks take their defaults."""
  hints = typing.get_type_hints(section)
  arguments = {}
  for field in dataclasses.fields(section):  # type: ignore[arg-type]
    name = prefix + field.name
    if not field.metadata:
      arguments[field.name] = _built(hints[field.name], f"{name}.", values)
    elif name in values:
      arguments[field.name] = values[name]
  return section(**arguments)
