"""The command for sweeps: one experiment for each value of a key, then one table and figure."""

import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sdt import files
from sdt.arms.planning import step_mean
from sdt.commands import dry_run
from sdt.config import Config, config_hash, to_dict
from sdt.config.differences import SAFE_TO_CHANGE, differences
from sdt.config.sweep_points import Point, as_text, shares_baseline
from sdt.data.dataset import Data
from sdt.devices import processes
from sdt.errors import ConfigError, DivergedError, MissingDataError
from sdt.experiment import EXPERIMENT
from sdt.report import build_report
from sdt.report.sweep_page import table_text
from sdt.run import lifecycle, load_inputs, resume, reused_baseline, selection, shared_workdir
from sdt.run.identity import Identity
from sdt.run.progress import Display
from sdt.run.signals import StopRequest
from sdt.stats import paired

# What another start of a sweep may have otherwise: each value's run guards its own config.
_MAY_DIFFER = (*SAFE_TO_CHANGE, "sweep.values", "sweep.also_values")
_OF_DATA = (
  *("name", "variant", "checksum", "num_train", "num_test", "num_classes", "notes"),
  "label_changes",
)
_OF_ARM = ("accuracy", "mean", "sd", "n", "diverged", "collapsed")
_REPORT = ("report.html", "figures/sweep.svg")


def run(config: Config, points: Sequence[Point], workdir: Path, name: str) -> int:
  """Runs the sweep, or what is left of it, in `workdir`; returns the exit code.

  Args:
    config: with the sweep.
    points: `sweep_points.expand(config)`.
    workdir: of the sweep; each value's run has the folder `point.folder` in it.
    name: what the sweep is called on the screen.

  Raises:
    SdtError: see sdt/errors.py. Nothing is written before every value has been accepted.
      DivergedError: only after all values.
  """
  display = Display()
  loader = _Loader(points, display.log)
  points = _settled(points, loader, display.log)
  display.log(f"sdt: {name}: {_headline(config, points)}")
  stop = StopRequest()
  with shared_workdir.hold(workdir) as held, stop.listening(display.log):
    sweep = _Sweep(config, points, held, loader=loader, stop=stop, log=display.log)
    _check_same_sweep(sweep)
    files.write_json(
      held / "config.json",
      {"config": to_dict(_recorded(config)), "hash": config_hash(_recorded(config))},
    )
    diverged = _run_points(sweep, name)

    def conclude() -> None:
      is_new = _write_outputs(summarise(config, points, held), held)
      report = workdir / "report.html"
      print(table_text(files.read_json(held / "sweep.json")))
      print(f"report: {report}" if is_new else f"complete: nothing to do; the report is {report}")

    processes.by_first(conclude)
  if diverged:
    raise DivergedError(
      f"{len(diverged)} of {len(points)} values have replicas that diverged and were frozen "
      f"({', '.join(diverged)}), the others finished; try a lower optim.learning_rate in a new "
      "--workdir"
    )
  return 0


def _run_points(sweep: "_Sweep", name: str) -> list[str]:
  """Runs the values in turn; returns the folders of those with replicas that diverged.

  Raises:
    SdtError: as `lifecycle.run`. Interrupted: a signal came between two values.
  """
  diverged = []
  for number, point in enumerate(sweep.points, start=1):
    sweep.stop.raise_if_asked(f"before {point.folder}")
    try:
      _run_point(sweep, point, f"{name}, value {number} of {len(sweep.points)}, {point.folder}")
    except DivergedError as error:
      sweep.log(f"{point.folder}: {error}")
      diverged.append(point.folder)
  return diverged


