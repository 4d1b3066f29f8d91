"""Choices of building blocks, made from the tables: new rows are found by themselves."""

import itertools
import random
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from sdt.arms.checks import check
from sdt.config import Config
from sdt.config.schema import RegulariseConfig
from sdt.config.toolbox.block import Block, Number
from sdt.config.toolbox.tables import CHAPTERS
from sdt.engine.semi import SEMI
from sdt.errors import ConfigError
from tests.support import tiny


class Choice(NamedTuple):
  """A block by the config key that names it, or a regulariser of all phases."""

  key: str
  value: str

  @property
  def change(self) -> dict[str, Any]:
    """The change of a config, for `tiny.config`."""
    is_tuple = self.key in ("everywhere", "acquire.strategies")
    return {self.key.replace(".", "__"): (self.value,) if is_tuple else self.value}

  def __str__(self) -> str:
    return f"{self.key}={self.value}"


def _number(number: Number) -> float:
  """Returns a number that a block takes: its default, or one near its lower bound."""
  if number.default is not None:
    return number.default
  low = number.low if number.low is not None else number.above
  tried = [1.0, 2.0, 0.5, 0.1, *([] if low is None else [low, low + 1, low + 0.1])]
  return next(value for value in tried if number.takes(value))


def written(name: str, block: Block) -> str:
  """Returns a block as a config names it, with numbers that it takes."""
  numbers = ", ".join(f"{_number(number):g}" for number in block.numbers)
  return f"{name}({numbers})" if numbers else name


def choices() -> tuple[Choice, ...]:
  """Returns a choice for every block of every chapter, and for every regulariser of any phase."""
  blocks = [
    Choice(chapter.key, written(name, block))
    for chapter in CHAPTERS.values()
    for name, block in chapter.table.items()
  ]
  regularisers = [item for item in vars(RegulariseConfig()).items() if item[0] not in SEMI]
  return (*blocks, *(Choice("everywhere", f"{name}={value}") for name, value in regularisers))


def pairs() -> Iterator[tuple[Choice, Choice]]:
  """Yields all pairs of choices that can be written into one config."""
  for one, other in itertools.combinations(choices(), 2):
    if one.key != other.key or one.key == "everywhere":
      yield one, other


_SMALL = {"model__hidden_sizes": None, "model__blocks": (1,), "model__widths": (4,)}
# Networks, the fastest to compile first: choices take the first that has what they ask for.
NETWORKS: Sequence[dict[str, Any]] = (
  {"model__name": "mlp", "model__hidden_sizes": (8,)},
  {"model__name": "resnet", **_SMALL},
  {"model__name": "wrn", "model__hidden_sizes": None, "model__depth": 10, "model__widen_factor": 1},
)


def config_of(chosen: Sequence[Choice], network: dict[str, Any]) -> Config:
  """Returns the config of one round of one step with these choices.

  Raises:
    ConfigError: they are refused.
  """
  changes: dict[str, Any] = {}
  for choice in chosen:
    for key, value in choice.change.items():
      changes[key] = (*changes[key], *value) if key == "everywhere" and key in changes else value
  few = {"data__shapes__num_train": 16, "rounds": 1, "seeds": (0,), "arms": ("baseline",)}
  more = {"augment__flip": True} if _needs_augmentation(chosen) else {}
  config = tiny.config(**few, **network, **more, **changes)
  check(config)
  return config


def _needs_augmentation(chosen: Sequence[Choice]) -> bool:
  """Returns whether the strength of an augmentation is asked for, and none is named."""
  asked = any(choice.value.startswith("augment_strength") for choice in chosen)
  return asked and not any(choice.key.startswith("augment") for choice in chosen)


def accepted(chosen: Sequence[Choice]) -> tuple[Config | None, list[str]]:
  """Returns the config by the first network that takes the choices, and what the others said."""
  refusals: list[str] = []
  for network in NETWORKS:
    try:
      return config_of(chosen, network), refusals
    except ConfigError as error:
      refusals.append(str(error))
  return None, refusals


def groups(seed: int) -> Iterator[tuple[tuple[Choice, ...], Config]]:
  """Yields accepted sets of choices that together hold every pair that is accepted.

  A set takes as many choices as go together, so that few trainings walk all pairs.
  """
  draw, everything = random.Random(seed), list(choices())
  left = {frozenset(pair) for pair in pairs()}
  while left:
    ordered = sorted(left, key=lambda pair: sorted(map(str, pair)))
    pair = tuple(sorted(draw.choice(ordered), key=str))
    left.discard(frozenset(pair))
    config, _ = accepted(pair)
    if config is None:
      continue
    chosen = list(pair)
    draw.shuffle(everything)
    for choice in everything:
      adds = any(frozenset((choice, other)) in left for other in chosen)
      if adds and (choice.key == "everywhere" or choice.key not in {one.key for one in chosen}):
        larger, _ = accepted([*chosen, choice])
        if larger is not None:
          chosen, config = [*chosen, choice], larger
    left -= {frozenset(one) for one in itertools.combinations(chosen, 2)}
    yield tuple(chosen), config
