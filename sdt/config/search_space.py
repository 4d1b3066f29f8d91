"""The space of a search: which keys it tries, within which bounds, and for which arm.

A point is a number in [0, 1) for each of the keys. What it means is a text, as on the command line.
"""

import dataclasses
import functools
import itertools
import math
import operator
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sdt.config.dependent import without_dependent
from sdt.config.differences import NOT_SEARCHED, NOT_SWEPT, changes_baseline, entry
from sdt.config.resolve import from_dict, known_key, resolve, to_dict
from sdt.config.schema import Config, DataConfig, SelectConfig
from sdt.config.toolbox.block import Block, Number, Table
from sdt.config.toolbox.parse import parse_call, split_commas
from sdt.config.values import Value, shown
from sdt.errors import ConfigError

# The arms that a search chooses for, in this order; each has equally many trials.
ARMS = ("baseline", "method", "uniform_tuned")
CHOICE = "choice"
_COUNT = Number("count", default=0.0, low=2, whole=True)
RANGES: Table = {
  "log": Block(
    "between low and high, evenly by the logarithm; with a count only so many values",
    "Bergstra and Bengio 2012, section 2",
    numbers=(Number("low", above=0.0), Number("high", above=0.0), _COUNT),
  ),
  "uniform": Block(
    "between low and high, evenly; with a count only so many values",
    "Bergstra and Bengio 2012, section 2",
    numbers=(Number("low"), Number("high"), _COUNT),
  ),
}
_FORMS = " or ".join([*(block.form(name) for name, block in RANGES.items()), "choice(A, B, ...)"])
_ITEM = re.compile(r"\s*([\w.]+)\s*=\s*((\w+)\s*\((.*)\))\s*", re.DOTALL)
_MOST_CORNERS = 400  # of more, those where two keys at a time leave the first corner
_EDGE = 0.05  # of a range, what counts as its edge


@dataclasses.dataclass(frozen=True)
class Dimension:
  """A key of the space.

  Attributes:
    key: its dotted name.
    kind: log, uniform or choice.
    low, high: of a range.
    values: the texts that it can have, where they are few; of a range in order.
    whole: whether the key holds integers.
  """

  key: str
  kind: str
  low: float = 0.0
  high: float = 1.0
  values: tuple[str, ...] = ()
  whole: bool = False

  @property
  def is_range(self) -> bool:
    """Whether its values have an order and a distance."""
    return self.kind != CHOICE

  @property
  def num_values(self) -> float:
    """How many values there are; infinity where they are numbers of any size."""
    if self.values:
      return len(self.values)
    return self.high - self.low + 1 if self.whole else math.inf

  def index(self, unit: float) -> int:
    """Returns which of the `values` is at `unit` in [0, 1]."""
    return min(int(unit * len(self.values)), len(self.values) - 1)

  def place(self, unit: float) -> float:
    """Returns where the value at `unit` lies in the range, 0 at its low end, 1 at its high end."""
    if not self.values:
      return unit
    return self.index(unit) / max(1, len(self.values) - 1)

  def text(self, unit: float) -> str:
    """Returns the value at `unit` in [0, 1], as it stands on the command line.

    Numbers have three digits, so that the last bit of a proposal changes no trial.
    """
    return self.values[self.index(unit)] if self.values else self._at(unit)

  def ends(self) -> list[float]:
    """Returns points at which its values are extreme: all values, or the two ends of a range."""
    if self.values:
      return [(index + 0.5) / len(self.values) for index in range(len(self.values))]
    return [0.0, 1.0]

  def is_edge(self, unit: float) -> bool:
    """Returns whether a better value may lie beyond the one at `unit`."""
    return self.is_range and not _EDGE < self.place(unit) < 1 - _EDGE

  def _at(self, place: float) -> str:
    """Returns the text of the value at a place in the range."""
    if self.kind == "log":
      value = self.low * (self.high / self.low) ** place
      digits = 2 - math.floor(math.log10(value))
    else:
      value = self.low + (self.high - self.low) * place
      digits = 2 - math.floor(math.log10(self.high - self.low))
    value = min(max(round(value, digits), self.low), self.high)
    return str(round(value)) if self.whole else repr(float(value))


type Space = tuple[Dimension, ...]


