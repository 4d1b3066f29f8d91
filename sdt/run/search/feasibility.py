"""Refuses a search of which a point is impossible with these data, before any trial."""

import functools
from collections.abc import Iterator

from sdt.arms import checks
from sdt.config import Config, search_space
from sdt.config.schema import ModelConfig
from sdt.data.dataset import Data
from sdt.errors import ConfigError
from sdt.inputs.augment import input_shape
from sdt.models import make_model
from sdt.models.registry import variable_shapes
from sdt.run.search.trials import on_the_rest, parts_of
from sdt.scores.split import sizes


def check(config: Config, cut: Data, num_train: int) -> None:
  """Refuses a search of which a corner is impossible.

  Args:
    config: of the run, with `select.space`.
    cut: the training set cut in two.
    num_train: examples of the whole training set.

  Raises:
    ConfigError: see `search_space.check`; or a network does not fit the images, or A or B would be
      empty. The message names the point.
  """
  search_space.check(config)
  for own, named in _corners(config, len(cut.train) / num_train):
    try:
      checks.check(own)
      _check_network(own.model, len(cut.class_names), input_shape(own, cut))
      if len(own.arms) > 1:
        sizes(own.method, own.split, len(cut.train))
    except ConfigError as error:
      raise ConfigError(f"select.space, at {named}: {error}") from None


def _corners(config: Config, share: float) -> Iterator[tuple[Config, str]]:
  """Yields the config of each corner of what is searched for an arm, and the corner in words."""
  for part in parts_of(config):
    base = on_the_rest(config, part.arm, share)
    for point in search_space.corners(part.space):
      texts = search_space.texts(part.space, point)
      named = " ".join(f"{key}={text}" for key, text in texts)
      yield search_space.at_point(base, part.space, point), named


@functools.lru_cache(maxsize=512)
def _check_network(config: ModelConfig, num_classes: int, shape: tuple[int, ...]) -> None:
  """Raises a ConfigError where the network cannot take inputs of this shape."""
  variable_shapes(make_model(config, num_classes), shape)
