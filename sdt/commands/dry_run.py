"""The command `--dry_run`: what a run would do, without doing it."""

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sdt import experiment as experiments
from sdt import files
from sdt.arms import design
from sdt.arms.catalogue import fold_arms
from sdt.arms.strengths import strongest
from sdt.commands import sheet
from sdt.commands.estimates import (
  Log,
  compile_largest,
  disk_line,
  memory_line,
  memory_parts,
  time_lines,
  try_pace,
)
from sdt.commands.standing import Standing, find_standing
from sdt.config import Config, to_dict
from sdt.config.differences import leaves
from sdt.config.values import shown
from sdt.data import cache
from sdt.data.class_names import counts_line
from sdt.data.dataset import Data
from sdt.data.published.catalogue import SETS
from sdt.data.stand_in import stand_in
from sdt.engine.plan import Plan
from sdt.engine.schedule import rates_of_arm
from sdt.errors import MissingDataError
from sdt.losses import is_regression
from sdt.models import count_params
from sdt.models.registry import multiply_adds
from sdt.run import resume, reused_baseline
from sdt.run.identity import Identity
from sdt.run.lifecycle import Experiment
from sdt.run.load_inputs import Beside, load_beside, load_data, notes, settle
from sdt.run.programs import Setup
from sdt.run.progress import Display
from sdt.run.selection import cost, is_on, prepare, provisional


@dataclasses.dataclass(frozen=True)
class Found:
  """The data of a run.

  Attributes:
    data: if they are not on this machine, a stand-in of the published sizes.
    missing: the error that the run would then end with.
  """

  data: Data
  missing: MissingDataError | None = None


@dataclasses.dataclass(frozen=True)
class Detail:
  """How much a dry run shows.

  Attributes:
    every_key: the config whole, not only what differs from the defaults.
    sheet: a PNG file that gets images under the operations of augment.ops; None for no file.
    overwrites: whether that file may replace one that is there.
    num_runs: of how many runs this is the first and the shortest.
  """

  every_key: bool = False
  sheet: Path | None = None
  overwrites: bool = False
  num_runs: int = 1


DEFAULT = Detail()


def find_data(config: Config, log: Log, loaded: Data | None = None) -> Found:
  """Returns the data, checked against the config; downloads nothing and writes no cache.

  Raises:
    ConfigError, DataError: as the run would, but for a published set that is not there.
  """
  offline = dataclasses.replace(config, data=dataclasses.replace(config.data, download=False))
  try:
    with cache.reading_only():
      return Found(load_data(offline, log, loaded))
  except MissingDataError as error:
    data = stand_in(config.data)
    if data is None:
      raise
    return Found(load_data(offline, log, data), error)


def describe(
  config: Config,
  workdir: Path | None = None,
  loaded: Found | None = None,
  *,
  log: Log | None = None,
  experiment: Experiment = experiments.EXPERIMENT,
  detail: Detail = DEFAULT,
) -> Iterator[str]:
  """Yields what a run would do, line by line.

  It writes nothing but the cache of compiled programs, and the file of `detail.sheet`.

  If the data are there, a program is compiled and runs for a second or two, for memory and time.

  Args:
    config: of the run.
    workdir: where the run would live; None if that is not asked.
    loaded: its data, if the caller has them already.
    log: gets a line of progress at a time; standard error by default.
    experiment: the kind of experiment.
    detail: how much it shows.

  Raises:
    ConfigError, DataError, CheckpointError, WorkdirError: before the first line, as the run would.
    MissingDataError: after the last line, if the set is not here; the sizes are those published.
  """
  log = log or Display().log
  config, origin = dataclasses.replace(config, baseline_from=None), config.baseline_from
  found = find_data(config, log) if loaded is None else loaded
  run = _run(config, workdir, found, experiment=experiment, origin=origin)
  config, standing = run.config, run.standing
  if detail.sheet is not None:
    sheet.check_images(found.data, detail.sheet)
  size, plans = experiment.plans(config, found.data)
  yield from _config_lines(config, every_key=detail.every_key)
  yield from _lines(run, size, plans)
  if standing is not None:
    yield f"workdir   {workdir}: {standing.text}"
  if found.missing is None and detail.sheet is not None:
    written = sheet.write(config, found.data, detail.sheet, overwrite=detail.overwrites)
    yield f"sheet     {written}"
  if standing is None or not standing.is_complete:
    outputs = experiment.outputs(config, found.data)
    yield from _estimates(run, plans, log, outputs=outputs, num_runs=detail.num_runs)
  if found.missing is not None:
    raise found.missing


