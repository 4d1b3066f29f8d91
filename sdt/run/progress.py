"""What a person sees while a run goes on: a bar with the time left on a terminal, elsewhere lines.

There a training has at most forty: with the one that it compiles, those of some rounds, and those
that break a long silence.
"""

import dataclasses
import itertools
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sdt.devices import processes

_MOST_LINES, _LINES_OF_SILENCE = 39, 8
_SILENCE_SECS = 30.0  # before the first line that breaks it; then twice as long, and so on


def duration(seconds: float) -> str:
  """Returns "42 s", "3:07" or "2:03:07"."""
  minutes, rest = divmod(round(seconds), 60)
  if not minutes:
    return f"{rest} s"
  hours, minutes = divmod(minutes, 60)
  return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def rounds_to_tell(rounds: Sequence[int], rates: Sequence[float]) -> frozenset[int]:
  """Returns which rounds get a line: all, or where they are many the first, the last, the first at
  each lower rate, and every 2nd, 5th, 10th, 20th, ... of them.

  Where the rate falls more often than there are lines, as in every round, the falls have no lines
  of their own.

  Args:
    rounds: those that have figures, ascending, from 1.
    rates: the learning rate of every round, that of round n at n - 1.
  """
  most = _MOST_LINES - _LINES_OF_SILENCE
  if len(rounds) <= most:
    return frozenset(rounds)
  kept = {rounds[0], rounds[-1]}
  falls = [index + 1 for index in range(1, len(rates)) if rates[index] < rates[index - 1]]
  lower = {next((number for number in rounds if number >= fall), rounds[-1]) for fall in falls}
  if len(kept | lower) <= most:
    kept |= lower
  stride = next(
    stride
    for power in itertools.count()
    for stride in (10**power, 2 * 10**power, 5 * 10**power)
    if len(kept | set(rounds[stride - 1 :: stride])) <= most
  )
  return frozenset(kept | set(rounds[stride - 1 :: stride]))


class Display:
  """Prints what a run does to stderr; results go to stdout.

  `is_terminal` chooses rich's bar or plain lines; with `is_quiet` there is neither. With `brief`,
  the name of the run, there are only the bars, or the lines that break a long silence.
  """

  def __init__(self, is_terminal: bool | None = None, *, is_quiet: bool = False, brief: str = ""):
    self._is_quiet, self._brief = is_quiet, brief
    self._is_terminal = (
      (not is_quiet)
      and processes.is_first()
      and (sys.stderr.isatty() if is_terminal is None else is_terminal)
    )
    self._bar: Any = None
    self._expected: dict[str, int] = {}
    self._said: set[str] = set()
    self.paces: dict[str, float] = {}  # seconds a unit, by its name, of the newest task

  @property
  def prefix(self) -> str:
    """What stands before the name of a task."""
    return f"{self._brief}: " if self._brief else ""

  def expect(self, totals: Mapping[str, int]) -> None:
    """Takes note of the tasks of a run that share a unit, in order: name -> number of units.

    The time left of the run follows from them.
    """
    self._expected = dict(totals)

  def log(self, text: str) -> None:
    """Prints one line, of several processes on the first alone; nothing where it is brief."""
    if not self._brief:
      self.tell(text)

  def tell(self, text: str) -> None:
    """Prints one line where anything is printed at all."""
    if self._is_quiet or not processes.is_first():
      return
    bar = self._bar  # read once: a signal is told by a thread of its own
    if bar is not None:
      bar.console.print(text, highlight=False, markup=False, soft_wrap=True)
    else:
      print(text, file=sys.stderr, flush=True)

  def log_once(self, text: str) -> None:
    """Prints a line unless this display has printed it before."""
    if text not in self._said:
      self._said.add(text)
      self.log(text)

  @contextmanager
  def task(
    self,
    name: str,
    total: int,
    unit: str,
    *,
    done: int = 0,
    told: Collection[int] | None = None,
  ) -> Iterator["Task"]:
    """Gives a Task of `total` units, of which `done` are done already.

    Off a terminal only the units in `told` get a line; all by default.
    """
    told, names = (() if self._brief else told), list(self._expected)
    later = names[names.index(name) + 1 :] if name in names else []
    ahead = sum(self._expected[other] for other in later)
    work = Work(name, total, unit, done=done, ahead=ahead, told=told)
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
    columns = (*of_work, TextColumn("left: {task.fields[left]}"), news)
    with Progress(*columns, console=Console(stderr=True), expand=True) as self._bar:
      shown = f"{self.prefix}{name}"
      bar_task = self._bar.add_task(
        shown, total=total, completed=done, unit=unit, left="?", news=""
      )
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
    told: the units that get a line off a terminal; None for all.
  """

  name: str
  total: int
  unit: str
  done: int = 0
  ahead: int = 0
  told: Collection[int] | None = None


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
    num_told = work.total if work.told is None else len(work.told)
    self._silences_left = max(_LINES_OF_SILENCE, _MOST_LINES - num_told)
    self._silence_secs = _SILENCE_SECS

  def left(self) -> str:
    """Returns the time left: of the task or, if others of its kind follow, of arm and run."""
    if self._pace is None:
      return "?"
    secs = self._pace * (self._work.total - self._done)
    ahead = self._pace * self._work.ahead
    return f"arm {duration(secs)}, run {duration(secs + ahead)}" if ahead else duration(secs)

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
      return
    is_silent = time.perf_counter() - self._last_line > self._silence_secs
    if done != int(done) and is_silent and self._silences_left:
      self._silence_secs *= 2
      self._silences_left -= 1
      self._print(int(done) + 1, f"{done % 1:.0%} of it done  left: {self.left()}")

  def line(self, done: int, news: str, reached: float) -> None:
    """Says that unit `done` is done, with its news; the work has come to `reached` by now."""
    self._reach(reached)
    if self._bar is not None:
      self._bar[0].update(self._bar[1], completed=done, news=news, left=self.left())
      return
    if self._work.told is None or done in self._work.told:
      left = f"  left: {self.left()}" if reached < self._work.total else ""
      self._print(done, news + left)

  def _print(self, number: int, news: str) -> None:
    self._last_line = time.perf_counter()
    self._display.tell(
      f"{self._display.prefix}{self._work.name}  {self._work.unit} {number}/{self._work.total}  "
      f"{news}"
    )