def space_of(items: Sequence[str]) -> Space:
  """Returns the dimensions that the items of `select.space` mean.

  Raises:
    ConfigError: an item cannot be read, its key does not exist or cannot be searched, its bounds
      are none, or a key stands twice. Values are checked by `check`.
  """
  space = tuple(_dimension(item) for item in items)
  keys = [dimension.key for dimension in space]
  for key in keys:
    if keys.count(key) > 1:
      raise ConfigError(f"select.space: {key} stands in it twice; give it once")
  return space


def arm_of(key: str) -> str:
  """Returns the arm by whose validation accuracy the key is chosen.

  What ordinary training reads is chosen by the baseline, so that no arm is favoured.
  """
  if key == "method.lambda_tuned":
    return "uniform_tuned"
  return "baseline" if changes_baseline(key) else "method"


def by_arm(space: Space) -> dict[str, Space]:
  """Returns the dimensions that are chosen for each arm, in the order of `ARMS`."""
  parts = {arm: tuple(one for one in space if arm_of(one.key) == arm) for arm in ARMS}
  return {arm: part for arm, part in parts.items() if part}


def num_points(space: Space) -> float:
  """Returns how many points the space has; infinity where a key has a whole range."""
  return math.prod(dimension.num_values for dimension in space)


def texts(space: Space, point: Sequence[float]) -> tuple[tuple[str, str], ...]:
  """Returns (key, text) of each dimension at a point in [0, 1]^D."""
  return tuple(
    (dimension.key, dimension.text(unit)) for dimension, unit in zip(space, point, strict=True)
  )


def grid(space: Space) -> list[tuple[float, ...]]:
  """Returns every point of a space whose keys have few values; the last key changes fastest."""
  return list(itertools.product(*(dimension.ends() for dimension in space)))


def middle(space: Space) -> dict[str, Value]:
  """Returns the values in the middle of the space, for a look ahead before anything is chosen."""
  return {name: _typed(name, text) for name, text in texts(space, [0.5] * len(space))}


def at_point(config: Config, space: Space, point: Sequence[float]) -> Config:
  """Returns `config` with the values at a point.

  Raises:
    ConfigError: a key refuses its value, or other keys do; the message names the point.
  """
  overrides = texts(space, point)
  try:
    return resolve(_plain(config), overrides)
  except ConfigError as error:
    named = " ".join(f"{key}={text}" for key, text in overrides)
    raise ConfigError(f"select.space, at {named}: {error}") from None


def values_at(config: Config, space: Space) -> dict[str, Value]:
  """Returns the values that a config has of the keys of a space, by dotted name."""
  return {one.key: operator.attrgetter(one.key)(config) for one in space}


def without_selection(config: Config) -> Config:
  """Returns the config with nothing left to choose, and nothing held out for it."""
  whole = dataclasses.replace(config.data, validation_fraction=DataConfig().validation_fraction)
  return dataclasses.replace(config, data=whole, select=SelectConfig())


def values_text(values: Mapping[str, Any]) -> str:
  """Returns "learning_rate = 0.1, widths = 16,32"."""
  return ", ".join(f"{key.rpartition('.')[2]} = {value_text(one)}" for key, one in values.items())


def value_text(value: Any) -> str:
  """Returns a value in few letters: "0.1", "16,32", "True"."""
  if isinstance(value, float):
    return f"{value:g}"
  return ",".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


def with_values(config: Config, values: Mapping[str, Any]) -> Config:
  """Returns `config` with other values, by dotted name, checked together."""
  plain: dict[str, Any] = dict(_plain(config))
  for name, value in values.items():
    *path, last = name.split(".")
    section = plain
    for part in path:
      section[part] = dict(section.get(part, {}))
      section = section[part]
    section[last] = value
  return from_dict(plain)


def corners(space: Space) -> Iterator[tuple[float, ...]]:
  """Yields the points where all keys are at an end of their range or at one of their choices.

  Of very many those where at most two keys are not at their first.
  """
  ends = [dimension.ends() for dimension in space]
  if math.prod(map(len, ends)) <= _MOST_CORNERS:
    yield from itertools.product(*ends)
    return
  first, seen = [own[0] for own in ends], set[tuple[float, ...]]()
  for one, other in itertools.combinations(range(len(space)), 2):
    for left, right in itertools.product(ends[one], ends[other]):
      point = list(first)
      point[one], point[other] = left, right
      if tuple(point) not in seen:
        seen.add(tuple(point))
        yield tuple(point)


