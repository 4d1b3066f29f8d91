"""Feeds the loggers of a run from its metrics.jsonl; whatever becomes of them, the run goes on."""

import functools
import queue
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sdt import files
from sdt.config import Config, to_dict
from sdt.devices import processes
from sdt.run import metrics
from sdt.run.loggers.points import final_of, points_of
from sdt.run.loggers.protocol import About, Logger
from sdt.run.loggers.table import LOGGERS, asked_for

FILE = "loggers.json"
# So long the end of a run waits for its loggers, and the end of one that was told to stop.
_PATIENCE_SECS, _HASTE_SECS = 60.0, 5.0


class Feed:
  """The loggers of a run in this process; without any where none is asked for."""

  def __init__(self, workdir: Path, loggers: Sequence["Guarded"] = ()):
    self._workdir, self._loggers, self._has_begun = workdir, loggers, False

  @classmethod
  def of(cls, config: Config, workdir: Path, log: Callable[[str], None]) -> "Feed":
    """Returns the loggers that a config asks for, of several processes on the first alone."""
    names = asked_for(config.log)
    if not names or not processes.is_first():
      return cls(workdir)
    about = About(workdir.name, workdir, to_dict(config), run_id=_run_id(workdir))
    makers = {name: functools.partial(LOGGERS[name].make, about) for name in names}
    return cls(workdir, [Guarded(name, make, log) for name, make in makers.items()])

  def add(self, rows: Sequence[metrics.Row]) -> None:
    """Sends rows that have just been appended to metrics.jsonl.

    The first call of a process sends all rows of the file.
    """
    if not self._loggers:
      return
    new = rows if self._has_begun else files.read_rows(self._workdir / metrics.FILE)
    self._has_begun = True
    for logger in self._loggers:
      logger.send(lambda one: one.write(points_of(new)))

  def finish(self, results: Mapping[str, Any]) -> None:
    """Sends what the run comes to, the content of results.json, and waits until it is received.

    It comes before results.json is written: once that is there, no process sends anything again.
    Of a run that was extended it comes after: a kill in between leaves the loggers without.
    """
    self.add(())
    for logger in self._loggers:
      logger.send(lambda one: one.conclude(final_of(results)))
    self._end(_PATIENCE_SECS, is_complete=True)

  def close(self) -> None:
    """Ends the loggers of a run that has not come to its end; after `finish` it does nothing."""
    self._end(_HASTE_SECS, is_complete=False)

  def _end(self, patience: float, *, is_complete: bool) -> None:
    ended, self._loggers = self._loggers, ()
    for logger in ended:
      logger.end(is_complete=is_complete)
    until = time.perf_counter() + patience
    for logger in ended:
      logger.wait(max(0.0, until - time.perf_counter()))


class Guarded:
  """A logger in a thread of its own: nobody waits for it, and no error of it leaves the thread.

  An error is told once, and ends the logger.
  """

  def __init__(self, name: str, make: Callable[[], Logger], log: Callable[[str], None]):
    self._name, self._make, self._log = name, make, log
    self._is_over = False
    self._acts: queue.SimpleQueue[Callable[[Logger], None] | None] = queue.SimpleQueue()
    self._thread: threading.Thread | None = None

  def send(self, act: Callable[[Logger], None]) -> None:
    """Has the thread do something with the logger, after all that was sent before.

    The first call makes the logger.
    """
    if self._is_over:
      return
    self._acts.put(act)
    if self._thread is None:
      self._thread = threading.Thread(target=self._work, name=f"log.{self._name}", daemon=True)
      self._thread.start()

  def end(self, *, is_complete: bool) -> None:
    """Ends the logger after all that was sent before, if it was made."""
    if self._thread is not None:
      self.send(lambda logger: logger.close(is_complete=is_complete))
      self._acts.put(None)

  def wait(self, secs: float) -> None:
    """Waits until the logger has ended, but no longer than so; tells where it has not."""
    if self._thread is None:
      return
    self._thread.join(secs)
    if self._thread.is_alive():
      self._tell("it has not received everything yet, and is no longer waited for")

  def _work(self) -> None:
    try:
      logger = self._make()
      while (act := self._acts.get()) is not None:
        act(logger)
    except Exception as error:
      self._tell(f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")
    finally:
      self._is_over = True

  def _tell(self, what: str) -> None:
    self._log(
      f"note: log.{self._name}: {what}; the run goes on without it, and metrics.jsonl has every row"
    )


def _run_id(workdir: Path) -> str:
  """Returns the id of a run, from loggers.json; a run that was copied elsewhere gets another."""
  path, here = workdir / FILE, str(workdir)
  if files.is_intact(path):
    content = files.read_json(path)
    if content.get("workdir") == here:
      return content["run_id"]
  run_id = secrets.token_hex(4)
  files.write_json(path, {"run_id": run_id, "workdir": here})
  return run_id
