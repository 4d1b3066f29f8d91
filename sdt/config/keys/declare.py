"""Declares a config key: its default, its help text and its rule."""

import dataclasses
from typing import TypedDict, Unpack

from sdt.config.toolbox.block import Table


class Rule(TypedDict, total=False):
  """What a key accepts beyond its type; for a tuple the bounds hold for each item.

  Attributes:
    low, high: bounds that are themselves allowed.
    above, below: bounds that are not allowed.
    choices: the only values.
    min_length: of a tuple.
    unique: no item of a tuple stands in it twice.
    as_text: the items are texts, which a config file may write as numbers.
    neutral: the value of a regulariser that changes nothing.
    calls: the blocks that a text may name, in order, with their numbers: "crop(4) flip".
    call: the blocks of which a text names one.
    is_later: at its default the key is left out of what is recorded of a config, so that a config
      without it has the bytes and the hash that it had before there was this key.
    is_unhashed: the key is in no hash, because it changes no result.
    word: a word that may stand in place of a value, and the key that it sets to True; a value sets
      that key to False again.
  """

  low: float
  high: float
  above: float
  below: float
  choices: tuple[str, ...]
  min_length: int
  unique: bool
  as_text: bool
  neutral: float
  calls: Table
  call: Table
  is_later: bool
  is_unhashed: bool
  word: tuple[str, str]


def config_key[T](default: T, help: str, **rule: Unpack[Rule]) -> T:  # noqa: A002
  """Returns the dataclass field of a config key, typed as its default like `dataclasses.field`."""
  field: T = dataclasses.field(default=default, metadata={"help": help, **rule})
  return field
