"""The command `doctor`: examines a network in seven steps, and says in words what is wrong."""

import contextlib
import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdt.commands import words
from sdt.config import Config, resolve
from sdt.config.command_line import Request, parse_arguments, program
from sdt.config.config_file import load_config_file
from sdt.config.toolbox.training_blocks import FULL_BATCH
from sdt.devices.start import find_devices, load_jax
from sdt.doctor.plan import CHEAP, PLAN, number_of, parse_steps
from sdt.errors import ConfigError, Interrupted, SdtError

if TYPE_CHECKING:
  from sdt.doctor.steps import Advice
  from sdt.doctor.visit import Visit
  from sdt.run.signals import StopRequest

USAGE = "doctor --config=FILE [--steps=1-4] [--workdir=DIR] [--config.KEY=VALUE ...]"
FAULT_FOUND = 8  # the exit code
_NAMES = [f"  {number_of(name)} {row.title:<16} {row.line}" for name, row in PLAN.items()]
HELP = f"""\
Examines the network of a config before it is trained, and says what it finds and what to do:

{chr(10).join(_NAMES)}

  --config=FILE         a config file, or a name, as of train
  --config.KEY=VALUE    replaces a key
  --steps=STEPS         numbers or names, such as 1-4, 5-7, 3 or rates; by default the cheap ones,
                        1-4, and what the others would take is told
  --workdir=DIR         as of train; doctor.html and doctor.json go there, and doctor/ with the
                        trials of the grids. The files of a run there stay as they are

The exit code is {FAULT_FOUND} where a fault was found, else 0. docs/doctor.md has the rules."""
FLAGS = ("--config=", "--steps=", "--workdir=", "--help")


@dataclasses.dataclass(frozen=True)
class Asked:
  """What the command line asks for; `given` is what stands behind --config."""

  request: Request
  given: str
  steps: tuple[str, ...] = CHEAP
  workdir: str | None = None


def parse(arguments: Sequence[str]) -> Asked:
  """Returns what the arguments ask for.

  Raises:
    ConfigError: an unknown or repeated flag, a value that is missing, no --config, no such step.
  """
  own, of_config = words.read(arguments, FLAGS, USAGE)
  workdir = own.get("workdir")
  if workdir is not None:
    of_config.append(f"--workdir={workdir}")
  steps = parse_steps(own["steps"]) if "steps" in own else CHEAP
  return Asked(
    parse_arguments(of_config), words.given_config(of_config) or "", steps, workdir=workdir
  )


def main(arguments: Sequence[str]) -> int:
  """Runs the command; returns 0, or `FAULT_FOUND` where it has found a fault.

  Raises:
    SdtError: see sdt/errors.py.
  """
  if "--help" in arguments or "-h" in arguments:
    print(f"usage: {program()} {USAGE}\n\n{HELP}")
    return 0
  asked = parse(arguments)
  request = asked.request
  config = resolve(load_config_file(request.config_path, request.argument), request.overrides)
  _refuse(config)
  load_jax()
  return _examine(asked, config)


def _refuse(config: Config) -> None:
  """Refuses a config that cannot be examined: no classes, several configs, no batches."""
  if config.data.name == "curve":
    raise ConfigError("data.name='curve': the toy has no classes to tell apart; give other data")
  if config.sweep.key is not None:
    raise ConfigError(
      f"sweep.key={config.sweep.key!r}: doctor examines one config; leave the sweep out, with "
      "--config.sweep.key=None --config.sweep.values="
    )
  if config.acquire.strategies:
    raise ConfigError(
      f"acquire.strategies={config.acquire.strategies}: doctor examines one run; leave active "
      "learning out, with --config.acquire.strategies="
    )
  if config.optim.name in FULL_BATCH:
    raise ConfigError(
      f"optim.name={config.optim.name!r}: doctor's steps are small batches at several learning "
      "rates; examine the network with sgd or adam"
    )


