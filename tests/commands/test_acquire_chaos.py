"""Active learning that is killed again and again ends with the bytes of one that was left alone."""

import os
import random
import subprocess
import sys

import pytest

from tests.commands.test_acquire import outputs
from tests.support.places import ROOT, SUPPORT

pytestmark = pytest.mark.chaos

SEED = int(os.environ.get("SDT_CHAOS_SEED", "20261130"))
KILLS = int(os.environ.get("SDT_CHAOS_KILLS", "20")) // 2


def start(workdir, **given):
  words = [f"--{key}={value}" for key, value in {"acquire": 2, **given}.items()]
  command = [sys.executable, str(SUPPORT / "killed_run.py"), str(workdir), *words]
  env = {**os.environ, "PYTHONPATH": str(ROOT)}
  done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
  return done.returncode, done.stderr


def test_kills_at_any_writes_of_any_of_its_runs_change_no_byte(tmp_path):
  code, said = start(tmp_path / "alone", events=tmp_path / "events")
  assert code == 0, said
  num_writes = len((tmp_path / "events").read_text().splitlines())
  draw, deaths = random.Random(SEED), 0
  for _ in range(KILLS):
    code, said = start(tmp_path / "killed", at=draw.randrange(num_writes // 3), signal="exit")
    assert code in (137, 0), said
    assert "Traceback" not in said
    deaths += code == 137
  assert deaths > KILLS // 2
  code, said = start(tmp_path / "killed")
  assert code == 0, said
  assert outputs(tmp_path / "killed") == outputs(tmp_path / "alone")
