"""What a run would do, without doing it: the resolved config, sizes, optimiser steps, time, memory,
and what stands in its workdir.
"""

from __future__ import annotations

import dataclasses
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax

from sdt import experiment, files
from sdt.arms.catalogue import fold_arms, scoring_arms
from sdt.commands.forecast import (
  SECS_AROUND,
  Pace,
  forecast,
  guess_pace,
  measure_pace,
  training_passes,
)
from sdt.config import Config, to_dict
from sdt.data import cache
from sdt.data.dataset import Data
from sdt.data.published.catalogue import SETS
from sdt.data.stand_in import stand_in
from sdt.devices.layout import bytes_per_device
from sdt.engine.plan import Plan
from sdt.engine.schedule import learning_rates
from sdt.engine.trainer import Trainer
from sdt.errors import MissingDataError
from sdt.files.workdir import disk_errors
from sdt.losses import is_regression
from sdt.models import count_params
from sdt.models.pretrained import Pretrained
from sdt.models.registry import multiply_adds
from sdt.run import resume, reused_baseline
from sdt.run.environment import use_compilation_cache
from sdt.run.identity import Identity
from sdt.run.lifecycle import Order, device_memory_errors
from sdt.run.load_inputs import load_beside, load_data, notes
from sdt.run.programs import Setup
from sdt.run.progress import Display
from sdt.run.saved_states import place_in_words
from sdt.run.selection import FILE, FOLDER, is_on, num_trainings, prepare
from sdt.run.shared_checkpoints import SharedStore

Log = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Found:
  """The data of a run; where they are not on this machine, a stand-in of the published sizes, and
  the error that the run would end with.
  """

  data: Data
  missing: MissingDataError | None = None


@dataclasses.dataclass(frozen=True)
class Standing:
  """What a run would find in its workdir, in words; the choices that an earlier start of it has
  sealed there; whether all is done.
  """

  text: str
  choices: dict[str, Any] | None = None
  is_complete: bool = False


def _silent(line: str) -> None:
  """Drops what only a run that writes could say."""


