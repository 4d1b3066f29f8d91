"""What every run has around its stages: data, lock, choices, checkpoints, account of time, report.

The stages themselves are those of an `Experiment`.
"""

import dataclasses
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sdt import files
from sdt.config import Config
from sdt.config.schema import LogConfig
from sdt.data.class_names import counts_line
from sdt.data.dataset import Data
from sdt.devices import processes
from sdt.devices.memory import device_memory_errors
from sdt.engine.plan import Plan
from sdt.errors import ConfigError, Interrupted
from sdt.report import build_report
from sdt.run import (
  beginning,
  environment,
  extension,
  load_inputs,
  preprocessing_file,
  publishing,
  resume,
  reused_baseline,
  selection,
  shared_workdir,
)
from sdt.run.context import (
  Context,
  Pause,
  Paused,
  write_config,
)
from sdt.run.identity import Identity
from sdt.run.loggers.feed import Feed
from sdt.run.needed_packages import require_packages
from sdt.run.profiling import Profiler
from sdt.run.programs import Setup
from sdt.run.progress import Display, duration
from sdt.run.search.trials import Ask
from sdt.run.shared_checkpoints import SharedStore
from sdt.run.signals import StopRequest
from sdt.run.taken_over import Taken
from sdt.run.timing import Timing


@dataclasses.dataclass(frozen=True)
class Experiment:
  """A kind of experiment: its stages, and what must be known of them before they run.

  Attributes:
    check: (config, data) refuses what cannot be run, before anything is written.
    outputs: (config, data) -> the names of the files that it leaves in the workdir.
    plans: (config, data) -> the size of A and every arm's plan, before it is known what A is.
    stages: (context, trainings to take over or None) runs what is left of it, writes results.json,
      and ends with `write_report`.
    table: results.json -> the text that is printed at the end.
    part: the stages of a run that becomes a part of another; None where a run cannot be extended.
  """

  check: Callable[[Config, Data], None]
  outputs: Callable[[Config, Data], list[str]]
  plans: Callable[[Config, Data], tuple[int, list[Plan]]]
  stages: Callable[[Context, Taken | None], None]
  table: Callable[[Mapping[str, Any]], str]
  part: Callable[[Context, Taken | None], None] | None = None


@dataclasses.dataclass(frozen=True)
class Job:
  """One run that is asked for.

  Attributes:
    config: `baseline_from` says how a part of the results comes about, not which they are: it is
      not written to the workdir.
    workdir: of the run.
    name: what the run is called on the screen.
    loaded: its data, where the caller has them already.
    stop: asked as well whether the run shall stop.
    profile: whether a dispatch is traced, into `workdir`/profile.
    is_quiet: whether nothing is told on stderr.
    takes_over: trainings of other runs that are not trained again.
    pause: where the run is interrupted; `complete` then raises Paused.
    is_brief: whether only a bar is shown, or a line now and then: it is one of many runs.
  """

  config: Config
  workdir: Path
  name: str
  loaded: Data | None = None
  stop: StopRequest | None = None
  profile: bool = False
  is_quiet: bool = False
  takes_over: Taken | None = None
  pause: Pause | None = None
  is_brief: bool = False


@dataclasses.dataclass(frozen=True)
class _Accepted:
  """The inputs of a run, checked against each other."""

  config: Config
  data: Data
  beside: load_inputs.Beside
  identity: Identity


@dataclasses.dataclass(frozen=True)
class _Opened:
  """A run whose inputs are accepted and whose workdir is held; no program is made yet.

  Attributes:
    choices: what an earlier start of the run chose; None for a new run.
  """

  accepted: _Accepted
  workdir: Path
  store: SharedStore
  choices: dict[str, Any] | None
  display: Display
  stop: StopRequest
  timing: Timing
  pause: Pause | None = None


def run(experiment: Experiment, job: Job) -> int:
  """Runs the experiment, or what is left of it, in the job's workdir; returns the exit code.

  Raises:
    SdtError: see sdt/errors.py; nothing is written before the data has been accepted.
  """
  is_new = complete(experiment, job)

  def tell() -> int:
    report = job.workdir / "report.html"
    print(experiment.table(files.read_json(job.workdir / "results.json")))
    if (job.workdir / "review.html").exists():
      print(f"images to look at: {job.workdir / 'review.html'}")
    print(f"report: {report}" if is_new else f"complete: nothing to do; the report is {report}")
    return resume.exit_code(job.workdir)

  return int(processes.by_first(tell))


