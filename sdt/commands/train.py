"""The command `train`: runs an experiment or a sweep, continues it, or says what it would do."""

from __future__ import annotations

from sdt import experiment
from sdt.commands import dry_run, sweep
from sdt.config import Config
from sdt.config.command_line import Request
from sdt.config.sweep_points import Point
from sdt.devices import processes
from sdt.errors import ConfigError
from sdt.run import lifecycle
from sdt.toy import curve_experiment


def train(config: Config, points: list[Point], request: Request) -> int:
  """Runs the experiment of a config in its workdir, or each point of a sweep; returns the exit
  code.

  Args:
    config: resolved.
    points: of the sweep, none where the config has no sweep.
    request: the command line; with `dry_run` nothing is run, and what would be is printed.

  Raises:
    SdtError: see sdt/errors.py.
  """
  if request.profile and points:
    raise ConfigError(
      "--profile traces one run, and sweep.key makes one of every value; leave one of the two out"
    )
  order = curve_experiment.ORDER if config.data.name == "curve" else experiment.ORDER
  if request.dry_run:
    for line in (
      sweep.describe(config, points, request.workdir)
      if points
      else dry_run.describe(config, request.workdir, order=order)
    ):
      print(line, flush=True)
    return 0
  processes.join(config.distributed, request.launch)
  with processes.together(config):
    if points:
      return sweep.run(config, points, request.workdir, request.name)
    return lifecycle.run(order, config, request.workdir, request.name, profile=request.profile)