def _examine(asked: Asked, config: Config) -> int:
  """Takes the steps, prints what they find, and writes the page; returns the exit code."""
  from sdt.devices.memory import device_memory_errors
  from sdt.doctor import record, steps
  from sdt.run import environment
  from sdt.run.signals import StopRequest
  from sdt.stats.finding import FAULT, worst

  workdir, stop = asked.request.workdir, StopRequest()
  _refuse_workdir(workdir)
  find_devices()
  if config.compilation_cache:
    environment.use_compilation_cache()
  visit = _visit(dataclasses.replace(config, baseline_from=None), workdir, stop)
  visit.outcomes.update(record.read(workdir, visit))
  try:
    with contextlib.ExitStack() as around:
      around.enter_context(device_memory_errors())
      # A signal ends the cheap steps at once. A grid saves, and goes on later.
      if not set(asked.steps) <= set(CHEAP):
        around.enter_context(stop.listening(visit.log))
      for lines in steps.examine(visit, asked.steps):
        print(*lines, sep="\n", flush=True)
        _record(asked, visit)
        _raise_if_stopped(stop)
  except SdtError:
    if visit.outcomes:
      _write(asked, visit)  # what was found before
    raise
  print(*_write(asked, visit), sep="\n")
  return FAULT_FOUND if worst(steps.findings_of(visit.outcomes)) == FAULT else 0


def _raise_if_stopped(stop: "StopRequest") -> None:
  """Raises Interrupted where a signal has come while a step was taken."""
  if (name := stop.asked()) is not None:
    raise Interrupted(f"stopped by {name}; what was found is kept, and --steps takes the others")


def _visit(config: Config, workdir: Path, stop: "StopRequest") -> "Visit":
  """Returns an examination of a config and its data, before its first step."""
  from sdt import experiment
  from sdt.doctor.visit import Visit
  from sdt.run import lifecycle, load_inputs
  from sdt.run.progress import Display

  display = Display()
  data = load_inputs.load_data(config, display.log)
  config, notes = load_inputs.settle(config, data, experiment.EXPERIMENT.plans)
  for note in notes:
    display.log(f"note: {note}")
  return Visit(
    config,
    data,
    load_inputs.load_beside(config, data),
    folder=workdir / "doctor",
    run=functools.partial(lifecycle.answer, experiment.EXPERIMENT, stop=stop),
    log=display.log,
  )


def _record(asked: Asked, visit: "Visit") -> dict[str, Any]:
  """Writes doctor.json and returns its content."""
  from sdt.doctor import record, steps

  advice = steps.advise(visit.outcomes)
  about = {"why": advice.why, "command": next_command(asked, advice), **_cost(visit, advice)}
  return record.write(asked.request.workdir, visit, about)


def _write(asked: Asked, visit: "Visit") -> list[str]:
  """Writes doctor.json and doctor.html; returns the last lines that are printed."""
  from sdt.report import doctor_page

  content = _record(asked, visit)
  page, then = doctor_page.write(asked.request.workdir, content), content["next"]
  return ["", f"next: {then['why']}{then['takes']}:", f"  {then['command']}", f"page: {page}"]


def _refuse_workdir(workdir: Path) -> None:
  """Raises a WorkdirError where the page could not be written."""
  from sdt.files.workdir import disk_errors, refuse_others_folder

  with disk_errors(workdir):
    workdir.mkdir(parents=True, exist_ok=True)
    refuse_others_folder(workdir)


def next_command(asked: Asked, advice: "Advice") -> str:
  """Returns the command that does what is advised, with all keys that were given."""
  flags = [] if asked.workdir is None else [f"--workdir={asked.workdir}"]
  flags += [f"--steps={advice.steps}"] if advice.steps else []
  overrides = asked.request.overrides
  return words.written(advice.command, asked.given, overrides, changes=advice.changes, flags=flags)


def _cost(visit: "Visit", advice: "Advice") -> dict[str, Any]:
  """Returns what the steps that are advised would take: seconds, and the same in words."""
  from sdt.doctor.grids import cost
  from sdt.run.progress import duration

  secs = cost(visit, parse_steps(advice.steps)) if advice.steps else None
  takes = "" if secs is None else f" (the steps take about {duration(secs)})"
  return {"seconds": secs, "takes": takes}
