"""Runs that are killed, stopped and starved again and again end with the bytes of a run that was
left alone (`make chaos`).
"""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.support import killed_run, tiny, whole
from tests.support.places import ROOT, SUPPORT

pytestmark = pytest.mark.chaos

SEED = int(os.environ.get("SDT_CHAOS_SEED", "20261121"))
KILLS = int(os.environ.get("SDT_CHAOS_KILLS", "20"))


@pytest.fixture(scope="module")
def start(tmp_path_factory):
  """Returns a function that runs tests/support/killed_run.py on a workdir: (exit code, what it said
  on stderr, monotonic time of its end); `start.begin` does not wait for it.
  """
  cache = tmp_path_factory.mktemp("cache")

  def run(workdir, **given):
    child = begin(workdir, **given)
    try:
      said = child.communicate(timeout=300)[1]
    finally:
      child.kill()
    return child.returncode, said, time.monotonic()

  def begin(workdir, flags="", **given):
    words = [f"--{key.replace('_', '-')}={value}" for key, value in given.items()]
    env = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(cache), "PYTHONPATH": str(ROOT)} | (
      {"XLA_FLAGS": flags} if flags else {}
    )
    command = [sys.executable, str(SUPPORT / "killed_run.py"), str(workdir), *words]
    return subprocess.Popen(
      command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )

  run.begin = begin
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


def test_a_run_that_dies_before_every_kind_of_write_ends_with_the_same_bytes(
  start, undisturbed, tmp_path, figure
):
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
  figure(f"died before {deaths} of {len(kinds)} kinds of write: byte-equal")


def test_twenty_kills_at_random_points_change_no_byte(start, undisturbed, tmp_path, figure):
  reference, events = undisturbed
  rng = random.Random(SEED)
  kills, lost, starts, run, struck = 0, [], 0, 0, set()
  while kills < KILLS:
    starts += 1
    # Half of them at a save, whose writes are those to checkpoints/.
    near = [
      index
      for index, line in enumerate(events[:600])
      if ("checkpoints/" in line) == (kills % 2 == 0)
    ]
    code, said, _ = start(tmp_path / f"run{run}", at=rng.choice(near), delay=rng.uniform(0, 0.12))
    assert code in (-signal.SIGKILL, 0), said
    assert "Traceback" not in said
    kills += code == -signal.SIGKILL
    struck.update(re.findall(r"signalled at \S+ after \S+ ([\w.]+)", said))
    lost += [int(number) for number in re.findall(r"dropped (\d+) row", said)]
    run += code == 0
    assert starts < 3 * KILLS
  for workdir in sorted(tmp_path.glob("run*")):
    finish(start, workdir)
    whole.assert_same(killed_run.config(tiny), workdir, reference)
  # Rows go to disk before the checkpoint that covers them: a kill between the two costs the rows of
  # one dispatch, here at most one round.
  assert max(lost, default=0) <= 4
  told = (
    f"most rows made again after one: {max(lost, default=0)}; struck at {', '.join(sorted(struck))}"
  )
  figure(f"{kills} SIGKILLs in {starts} starts: byte-equal; {told} (seed {SEED})")


@pytest.mark.parametrize(("how", "times"), [("SIGTERM", 1), ("SIGTERM", 2), ("SIGINT", 1)])
def test_ten_signals_at_random_points_stop_cleanly_and_lose_no_step(
  start, undisturbed, tmp_path, figure, how, times
):
  reference, _ = undisturbed
  rng = random.Random(f"{SEED} {how} {times}")
  seconds, stops, starts, run = [], 0, 0, 0
  number = 10 if times == 1 and how == "SIGTERM" else 4
  while stops < number:
    starts += 1
    at, delay = rng.randrange(10, 300), rng.uniform(0, 0.12)
    code, said, ended = start(tmp_path / f"run{run}", at=at, delay=delay, signal=how, times=times)
    assert code in (75, 0), said
    assert "Traceback" not in said
    run += code == 0
    if code == 75:
      stops += 1
      assert re.search(rf"^{how} received: .*stopped by {how}", said, re.DOTALL | re.MULTILINE)
      seconds.append(ended - float(re.search(r"signalled at ([\d.]+)", said)[1]))
    assert not re.search(r"dropped \d+ row", said)  # the save covers every step that was done
    assert starts < 40
  for workdir in sorted(tmp_path.glob("run*")):
    finish(start, workdir)
    whole.assert_same(killed_run.config(tiny), workdir, reference)
  assert max(seconds) < 10
  figure(
    f"{stops} {how} (x{times}): exit 75 after at most {max(seconds):.1f} s, byte-equal (seed "
    f"{SEED})"
  )


def test_a_full_disk_ends_with_7_and_the_run_goes_on_when_there_is_space(
  start, undisturbed, tmp_path, figure
):
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
  figure(
    f"a full disk at {full} file sizes from {limits[0]} to {limits[-1]} bytes: exit 7, then "
    "byte-equal"
  )


def test_of_five_starts_at_once_one_runs_and_four_are_refused(start, undisturbed, tmp_path, figure):
  children = [start.begin(tmp_path / "run") for _ in range(5)]
  said = [child.communicate(timeout=300)[1] for child in children]
  codes = [child.returncode for child in children]
  assert sorted(codes) == [0, 6, 6, 6, 6], said
  holder = children[codes.index(0)].pid
  assert all(
    f"in use by pid {holder} on host " in text
    for code, text in zip(codes, said, strict=True)
    if code
  )
  whole.assert_same(killed_run.config(tiny), tmp_path / "run", undisturbed[0])
  figure("5 starts at once: one ran to the same bytes, 4 were refused with exit 6")


@pytest.mark.parametrize(("cores", "flags"), [(1, ""), (2, "--xla_cpu_multi_thread_eigen=false")])
def test_other_processors_change_the_losses_by_rounding_alone(
  start, undisturbed, tmp_path, figure, cores, flags
):
  code, said, _ = start(tmp_path / "run", cores=cores, flags=flags)
  assert code == 0, said

  def losses(workdir):
    rows = [row for row in whole.rows(workdir) if row["arm"] == "baseline"]
    return np.array([row[name] for row in rows for name in ("train_loss", "test_loss")])

  ours, theirs = losses(tmp_path / "run"), losses(undisturbed[0])
  assert len(ours) == 12
  np.testing.assert_allclose(ours, theirs, rtol=1e-4)
  figure(
    f"{cores} core(s) {flags}: 12 losses differ by at most {np.abs(ours / theirs - 1).max():.1e}"
  )


def test_300_steps_and_saves_leave_no_memory_behind(start, tmp_path, figure):
  child = start.begin(tmp_path / "run", rounds=60)
  out, said = child.communicate(timeout=300)
  assert child.returncode == 0, said
  resident = [int(line.split()[1]) for line in out.splitlines() if line.startswith("resident")]
  assert len(resident) == 60  # of 5 steps each
  growth = max(resident[10:]) / resident[9] - 1
  assert growth < 0.05
  saves = json.loads((tmp_path / "run" / "timing.json").read_text())["num_saves"]
  figure(f"resident memory grew by {100 * growth:.1f} % from step 50 to 300, with {saves} saves")
