"""The loggers by name: the keys of the section `log`, and the extras of the package."""

import types
from collections.abc import Callable, Mapping
from typing import NamedTuple

from sdt import packages
from sdt.config.keys.machine import LogConfig
from sdt.run.loggers.mlflow_runs import MlflowRuns
from sdt.run.loggers.protocol import About, Logger
from sdt.run.loggers.tensorboard_files import TensorboardFiles
from sdt.run.loggers.wandb_runs import WandbRuns


class Kind(NamedTuple):
  """A logger, and the package without which it cannot be made.

  Attributes:
    package: as pip knows it.
    least: its oldest version that will do, as in pyproject.toml.
    make: makes the logger of a run.
  """

  package: str
  least: tuple[int, int]
  make: Callable[[About], Logger]


LOGGERS: Mapping[str, Kind] = types.MappingProxyType(
  {
    "tensorboard": Kind("tensorboardX", (2, 6), TensorboardFiles),
    "wandb": Kind("wandb", (0, 31), WandbRuns),
    # A part of the package mlflow, which has it too.
    "mlflow": Kind("mlflow-skinny", (3, 17), MlflowRuns),
  }
)


def asked_for(config: LogConfig) -> list[str]:
  """Returns the names of the loggers that a config asks for."""
  return [name for name in LOGGERS if getattr(config, name)]


def require_packages(config: LogConfig) -> None:
  """Raises a ConfigError where a logger lacks its package; it says what to install."""
  for name in asked_for(config):
    kind = LOGGERS[name]
    who, instead = f"log.{name} = True", f"leave log.{name} out"
    packages.require(kind.package, kind.least, who, instead=instead)
