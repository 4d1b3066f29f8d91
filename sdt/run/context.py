"""What the stages of one run share, and the files that say what the run is."""

import dataclasses
from pathlib import Path

from sdt import files
from sdt.config import Config, config_hash, to_dict
from sdt.data import duplicates
from sdt.data.dataset import Copy, Data
from sdt.run import environment
from sdt.run.identity import Identity
from sdt.run.load_inputs import Beside
from sdt.run.loggers.feed import Feed
from sdt.run.profiling import Profiler
from sdt.run.programs import Setup
from sdt.run.progress import Display
from sdt.run.shared_checkpoints import SharedStore
from sdt.run.signals import StopRequest
from sdt.run.timing import Timing


@dataclasses.dataclass(frozen=True)
class Pause:
  """Where a run is interrupted on purpose: when this round of an arm, from 1, has ended."""

  arm: str
  round: int


class Paused(Exception):  # noqa: N818 - nobody made an error
  """A run has come to its `Pause`; everything is saved, and without it the run goes on."""


@dataclasses.dataclass(frozen=True)
class Context:
  """What the stages of one run share: its programs, its workdir, and who is told what."""

  setup: Setup
  beside: Beside
  workdir: Path
  identity: Identity
  store: SharedStore
  display: Display
  stop: StopRequest
  timing: Timing
  profiler: Profiler
  loggers: Feed
  pause: Pause | None = None

  @property
  def config(self) -> Config:
    """The config of the run, with the values that a selection chose."""
    return self.setup.config

  @property
  def data(self) -> Data:
    return self.setup.data

  def write_timing(self) -> None:
    """Writes timing.json."""
    files.write_json(self.workdir / "timing.json", self.timing.to_dict())

  def raise_if_stopped(self, where: str) -> None:
    """Raises Interrupted if a signal has asked the run to stop; `where` says what was going on."""
    self.stop.raise_if_asked(where)

  def pauses_after(self, arm: str) -> int | None:
    """Returns the round of an arm after which the run is interrupted; None for no such round."""
    return self.pause.round if self.pause is not None and self.pause.arm == arm else None

  def pause_if_due(self, arm: str, ended: int) -> None:
    """Raises Paused if so many rounds of the arm, which are saved, are all that is asked for."""
    due = self.pauses_after(arm)
    if due is not None and ended >= due:
      raise Paused(f"{arm}, round {ended}")


def write_config(workdir: Path, config: Config) -> None:
  """Writes config.json."""
  files.write_json(
    workdir / "config.json", {"config": to_dict(config), "hash": config_hash(config)}
  )


def write_duplicates(context: Context) -> None:
  """Writes duplicates.csv, where an example is there more than once."""
  data = context.data
  if data.duplicates.copies:
    header = [*Copy._fields, "class_name"]
    rows = ((*copy, data.class_names[copy.label]) for copy in data.duplicates.copies)
    files.write_csv(context.workdir / duplicates.FILE, header, rows)


def write_environment(context: Context) -> None:
  """Writes environment.json, the choices made so far in it."""
  data = context.data
  described = {
    "name": data.name,
    "variant": data.variant,
    "checksum": data.checksum,
    "notes": data.notes,
    "duplicates": data.duplicates.counts,
  }
  run = {
    "data": described,
    "file_checksums": context.identity.file_checksums,
    "choices": context.setup.choices,
  }
  files.write_json(context.workdir / "environment.json", {**environment.describe(), **run})
