"""Handles SIGTERM, SIGINT and SIGHUP: logs the signal at once, stops after the current dispatch."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from sdt.devices import processes
from sdt.errors import Interrupted

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class StopRequest:
  """Whether SIGTERM, SIGINT or SIGHUP has asked the run to stop; asked again after every dispatch.

  `name` is the signal that came to this process. What it means to the run is what all processes
  know of (`asked`).
  """

  def __init__(self) -> None:
    self.name: str | None = None
    self._is_told = False

  def asked(self) -> str | None:
    """Returns the signal that has come to any of the processes; None without one.

    All processes must ask at the same point of their work.
    """
    return next((name for name in processes.gather(self.name) if name is not None), None)

  def raise_if_asked(self, where: str, again: str = "the same command") -> None:
    """Raises Interrupted if a signal has asked to stop; `where` says what was going on.

    For work that is saved and that `again` continues. As `asked`: by all processes.
    """
    name = self.asked()
    if name is not None:
      raise Interrupted(
        f"stopped by {name} {where}; everything done so far is saved: run {again} again to continue"
      )

  @contextmanager
  def listening(self, tell: Callable[[str], None]) -> Iterator[None]:
    """Catches the signals inside the block; a second signal changes nothing.

    A SIGHUP that is ignored stays so: nohup starts a run that outlives its terminal.

    After it the handlers from before are back, but where these are for the start of a run
    (`is_for_the_start`): a process that has saved and is about to end is not to be hurried.

    `tell` gets a line when the first comes, in a thread of its own: Python's handlers wait until a
    call into the devices or the compiler returns, which may take a minute, and what they interrupt
    may be printing.
    """
    receiving, sending = os.pipe()
    os.set_blocking(sending, False)
    teller = threading.Thread(
      target=self._tell_of, args=(receiving, tell), name="signals", daemon=True
    )
    teller.start()

    def note(number: int, frame: FrameType | None) -> None:
      del frame
      self.name = self.name or signal.Signals(number).name
      _write(
        sending, number
      )  # once more: an event loop may have had the wakeup descriptor for itself

    is_nohup = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    caught = [number for number in _SIGNALS if not (number == signal.SIGHUP and is_nohup)]
    before = {number: signal.signal(number, note) for number in caught}
    woken_before = signal.set_wakeup_fd(sending, warn_on_full_buffer=False)
    try:
      yield
    finally:
      signal.set_wakeup_fd(woken_before)
      for number, handler in before.items():
        signal.signal(
          number, signal.SIG_IGN if getattr(handler, "is_for_the_start", False) else handler
        )
      os.close(sending)
      teller.join()

  def _tell_of(self, receiving: int, tell: Callable[[str], None]) -> None:
    """Tells of the first signal whose number comes out of the pipe; ends with the pipe."""
    with open(receiving, "rb", buffering=0) as numbers:
      while piece := numbers.read(64):
        names = [signal.Signals(number).name for number in piece if number in _SIGNALS]
        if names and not self._is_told:
          self._is_told = True
          tell(
            f"{names[0]} received: the run stops when the dispatch or the compilation under way "
            "has ended and is saved"
          )


def _write(pipe: int, number: int) -> None:
  """Writes a byte; a pipe that is full has enough of them."""
  try:
    os.write(pipe, bytes([number]))
  except BlockingIOError:
    pass