def complete(experiment: Experiment, job: Job) -> bool:
  """Does what `run` does, but prints no results; returns whether anything was left to do.

  Replicas that diverged are no error here.
  """
  brief = job.name if job.is_brief else ""
  display, start = Display(is_quiet=job.is_quiet, brief=brief), time.perf_counter()
  accepted = _accept(experiment, job, display)
  config, origin = accepted.config, job.config.baseline_from
  data_secs = time.perf_counter() - start
  finished = job.takes_over
  if origin is not None and reused_baseline.is_needed(job.workdir):
    finished = reused_baseline.find(Path(origin), config, accepted.identity)
  with files.kept_files_told(display.log), shared_workdir.hold(job.workdir) as held:
    extension.settle(held)
    found = extension.find(held, accepted.identity, config) if experiment.part else None
    if found is not None:
      _extend(experiment, job, found, data=accepted.data, display=display)
      return True
    store = SharedStore(held / "checkpoints", config.checkpoint.keep, display.log)
    choices = resume.check_same_run(accepted.identity, held, store, log=display.log)
    outputs = experiment.outputs(config, accepted.data)
    lacking = processes.by_first(lambda: [path.name for path in resume.missing(held, outputs)])
    if not lacking:
      if job.profile:
        display.log(
          "note: --profile traces a dispatch of a training, and none is left; choose another "
          "--workdir"
        )
      return False
    if all(name.endswith((".html", ".png", ".svg")) for name in lacking):
      display.log(f"only the report is missing ({lacking[0]}): it is made again")
      _build_report(held)
      return True
    stop = job.stop or StopRequest()
    with stop.listening(display.log), device_memory_errors():
      timing = Timing.read(held / "timing.json", start)
      timing.stages["data"] = timing.stages.get("data", 0.0) + data_secs
      opened = _Opened(
        accepted, held, store, choices=choices, display=display, stop=stop, timing=timing
      )
      opened = dataclasses.replace(opened, pause=job.pause)
      _train(experiment, opened, finished, profile=job.profile)
  return True


def _extend(
  experiment: Experiment,
  job: Job,
  found: extension.Extension,
  *,
  data: Data,
  display: Display,
) -> None:
  """Trains what a finished run lacks of its seeds and arms, then puts the new run in its place."""
  stop = job.stop or StopRequest()
  own = dataclasses.replace(job, loaded=data, stop=stop, profile=False)
  with stop.listening(display.log):
    for note in extension.notes(found):
      display.log(note)
    extension.prepare(found, display.log)
    if not extension.is_trained(found):
      part = _without_report(experiment)
      folder, name = found.folder / extension.SEEDS, f"{job.name}, the seeds that are missing"
      seeds = _without_loggers(found.of_seeds)
      complete(part, dataclasses.replace(own, config=seeds, workdir=folder, name=name))
    together, whole = extension.begin_whole(found), found.folder / publishing.WHOLE
    complete(
      experiment,
      dataclasses.replace(
        own, config=_without_loggers(found.config), workdir=whole, takes_over=together
      ),
    )
    publishing.publish(found.workdir)
  # Only now, so that they hear of one run, in its place.
  feed = Feed.of(found.config, found.workdir, display.log)
  feed.finish(files.read_json(found.workdir / "results.json"))


def answer(experiment: Experiment, asked: Ask, stop: StopRequest) -> None:
  """Runs what a selection asks for, or what is left of it, up to where it asks for a pause.

  Raises:
    Interrupted: with the name of what was asked for. And what `complete` raises.
  """
  job = Job(asked.config, asked.folder, asked.name, loaded=asked.data, stop=stop)
  job = dataclasses.replace(job, pause=asked.pause, is_brief=asked.is_trial)
  try:
    complete(_without_report(experiment) if asked.is_trial else experiment, job)
  except Paused:
    return
  except Interrupted as error:
    raise Interrupted(f"{asked.name}: {error}") from error


def _without_report(experiment: Experiment) -> Experiment:
  return dataclasses.replace(experiment, stages=experiment.part or experiment.stages)


def _without_loggers(config: Config) -> Config:
  return dataclasses.replace(config, log=LogConfig())


