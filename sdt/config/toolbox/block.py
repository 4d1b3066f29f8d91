"""A row of a table of building blocks, and a block as a config names it: `rotate(15)`."""

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class Number:
  """A number that a block takes in brackets; the last ones may be left out where they have one.

  Attributes:
    name: what it is, in a word or two.
    default: its value where it is left out; None where it must be given.
    low, high: bounds that are themselves allowed.
    above, below: bounds that are not allowed.
    whole: whether it is an integer.
  """

  name: str
  default: float | None = None
  low: float | None = None
  high: float | None = None
  above: float | None = None
  below: float | None = None
  whole: bool = False

  def __str__(self) -> str:
    """What it is and may be, such as "degrees: a number at least 0, at most 180"."""
    return f"{self.name}: {self.expected}"

  @property
  def expected(self) -> str:
    """What it may be, in words, such as "a whole number at least 1"."""
    return f"{'a whole number' if self.whole else 'a number'} {self.bounds}".rstrip()

  @property
  def bounds(self) -> str:
    """The bounds in words, such as "at least 0, below 1"; empty where there are none."""
    bounds = {"at least": self.low, "above": self.above, "at most": self.high, "below": self.below}
    return ", ".join(f"{word} {bound:g}" for word, bound in bounds.items() if bound is not None)

  def takes(self, value: float) -> bool:
    """Returns whether the value is within the bounds, and whole where it must be."""
    return (
      (self.low is None or value >= self.low)
      and (self.high is None or value <= self.high)
      and (self.above is None or value > self.above)
      and (self.below is None or value < self.below)
      and (not self.whole or value == int(value))
    )


@dataclasses.dataclass(frozen=True)
class Block:
  """A row: a building block without its code.

  Attributes:
    meaning: one line, with the formula where there is one.
    source: the paper, or the document and its page.
    numbers: what stands in brackets behind its name, in order.
    keys: the config keys that it reads besides, by their dotted names.
    differs: what differs from the source; empty for nothing.
    repeats: whether the last number may stand in the brackets several times.
    also: what others call it; a refusal of such a name says the one of the table.
  """

  meaning: str
  source: str
  numbers: tuple[Number, ...] = ()
  keys: tuple[str, ...] = ()
  differs: str = ""
  repeats: bool = False
  also: tuple[str, ...] = ()

  def form(self, name: str) -> str:
    """Returns how it is written, such as `rotate(degrees)`."""
    if not self.numbers:
      return name
    required = [number.name for number in self.numbers if number.default is None]
    optional = [f"{number.name}={number.default:g}" for number in self.numbers[len(required) :]]
    more = ["..."] if self.repeats else []
    return f"{name}({', '.join([*required, *optional, *more])})"

  def numbers_for(self, count: int) -> tuple[Number, ...]:
    """Returns what `count` numbers in the brackets stand for; all numbers where these are more."""
    missing = max(0, count - len(self.numbers)) if self.repeats else 0
    return self.numbers + self.numbers[-1:] * missing


# Rows by the names that a config has for them.
type Table = Mapping[str, Block]


@dataclasses.dataclass(frozen=True)
class Call:
  """A block that a config names.

  Attributes:
    name: of the block.
    numbers: all of them; those that were left out have their defaults.
  """

  name: str
  numbers: tuple[float, ...] = ()

  def __str__(self) -> str:
    return self.name + (f"({', '.join(f'{n:g}' for n in self.numbers)})" if self.numbers else "")
