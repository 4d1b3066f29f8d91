"""Whole runs of run.py as processes: clean, stopped, killed, and on a terminal."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import time

import pytest

from tests.support import whole
from tests.support.places import READS_CACHE_ONLY

# Every line that a clean run may write to stderr.
OURS = re.compile(
  r"sdt: shapes: |data: 3 classes, |"
  r"\w+: compiling$|\w+  round \d/4  test \S+ %  train(?: \w+)? \S+ %  train(?: "
  r"\w+)? loss \S+  lr \S+|score: |suspects: |a line of a round has |"
  r"optimiser steps|warning: what weight decay does can hardly be seen|done in "
)


def finish(workdir, *more):
  return subprocess.run(
    whole.command(workdir, *more), capture_output=True, text=True, timeout=300, check=False
  )


def run_until(workdir, line_start, number, *more):
  """Sends the run a signal at the first line that starts so; returns its exit code and lines."""
  process = subprocess.Popen(
    whole.command(workdir, *more),
    stdout=subprocess.DEVNULL,
    stderr=subprocess.PIPE,
    text=True,
    env=os.environ | READS_CACHE_ONLY,
  )
  lines, was_sent = [], False
  with process:
    for line in process.stderr:
      lines.append(line.rstrip("\n"))
      if line.startswith(line_start) and not was_sent:
        process.send_signal(number)
        was_sent = True
  assert was_sent, lines
  return process.returncode, lines


def test_a_clean_run_says_one_line_a_round_and_nothing_that_is_not_ours(reference_run, said):
  lines = said["stderr"].splitlines()
  assert [line for line in lines if not OURS.match(line)] == []
  rounds = [line for line in lines if "  round " in line]
  assert [line.split("  ")[:2] for line in rounds] == [
    [arm, f"round {number}/4"] for arm in ("baseline", "method") for number in (1, 2, 3, 4)
  ]
  assert ["  left: " in line for line in rounds] == [True, True, True, False] * 2
  assert "optimiser steps a round: baseline 5, method 1 + 4" in lines
  results = json.loads((reference_run / "results.json").read_text())
  assert f"{100 * results['arms']['method']['mean']:.2f}" in said["stdout"]
  assert said["stdout"].endswith(f"report: {said['workdir']}/report.html\n")


@pytest.mark.chaos
def test_kills_and_signals_change_no_byte_of_what_is_left(reference_run, tmp_path):
  often = "--config.checkpoint.every_secs=0.000001"
  code, _ = run_until(tmp_path, "baseline  round 2/4", signal.SIGKILL, often)
  assert code == -signal.SIGKILL
  code, lines = run_until(tmp_path, "baseline  round 3/4", signal.SIGTERM)
  assert code == 75
  (story,) = [line for line in lines if line.startswith("continuing ")]
  place = r"in arm baseline after round [12] of 4(?: and \d steps)?"
  assert re.fullmatch(rf"continuing {place} \(checkpoint \d+, the newest that is sound\)", story)
  assert (
    lines.index(next(line for line in lines if line.startswith("SIGTERM received: ")))
    < len(lines) - 1
  )
  assert "stopped by SIGTERM in arm baseline, round" in lines[-1]
  assert not [line for line in lines if "Traceback" in line]
  last = finish(tmp_path)
  assert last.returncode == 0
  redone = r"(?:\d+ optimiser step\(s\) made twice, )?"
  share = r"training and evaluation \d+% of it, selections apart"
  assert re.fullmatch(
    rf"done in .*, \S+(?: s)? in 3 starts \({redone}{share}\)", last.stderr.splitlines()[-1]
  )
  whole.assert_same(whole.CONFIG, reference_run, tmp_path)


def test_the_same_command_again_is_complete_and_another_is_refused_with_2(reference_run):
  before = whole.stamps(reference_run)
  done = finish(reference_run)
  assert done.returncode == 0
  assert [line.split(":")[0] for line in done.stderr.splitlines()] == ["sdt", "data"]
  assert "complete: nothing to do" in done.stdout
  done = finish(reference_run, "--config.eval_every_rounds=2", "--config.method.order=hard_first")
  assert done.returncode == 2
  assert (
    "eval_every_rounds: 1 -> 2; method.order: 'easy_first' -> 'hard_first'"
    in done.stderr.splitlines()[-1]
  )
  assert whole.stamps(reference_run) == before


@pytest.mark.slow
def test_on_a_terminal_a_bar_shows_round_time_left_and_news_and_ends_cleanly(tmp_path):
  ours, theirs = pty.openpty()
  environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "110", "LINES": "30"}
  process = subprocess.Popen(
    whole.command(tmp_path),
    stdin=theirs,
    stdout=theirs,
    stderr=theirs,
    env=environment,
    close_fds=True,
  )
  os.close(theirs)
  screen, end = b"", time.monotonic() + 300
  while time.monotonic() < end:
    if not select.select([ours], [], [], 1.0)[0] and process.poll() is not None:
      break
    try:
      piece = os.read(ours, 65536)
    except OSError:  # the other end is closed
      break
    if not piece:
      break
    screen += piece
  assert process.wait(timeout=60) == 0
  os.close(ours)
  raw = screen.decode()
  text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", raw)
  assert raw.rfind("\x1b[?25h") > raw.rfind("\x1b[?25l")  # the cursor is back
  for part in (
    "baseline",
    "4/4 round",
    "left",
    "test ",
    "method: compiling",
    "score: 70 training examples",
    f"report: {tmp_path}",
  ):
    assert part in text
  assert "Traceback" not in text
  assert "Warning" not in text
