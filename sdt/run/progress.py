"""What a person sees while a run goes on: a bar with the time left on a terminal, one line a round
elsewhere.
"""

from __future__ import annotations

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
  """Prints the story of a run to stderr; results go to stdout. `is_terminal` chooses rich's bar or
  plain lines.
  """

  def __init__(self, is_terminal: bool | None = None):
    self._is_terminal = processes.is_first() and (
      sys.stderr.isatty() if is_terminal is None else is_terminal
    )
    self._bar: Any = None
    self._expected: dict[str, int] = {}
    self.paces: dict[str, float] = {}  # seconds a unit, by its name, of the newest task

  def expect(self, totals: Mapping[str, int]) -> None:
    """Takes note of the tasks of a run that share a unit: name -> its number, in their order. What
    is left of the run follows from it.
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
  def task(self, name: str, total: int, unit: str, done: int = 0) -> Iterator[Task]:
    """Gives a Task of `total` units, of which `done` are done already."""
    names = list(self._expected)
    later = names[names.index(name) + 1 :] if name in names else []
    ahead = sum(self._expected[other] for other in later)
    if not self._is_terminal:
      yield Task(self, name, total, unit=unit, done=done, ahead=ahead)
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
        yield Task(self, name, total, unit=unit, done=done, ahead=ahead, bar=(self._bar, bar_task))
      finally:
        self._bar, bar = None, self._bar
        bar.refresh()


class Task:
  """A piece of work with a known number of units, and with `ahead` more of them in the tasks that
  follow in the run.

  The time left follows from the pace since the end of the first dispatch, whose time is no measure
  for the others; until there is one, from that of the task before, or else of the first dispatch.
  """

  def __init__(
    self,
    display: Display,
    name: str,
    total: int,
    unit: str,
    done: int,
    ahead: int = 0,
    bar: Any = None,
  ):
    self._display, self._name, self._total, self._unit, self._ahead, self._bar = (
      display,
      name,
      total,
      unit,
      ahead,
      bar,
    )
    self._since = self._last_line = time.perf_counter()
    self._from = self._done = float(done)
    self._is_first, self._pace = True, display.paces.get(unit)

  def left(self) -> str:
    """Returns the estimated time to the end of the task and, where more of the kind follows, to the
    end of the run.
    """
    if self._pace is None:
      return "?"
    own = self._pace * (self._total - self._done)
    return duration(own) + (
      f" (run {duration(own + self._pace * self._ahead)})" if self._ahead else ""
    )

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
      self._pace = self._display.paces[self._unit] = pace
    self._done = done

  def advance(self, done: float) -> None:
    """Says that `done` units are done, a fraction of one counted; prints a line only if none has
    come for a while.
    """
    self._reach(done)
    if self._bar is not None:
      self._bar[0].update(self._bar[1], completed=done, left=self.left())
    elif done != int(done) and time.perf_counter() - self._last_line > _SILENCE_SECS:
      self._last_line = time.perf_counter()
      self._display.log(
        f"{self._name}  {self._unit} {int(done) + 1}/{self._total}  {done % 1:.0%} of it done  "
        f"left {self.left()}"
      )

  def line(self, done: int, news: str, reached: float) -> None:
    """Says that unit `done` is done, with its news; `reached`, as much or more, is how far the work
    is by now.
    """
    self._reach(reached)
    if self._bar is not None:
      self._bar[0].update(self._bar[1], completed=done, news=news, left=self.left())
      return
    self._last_line = time.perf_counter()
    left = f"  left {self.left()}" if reached < self._total else ""
    self._display.log(f"{self._name}  {self._unit} {done}/{self._total}  {news}{left}")
