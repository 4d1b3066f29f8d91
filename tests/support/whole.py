"""Whole runs on the tiny problem, and what may be compared between two of them."""

import json
import os
import pickle
import re
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sdt import experiment, files
from sdt.config import Config
from sdt.engine.trainer import Trainer
from sdt.errors import Interrupted, SdtError
from sdt.run import lifecycle, load_inputs, progress, saved_states
from sdt.run.checkpoints import CheckpointStore
from sdt.run.programs import Setup
from tests.support import tiny
from tests.support.places import ROOT


def config(**changes: Any) -> Config:
  """Returns a config with one step a dispatch, so that a run can stop in the middle of a phase.

  Runs of these configs share compiled programs unless `changes` touch the network, the number of
  seeds, rounds or examples, or the size of a batch. Take it wherever another program is not needed.
  """
  return tiny.config(**({"parallel__steps_per_dispatch": 1, "compilation_cache": False} | changes))


CONFIG = config()


_OVERRIDES = """
data.shapes.num_train=70 data.shapes.num_test=30 data.shapes.num_classes=3 data.shapes.image_size=8
data.wrong_label_fraction=0.0 seeds=0,1 model.name=mlp model.hidden_sizes=16, model.blocks=None
model.widths=None model.shortcut=None rounds=4 batch_size=16 optim.learning_rate=0.05
optim.milestones=2,3 score.batch_size=32 parallel.num_devices=1 parallel.steps_per_dispatch=1
compilation_cache=False split.class_balanced=False
"""


def overrides() -> list[str]:
  """Returns the words on the command line that make `CONFIG` of configs/shapes.py."""
  return [f"--config.{word}" for word in _OVERRIDES.split()]


def command(workdir: Path, *more: str) -> list[str]:
  """Returns the words of a process that runs `CONFIG`, where a warning is an error."""
  run = [sys.executable, "-W", "error", str(ROOT / "run.py"), f"--config={ROOT}/configs/shapes.py"]
  return [*run, f"--workdir={workdir}", *overrides(), *more]


def resnet(**changes: Any) -> Config:
  """Returns the same with a small ResNet, whose BatchNorm has running statistics."""
  return tiny.resnet(**({"parallel__steps_per_dispatch": 1, "compilation_cache": False} | changes))


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
  without = () if seconds else ("seconds",)
  return [{key: value for key, value in row.items() if key not in without} for row in lines]


def without_times(page: str) -> str:
  """Returns a report without its section on time and machine."""
  return _TIMES.sub("", page)


def outputs(workdir: Path, *, report: bool = True) -> dict[str, Any]:
  """Returns what two runs of one command must have in common: all artifacts, times cut out."""
  timed = ("environment.json", "timing.json", "metrics.jsonl", "report.html")
  content: dict[str, Any] = {"metrics.jsonl": rows(workdir)}
  if report:
    content["report.html"] = without_times((workdir / "report.html").read_text())
  for path in sorted(workdir.rglob("*")):
    name = str(path.relative_to(workdir))
    of_report = path.name == "review.html" or (
      name.startswith("figures/") and path.suffix in (".png", ".svg")
    )
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
  setup = Setup.make(config, load_inputs.load_data(config, lambda line: None))
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


def signal_at(
  monkeypatch: pytest.MonkeyPatch,
  task: str,
  done: float,
  number: int = signal.SIGTERM,
  times: int = 1,
) -> None:
  """Sends this process a real signal as soon as `done` units of a task are done."""
  advance, left = progress.Task.advance, [times]

  def advance_and_kill(self: progress.Task, at: float) -> None:
    advance(self, at)
    if self._work.name == task and at >= done and left[0]:
      left[0] -= 1
      os.kill(os.getpid(), number)

  monkeypatch.setattr(progress.Task, "advance", advance_and_kill)


def stopped(
  config: Config,
  workdir: Path,
  monkeypatch: pytest.MonkeyPatch,
  *,
  task: str,
  done: float,
  **how: int,
) -> str:
  """Runs until a signal stops the run (see `signal_at`); returns the message of the error."""
  with monkeypatch.context() as patch:
    signal_at(patch, task, done, **how)
    with pytest.raises(Interrupted) as caught:
      experiment.run(config, workdir, "tiny")
  return str(caught.value)


def forbid_training(monkeypatch: pytest.MonkeyPatch) -> None:
  """Makes any training fail the test."""
  monkeypatch.setattr(Trainer, "run", lambda *_: pytest.fail("it trained"))


def without_report(monkeypatch: pytest.MonkeyPatch) -> None:
  """Leaves the report out, which takes most of the time of a tiny run."""
  monkeypatch.setattr(lifecycle, "build_report", lambda workdir: workdir)


def quick_report(monkeypatch: pytest.MonkeyPatch) -> None:
  """Writes a line in place of each page of a report, so that the run counts as complete."""

  def build(workdir: Path) -> None:
    for name in ("report.html", "review.html"):
      files.write_text(workdir / name, "stands for the report")

  monkeypatch.setattr(lifecycle, "build_report", build)
