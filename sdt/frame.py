"""What every run has around its stages, whatever these are: data, lock, choices, checkpoints, account of time, report.

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
import numpy as np

from sdt import accept, baseline, continuation, environment, files, selection
from sdt.config import Config, config_hash, to_dict
from sdt.data.dataset import Data
from sdt.devices import processes
from sdt.engine.plan import Plan
from sdt.engine.state import TrainState
from sdt.errors import CheckpointError, ConfigError, DataError
from sdt.profiling import Profiler
from sdt.progress import Display, duration
from sdt.report import build_report
from sdt.run import shared_workdir
from sdt.setup import Resume, Setup, compute_dtype
from sdt.shared_store import SharedStore
from sdt.stop import StopRequest
from sdt.training import Context, Identity, Timing, has_rows, restore_final, restore_newest, train_arm


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
    plans: (config, data) -> the size of A and every arm's plan, before anything is known of what A is.
    stages: (context, a baseline to take over or None) runs what is left of it and writes results.json.
    table: results.json -> the text that is printed at the end.
    select: (config, data, workdir, earlier choices, timing, display, stop) -> values of config keys that it chooses before the stages.
  """

  check: Callable[[Config, Data], None]
  outputs: Callable[[Config, Data], list[str]]
  plans: Callable[[Config, Data], tuple[int, list[Plan]]]
  stages: Callable[[Context, baseline.Finished | None], None]
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
    config: `baseline_from` says how a part of the results comes about, not which they are: it is not written to the workdir.
    workdir: of the run.
    name: what the run is called on the screen.
    loaded: its data, where the caller has them already.
    stop: asked as well whether the run shall stop.
    profile: whether a dispatch is traced, into `workdir`/profile.

  Raises:
    SdtError: see sdt/errors.py; nothing is written before the data has been accepted.
  """
  is_new = complete(order, config, workdir, name, loaded, stop, profile)

  def tell() -> int:
    print(order.table(files.read_json(workdir / "results.json")))
    print(f"report: {workdir / 'report.html'}" if is_new else f"complete: nothing to do; the report is {workdir / 'report.html'}")
    return continuation.exit_code(workdir)

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
  """Does what `run` does, but prints no results and takes no notice of replicas that diverged; returns whether anything was left to do."""
  display, start = Display(), time.perf_counter()
  config, origin = dataclasses.replace(config, baseline_from=None), config.baseline_from
  data = accept.load_data(config, display.log, loaded)
  order.check(config, data)
  beside = accept.load_beside(config, data)
  # Only now, so that a mistake is told in one line.
  for line in (f"sdt: {name}: {_machine(config)}", *(f"note: {note}" for note in accept.notes(config, data, beside))):
    display.log(line)
  identity = Identity.of(config, data, beside)
  continuation.refuse_other_processes(identity)
  data_secs = time.perf_counter() - start
  found = baseline.find(Path(origin), config, identity) if origin is not None and baseline.is_needed(workdir) else None
  with shared_workdir.hold(workdir) as held:
    store = SharedStore(held / "checkpoints", config.checkpoint.keep, display.log)
    choices = continuation.check_same_run(identity, held, store, display.log)
    lacking = processes.by_first(lambda: [path.name for path in continuation.missing(held, order.outputs(config, data))])
    if not lacking:
      if profile:
        display.log("note: --profile traces a dispatch of a training, and none is left; choose another --workdir")
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
        setup = Setup.make(selection.frozen(config, chosen), data, choices, pretrained=beside.pretrained)
        setup.choices.update({"selected": chosen} if chosen else {})
        profiler = Profiler(held / "profile" if profile and processes.is_first() else None, display.log)
        context = Context(setup, beside, held, identity, store, display, stop, timing, profiler)
        _begin(context, config)
        _stages_and_report(order, context, found)
    return True


def _stages_and_report(order: Order, context: Context, found: baseline.Finished | None) -> None:
  """Runs what is left of the experiment, then builds its report; the account of time is written however this ends."""
  try:
    order.stages(context, found)
    context.write_timing()
    context.raise_if_stopped("before the report")
    with context.timing.stage("report"):
      _build_report(context.workdir)
  finally:
    context.write_timing()
  context.display.log(f"done in {duration(time.perf_counter() - context.timing.since)}{_of_all_starts(context.timing)}")


def _of_all_starts(timing: Timing) -> str:
  """Returns what a run that was stopped or killed came to in all, "" for one that was not."""
  if timing.num_starts < 2:
    return ""
  content = timing.to_dict()
  redone = f"{timing.steps_redone} optimiser step(s) made twice, " if timing.steps_redone else ""
  return f", {duration(content['wall_secs'])} in {timing.num_starts} starts ({redone}goodput {content['goodput']:.0%})"


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
      f"the device is out of memory ({str(error).splitlines()[0][:200]}); lower batch_size or score.batch_size, run fewer seeds at once, "
      "choose parallel.replicas=loop, or keep the inputs on the host with data.placement=stream; --dry_run estimates the memory"
    ) from error


def resume(context: Context, rounds: Mapping[str, int]) -> tuple[int, tuple[str, Resume] | None]:
  """Returns the index of the arm that was reached, 0 at the start, and the newest checkpoint, where there is one.

  Args:
    context: of the run.
    rounds: of every arm, in the order of training.
  """
  context.display.expect(rounds)
  with context.timing.stage("restore"):
    newest = restore_newest(context)
  if newest is None and context.timing.num_starts > 1:
    context.display.log("no checkpoint was saved by the last start: the training begins anew")
  reached = list(rounds).index(newest[0]) if newest else 0
  _forget_rows_after(context, rounds, reached, newest[1] if newest else None)
  return reached, newest


def train_or_skip(context: Context, plan: Plan, index: int, reached: int, newest: tuple[str, Resume] | None) -> TrainState | None:
  """Trains an arm from where its newest checkpoint stands; returns its final state, None where it was finished before."""
  if index < reached:
    return None
  start = newest[1] if newest and index == reached else None
  if start is not None and start.position.round_index >= plan.rounds:
    return start.state
  if start is None:
    start = context.setup.warm_start(restore_final(context, 0)) if plan.init == "warm" else context.setup.fresh_start
  trainer = context.setup.trainer(plan)
  write_environment(context)  # how the arm is cut into dispatches is sealed before it trains
  with context.timing.stage(f"train {plan.arm}"):
    return train_arm(context, trainer, plan, index, start)


def _forget_rows_after(context: Context, rounds: Mapping[str, int], reached: int, newest: Resume | None) -> None:
  """Drops the rows of metrics.jsonl that the newest checkpoint does not cover: they will be made again, and each must stand once."""
  arms, num_rounds = list(rounds), newest.position.round_index if newest else 0

  def is_covered(row: dict[str, Any]) -> bool:
    index = arms.index(row["arm"])
    return index < reached or (index == reached and row["round"] <= num_rounds)

  path = context.workdir / "metrics.jsonl"
  if not context.store.steps() and files.is_intact(context.workdir / "results.json"):
    raise CheckpointError(
      f"{context.workdir} holds a finished run whose checkpoints are gone, and some of its files are missing or damaged; restore the "
      "checkpoints, or choose another --workdir to train it anew"
    )
  lost = [row for row in files.read_rows(path) if not is_covered(row)]
  files.truncate_rows(path, is_covered)
  if lost:
    done = {arms[reached]: int(np.max(newest.state.step))} if newest else {}
    steps = {arm: max(row["step"] for row in lost if row["arm"] == arm) - done.get(arm, 0) for arm in {row["arm"] for row in lost}}
    redone = sum(steps.values())
    context.timing.steps_redone += redone
    context.display.log(f"metrics.jsonl: dropped {len(lost)} row(s) that no checkpoint covers; {redone} optimiser step(s) are made again")
  seeds, config = context.setup.config.seeds, context.setup.config
  there = sorted((arms.index(row["arm"]), row["round"], row["seed"]) for row in files.read_rows(path) if row["last_phase"])
  totals = [rounds[arm] for arm in arms[: reached + 1]]
  covered = [*zip(totals[:-1], totals[:-1], strict=True), (num_rounds, totals[-1])]
  ended = [(arm, number) for arm, (count, total) in enumerate(covered) for number in range(1, count + 1) if has_rows(number, total, config)]
  expected = [(arm, number, seed) for arm, number in ended for seed in sorted(seeds)]
  if there != expected:
    raise DataError(
      f"{path}: {len(there)} rows of ended rounds, the checkpoint covers {len(expected)}; restore the file from a copy or start again in a "
      "new workdir"
    )


def _machine(config: Config) -> str:
  devices = jax.devices()
  seeds = ", ".join(map(str, config.seeds)) + (", divided over the devices" if config.parallel.divide == "seeds" else "")
  return f"{config.parallel.num_devices or len(devices)} {devices[0].device_kind} device(s), {compute_dtype(config).name}, seeds {seeds}"


def _begin(context: Context, config: Config) -> None:
  """Writes what the run is and on what it runs; says what has changed since its last start.

  Args:
    context: of the run.
    config: as the user gave it, before any selection.

  Raises:
    ConfigError: the machine cannot go on with what the run began with.
  """
  setup = context.setup
  continuation.refuse_other_machine(setup, context.workdir)
  before = context.workdir / "environment.json"
  if files.is_intact(before):
    changes = environment.changes(files.read_json(before), environment.describe())
    if changes:
      context.display.log(f"note: since the last start {'; '.join(changes)}: the last bits may differ from an uninterrupted run")
  if setup.is_streamed:
    context.display.log(f"note: {setup.placement.note(config.data)}")
  write_config(context.workdir, config)
  write_environment(context)
  context.write_timing()  # this start is counted, however soon it is killed


def write_config(workdir: Path, config: Config) -> None:
  """Writes config.json."""
  files.write_json(workdir / "config.json", {"config": to_dict(config), "hash": config_hash(config)})


def write_environment(context: Context) -> None:
  """Writes environment.json, the choices made so far in it."""
  data = context.setup.data
  described = {"name": data.name, "variant": data.variant, "checksum": data.checksum, "notes": data.notes}
  run = {"data": described, "file_checksums": context.identity.file_checksums, "choices": context.setup.choices}
  files.write_json(context.workdir / "environment.json", {**environment.describe(), **run})
