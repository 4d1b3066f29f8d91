"""What a run says and writes when it begins: on what it runs, and what has changed since."""

import jax

from sdt import files
from sdt.config import Config
from sdt.run import environment, resume
from sdt.run.context import Context, write_config, write_duplicates, write_environment
from sdt.run.programs import compute_dtype
from sdt.run.progress import duration
from sdt.run.timing import Timing


def machine(config: Config) -> str:
  """Returns devices, arithmetic and seeds in words."""
  devices = jax.devices()
  seeds = ", ".join(map(str, config.seeds)) + (
    ", divided over the devices" if config.parallel.divide == "seeds" else ""
  )
  return (
    f"{config.parallel.num_devices or len(devices)} {devices[0].device_kind} device(s), "
    f"{compute_dtype(config).name}, seeds {seeds}"
  )


def of_all_starts(timing: Timing) -> str:
  """Returns what a run that was stopped or killed came to in all, "" for one that was not."""
  if timing.num_starts < 2:
    return ""
  content = timing.to_dict()
  redone = f"{timing.steps_redone} optimiser step(s) made twice, " if timing.steps_redone else ""
  return (
    f", {duration(content['wall_secs'])} in {timing.num_starts} starts ({redone}"
    f"training and evaluation {content['goodput']:.0%} of it, selections apart)"
  )


def begin(context: Context, config: Config) -> None:
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
    if context.timing.num_starts > 1 and not context.store.steps():
      context.display.log("no checkpoint was saved by the last start: the training begins anew")
  for note in setup.source.notes:
    context.display.log(f"note: {note}")
  write_config(context.workdir, config)
  write_environment(context)
  write_duplicates(context)
  context.write_timing()  # this start is counted, however soon it is killed
