"""A signal is told at once, whatever the main thread is doing, and asks the run to stop."""

import hashlib
import os
import signal
import threading
import time

import pytest

from sdt.run.progress import Display
from sdt.run.signals import StopRequest


@pytest.fixture(autouse=True)
def handlers():
  """The handlers of a plain process: not those of nohup, or that another test has left."""
  numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
  before = {number: signal.signal(number, signal.SIG_DFL) for number in numbers}
  yield
  for number, handler in before.items():
    signal.signal(number, handler)


def busy():
  """Computes in one call that no handler of Python's can interrupt, as a compilation does.

  It takes a quarter of a second or more, much longer than the delays of the signals.
  """
  hashlib.pbkdf2_hmac("sha256", b"", b"", 1_000_000)
  return time.monotonic()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_is_told_at_once_and_once_though_one_call_takes_long(number):
  stop, told = StopRequest(), []
  before = signal.getsignal(number)
  with stop.listening(lambda line: told.append((time.monotonic(), line))):
    for delay in (0.01, 0.05):
      threading.Timer(delay, os.kill, (os.getpid(), number)).start()
    start, end = time.monotonic(), busy()
    assert stop.asked() == number.name
  ((at, line),) = told
  assert line.startswith(f"{number.name} received: the run stops when")
  assert start < at < end
  assert signal.getsignal(number) is before
  assert "signals" not in {thread.name for thread in threading.enumerate()}


def test_a_block_without_a_signal_says_nothing_and_blocks_may_be_nested():
  stop, told = StopRequest(), []
  with stop.listening(told.append):
    with stop.listening(told.append):
      os.kill(os.getpid(), signal.SIGTERM)
    assert len(told) == 1
    os.kill(os.getpid(), signal.SIGINT)
  assert len(told) == 1
  assert stop.asked() == "SIGTERM"
  with StopRequest().listening(told.append):
    pass
  assert len(told) == 1
  assert signal.set_wakeup_fd(-1) == -1


def test_a_run_under_nohup_goes_on_without_its_terminal():
  told, stop = [], StopRequest()
  before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
  try:
    with stop.listening(told.append):
      os.kill(os.getpid(), signal.SIGHUP)
      time.sleep(0.05)
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
  finally:
    signal.signal(signal.SIGHUP, before)
  assert (told, stop.asked()) == ([], None)


def test_other_handlers_wake_nobody():
  told, caught = [], []
  before = signal.signal(signal.SIGUSR1, lambda *_: caught.append(True))
  try:
    with StopRequest().listening(told.append):
      os.kill(os.getpid(), signal.SIGUSR1)
  finally:
    signal.signal(signal.SIGUSR1, before)
  assert (told, caught) == ([], [True])


def test_a_line_from_the_thread_of_signals_stands_above_the_bar(capsys):
  display, stop, told = Display(True), StopRequest(), threading.Event()

  def log(line):
    display.log(line)
    told.set()

  with stop.listening(log), display.task("baseline", 4, "round") as task:
    os.kill(os.getpid(), signal.SIGTERM)
    task.line(2, "lr 0.1", 2)
    assert told.wait(timeout=60)
    task.advance(4)
  text = capsys.readouterr().err
  assert (
    "SIGTERM received: the run stops when the dispatch or the compilation under way has ended "
    "and is saved\n"
  ) in text
  assert "4/4 round" in text


def test_after_a_run_of_its_own_process_another_signal_changes_nothing():
  """It would change the exit code of a run that has saved."""

  class Start:
    is_for_the_start = True

    def __call__(self, number, frame):
      pytest.fail("the handler of the start is back")

  before = signal.signal(signal.SIGTERM, Start())
  try:
    with StopRequest().listening(lambda line: None):
      os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.05)
  finally:
    signal.signal(signal.SIGTERM, before)