@dataclasses.dataclass(frozen=True)
class _Run:
  """What is known of a run before it starts.

  `origin` is the workdir of a baseline to take over, `fit` what is told of the batch size.
  """

  config: Config
  found: Found
  beside: Beside
  standing: Standing | None
  origin: str | None
  fit: list[str]

  @property
  def choices(self) -> dict[str, Any] | None:
    return None if self.standing is None else self.standing.choices

  @functools.cached_property
  def setup(self) -> Setup:
    return Setup.make(
      self.config,
      self.found.data,
      self.choices,
      pretrained=self.beside.pretrained,
      is_abstract=True,
    )


def _run(
  config: Config,
  workdir: Path | None,
  found: Found,
  *,
  experiment: Experiment,
  origin: str | None,
) -> _Run:
  """Returns what is known of a run, checked as the run would; see `describe`."""
  config, fit = settle(config, found.data, experiment.plans)
  beside = load_beside(config, found.data)
  identity = Identity.of(config, found.data, beside)
  if origin is not None and (workdir is None or reused_baseline.is_needed(workdir)):
    reused_baseline.find(Path(origin), config, identity)
  standing = None
  if workdir is not None:
    standing = find_standing(config, found.data, identity, workdir=workdir, experiment=experiment)
  run = _Run(config, found, beside, standing=standing, origin=origin, fit=fit)
  if workdir is not None and run.choices is not None:
    resume.refuse_other_machine(run.setup, workdir)
  return run


def _config_lines(config: Config, *, every_key: bool) -> Iterator[str]:
  """Yields the whole config as JSON, or a line for each key that is not at its default."""
  if every_key:
    yield from (files.json_text(to_dict(config, every_key=True)), "")
    return
  defaults = dict(leaves(to_dict(Config(), every_key=True)))
  yield "config    what differs from the defaults; --dry_run=full shows every key:"
  for name, value in leaves(to_dict(config)):
    if value != defaults[name]:
      yield f"  {name} = {shown(value)}"


def _lines(run: _Run, size: int, plans: list[Plan]) -> Iterator[str]:
  """Yields data, network, notes and work; `size` is that of A."""
  config, data, setup = run.config, run.found.data, run.setup
  selecting = list(_selection_lines(config, data)) if is_on(config) else []
  yield from _data_lines(config, run.found, size)
  yield f"network   {config.model.name}: {_cost(setup)}"
  if (operations := strongest(config).calls) and data.train.inputs.ndim == 4:
    yield (
      f"augment   {' '.join(map(str, operations))}, each at its largest in any arm; "
      "--sheet=FILE.png draws it"
    )
  yield from (f"note      {note}" for note in (*notes(config, data, run.beside), *run.fit))
  yield from selecting
  yield from _work_lines(setup, plans, run.origin)
  yield from (f"note      {note}" for note in setup.source.notes)


def _estimates(
  run: _Run, plans: list[Plan], log: Log, *, outputs: Sequence[str], num_runs: int
) -> Iterator[str]:
  """Yields the lines on memory, disk and time.

  Without the data nothing is compiled: no run follows at once, and nobody should wait a minute for
  the message that the data are missing.
  """
  setup = run.setup
  compiled = None if run.found.missing is not None else compile_largest(setup, plans, log)
  parts = memory_parts(setup, plans, compiled)
  yield memory_line(parts, compiled)
  yield disk_line(setup, plans, outputs)
  lacks = sum(count for count, _ in parts) > setup.placement.device_bytes
  if lacks:
    has = f"{setup.placement.device_bytes / 1e6:.0f} MB"
    yield (
      f"note      a device has {has}: lower batch_size, or see data.placement and parallel.replicas"
    )
  pace = None
  if compiled is not None and not lacks:
    pace = try_pace(setup, compiled, pretrained=run.beside.pretrained, log=log)
  since = "" if run.choices is None else " from its start"
  has_baseline = run.origin is not None
  yield from time_lines(
    setup, plans, pace, has_baseline=has_baseline, since=since, num_runs=num_runs
  )


