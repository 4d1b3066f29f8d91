"""The loggers themselves, read back by the programs that they are for."""

import importlib.metadata
import os
import random
import re
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest

from sdt import experiment
from sdt.run.loggers import feed, table
from tests.support import logged, whole
from tests.support.places import ROOT

# A reader may need more than its logger does.
READER_PACKAGES = {"tensorboard": "tensorboard"}


def _is_installed(package: str) -> bool:
  try:
    importlib.metadata.version(package)
  except importlib.metadata.PackageNotFoundError:
    return False
  return True


LACKING = {
  name: package
  for name, kind in table.LOGGERS.items()
  for package in (kind.package, READER_PACKAGES.get(name, kind.package))
  if not _is_installed(package)
}
HERE = [name for name in table.LOGGERS if name not in LACKING]
EACH = [
  pytest.param(
    name,
    marks=pytest.mark.skipif(name in LACKING, reason=f"needs the package {LACKING.get(name)}"),
  )
  for name in table.LOGGERS
]
# Of the packages of others.
pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(scope="module")
def resumed(tmp_path_factory):
  """A run with all loggers that are installed, killed in the method's second round, and its end.

  Its newest checkpoint was lost: rounds that the loggers know are made again.
  """
  workdir = tmp_path_factory.mktemp("logged") / "a rün"
  config = whole.config(**{f"log__{name}": True for name in HERE})
  with pytest.MonkeyPatch.context() as patch:
    patch.setenv("WANDB_MODE", "offline")
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "WANDB_PROJECT"):
      patch.delenv(name, raising=False)
    patch.setattr(feed, "_HASTE_SECS", 60.0)  # MLflow takes seconds to be imported
    whole.without_report(patch)
    whole.stopped(config, workdir, patch, task="method", done=2.5)
    newest = max((workdir / "checkpoints").glob("[0-9]*"), key=lambda path: int(path.name))
    shutil.rmtree(newest)
    sent = {name: logged.READERS[name](workdir) for name in HERE}
    assert experiment.run(config, workdir, "tiny") == 0
  return workdir, sent


def assert_has_every_point_once(workdir, name):
  """Asserts that a logger holds the rows of metrics.jsonl and the end; returns what it holds."""
  found, expected = logged.READERS[name](workdir), logged.expected(workdir)
  assert found.points.keys() == expected.keys()
  kind = np.float32 if name == "tensorboard" else float
  results = whole.files.read_json(workdir / "results.json")
  for (arm, seed), points in expected.items():
    own = found.points[arm, seed]
    assert {name for name in own if not name.startswith("final/")} == points.keys()
    for figure, values in points.items():
      assert own[figure] == [(number, float(kind(value))) for number, value in values], figure
    entry = results["arms"][arm]
    accuracy = float(kind(entry["accuracy"][str(seed)]))
    assert own["final/accuracy"] == [(entry["last_round"], accuracy)]
  assert found.sentence == results["sentence"]


@pytest.mark.slow
@pytest.mark.parametrize("name", EACH)
def test_a_resumed_run_has_every_point_once_and_the_end(resumed, name):
  workdir, sent = resumed
  # What had been sent reaches beyond the checkpoint from which the run went on.
  assert max(one for one, _ in sent[name].points["method", 0]["train_loss/A"]) == 2
  assert not sent[name].sentence
  assert_has_every_point_once(workdir, name)


@pytest.mark.chaos
@pytest.mark.skipif(not HERE, reason=f"needs one of the packages {', '.join(LACKING.values())}")
def test_a_run_that_is_killed_again_and_again_has_every_point_once(tmp_path, figure):
  rng = random.Random(int(os.environ.get("SDT_CHAOS_SEED", "20261121")))
  workdir, kills, lost = tmp_path / "run", 0, 0
  script = str(ROOT / "tests" / "support" / "killed_run.py")
  env = os.environ | {"PYTHONPATH": str(ROOT), "WANDB_MODE": "offline"}

  def start(*words):
    command = [sys.executable, script, str(workdir), f"--loggers={','.join(HERE)}", *words]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
    assert "Traceback" not in done.stderr
    return done

  while kills < 6:
    # The time that a logger needs for what it was sent is short of nothing or long.
    done = start(f"--at={rng.randrange(50, 250)}", f"--delay={rng.choice([0, 0.5, 3])}")
    if done.returncode == 0:
      break
    assert done.returncode == -signal.SIGKILL, done.stderr
    kills += 1
    lost += sum(int(number) for number in re.findall(r"dropped (\d+) row", done.stderr))
  assert start().returncode == 0
  for name in HERE:
    assert_has_every_point_once(workdir, name)
  figure(f"loggers {', '.join(HERE)}: {kills} SIGKILLs, {lost} rows dropped, every point once")
