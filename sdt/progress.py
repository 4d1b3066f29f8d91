"""What a person sees while a run goes on: a bar with the time left on a terminal, one line a round elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sdt import processes

_SILENCE_SECS = 30.0


def duration(seconds: float) -> str:
  """Returns "42 s", "3:07" or "2:03:07"."""
  minutes, rest = divmod(round(seconds), 60)
  if not minutes:
    return f"{rest} s"
  hours, minutes = divmod(minutes, 60)
  return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class Display:
  """Prints the story of a run to stderr; results go to stdout. `is_terminal` chooses rich's bar or plain lines."""

  def __init__(self, is_terminal: bool | None = None):
    self._is_terminal = processes.is_first() and (sys.stderr.isatty() if is_terminal is None else is_terminal)
    self._bar: Any = None

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
    if not self._is_terminal:
      yield Task(self, name, total, unit, done)
      return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.table import Column

    # On a narrow terminal the news gives way, never the rounds or the time left.
    news = TextColumn("{task.fields[news]}", table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"))
    of_work = (TextColumn("{task.description}"), BarColumn(16), MofNCompleteColumn(), TextColumn("{task.fields[unit]}"))
    columns = (*of_work, TextColumn("left"), TimeRemainingColumn(elapsed_when_finished=False), news)
    with Progress(*columns, console=Console(stderr=True), speed_estimate_period=600, expand=True) as self._bar:
      bar_task = self._bar.add_task(name, total=total, completed=done, unit=unit, news="")
      try:
        yield Task(self, name, total, unit, done, (self._bar, bar_task))
      finally:
        self._bar, bar = None, self._bar
        bar.refresh()


class Task:
  """A piece of work with a known number of units."""

  def __init__(self, display: Display, name: str, total: int, unit: str, done: int, bar: Any = None):
    self._display, self._name, self._total, self._unit, self._bar = display, name, total, unit, bar
    self._first, self._start, self._last_line = done, time.perf_counter(), time.perf_counter()

  def left(self, done: float) -> str:
    """Returns the estimated time to the end, from the units done in this process."""
    if done <= self._first:
      return "?"
    return duration((time.perf_counter() - self._start) * (self._total - done) / (done - self._first))

  def advance(self, done: float) -> None:
    """Says that `done` units are done, a fraction of one counted; prints a line only if none has come for a while."""
    if self._bar is not None:
      self._bar[0].update(self._bar[1], completed=done)
    elif done != int(done) and time.perf_counter() - self._last_line > _SILENCE_SECS:
      self._last_line = time.perf_counter()
      self._display.log(f"{self._name}  {self._unit} {int(done) + 1}/{self._total}  {done % 1:.0%} of it done  left {self.left(done)}")

  def line(self, done: int, news: str, reached: float) -> None:
    """Says that unit `done` is done, with its news; `reached`, as much or more, is how far the work is by now."""
    if self._bar is not None:
      self._bar[0].update(self._bar[1], completed=done, news=news)
      return
    self._last_line = time.perf_counter()
    left = f"  left {self.left(reached)}" if reached < self._total else ""
    self._display.log(f"{self._name}  {self._unit} {done}/{self._total}  {news}{left}")