def describe(
  config: Config,
  points: Sequence[Point],
  workdir: Path,
  *,
  detail: dry_run.Detail = dry_run.DEFAULT,
) -> Iterator[str]:
  """Yields what a sweep would do, line by line: what each value changes, then its first run as
  `dry_run.describe` has it, and writes what that writes.

  Raises:
    ConfigError, DataError, CheckpointError: before the first line, as the sweep would.
    MissingDataError: after the last line, where the set is not on this machine; the lines are then
      of the published sizes.
  """
  absent: list[MissingDataError] = []

  def load(config: Config, log: Callable[[str], None], loaded: Data | None) -> Data:
    found = dry_run.find_data(config, log, loaded)
    absent.extend([] if found.missing is None else [found.missing])
    return found.data

  log = Display().log
  loader = _Loader(points, log, load)
  points = _settled(points, loader, log)
  _check_same_sweep(_Sweep(config, points, workdir, loader=loader, stop=StopRequest(), log=log))
  yield _headline(config, points)
  yield (
    "optimiser steps a round, size of A, and the mean decay over the steps of the method's round:"
  )
  for point in points:
    size, plans = EXPERIMENT.plans(point.config, loader(point))
    steps = {plan.arm: {phase.name: phase.num_steps for phase in plan.phases} for plan in plans}
    counts = ", ".join(
      f"{arm} {' + '.join(f'{phase} {count}' for phase, count in phases.items())}"
      for arm, phases in steps.items()
    )
    mean = None if selection.is_on(point.config) else _mean_decay(steps, point.config)
    also = (
      ""
      if config.sweep.also_key is None
      else f", {config.sweep.also_key}={as_text(point.also_value)}"
    )
    yield f"  {point.folder}{also}: {counts}; A {size}" + (
      "" if mean is None else f"; mean decay {mean:.6g}"
    )
  first = dataclasses.replace(points[0].config, baseline_from=config.baseline_from)
  yield from ("", f"the first, {points[0].folder}:", "")
  found = dry_run.Found(loader(points[0]), absent[0] if absent else None)
  yield from dry_run.describe(first, workdir / points[0].folder, found, log=log, detail=detail)


def _mean_decay(steps_per_round: Mapping[str, Mapping[str, int]], config: Config) -> float | None:
  """Returns the method's weight decay, mean over the steps of a round; None without the method."""
  steps = steps_per_round.get("method")
  return None if steps is None else step_mean(steps["A"], steps["B"], config.method)


class _Loader:
  """Gives each point its data; reads them once if the points share them."""

  def __init__(
    self,
    points: Sequence[Point],
    log: Callable[[str], None],
    load: Callable[..., Data] = load_inputs.load_data,
  ):
    self._is_one = all(point.config.data == points[0].config.data for point in points)
    self._log, self._load, self._key = log, load, ""
    self._data: Data | None = None

  def __call__(self, point: Point) -> Data:
    """Returns the data of `point`, checked against its config; the last ones are kept."""
    key = "" if self._is_one else point.folder
    data = self._load(point.config, self._log, self._data if key == self._key else None)
    self._data, self._key = data, key
    return data


@dataclasses.dataclass(frozen=True)
class _Sweep:
  """What the values of one start of a sweep share; `held` is its locked workdir."""

  config: Config
  points: Sequence[Point]
  held: Path
  loader: "_Loader"
  stop: StopRequest
  log: Callable[[str], None]


def _headline(config: Config, points: Sequence[Point]) -> str:
  keys = (
    config.sweep.key
    if config.sweep.also_key is None
    else f"{config.sweep.key} (with {config.sweep.also_key})"
  )
  baselines = "one baseline for all" if shares_baseline(config.sweep) else "a baseline for each"
  return (
    f"{len(points)} runs over {keys}: {', '.join(as_text(point.value) for point in points)}; "
    f"{baselines}"
  )


def _settled(points: Sequence[Point], loader: "_Loader", log: Callable[[str], None]) -> list[Point]:
  """Returns the points with what their data decide, which `log` is told.

  Raises:
    ConfigError, DataError: as a run would, by its config or with its data, before the first of them
      begins; a ConfigError says which value.
  """
  settled = []
  for point in points:
    try:
      data = loader(point)
      config, notes = load_inputs.settle(point.config, data, EXPERIMENT.plans)
      if selection.is_on(config):
        selection.prepare(config, data)
      own = dataclasses.replace(point, config=config)
      identity = _identity(own, data)  # reads the files beside the data
      if config.baseline_from is not None:
        reused_baseline.find(Path(config.baseline_from), config, identity)
    except ConfigError as error:
      raise ConfigError(f"sweep, value {point.folder}: {error}") from error
    settled.append(own)
    for note in notes:
      log(f"note: {point.folder}: {note}")
  return settled


def _identity(point: Point, data: Data) -> Identity:
  return Identity.of(point.config, data, load_inputs.load_beside(point.config, data))


def _recorded(config: Config) -> Config:
  """Returns the config as its workdir has it, see `lifecycle.Job`."""
  return dataclasses.replace(config, baseline_from=None)


