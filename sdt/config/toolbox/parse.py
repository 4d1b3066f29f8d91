"""Reads blocks that a config names as a text: `"crop(4) flip rotate(15)"`."""

import math
import re
from collections.abc import Iterator, Sequence

from sdt.config.toolbox.block import Block, Call, Number, Table
from sdt.errors import nearest


class UnknownBlockError(ValueError):
  """A text names a block that is not in its table."""


_CALL = re.compile(r"\s*(?P<name>[A-Za-z_]\w*)(?:\s*\((?P<numbers>[^()]*)\)|(?!\w|\s*\())\s*,?")


def parse_calls(text: str, table: Table) -> tuple[Call, ...]:
  """Returns the blocks that a text names, in order; of an empty text none.

  Args:
    text: names with numbers in brackets, separated by spaces: `crop(4) flip`. A number may stand
      behind its name: `smote(neighbours=3)`.
    table: the blocks that may be named.

  Raises:
    UnknownBlockError: there is no such block; the message has the nearest.
    ValueError: it cannot be read, or a number is missing, too many or out of range. The message is
      for the user.
  """
  return tuple(_calls(text, table))


def parse_call(text: str, table: Table) -> Call:
  """Returns the one block that a text names.

  Raises:
    ValueError: as `parse_calls`, and where it names none or several.
  """
  calls = parse_calls(text, table)
  if len(calls) != 1:
    raise ValueError(f"one name is expected, there are {len(calls)}")
  return calls[0]


def split_commas(text: str) -> list[str]:
  """Returns the parts of a text between its commas, but for commas within brackets of any kind."""
  parts, depth = [""], 0
  for letter in text:
    depth += (letter in "([") - (letter in ")]")
    if letter == "," and depth <= 0:
      parts.append("")
    else:
      parts[-1] += letter
  return parts


def _calls(text: str, table: Table) -> Iterator[Call]:
  at = 0
  while text[at:].strip():
    match = _CALL.match(text, at)
    if match is None:
      rest = text[at:].strip()
      raise ValueError(f"{rest!r} is not a name with numbers in brackets, such as {_sample(table)}")
    name, at = match["name"], match.end()
    if name not in table:
      raise UnknownBlockError(f"there is no {name!r}{_meant(name, table)}")
    yield Call(name, _numbers(name, table[name], match["numbers"]))


def _meant(name: str, table: Table) -> str:
  """Returns "; did you mean 'NAME'?" with the block of that or a like name, or an empty text."""
  others = {other: known for known, block in table.items() for other in block.also}
  near = others.get(name.lower()) or nearest(name, table) or others.get(nearest(name, others) or "")
  return f"; did you mean {near!r}?" if near else ""


def _sample(table: Table) -> str:
  with_numbers = [name for name, block in table.items() if block.numbers]
  name = next(iter([*with_numbers, *table]))
  return table[name].form(name)


def _numbers(name: str, block: Block, text: str | None) -> tuple[float, ...]:
  """Returns the numbers of a block, those that were left out with their defaults."""
  parts = [part.strip() for part in text.split(",")] if text and text.strip() else []
  form, expected = block.form(name), block.numbers_for(len(parts))
  if len(parts) > len(expected):
    raise ValueError(_miscounted(name, form, len(parts)))
  values = {place: number.default for place, number in enumerate(expected)}
  placed: set[int] = set()
  for place, part in enumerate(parts):
    at, given = _placed(place, part, expected, form=form)
    if at in placed or (part == given and any("=" in before for before in parts[:place])):
      raise ValueError(
        f"{part} of {form}: {expected[at].name} is given twice, or stands behind a number with a "
        "name; write numbers without one first"
      )
    placed.add(at)
    values[at] = _value(expected[at], given, form)
  if None in values.values():
    raise ValueError(_miscounted(name, form, len(parts)))
  return tuple(value for value in values.values() if value is not None)


def _miscounted(name: str, form: str, count: int) -> str:
  given = {0: "no number", 1: "one number"}.get(count, f"{count} numbers")
  return f"{name} is written {form}, here with {given}"


def _placed(place: int, part: str, expected: Sequence[Number], *, form: str) -> tuple[int, str]:
  """Returns which number a part between commas is, by its name or its place, and its text."""
  key, is_named, given = (one.strip() for one in part.partition("="))
  if not is_named:
    return place, part
  names = [number.name for number in expected]
  if key not in names:
    raise ValueError(f"{part} of {form}: expected the number alone, or one of {', '.join(names)}")
  return names.index(key), given


def _value(number: Number, text: str, form: str) -> float:
  try:
    value = float(text)
  except ValueError:
    value = math.nan
  if not math.isfinite(value) or not (value == number.default or number.takes(value)):
    raise ValueError(f"{number.name} = {text} of {form}: expected {number.expected}")
  return value
