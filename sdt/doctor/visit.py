"""What the steps of an examination share, and what each leaves."""

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sdt.config import Config
from sdt.data.dataset import Data
from sdt.doctor.lesson import Lesson, plain_config
from sdt.run.load_inputs import Beside
from sdt.run.search.trials import Run
from sdt.stats.finding import Finding, codes
from sdt.types import Log


@dataclasses.dataclass(frozen=True)
class Outcome:
  """What a step has found.

  Attributes:
    findings: at least one.
    measured: the numbers behind them, plain JSON values.
    seconds: that the step took.
  """

  findings: tuple[Finding, ...]
  measured: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  seconds: float = 0.0


@dataclasses.dataclass(frozen=True)
class Visit:
  """One examination.

  Attributes:
    config: of the run that would follow.
    data: its data.
    beside: the other files that it names.
    folder: for the runs of the grids.
    run: trains what a grid asks for.
    log: gets lines of progress.
    outcomes: of the steps so far, by name; those of an earlier examination of the same config too.
  """

  config: Config
  data: Data
  beside: Beside
  folder: Path
  run: Run
  log: Log
  outcomes: dict[str, Outcome] = dataclasses.field(default_factory=dict)

  @functools.cached_property
  def plain(self) -> Config:
    """The config of the baseline alone, with its first seed."""
    return plain_config(self.config)

  @functools.cached_property
  def lesson(self) -> Lesson:
    """The short trainings."""
    return Lesson(self.plain, self.data, self.beside.pretrained)

  @property
  def codes(self) -> set[str]:
    """The codes of all notes and faults so far."""
    return set().union(*(codes(one.findings) for one in self.outcomes.values()))

  def measured(self, step: str, name: str) -> Any:
    """Returns a number that a step has measured; None where it did not run."""
    outcome = self.outcomes.get(step)
    return None if outcome is None else outcome.measured.get(name)