def find_data(config: Config, log: Log, loaded: Data | None = None) -> Found:
  """Returns the data, checked against the config, as `accept.load_data` does; nothing is
  downloaded, and no cache is written.

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
  found: Found | None = None,
  log: Log | None = None,
  order: Order = experiment.ORDER,
) -> Iterator[str]:
  """Yields what a run would do, line by line; writes nothing but the cache of compiled programs.

  If the data are there, the line on memory compiles a program, and the one on time runs it for a
  second or two.

  Args:
    config: of the run.
    workdir: where the run would live; None where that is not asked.
    found: its data, where the caller has them already.
    log: gets a line of progress at a time; standard error by default.
    order: the kind of experiment.

  Raises:
    ConfigError, DataError, CheckpointError, WorkdirError: before the first line, as the run would.
    MissingDataError: after the last line, where the set is not on this machine; the lines are then
      of the published sizes.
  """
  log = Display().log if log is None else log
  config, origin = dataclasses.replace(config, baseline_from=None), config.baseline_from
  found = find_data(config, log) if found is None else found
  beside = load_beside(config, found.data)
  identity = Identity.of(config, found.data, beside)
  if origin is not None and (workdir is None or reused_baseline.is_needed(workdir)):
    reused_baseline.find(Path(origin), config, identity)
  standing = (
    None
    if workdir is None
    else find_standing(config, found.data, identity, workdir=workdir, order=order)
  )
  setup = Setup.make(
    config,
    found.data,
    None if standing is None else standing.choices,
    pretrained=beside.pretrained,
    is_abstract=True,
  )
  if workdir is not None and standing is not None and standing.choices is not None:
    resume.refuse_other_machine(setup, workdir)
  size, plans = order.plans(config, found.data)
  if is_on(config):
    prepare(config, found.data)
  yield files.json_text(to_dict(config))
  yield ""
  yield from _data_lines(config, found, size)
  yield f"network   {config.model.name}: {_cost(setup)}"
  yield from (f"note      {note}" for note in notes(config, found.data, beside))
  yield from _selection_lines(config, found.data) if is_on(config) else ()
  yield from _work_lines(setup, plans, origin)
  if setup.is_streamed:
    yield f"note      {setup.placement.note(config.data)}"
  if standing is not None:
    yield f"workdir   {workdir}: {standing.text}"
  if standing is None or not standing.is_complete:
    # Without the data no run follows at once, and nobody should wait a minute for the message that
    # they are missing.
    compiled = None if found.missing is not None else _compile(setup, plans, log)
    parts = _memory(setup, plans, compiled)
    yield _memory_line(parts, compiled)
    lacks = sum(count for count, _ in parts) > setup.placement.device_bytes
    if lacks:
      has = f"{setup.placement.device_bytes / 1e6:.0f} MB"
      yield (
        f"note      a device has {has}: lower batch_size, or see data.placement and "
        "parallel.replicas"
      )
    pace = (
      None
      if compiled is None or lacks
      else _pace(
        config, found.data, setup, pretrained=beside.pretrained, compiled=compiled, log=log
      )
    )
    has_begun = standing is not None and standing.choices is not None
    yield from _time_lines(
      setup,
      plans,
      pace,
      origin=origin,
      data=found.data,
      since=" from its start" if has_begun else "",
    )
  if found.missing is not None:
    raise found.missing


def _selection_lines(config: Config, data: Data) -> Iterator[str]:
  """Yields what a selection costs before the run, and that what follows is of its first
  candidates.
  """
  cut, runs = prepare(config, data)
  first, tried = runs[0].config, [trial.of for own in runs for trial in own.trials]
  counts = ", ".join(f"{tried.count(of)} for {of}" for of in dict.fromkeys(tried))
  yield (
    f"selection {num_trainings(runs)} trainings more, each with {len(first.seeds)} seed(s), "
    f"before those below: {len(tried)} trials "
    f"({counts}) and their baseline, on {len(cut.train)} examples; {len(cut.test)} are held out "
    "to choose on"
  )
  yield "          nothing is chosen yet: the sizes here are those of the first candidates"


def _work_lines(setup: Setup, plans: list[Plan], origin: str | None) -> Iterator[str]:
  """Yields rounds, optimiser steps and time; the baseline comes from the workdir `origin` where
  there is one.
  """
  config = setup.config
  rates = learning_rates(config.optim, config.rounds)
  yield f"rounds    {config.rounds}, learning rate {rates[0]:g} to {rates[-1]:g}"
  yield "optimiser steps a round:"
  for plan in plans:
    yield (
      f"  {plan.arm}: "
      f"{' + '.join(f'{phase.name} {phase.num_steps}{phase.note}' for phase in plan.phases)} "
      f"= {plan.steps_per_round}"
    )
  if config.split.policy == "threshold" and len(plans) > 1:
    yield (
      "note "
      "     how many examples A gets is known when they are scored; the figures here are not "
      "of that size"
    )
  folds = fold_arms(config)
  if folds:
    share = f"{len(folds) - 1} of {len(folds)} parts of the training set"
    yield (
      "note "
      f"     score.folds={len(folds)}: {len(folds)} of these trainings, each on {share}, are "
      "there for the scores alone"
    )
  if origin is not None:
    yield f"baseline  taken over from {origin}, not trained{', nor are the folds' if folds else ''}"


def find_standing(
  config: Config, data: Data, identity: Identity, workdir: Path, order: Order = experiment.ORDER
) -> Standing:
  """Returns what a run would find in its workdir. Only reads: the lock is neither taken nor asked,
  no state is loaded.

  Raises:
    ConfigError, DataError: another run lives there. CheckpointError: no checkpoint tells which.
      WorkdirError: it is no directory.
  """
  if not workdir.exists():
    return Standing("nothing there yet")
  with disk_errors(workdir):
    if not workdir.is_dir():
      raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
  store = SharedStore(workdir / "checkpoints", config.checkpoint.keep, _silent, read_only=True)
  choices = resume.check_same_run(identity, workdir, store, log=_silent)
  lacking = resume.missing(workdir, order.outputs(config, data))
  if not lacking:
    return Standing("a complete run of this config; nothing would be done", is_complete=True)
  if all(path.suffix in (".html", ".png") for path in lacking):
    return Standing("a run of this config, complete but for its report, which would be made again")
  if not store.steps():
    begun = (
      "the selection is done, the trainings"
      if (workdir / FILE).exists()
      else "a selection has begun, it"
    )
    has_selection = is_on(config) and (workdir / FOLDER).exists()
    return Standing(
      f"{begun} would go on" if has_selection else "nothing to continue; the run would begin",
      choices,
    )
  meta = resume.newest_meta(store)
  return Standing(
    f"an unfinished run of this config, saved {place_in_words(meta, config.rounds)}; it would be "
    "continued",
    choices,
  )


def _data_lines(config: Config, found: Found, size: int) -> Iterator[str]:
  data = found.data
  shape = list(data.train.inputs.shape[1:])
  sizes = f"{len(data.train)} training and {len(data.test)} test examples of shape {shape}"
  sizes += "" if is_regression(data.train.labels) else f", {len(data.class_names)} classes"
  sizes += f"; A gets {size}" if size else ""
  if found.missing is None:
    yield f"data      {data.name}, {data.variant}: {sizes}"
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


def _time_lines(
  setup: Setup, plans: list[Plan], pace: Pace | None, origin: str | None, data: Data, since: str
) -> Iterator[str]:
  """Yields how long the run takes: at a measured pace or, on CPUs, at a guessed one.

  Args:
    setup: of the run.
    plans: of all its trainings.
    pace: measured; None where it was not.
    origin: the workdir whose baseline is taken over.
    data: of the run.
    since: what to say of a run that has begun.
  """
  config, is_measured = setup.config, pace is not None
  if pace is None:
    if jax.default_backend() != "cpu":
      return  # the guess has never been compared with a measurement
    pace = guess_pace(setup)
  expected = forecast(setup, plans, pace, has_baseline=origin is not None)
  trained = len(plans) if origin is None else len(plans) - 1 - len(fold_arms(config))
  training = (
    f"{_rounded(expected.training)} to train {trained} arm(s) with {len(config.seeds)} seed(s)"
  )
  if is_measured:
    compiling = (
      f"{_rounded(expected.compiling)} "
      f"to compile {expected.num_programs} training program(s) and "
      "those that score"
    )
    parts = f"{training}, {compiling}, {_rounded(SECS_AROUND)} for start and report"
    yield (
      "time "
      f"     roughly {_rounded(expected.total)}{since} on this machine, by dispatches that "
      f"ran just now: {parts}"
    )
  else:
    yield (
      f"time      roughly {training}{since} on this machine, a guess from the multiply-adds, "
      "without compiling and scoring"
    )
  if is_on(config):
    cut, runs = prepare(config, data)
    num_shared = len(scoring_arms(runs[0].config))
    setups = [
      (Setup.make(own.config, cut, is_abstract=True), experiment.plans_of(own.config, cut)[1])
      for own in runs
    ]
    passes = sum(
      training_passes(own, tried[0 if index == 0 else num_shared :])
      * own.replicas_per_device
      / setup.replicas_per_device
      for index, (own, tried) in enumerate(setups)
    )
    yield (
      " "
      f"         and before it roughly {_rounded(passes * pace.pass_secs)} for the trainings "
      "of "
      "the selection"
    )


def _rounded(seconds: float) -> str:
  """Returns the time in the largest unit of which it has two or more: "90 s", "3 minutes", "17
  hours", "4 days".
  """
  units = ((86_400.0, "days"), (3_600.0, "hours"), (60.0, "minutes"), (1.0, "s"))
  size, name = next(((size, name) for size, name in units if seconds >= 2 * size), units[-1])
  return f"{max(1.0, seconds / size):.0f} {name}"


@dataclasses.dataclass(frozen=True)
class _Compiled:
  """The largest training program of a run, compiled for the shapes of its arguments."""

  plan: Plan
  trainer: Trainer
  seconds: float


def _compile(setup: Setup, plans: list[Plan], log: Log) -> _Compiled:
  plan = max(plans, key=lambda plan: len(plan.phases))
  trainer = setup.trainer(plan)
  trainer.set_state(setup.state_shapes)
  log(
    "compiling the largest training program, to see the memory it needs (seconds for small "
    "networks, a minute or two for deep ones)"
  )
  if setup.config.compilation_cache:  # the run that follows finds the program there
    use_compilation_cache()
  with device_memory_errors():
    seconds = trainer.compile()
  log(f"compiled in {seconds:.0f} s")
  return _Compiled(plan, trainer, seconds)


def _pace(
  config: Config,
  data: Data,
  abstract: Setup,
  pretrained: Pretrained | None,
  compiled: _Compiled,
  log: Log,
) -> Pace | None:
  """Returns how fast the compiled program runs here; None where the device has no memory for it
  now.
  """
  log("running a few dispatches of it, to see how long they take")
  try:
    setup = Setup.make(config, data, abstract.choices, pretrained=pretrained)
    return measure_pace(setup, compiled.plan, compiled.trainer, compile_secs=compiled.seconds)
  except jax.errors.JaxRuntimeError as error:
    if "RESOURCE_EXHAUSTED" not in str(error):
      raise
    log(
      "the device has no memory for them now (does another program use it?); the time cannot be "
      "told"
    )
    return None


def _memory(setup: Setup, plans: list[Plan], compiled: _Compiled | None) -> list[tuple[int, str]]:
  """Returns bytes and names of what lies on a device: data, scores, weights with gradient, momentum
  and the copy under way, the program.
  """
  data_bytes, replicas = bytes_per_device(setup.device_data), setup.replicas_per_device
  scores_bytes = 4 * len(setup.data.train) * replicas
  state_bytes = 4 * 4 * count_params(setup.model, setup.input_shape) * replicas
  parts = [
    (data_bytes, "data" if setup.host_inputs is None else "data without inputs"),
    (scores_bytes, "scores"),
    (state_bytes, "weights, gradients, momentum"),
  ]
  dynamics = setup.no_dynamics("baseline")
  if dynamics is not None:
    parts.insert(
      2,
      (
        sum(leaf.nbytes for leaf in jax.tree.leaves(dynamics)) // setup.layout.replica_parts,
        "training dynamics",
      ),
    )
  if setup.is_streamed:
    parts.append((setup.trainer(plans[0]).streamed_bytes(), "streamed inputs"))
  return parts if compiled is None else [*parts, (compiled.trainer.memory_bytes(), "program")]


def _memory_line(parts: list[tuple[int, str]], compiled: _Compiled | None) -> str:
  about = f"about {sum(count for count, _ in parts) / 1e6:.0f} MB"
  if compiled is None:
    about += " and what the program needs, not known yet"
  beside = (
    "; a CPU's process takes about 0.8 GB more, for libraries and compiler"
    if jax.default_backend() == "cpu"
    else ""
  )
  return (
    f"device memory {about}: "
    f"{', '.join(f'{count / 1e6:.1f} {name}' for count, name in parts)}{beside}"
  )
