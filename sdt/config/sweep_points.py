"""The points of a sweep: one config for each value, all checked before anything is loaded."""

import dataclasses
import operator
from collections.abc import Sequence
from urllib.parse import quote

from sdt.config import resolve
from sdt.config.dependent import without_dependent
from sdt.config.differences import NOT_SWEPT, changes_baseline, entry
from sdt.config.resolve import to_dict
from sdt.config.schema import Config, SweepConfig
from sdt.config.values import Value, shown
from sdt.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class Point:
  """One value of a sweep.

  Attributes:
    value: of `sweep.key`, in the key's type.
    also_value: of `sweep.also_key`; None where there is none.
    folder: the name of its workdir in the sweep's, such as "lambda_A=0.001"; the same for every
      spelling of the value.
    config: of its run, without a sweep.
  """

  value: Value
  also_value: Value
  folder: str
  config: Config


def expand(config: Config) -> list[Point]:
  """Returns the points of `config.sweep`, in the order of its values; [] where there is no sweep.

  Raises:
    ConfigError: a key that cannot be swept, a value that its key or the other keys refuse (it says
      which), a value given twice.
  """
  rule = config.sweep
  if rule.key is None:
    return []
  for name, key in (("key", rule.key), ("also_key", rule.also_key)):
    if key is not None and (why := entry(NOT_SWEPT, key)) is not None:
      raise ConfigError(f"sweep.{name} = {key!r}: this key cannot be swept; {why}")
  base = without_dependent(to_dict(dataclasses.replace(config, sweep=SweepConfig())))
  also_values: Sequence[str | None] = (
    rule.also_values if rule.also_key is not None else [None] * len(rule.values)
  )
  points: list[Point] = []
  for number, (text, also_text) in enumerate(zip(rule.values, also_values, strict=True), start=1):
    overrides = [(rule.key, text)]
    if rule.also_key is not None and also_text is not None:
      overrides.append((rule.also_key, also_text))
    try:
      point_config = resolve(base, overrides)
    except ConfigError as error:
      raise ConfigError(
        f"sweep, value {number} of {len(rule.values)} ({_assignments(overrides)}): {error}"
      ) from None
    value = operator.attrgetter(rule.key)(point_config)
    also_value = None if rule.also_key is None else operator.attrgetter(rule.also_key)(point_config)
    folder = f"{rule.key.rpartition('.')[2]}={quote(as_text(value), safe=',')}"
    points.append(Point(value, also_value, folder, config=point_config))
  _refuse_twice(rule, points)
  _refuse_one_baseline(config)
  return points


def shares_baseline(sweep: SweepConfig) -> bool:
  """Returns whether all points have the same baseline, because it reads none of the swept keys."""
  return not any(key is not None and changes_baseline(key) for key in (sweep.key, sweep.also_key))


def as_text(value: object) -> str:
  """Returns the text of a value: 0.001 also where the user wrote 1e-3; tuples joined by commas."""
  return ",".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


def _assignments(overrides: Sequence[tuple[str, str]]) -> str:
  return " ".join(f"{key}={shown(text)[1:-1]}" for key, text in overrides)


def _refuse_twice(rule: SweepConfig, points: Sequence[Point]) -> None:
  texts: dict[str, str] = {}
  for text, point in zip(rule.values, points, strict=True):
    if point.folder in texts:
      raise ConfigError(
        f"sweep.values: {texts[point.folder]} and {text} are the same value of {rule.key}, "
        f"{as_text(point.value)}; give it once"
      )
    texts[point.folder] = text


def _refuse_one_baseline(config: Config) -> None:
  if config.baseline_from is not None and not shares_baseline(config.sweep):
    keys = " and ".join(
      key
      for key in (config.sweep.key, config.sweep.also_key)
      if key is not None and changes_baseline(key)
    )
    raise ConfigError(
      f"baseline_from = {shown(config.baseline_from)}: every value of {keys} has its own baseline, "
      "so one baseline cannot serve all; leave baseline_from out"
    )
