"""Runs that are killed, stopped and starved again and again end with the bytes of a run that was left alone (`make chaos`)."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import killed_run
import pytest
import tiny
import whole

pytestmark = pytest.mark.chaos

HERE = Path(__file__).parent
SEED = int(os.environ.get("SDT_CHAOS_SEED", "20261121"))


@pytest.fixture(scope="module")
def start(tmp_path_factory):
  """Returns a function that runs tests/killed_run.py on a workdir: (exit code, what it said on stderr, monotonic time of its end)."""
  cache = tmp_path_factory.mktemp("cache")

  def run(workdir, **given):
    words = [f"--{key.replace('_', '-')}={value}" for key, value in given.items()]
    env = {**os.environ, "XDG_CACHE_HOME": str(cache), "PYTHONPATH": str(HERE.parent)}
    command = [sys.executable, str(HERE / "killed_run.py"), str(workdir), *words]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300, check=False)
    return done.returncode, done.stderr, time.monotonic()

  return run


@pytest.fixture(scope="module")
def undisturbed(start, tmp_path_factory):
  """Returns the workdir of a run that was left alone, and the lines of its writes."""
  folder = tmp_path_factory.mktemp("undisturbed")
  code, said, _ = start(folder / "run", events=folder / "events")
  assert code == 0, said
  return folder / "run", (folder / "events").read_text().splitlines()


def finish(start, workdir):
  code, said, _ = start(workdir)
  assert code == 0, said


def report(capsys, line):
  with capsys.disabled():
    print(f"\n{line} (seed {SEED})")


def test_a_run_that_dies_before_every_kind_of_write_ends_with_the_same_bytes(start, undisturbed, tmp_path, capsys):
  reference, events = undisturbed
  kinds = list(dict.fromkeys(map(killed_run.kind_of, events)))
  deaths = 0
  for kind in kinds:
    code, said, _ = start(tmp_path / "run", kind=kind, signal="exit")
    assert code in (137, 0), said
    assert "Traceback" not in said
    deaths += code == 137
  finish(start, tmp_path / "run")
  whole.assert_same(killed_run.config(tiny), tmp_path / "run", reference)
  # A start that finds its part done already makes fewer kinds of write than the undisturbed run.
  assert deaths > 0.8 * len(kinds)
  report(capsys, f"died before {deaths} of {len(kinds)} kinds of write: byte-equal")


def test_twenty_kills_at_random_points_change_no_byte(start, undisturbed, tmp_path, capsys):
  reference, events = undisturbed
  rng = random.Random(SEED)
  kills, lost, starts = 0, [], 0
  while kills < 20:
    starts += 1
    # Half of them at a save, whose writes are those to checkpoints/.
    near = [index for index, line in enumerate(events[:120]) if ("checkpoints/" in line) == (kills % 2 == 0)]
    code, said, _ = start(tmp_path / f"run{starts // 15}", at=rng.choice(near), delay=rng.uniform(0, 0.12))
    assert code in (-signal.SIGKILL, 0), said
    assert "Traceback" not in said
    kills += code == -signal.SIGKILL
    lost += [int(number) for number in re.findall(r"dropped (\d+) row", said)]
    assert starts < 60
  for workdir in sorted(tmp_path.glob("run*")):
    finish(start, workdir)
    whole.assert_same(killed_run.config(tiny), workdir, reference)
  # Rows go to disk before the checkpoint that covers them: a kill between the two costs the rows of one dispatch, here at most one round.
  assert max(lost, default=0) <= 4
  report(capsys, f"{kills} SIGKILLs in {starts} starts: byte-equal; most rows made again after one: {max(lost, default=0)}")


@pytest.mark.parametrize(("how", "times"), [("SIGTERM", 1), ("SIGTERM", 2), ("SIGINT", 1)])
def test_ten_signals_at_random_points_stop_cleanly_and_lose_no_step(start, undisturbed, tmp_path, capsys, how, times):
  reference, _ = undisturbed
  rng = random.Random(f"{SEED} {how} {times}")
  seconds, stops, starts = [], 0, 0
  number = 10 if times == 1 and how == "SIGTERM" else 4
  while stops < number:
    starts += 1
    at, delay = rng.randrange(10, 60), rng.uniform(0, 0.12)
    code, said, ended = start(tmp_path / f"run{starts // 8}", at=at, delay=delay, signal=how, times=times)
    assert code in (75, 0), said
    assert "Traceback" not in said
    if code == 75:
      stops += 1
      assert re.search(rf"stopped by {how}", said)
      seconds.append(ended - float(re.search(r"signalled at ([\d.]+)", said)[1]))
    assert not re.search(r"dropped \d+ row", said)  # the save covers every step that was done
    assert starts < 40
  for workdir in sorted(tmp_path.glob("run*")):
    finish(start, workdir)
    whole.assert_same(killed_run.config(tiny), workdir, reference)
  assert max(seconds) < 10
  report(capsys, f"{stops} {how} (x{times}): exit 75 after at most {max(seconds):.1f} s, byte-equal")


def test_a_full_disk_ends_with_7_and_the_run_goes_on_when_there_is_space(start, undisturbed, tmp_path, capsys):
  reference, _ = undisturbed
  sizes = sorted(path.stat().st_size for path in reference.rglob("*") if path.is_file())
  limits = sorted({200, 1_000, 3_000, 10_000, 30_000, 100_000, sizes[-1] - 1})
  full = 0
  for limit in limits:
    begin = time.monotonic()
    code, said, ended = start(tmp_path / "run", file_limit=limit)
    if code == 0:
      continue
    full += 1
    assert code == 7, (limit, said)
    assert "Traceback" not in said
    assert str(tmp_path / "run") in said
    assert ended - begin < 120
  assert full >= 3
  finish(start, tmp_path / "run")
  whole.assert_same(killed_run.config(tiny), tmp_path / "run", reference)
  report(capsys, f"a full disk at {full} file sizes from {limits[0]} to {limits[-1]} bytes: exit 7, then byte-equal")
