"""Whole runs on the tiny problem, and what may be compared between two of them."""

import json
import os
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np

from sdt import experiment
from sdt.config import Config
from sdt.errors import SdtError
from sdt.run import lifecycle, progress, saved_states
from sdt.run.checkpoints import CheckpointStore
from sdt.run.programs import Setup
from tests.support import tiny

# One step a dispatch, so that a run can be stopped in the middle of a phase.
CONFIG = tiny.config(parallel__steps_per_dispatch=1, compilation_cache=False)


class _Payload:
  """What runs a command where it is unpickled."""

  def __reduce__(self) -> tuple[Any, ...]:
    return os.system, ("touch executed",)


HOSTILE = pickle.dumps(_Payload())
_TIMES = re.compile(r'<section id="timing".*?</section>', re.DOTALL)


def run(config: Config, workdir: Path) -> int:
  """Returns the exit code of a run in this process."""
  try:
    return experiment.run(config, workdir, "tiny")
  except SdtError as error:
    return error.exit_code


def rows(workdir: Path, *, seconds: bool = False) -> list[dict[str, Any]]:
  """Returns the rows of metrics.jsonl, without the time they took."""
  lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
  return (
    lines
    if seconds
    else [{key: value for key, value in row.items() if key != "seconds"} for row in lines]
  )


def outputs(workdir: Path, *, report: bool = True) -> dict[str, Any]:
  """Returns the content of every artifact that two runs of one command must have in common, times
  cut out.
  """
  timed = ("environment.json", "timing.json", "metrics.jsonl", "report.html")
  content: dict[str, Any] = {"metrics.jsonl": rows(workdir)}
  if report:
    content["report.html"] = _TIMES.sub("", (workdir / "report.html").read_text())
  for path in sorted(workdir.rglob("*")):
    name = str(path.relative_to(workdir))
    of_report = name.startswith("figures/") and path.suffix == ".png"
    is_output = (
      path.is_file()
      and path.name not in (*timed, ".lock")
      and "checkpoints" not in path.relative_to(workdir).parts
    )
    if is_output and (report or not of_report):
      content[name] = path.read_bytes()
  return content


def stamps(workdir: Path) -> dict[str, tuple[int, bytes]]:
  """Returns modification time and bytes of every file but the lock."""
  files = [path for path in workdir.rglob("*") if path.is_file() and path.name != ".lock"]
  return {
    str(path.relative_to(workdir)): (path.stat().st_mtime_ns, path.read_bytes()) for path in files
  }


def final_states(config: Config, workdir: Path) -> list[dict[str, np.ndarray]]:
  """Returns the leaves of the last checkpoint of every arm."""
  setup = Setup.make(config, tiny.data(config))
  store = CheckpointStore(workdir / "checkpoints", 2)
  last = {saved_states.CheckpointKey.of(step).arm: step for step in store.steps()}
  restored = [
    store.restore(step, saved_states.saved_like(setup, arm))[0] for arm, step in last.items()
  ]
  return [tiny.leaves({name: tree[name] for name in ("state", "dynamics")}) for tree in restored]


def assert_same(config: Config, left: Path, right: Path, *, report: bool = True) -> None:
  """Asserts that two workdirs hold the same artifacts, and networks of the same bits."""
  ours, theirs = outputs(left, report=report), outputs(right, report=report)
  assert ours.keys() == theirs.keys()
  for name in ours:
    assert ours[name] == theirs[name], name
  for one, other in zip(final_states(config, left), final_states(config, right), strict=True):
    for name, leaf in one.items():
      np.testing.assert_array_equal(leaf, other[name], err_msg=name)


def signal_at(monkeypatch: Any, task: str, done: float, number: int, times: int = 1) -> None:
  """Sends this process a real signal as soon as `done` units of a task are done."""
  advance, left = progress.Task.advance, [times]

  def advance_and_kill(self: progress.Task, at: float) -> None:
    advance(self, at)
    if self._work.name == task and at >= done and left[0]:
      left[0] -= 1
      os.kill(os.getpid(), number)

  monkeypatch.setattr(progress.Task, "advance", advance_and_kill)


def without_report(monkeypatch: Any) -> None:
  """Leaves the report out, which takes most of the time of a tiny run."""
  monkeypatch.setattr(lifecycle, "build_report", lambda workdir: workdir)