def check(config: Config) -> None:
  """Refuses a search that cannot be, or of which a corner is impossible; does nothing without one.

  Raises:
    ConfigError: an item cannot be read, no arm reads a key, a grid has no end or the arms have
      unequal ones, or a point is impossible; the message names it.
  """
  rule, space = config.select, space_of(config.select.space)
  parts = by_arm(space)
  for arm, part in parts.items():
    if arm not in config.arms:
      raise ConfigError(
        f"select.space: {part[0].key} is chosen for the arm {arm!r}; add it to arms, or leave the "
        "key out"
      )
    _check_size(rule, arm, part)
  if config.score.folds and "method" in parts:
    raise ConfigError(
      f"score.folds = {config.score.folds}: every trial of {parts['method'][0].key} would train "
      "the folds again; search without them, then give the chosen values"
    )
  counts = {arm: num_points(part) for arm, part in parts.items() if arm != "baseline"}
  if rule.method == "grid" and len(set(counts.values())) > 1:
    told = " and ".join(f"{arm} has {count:g}" for arm, count in counts.items())
    raise ConfigError(
      f"select.space: {told} trials; more trials alone make one look better, give both equally many"
    )
  if config.baseline_from is not None and "baseline" in parts:
    raise ConfigError(
      f"baseline_from = {shown(config.baseline_from)}: select.space chooses "
      f"{parts['baseline'][0].key}, which the baseline reads; leave one of the two out"
    )
  base = without_selection(config)
  for point in corners(space) if space else ():
    at_point(base, space, point)


def _check_size(rule: SelectConfig, arm: str, part: Space) -> None:
  """Raises a ConfigError where a part of the space has too many points, or too few."""
  endless = [one.key for one in part if not one.values]
  if rule.method == "grid" and endless:
    raise ConfigError(
      f"select.space: a grid needs to know how many values of {endless[0]} there are; give a "
      "count, as in log(1e-3, 1, 4)"
    )
  if rule.method != "grid" and rule.trials > num_points(part):
    raise ConfigError(
      f"select.trials = {rule.trials}: the keys of {arm} in select.space have only "
      f"{num_points(part):g} points; give fewer trials, or select.method=grid"
    )


@functools.lru_cache(maxsize=4)
def _plain(config: Config) -> Mapping[str, Any]:
  """Returns a config as nested dicts; what depends on other keys finds its default anew."""
  return without_dependent(to_dict(config))


def _typed(name: str, text: str) -> Value:
  value: Value = operator.attrgetter(name)(resolve({}, [(name, text)]))
  return value


def _dimension(item: str) -> Dimension:
  """Returns what one item of `select.space` means."""
  match = _ITEM.fullmatch(item)
  if match is None:
    raise ConfigError(f"select.space, {item!r}: expected KEY = {_FORMS}")
  key, call, kind, inner = match.groups()
  try:
    declared = known_key(key)
  except ConfigError as error:
    raise ConfigError(f"select.space, {item!r}: {error}") from None
  why = entry(NOT_SEARCHED, key) or entry(NOT_SWEPT, key)
  if why is not None:
    raise ConfigError(f"select.space, {item!r}: this key cannot be searched; {why}")
  if kind == CHOICE:
    values = tuple(part for part in map(str.strip, split_commas(inner)) if part)
    if len(values) < 2 or len(set(values)) < len(values):
      raise ConfigError(f"select.space, {item!r}: expected two or more choices, none of them twice")
    return Dimension(key, CHOICE, values=values)
  if declared.is_tuple or declared.base not in (int, float):
    raise ConfigError(f"select.space, {item!r}: only numbers have a range; give choice(A, B, ...)")
  return _range(item, key, call, whole=declared.base is int)


def _range(item: str, key: str, call: str, *, whole: bool) -> Dimension:
  try:
    named = parse_call(call, RANGES)
  except ValueError as error:
    raise ConfigError(f"select.space, {item!r}: {error}; expected KEY = {_FORMS}") from None
  low, high, count = named.numbers
  if not low < high:
    raise ConfigError(f"select.space, {item!r}: expected the lower bound first, below the upper")
  if named.name == "log" and not math.isfinite(high / low):
    raise ConfigError(f"select.space, {item!r}: the bounds are too far apart; bring them together")
  if whole and not (low.is_integer() and high.is_integer()):
    raise ConfigError(f"select.space, {item!r}: expected whole bounds, as {key} is an integer")
  free = Dimension(key, named.name, low, high=high, whole=whole)
  places = [index / (count - 1) for index in range(int(count))]
  return dataclasses.replace(free, values=tuple(dict.fromkeys(map(free._at, places))))