def _check_same_sweep(sweep: "_Sweep") -> None:
  """Refuses a workdir that holds an ordinary run, another sweep, or other runs of the values.

  More values, or others, are fine.
  """
  held, now = sweep.held, to_dict(_recorded(sweep.config))
  if files.is_intact(held / "config.json"):
    before = files.read_json(held / "config.json")["config"]
    changes = [line for name, line in differences(before, now) if name not in _MAY_DIFFER]
    if changes:
      what = "a run" if before["sweep"]["key"] is None else "a sweep"
      raise ConfigError(
        f"{held} holds {what} of another config ({'; '.join(changes)}); use that config again or "
        "choose another --workdir"
      )
  # Unlike pathlib's, os.path's exists() says False of a path that is too long.
  elif any(os.path.exists(held / name) for name in ("metrics.jsonl", "checkpoints")):
    raise ConfigError(f"{held} holds a run; choose another --workdir for the sweep")
  for point in sweep.points:
    own = held / point.folder
    if files.is_intact(own / "config.json"):
      _identity(point, sweep.loader(point)).refuse_other(
        files.read_json(own / "config.json")["config"], None, own, file_checksums={}
      )
  kept = {point.folder for point in sweep.points}
  left_out = sorted(
    path.parent.name for path in held.glob("*=*/results.json") if path.parent.name not in kept
  )
  if left_out:
    sweep.log(
      f"note: {', '.join(left_out)} in {held} are not among sweep.values now, so the table and "
      "the report leave them out"
    )


def _run_point(sweep: "_Sweep", point: Point, name: str) -> None:
  """Runs what is left of one value's experiment; says so in one line where nothing is.

  Raises:
    SdtError: as `lifecycle.run`, DivergedError among them.
  """
  own, data = sweep.held / point.folder, sweep.loader(point)
  if not processes.by_first(
    lambda: [path.name for path in resume.missing(own, EXPERIMENT.outputs(point.config, data))]
  ):
    before, environment = (
      files.read_json(own / name) for name in ("config.json", "environment.json")
    )
    _identity(point, data).refuse_other(
      before["config"],
      environment["data"]["checksum"],
      own,
      file_checksums=environment["file_checksums"],
    )
    sweep.log(f"{point.folder}: complete")
    resume.exit_code(own)
    return
  origin = sweep.config.baseline_from
  if shares_baseline(sweep.config.sweep):
    done = [
      sweep.held / other.folder
      for other in sweep.points
      if reused_baseline.is_there(sweep.held / other.folder)
    ]
    origin = str(done[0]) if done else origin
  config = dataclasses.replace(point.config, baseline_from=origin)
  lifecycle.run(EXPERIMENT, lifecycle.Job(config, own, name, loaded=data, stop=sweep.stop))


def summarise(config: Config, points: Sequence[Point], held: Path) -> dict[str, Any]:
  """Returns the content of sweep.json (docs/artifacts.md).

  Every number is one of a results.json, or follows from those.
  """
  values = []
  for point in points:
    results = files.read_json(held / point.folder / "results.json")
    data, steps = results["data"], results["steps_per_round"]
    own: dict[str, Any] = {
      "value": point.value,
      "also_value": point.also_value,
      "folder": point.folder,
    }
    own["data"] = {name: data[name] for name in _OF_DATA if name in data}
    own |= {name: results[name] for name in ("model", "rounds", "num_easy", "steps_per_round")}
    own["mean_decay"] = _mean_decay(
      steps, selection.frozen(point.config, results.get("selection", {}).get("chosen", {}))
    )
    own["arms"] = {
      arm: {name: one[name] for name in _OF_ARM if name in one}
      for arm, one in results["arms"].items()
    }
    own |= {
      name: results[name]
      for name in ("selection", "contrasts", "against_control", "power")
      if name in results
    }
    values.append(own)
  return {
    "key": config.sweep.key,
    "also_key": config.sweep.also_key,
    "seeds": config.seeds,
    "shared_baseline": shares_baseline(config.sweep),
    "best_of": {
      "num_values": len(points),
      "expected_gain_sds": paired.expected_best_of(len(points)),
    },
    "values": values,
  }


def _write_outputs(content: dict[str, Any], held: Path) -> bool:
  """Writes sweep.json and the report, unless they are there; returns whether it wrote anything."""
  path = held / "sweep.json"
  text = files.json_text(content) + "\n"
  is_same = files.is_intact(path) and path.read_text(encoding="utf-8") == text
  if not is_same:
    files.write_text(path, text)
  if is_same and all(files.is_intact(held / name) for name in _REPORT):
    return False
  build_report(held)
  return True
