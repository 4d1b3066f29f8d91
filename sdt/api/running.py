"""Runs an experiment from Python, on files or on arrays in memory."""

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from sdt import experiment, named_files
from sdt.config import Config, from_dict, resolve, to_dict
from sdt.config.config_file import load_config_file
from sdt.config.dependent import without_dependent
from sdt.config.sweep_points import expand
from sdt.data import sources
from sdt.data.dataset import Data
from sdt.data.readers.arrays import load_arrays
from sdt.devices.start import find_devices
from sdt.errors import ConfigError, DataError
from sdt.run import lifecycle
from sdt.run.signals import StopRequest
from sdt.trained.load import Run, load

_TEST_FRACTION = 0.2  # held out of arrays without a test split

# A config file, its content, any part of the keys as nested dicts, or the config itself.
type AnyConfig = str | Path | ConfigDict | Mapping[str, Any] | Config
# Arrays named as in an npz, or a set of `sdt.data`.
type AnyData = Mapping[str, object] | Data


def run(config: AnyConfig, workdir: str | Path, data: AnyData | None = None) -> Run:
  """Trains what a config asks for, or what is left of it, in `workdir`; returns the finished run.

  It does what `python run.py --config=... --workdir=...` does. Whoever calls it again with the same
  arguments gets the finished run, and one that was stopped goes on. Progress goes to stderr.

  Args:
    config: a config file, a ConfigDict or dict of keys that differ from the defaults, or a Config.
    workdir: new, empty, or of this run.
    data: the data set in place of the one that the config names: {"train_x": uint8 [N, H, W, C] or
      [N, H, W] images or floats [N, D], "train_y": [N] labels of any kind, "test_x", "test_y",
      "class_names"}. Without test_x the config's data.test_fraction is held out, a fifth if it
      says nothing. A digest of the arrays is a part of what the run is: it continues with equal
      arrays only.

  Raises:
    ConfigError, DataError, ...: see sdt/errors.py. Seeds that diverged raise nothing: see the
      `diverged` of each arm in `Run.results`.
  """
  return finish(config, workdir, data)


def finish(
  config: AnyConfig,
  workdir: str | Path,
  data: AnyData | None = None,
  *,
  kind: lifecycle.Experiment = experiment.EXPERIMENT,
  is_quiet: bool = False,
) -> Run:
  """Does what `run` does, with or without the report (`kind`) and the lines on stderr."""
  if not isinstance(workdir, str | Path):
    raise ConfigError(f"workdir={workdir!r}: expected a path")
  workdir = named_files.expanded(workdir)
  resolved = resolved_config(config)
  if expand(resolved):
    raise ConfigError(
      "sweep.key makes a run of every value, and sdt.run makes one; leave it out, or use the "
      "command line"
    )
  if resolved.acquire.strategies:
    raise ConfigError(
      "acquire.strategies makes a run of every number of labels, and sdt.run makes one; leave it "
      "out, or use the command line"
    )
  loaded = None
  if data is not None:
    resolved, loaded = _with_data(resolved, data)
  if resolved.data.name == "curve":
    raise ConfigError("data.name=curve: the toy runs from the command line only")
  sources.check_workdir(resolved.data, workdir)
  find_devices()
  is_main = threading.current_thread() is threading.main_thread()
  stop = None if is_main else NoSignals()
  job = lifecycle.Job(resolved, workdir, workdir.name, loaded=loaded, stop=stop, is_quiet=is_quiet)
  lifecycle.complete(kind, job)
  return load(workdir)


def resolved_config(config: AnyConfig) -> Config:
  """Returns the config in the form of the program; raises a ConfigError if it is wrong."""
  if isinstance(config, Config):
    return from_dict(to_dict(config))  # checked again: `dataclasses.replace` checks nothing
  if isinstance(config, str | Path):
    return resolve(load_config_file(named_files.expanded(config)))
  if not isinstance(config, ConfigDict | Mapping):
    raise ConfigError(
      f"config is a {type(config).__name__}, expected a path, a ConfigDict, a dict or a Config"
    )
  return resolve(config)


def _with_data(config: Config, data: AnyData) -> tuple[Config, Data]:
  """Returns (the config of a run on these data, the data)."""
  if isinstance(data, Data):
    _refuse_unread_labels(config, data)
    return config, data
  if not isinstance(data, Mapping):
    raise DataError(
      f"data is a {type(data).__name__}, expected a dict of arrays: "
      '{"train_x": ..., "train_y": ...}'
    )
  plain = without_dependent(to_dict(config))
  plain["data"] = {**plain["data"], "name": "arrays", "path": None}
  if "test_x" not in data and config.data.test_fraction is None:
    plain["data"]["test_fraction"] = _TEST_FRACTION
  config = from_dict(plain)
  return config, load_arrays(data, config.data)


def _refuse_unread_labels(config: Config, data: Data) -> None:
  """Refuses a config that names files of labels which a set in memory was made without."""
  keys = ("data.labels_file", "data.corrections", "data.corrections_test")
  named = [key for key in keys if getattr(config.data, key.removeprefix("data."))]
  lacking = [key for key in named if key not in data.label_checksums]
  if lacking:
    raise ConfigError(
      f"{lacking[0]}: the data are given as they are, made without this file; leave the key out, "
      "or make them by sdt.data.sources.load(config.data)"
    )


class NoSignals(StopRequest):
  """A run that no signal stops: only the main thread of a program may listen to them."""

  @contextlib.contextmanager
  def listening(self, tell: Callable[[str], None]) -> Iterator[None]:
    del tell
    yield
