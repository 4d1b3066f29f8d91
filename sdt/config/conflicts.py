"""Building blocks that cannot stand together: one table, with the reason and the way out."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from sdt.config.toolbox.parse import parse_calls
from sdt.config.toolbox.preprocessing_blocks import NORMALISERS
from sdt.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class Conflict:
  """Choices that are right alone, and wrong together.

  Attributes:
    keys: the config keys whose values the message shows, at least one.
    when: whether the values of a config, by their dotted names, are in this conflict.
    reason: why it cannot be, a clause.
    way_out: what the user can do, an imperative.
  """

  keys: tuple[str, ...]
  when: Callable[[Mapping[str, Any]], object]
  reason: str
  way_out: str


_NETWORK: tuple[Conflict, ...] = ()

_OPTIMISER: tuple[Conflict, ...] = ()

_AUGMENTATION: tuple[Conflict, ...] = ()


def _prepares(values: Mapping[str, Any]) -> list[str]:
  """Returns the names of the blocks of `data.normalise`."""
  return [call.name for call in parse_calls(values["data.normalise"], NORMALISERS)]


# Blocks with a number for every place of an image.
_OF_PLACE = frozenset({"image_mean", "pixel", "pca", "zca"})

_PREPROCESSING: tuple[Conflict, ...] = (
  Conflict(
    ("data.normalise",),
    lambda values: not _prepares(values),
    "it names nothing",
    way_out="choose unit for pixel / 255 alone",
  ),
  Conflict(
    ("data.normalise",),
    lambda values: len(set(_prepares(values))) < len(_prepares(values)),
    "a block stands twice, and the second time it changes nothing",
    way_out="name it once",
  ),
  Conflict(
    ("data.normalise",),
    lambda values: "unit" in _prepares(values) and len(_prepares(values)) > 1,
    "every block begins with pixel / 255, so unit changes nothing beside another",
    way_out="leave unit out",
  ),
  Conflict(
    ("data.normalise",),
    lambda values: {"pca", "zca"} <= set(_prepares(values)),
    "white inputs stay what they are if they are whitened again",
    way_out="choose one of pca and zca",
  ),
  Conflict(
    ("data.normalise",),
    lambda values: "pca" in _prepares(values)[:-1],
    "after pca the numbers are components, and no pixels of an image",
    way_out="name pca last",
  ),
  Conflict(
    ("data.normalise", "model.name"),
    lambda values: "pca" in _prepares(values) and values["model.name"] != "mlp",
    "components have no places, and a convolution sees places",
    way_out="choose zca, or model.name=mlp",
  ),
  Conflict(
    ("data.normalise", "data.crop_size"),
    lambda values: values["data.crop_size"] is not None and _OF_PLACE & set(_prepares(values)),
    "a block has a number for every place of an image, and a crop comes from any place",
    way_out="choose channel or mean, or leave data.crop_size out",
  ),
  Conflict(
    ("data.normalise", "data.statistics"),
    lambda values: (
      values["data.statistics"] == "imagenet" and _prepares(values) not in (["channel"], ["mean"])
    ),
    "ImageNet's statistics are a mean and a spread of each channel, and no more",
    way_out="choose data.normalise=channel or mean, or data.statistics=own",
  ),
)


def _stops_beside(key: str, reason: str, way_out: str) -> Conflict:
  """Returns the conflict of early stopping with any value of a key."""
  return Conflict(
    ("stop.patience", key),
    lambda values: values["stop.patience"] and values[key],
    reason,
    way_out=way_out,
  )


def _stops_in_sweep(key: str) -> Conflict:
  return Conflict(
    ("stop.patience", key),
    lambda values: values["stop.patience"] and values[key] == "data.validation_fraction",
    "the runs of a sweep share a baseline, which this key changes with early stopping",
    way_out="make a run for each value",
  )


_TWICE = "the validation split would choose twice, which of the values and which of the rounds"
_FIRST = "select without stop.patience first, then give the chosen values"

_STOPPING: tuple[Conflict, ...] = (
  *(
    _stops_beside(key, _TWICE, _FIRST)
    for key in ("select.lambda_A", "select.fraction", "select.weight_decay")
  ),
  _stops_beside(
    "score.at_round",
    "the network that scores is that of the best round",
    "leave score.at_round out",
  ),
  _stops_beside(
    "baseline_from", "the other run may have held out other examples", "leave baseline_from out"
  ),
  Conflict(
    ("stop.patience", "rounds"),
    lambda values: values["stop.patience"] >= values["rounds"],
    "no training would stop before its last round",
    way_out="choose a patience below rounds, or more rounds",
  ),
  *(_stops_in_sweep(key) for key in ("sweep.key", "sweep.also_key")),
)

CONFLICTS = (*_NETWORK, *_OPTIMISER, *_AUGMENTATION, *_PREPROCESSING, *_STOPPING)


def check_conflicts(values: Mapping[str, Any]) -> None:
  """Refuses the first conflict of the table.

  Args:
    values: of every key, by its dotted name.

  Raises:
    ConfigError: names the keys and their values, the reason and the way out.
  """
  for conflict in CONFLICTS:
    if conflict.when(values):
      shown = " with ".join(f"{key} = {values[key]!r}" for key in conflict.keys)
      raise ConfigError(f"{shown}: {conflict.reason}; {conflict.way_out}")
