"""What a person sees while a run goes on: a bar with the time left on a terminal, one line a round
elsewhere.
"""

import dataclasses
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sdt.devices import processes

_SILENCE_SECS = 30.0


def duration(seconds: float) -> str:
  """Returns "42 s", "3:07" or "2:03:07"."""
  minutes, rest = divmod(round(seconds), 60)
  if not minutes:
    return f"{rest} s"
  hours, minutes = divmod(minutes, 60)
  return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class Display:
  """Prints what a run does to stderr; results go to stdout.

  `is_terminal` chooses rich's bar or plain lines.
  """

  def __init__(self, is_terminal: bool | None = None):
    self._is_terminal = processes.is_first() and (
      sys.stderr.isatty() if is_terminal is None else is_terminal
    )
    self._bar: Any = None
    self._expected: dict[str, int] = {}
    self.paces: dict[str, float] = {}  # seconds a unit, by its name, of the newest task

  def expect(self, totals: Mapping[str, int]) -> None:
    """Takes note of the tasks of a run that share a unit, in order: name -> number of units.

    The time left of the run follows from them.
    """
    self._expected = dict(totals)

  def log(self, text: str) -> None:
    """Prints one line, of several processes on the first alone."""
    if not processes.is_first():
      return
    bar = self._bar  # read once: a signal is told by a thread of its own
    if bar is not None:
      bar.console.print(text, highlight=False, markup=False, soft_wrap=True)
    else:
      print(text, file=sys.stderr, flush=True)

  @contextmanager
  def task(self, name: str, total: int, unit: str, done: int = 0) -> Iterator["Task"]:
    """Gives a Task of `total` units, of which `done` are done already."""
    names = list(self._expected)
    later = names[names.index(name) + 1 :] if name in names else []
    ahead = sum(self._expected[other] for other in later)
    work = Work(name, total, unit, done=done, ahead=ahead)
    if not self._is_terminal:
      yield Task(self, work)
      return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.table import Column

    # On a narrow terminal the news gives way, never the rounds or the time left.
    news = TextColumn(
      "{task.fields[news]}", table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")
    )
    of_work = (
      TextColumn("{task.description}"),
      BarColumn(16),
      MofNCompleteColumn(),
      TextColumn("{task.fields[unit]}"),
    )
    columns = (*of_work, TextColumn("left {task.fields[left]}"), news)
    with Progress(*columns, console=Console(stderr=True), expand=True) as self._bar:
      bar_task = self._bar.add_task(name, total=total, completed=done, unit=unit, left="?", news="")
      try:
        yield Task(self, work, bar=(self._bar, bar_task))
      finally:
        self._bar, bar = None, self._bar
        bar.refresh()


@dataclasses.dataclass(frozen=True)
class Work:
  """A piece of work with a known number of units.

  Attributes:
    name: what is shown.
    total: units.
    unit: name of a unit.
    done: units that were done before.
    ahead: units of the tasks that follow in the run.
  """

  name: str
  total: int
  unit: str
  done: int = 0
  ahead: int = 0


class Task:
  """Shows how far a piece of work is.

  The time left follows from the pace since the end of the first dispatch, which is slower than the
  others. Until there is such a pace, that of the task before counts, or that of the first dispatch.
  """

  def __init__(self, display: Display, work: Work, bar: tuple[Any, Any] | None = None):
    self._display, self._work, self._bar = display, work, bar
    self._since = self._last_line = time.perf_counter()
    self._from = self._done = float(work.done)
    self._is_first, self._pace = True, display.paces.get(work.unit)

  def left(self) -> str:
    """Returns the time left of the task and, in brackets, of the run if more tasks follow."""
    if self._pace is None:
      return "?"
    secs = self._pace * (self._work.total - self._done)
    ahead = self._pace * self._work.ahead
    return duration(secs) + (f" (run {duration(secs + ahead)})" if ahead else "")

  def _reach(self, done: float) -> None:
    """Takes note of how far the work is by now, and of its pace, seconds a unit."""
    if done <= self._done:
      return
    now = time.perf_counter()
    pace = (now - self._since) / (done - self._from)
    if self._is_first:
      self._is_first, self._since, self._from = False, now, done
      self._pace = pace if self._pace is None else self._pace
    else:
      self._pace = self._display.paces[self._work.unit] = pace
    self._done = done

  def advance(self, done: float) -> None:
    """Says that `done` units are done, with fractions; prints a line if none came for a while."""
    self._reach(done)
    if self._bar is not None:
      self._bar[0].update(self._bar[1], completed=done, left=self.left())
    elif done != int(done) and time.perf_counter() - self._last_line > _SILENCE_SECS:
      self._last_line = time.perf_counter()
      self._display.log(
        f"{self._work.name}  {self._work.unit} {int(done) + 1}/{self._work.total}  "
        f"{done % 1:.0%} of it done  left {self.left()}"
      )

  def line(self, done: int, news: str, reached: float) -> None:
    """Says that unit `done` is done, with its news; the work has come to `reached` by now."""
    self._reach(reached)
    if self._bar is not None:
      self._bar[0].update(self._bar[1], completed=done, news=news, left=self.left())
      return
    self._last_line = time.perf_counter()
    left = f"  left {self.left()}" if reached < self._work.total else ""
    self._display.log(
      f"{self._work.name}  {self._work.unit} {done}/{self._work.total}  {news}{left}"
    )
