"""What a logger is: a few methods that take points, and what it may know of the run."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol


class Curve(NamedTuple):
  """Whose points these are: one training of one seed."""

  arm: str
  seed: int


class Point(NamedTuple):
  """The figures of one training after one round, by name."""

  curve: Curve
  round: int
  figures: Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class About:
  """What a logger may say of the run.

  Attributes:
    name: the last part of the workdir's path.
    workdir: absolute; what a logger writes there lies in a folder of its own.
    config: as nested dicts.
    run_id: tells this run from all others, and is the same in every process that continues it.
  """

  name: str
  workdir: Path
  config: Mapping[str, Any]
  run_id: str


@dataclasses.dataclass(frozen=True)
class Final:
  """What a run comes to.

  Attributes:
    sentence: the verdict in words; "" where the experiment has none.
    points: of every training the figures of results.json, without those of seeds that diverged.
    means: over the seeds, by figure and arm: "accuracy/method".
  """

  sentence: str
  points: tuple[Point, ...]
  means: Mapping[str, float]


class Logger(Protocol):
  """Shows points to the users of another program.

  A logger is made once in a process, and forgets what an earlier process of the same run has sent:
  it is told every row of metrics.jsonl again, from the first. So it has every point once, whenever
  a process was killed, and whichever rows were dropped and made again.

  Any method may raise any error: the run goes on without the logger.
  """

  def write(self, points: list[Point]) -> None:
    """Takes the points of some rounds, which nobody sends again in this process."""

  def conclude(self, final: Final) -> None:
    """Takes what the run comes to."""

  def close(self, *, is_complete: bool) -> None:
    """Ends it; `is_complete` says whether the run has come to its end."""