def _selection_lines(config: Config, data: Data) -> Iterator[str]:
  """Yields what a selection costs before the run, and that what follows is of its first
  candidates.
  """
  cut, runs = prepare(config, data)
  tried = [trial.of for own in runs for trial in own.trials]
  counts = ", ".join(f"{tried.count(of)} for {of}" for of in dict.fromkeys(tried))
  trials = f": {len(tried)} trials ({counts}) and their baseline" if runs else ""
  num_seeds = len(config.seeds[: config.select.num_seeds])
  yield (
    f"selection {cost(config, runs)} more, each with {num_seeds} seed(s), before those "
    f"below{trials}, on {len(cut.train)} examples; {len(cut.test)} are held out to choose on"
  )
  of = "the sizes here are those of the first candidates"
  if not runs:
    of = "the network here is the config's own; rates, steps and decays are the middle of the space"
  yield f"          nothing is chosen yet: {of}"


def _work_lines(setup: Setup, plans: list[Plan], origin: str | None) -> Iterator[str]:
  """Yields rounds, optimiser steps and time; a baseline may come from the workdir `origin`."""
  config = setup.config
  planned = provisional(config)  # of which the plans are
  rates = rates_of_arm(planned, plans[0].rounds, plans[0].steps_per_round).ravel()
  highest = f", at most {rates.max():g}" if rates.max() > max(rates[0], rates[-1]) else ""
  yield (
    f"rounds    {config.rounds}, learning rate {rates[0]:g} to {rates[-1]:g}{highest}, by "
    f"{_schedule(planned)}"
  )
  yield "optimiser steps a round:"
  designs = design.of_arms(plans, planned)
  for plan, of_arm in zip(plans, designs, strict=True):
    yield (
      f"  {plan.arm}: "
      f"{' + '.join(f'{phase.name} {phase.num_steps}{phase.note}' for phase in plan.phases)} "
      f"= {plan.steps_per_round}; {of_arm}"
    )
  for text in design.described(plans, planned)["warnings"]:
    yield f"warning   {text}"
  if config.split.policy == "threshold" and len(plans) > 1:
    yield (
      "note      how many examples A gets is known when they are scored; the figures here are not "
      "of that size"
    )
  folds = fold_arms(config)
  if folds:
    share = f"{len(folds) - 1} of {len(folds)} parts of the training set"
    yield (
      f"note      score.folds={len(folds)}: {len(folds)} of these trainings, each on {share}, are "
      "there for the scores alone"
    )
  if origin is not None:
    yield f"baseline  taken over from {origin}, not trained{', nor are the folds' if folds else ''}"


def _schedule(config: Config) -> str:
  """Returns what the learning rate follows, in words."""
  optim = config.optim
  drops = [milestone for milestone in optim.milestones if milestone < config.rounds]
  when = f" at {', '.join(map(str, drops))}" if drops else ""
  if optim.schedule != "step":
    when = " (optim.milestones is not read)" if drops else ""
  warmup = f", after {optim.warmup_rounds} round(s) of warm-up" if optim.warmup_rounds else ""
  return f"optim.schedule={optim.schedule}{when}{warmup}"


def _data_lines(config: Config, found: Found, size: int) -> Iterator[str]:
  data = found.data
  shape = list(data.train.inputs.shape[1:])
  sizes = f"{len(data.train)} training and {len(data.test)} test examples of shape {shape}"
  sizes += "" if is_regression(data.train.labels) else f", {len(data.class_names)} classes"
  sizes += f"; A gets {size}" if size else ""
  if found.missing is None:
    yield f"data      {data.name}, {data.variant}: {sizes}"
    classes = counts_line(data)
    if classes is not None:
      yield f"classes   {classes}"
    return
  yield f"data      {data.name} was not found on this machine; as published: {sizes}"
  if config.data.path is None and config.data.download and SETS[data.name].remotes:
    yield "note      the run would try to download the set; a dry run does not"


def _cost(setup: Setup) -> str:
  shape = setup.input_shape
  return (
    f"{count_params(setup.model, shape):,} parameters, "
    f"{multiply_adds(setup.model, shape) / 1e6:.1f} M multiply-adds an example"
  )