def _accept(experiment: Experiment, job: Job, display: Display) -> _Accepted:
  """Reads the inputs of a run and checks them against its config; writes nothing.

  Raises:
    ConfigError, DataError: the config is wrong, alone or for these data, or the data are.
  """
  config = dataclasses.replace(job.config, baseline_from=None)
  require_packages(config)
  data = load_inputs.load_data(config, display.log, job.loaded)
  experiment.check(config, data)
  config, fit = load_inputs.settle(config, data, experiment.plans)
  beside = load_inputs.load_beside(config, data)
  # Only now, so that a mistake is told in one line.
  display.log(f"sdt: {job.name}: {beginning.machine(config)}")
  classes = counts_line(data)
  if classes is not None:
    display.log(f"data: {classes}")
  for note in (*load_inputs.notes(config, data, beside), *fit):
    display.log(f"note: {note}")
  identity = Identity.of(config, data, beside)
  resume.refuse_other_processes(identity)
  return _Accepted(config, data, beside, identity=identity)


def _train(
  experiment: Experiment,
  opened: _Opened,
  finished: Taken | None,
  *,
  profile: bool,
) -> None:
  """Selects, makes the programs, and runs the stages that are left.

  The account of time is written however this ends.
  """
  config = opened.accepted.config
  if config.compilation_cache:  # before anything is compiled
    environment.use_compilation_cache()
  chosen = _select(experiment, opened)
  context = _make_context(opened, chosen, profile=profile)
  beginning.begin(context, config)
  try:
    experiment.stages(context, finished)
  finally:
    context.loggers.close()
    context.write_timing()
  secs = duration(time.perf_counter() - context.timing.since)
  context.display.log(f"done in {secs}{beginning.of_all_starts(context.timing)}")


def _select(experiment: Experiment, opened: _Opened) -> dict[str, Any]:
  """Returns what a selection chose, by dotted key; {} without one. Runs what is left of it.

  Raises:
    ConfigError: the run began with other values: its selection was lost, and this machine chooses
      differently.
  """
  config, data = opened.accepted.config, opened.accepted.data
  if not selection.is_on(config):
    return {}
  if not files.is_intact(opened.workdir / "config.json"):
    write_config(opened.workdir, config)  # the selection belongs to it from its start

  def run_asked(asked: Ask) -> None:
    answer(experiment, asked, opened.stop)

  try:
    with opened.timing.stage("select"):
      content = selection.choose(
        config, data, opened.workdir, run=run_asked, log=opened.display.log
      )
  finally:
    files.write_json(opened.workdir / "timing.json", opened.timing.to_dict())
  chosen: dict[str, Any] = content["chosen"]
  before = (opened.choices or {}).get("selected", chosen)
  if before != chosen:
    raise ConfigError(
      f"{opened.workdir / selection.FILE}: the selection comes to {chosen}, and the run there "
      f"began with {before}; restore the file from a copy, or choose another --workdir"
    )
  return chosen


def _make_context(opened: _Opened, chosen: Mapping[str, Any], *, profile: bool) -> Context:
  """Returns the context of the stages: the run's programs for the config with the chosen values."""
  accepted = opened.accepted
  setup = Setup.make(
    selection.frozen(accepted.config, chosen),
    preprocessing_file.as_begun(opened.workdir, accepted.data),
    opened.choices,
    pretrained=accepted.beside.pretrained,
  )
  setup.choices.update({"selected": chosen} if chosen else {})
  trace = opened.workdir / "profile" if profile and processes.is_first() else None
  return Context(
    setup=setup,
    beside=accepted.beside,
    workdir=opened.workdir,
    identity=accepted.identity,
    store=opened.store,
    display=opened.display,
    stop=opened.stop,
    timing=opened.timing,
    profiler=Profiler(trace, opened.display.log),
    loggers=Feed.of(accepted.config, opened.workdir, opened.display.log),
    pause=opened.pause,
  )


def write_report(context: Context) -> None:
  """Writes report.html and its figures: the last stage of every experiment.

  Raises:
    Interrupted: a signal came before it.
  """
  context.write_timing()
  context.raise_if_stopped("before the report")
  with context.timing.stage("report"):
    _build_report(context.workdir)


def _build_report(workdir: Path) -> None:
  """Builds the report on the first process; the others wait for it."""

  def build() -> None:
    build_report(workdir)

  processes.by_first(build)
