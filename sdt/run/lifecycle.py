"""What every run has around its stages, whatever these are: data, lock, choices, checkpoints,
account of time, report.

The order of the stages is not known here: an `Order` brings it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax

from sdt import files
from sdt.config import Config
from sdt.data.dataset import Data
from sdt.devices import processes
from sdt.engine.plan import Plan
from sdt.errors import ConfigError
from sdt.report import build_report
from sdt.run import environment, load_inputs, resume, reused_baseline, selection, shared_workdir
from sdt.run.context import Context, write_config, write_environment
from sdt.run.identity import Identity
from sdt.run.profiling import Profiler
from sdt.run.programs import Setup, compute_dtype
from sdt.run.progress import Display, duration
from sdt.run.shared_checkpoints import SharedStore
from sdt.run.signals import StopRequest
from sdt.run.timing import Timing


def _nothing_selected(*args: Any) -> dict[str, float]:
  """Selects nothing."""
  del args
  return {}


@dataclasses.dataclass(frozen=True)
class Order:
  """A kind of experiment: its stages, and what the frame must know of them.

  Attributes:
    check: (config, data) refuses what cannot be run, before anything is written.
    outputs: (config, data) -> the names of the files that it leaves in the workdir.
    plans: (config, data) -> the size of A and every arm's plan, before anything is known of what A
      is.
    stages: (context, a baseline to take over or None) runs what is left of it and writes
      results.json.
    table: results.json -> the text that is printed at the end.
    select: (config, data, workdir, earlier choices, timing, display, stop) -> values of config keys
      that it chooses before the stages.
  """

  check: Callable[[Config, Data], None]
  outputs: Callable[[Config, Data], list[str]]
  plans: Callable[[Config, Data], tuple[int, list[Plan]]]
  stages: Callable[[Context, reused_baseline.Finished | None], None]
  table: Callable[[Mapping[str, Any]], str]
  select: Callable[..., dict[str, float]] = _nothing_selected


def run(
  order: Order,
  config: Config,
  workdir: Path,
  name: str,
  loaded: Data | None = None,
  stop: StopRequest | None = None,
  profile: bool = False,
) -> int:
  """Runs the experiment, or what is left of it, in `workdir`; returns the exit code.

  Args:
    order: the kind of experiment.
    config: `baseline_from` says how a part of the results comes about, not which they are: it is
      not written to the workdir.
    workdir: of the run.
    name: what the run is called on the screen.
    loaded: its data, where the caller has them already.
    stop: asked as well whether the run shall stop.
    profile: whether a dispatch is traced, into `workdir`/profile.

  Raises:
    SdtError: see sdt/errors.py; nothing is written before the data has been accepted.
  """
  is_new = complete(order, config, workdir, name=name, loaded=loaded, stop=stop, profile=profile)

  def tell() -> int:
    print(order.table(files.read_json(workdir / "results.json")))
    print(
      f"report: {workdir / 'report.html'}"
      if is_new
      else f"complete: nothing to do; the report is {workdir / 'report.html'}"
    )
    return resume.exit_code(workdir)

  return int(processes.by_first(tell))


def complete(
  order: Order,
  config: Config,
  workdir: Path,
  name: str,
  loaded: Data | None = None,
  stop: StopRequest | None = None,
  profile: bool = False,
) -> bool:
  """Does what `run` does, but prints no results and takes no notice of replicas that diverged;
  returns whether anything was left to do.
  """
  display, start = Display(), time.perf_counter()
  config, origin = dataclasses.replace(config, baseline_from=None), config.baseline_from
  data = load_inputs.load_data(config, display.log, loaded)
  order.check(config, data)
  beside = load_inputs.load_beside(config, data)
  # Only now, so that a mistake is told in one line.
  for line in (
    f"sdt: {name}: {_machine(config)}",
    *(f"note: {note}" for note in load_inputs.notes(config, data, beside)),
  ):
    display.log(line)
  identity = Identity.of(config, data, beside)
  resume.refuse_other_processes(identity)
  data_secs = time.perf_counter() - start
  found = (
    reused_baseline.find(Path(origin), config, identity)
    if origin is not None and reused_baseline.is_needed(workdir)
    else None
  )
  with shared_workdir.hold(workdir) as held:
    store = SharedStore(held / "checkpoints", config.checkpoint.keep, display.log)
    choices = resume.check_same_run(identity, held, store, log=display.log)
    lacking = processes.by_first(
      lambda: [path.name for path in resume.missing(held, order.outputs(config, data))]
    )
    if not lacking:
      if profile:
        display.log(
          "note: --profile traces a dispatch of a training, and none is left; choose another "
          "--workdir"
        )
      return False
    if all(name.endswith((".html", ".png")) for name in lacking):
      display.log(f"only the report is missing ({lacking[0]}): it is made again")
      _build_report(held)
    else:
      stop = stop or StopRequest()
      with stop.listening(display.log), device_memory_errors():
        timing = Timing.read(held / "timing.json", start)
        timing.stages["data"] = timing.stages.get("data", 0.0) + data_secs
        if config.compilation_cache:  # before anything is compiled
          environment.use_compilation_cache()
        chosen = order.select(config, data, held, choices, timing, display, stop)
        setup = Setup.make(
          selection.frozen(config, chosen), data, choices, pretrained=beside.pretrained
        )
        setup.choices.update({"selected": chosen} if chosen else {})
        profiler = Profiler(
          held / "profile" if profile and processes.is_first() else None, display.log
        )
        context = Context(
          setup,
          beside,
          held,
          identity=identity,
          store=store,
          display=display,
          stop=stop,
          timing=timing,
          profiler=profiler,
        )
        _begin(context, config)
        _stages_and_report(order, context, found)
    return True


def _stages_and_report(
  order: Order, context: Context, found: reused_baseline.Finished | None
) -> None:
  """Runs what is left of the experiment, then builds its report; the account of time is written
  however this ends.
  """
  try:
    order.stages(context, found)
    context.write_timing()
    context.raise_if_stopped("before the report")
    with context.timing.stage("report"):
      _build_report(context.workdir)
  finally:
    context.write_timing()
  context.display.log(
    "done in "
    f"{duration(time.perf_counter() - context.timing.since)}{_of_all_starts(context.timing)}"
  )


def _of_all_starts(timing: Timing) -> str:
  """Returns what a run that was stopped or killed came to in all, "" for one that was not."""
  if timing.num_starts < 2:
    return ""
  content = timing.to_dict()
  redone = f"{timing.steps_redone} optimiser step(s) made twice, " if timing.steps_redone else ""
  return (
    f", {duration(content['wall_secs'])} in {timing.num_starts} starts ({redone}goodput "
    f"{content['goodput']:.0%})"
  )


def _build_report(workdir: Path) -> None:
  """Builds the report on the first process; the others wait for it."""

  def build() -> None:
    build_report(workdir)

  processes.by_first(build)


@contextlib.contextmanager
def device_memory_errors() -> Iterator[None]:
  """Turns a device that is out of memory into a ConfigError that names the keys to change."""
  try:
    yield
  except jax.errors.JaxRuntimeError as error:
    if "RESOURCE_EXHAUSTED" not in str(error):
      raise
    raise ConfigError(
      f"the device is out of memory ({str(error).splitlines()[0][:200]}); lower batch_size or "
      "score.batch_size, run fewer seeds at once, "
      "choose parallel.replicas=loop, or keep the inputs on the host with data.placement=stream; "
      "--dry_run estimates the memory"
    ) from error


def _machine(config: Config) -> str:
  devices = jax.devices()
  seeds = ", ".join(map(str, config.seeds)) + (
    ", divided over the devices" if config.parallel.divide == "seeds" else ""
  )
  return (
    f"{config.parallel.num_devices or len(devices)} {devices[0].device_kind} device(s), "
    f"{compute_dtype(config).name}, seeds {seeds}"
  )


def _begin(context: Context, config: Config) -> None:
  """Writes what the run is and on what it runs; says what has changed since its last start.

  Args:
    context: of the run.
    config: as the user gave it, before any selection.

  Raises:
    ConfigError: the machine cannot go on with what the run began with.
  """
  setup = context.setup
  resume.refuse_other_machine(setup, context.workdir)
  before = context.workdir / "environment.json"
  if files.is_intact(before):
    changes = environment.changes(files.read_json(before), environment.describe())
    if changes:
      context.display.log(
        f"note: since the last start {'; '.join(changes)}: the last bits may differ from an "
        "uninterrupted run"
      )
  if setup.is_streamed:
    context.display.log(f"note: {setup.placement.note(config.data)}")
  write_config(context.workdir, config)
  write_environment(context)
  context.write_timing()  # this start is counted, however soon it is killed
