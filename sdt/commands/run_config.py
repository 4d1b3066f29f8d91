"""Runs what a config asks for, an experiment or several; continues it, or says what it would do."""

from sdt import experiment
from sdt.arms.checks import idle_of
from sdt.commands import acquire, dry_run, sheet, sweep
from sdt.config import Config
from sdt.config.command_line import Request
from sdt.config.sweep_points import Point
from sdt.data import sources
from sdt.devices import processes
from sdt.devices.start import find_devices
from sdt.errors import ConfigError
from sdt.run import lifecycle
from sdt.run.progress import Display


def run_config(config: Config, points: list[Point], request: Request) -> int:
  """Runs the experiment of a config, a sweep, or active learning; returns the exit code.

  Args:
    config: resolved.
    points: of the sweep, none where the config has no sweep.
    request: the command line; with `dry_run` nothing runs, and what would be done is printed.

  Raises:
    SdtError: see sdt/errors.py.
  """
  if request.profile and points:
    raise ConfigError(
      "--profile traces one run, and sweep.key makes one of every value; leave one of the two out"
    )
  is_acquired = bool(config.acquire.strategies)
  if request.profile and is_acquired:
    raise ConfigError(
      "--profile traces one run, and acquire.strategies makes many; leave one of the two out"
    )
  for idle in idle_of(config, dict(request.overrides)) if not points else ():
    Display().log(f"note: {idle}")
  if request.sheet is not None:
    first = points[0].config if points else config
    sheet.check(first, request.sheet, overwrite=request.overwrites)
  sources.check_workdir(config.data, request.workdir)
  kind = experiment.EXPERIMENT
  if config.data.name == "curve":
    from sdt.toy import curve_experiment  # here, because it takes most of a second

    kind = curve_experiment.EXPERIMENT
  if not request.dry_run:
    processes.join(config.distributed, request.launch)
  find_devices()
  if request.dry_run:
    detail = dry_run.Detail(request.shows_all_keys, request.sheet, request.overwrites)
    of_sweep = sweep.describe(config, points, request.workdir, detail=detail)
    of_run = dry_run.describe(config, request.workdir, experiment=kind, detail=detail)
    of_acquired = acquire.describe(config, request.workdir, detail=detail)
    for line in of_sweep if points else of_acquired if is_acquired else of_run:
      print(line, flush=True)
    return 0
  with processes.together(config):
    if points:
      return sweep.run(config, points, request.workdir, name=request.name)
    if is_acquired:
      return acquire.run(config, request.workdir, name=request.name)
    job = lifecycle.Job(config, request.workdir, request.name, profile=request.profile)
    return lifecycle.run(kind, job)
