"""The checkpoint store in processes of its own: a full disk, what a run prints, kills."""

import os
import random
import resource
import subprocess
import sys
import time

import numpy as np
import pytest

from sdt.run.checkpoints import CheckpointStore

FULL_DISK = """
import resource, sys
import numpy as np
from sdt.run.checkpoints import CheckpointStore
from sdt.errors import WorkdirError
state = {"x": np.random.default_rng(0).normal(size=100_000), "y": np.ones(3)}
store = CheckpointStore(sys.argv[1], keep=2)
store.save(1, state, {})
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
try:
  store.save(2, state, {})
except WorkdirError as error:
  print(error.exit_code, error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
import os
print(sorted(os.listdir(sys.argv[1])))
assert store.restore_latest(state)[0] == 1
store.save(2, state, {})
assert store.restore_latest(state)[0] == 2
"""


@pytest.mark.slow
@pytest.mark.skipif(
  resource.getrlimit(resource.RLIMIT_FSIZE)[1] != resource.RLIM_INFINITY,
  reason="the file-size limit is set already",
)
def test_full_disk_says_so_keeps_the_older_step_and_goes_on_when_there_is_space(tmp_path):
  done = subprocess.run(
    [sys.executable, "-c", FULL_DISK, str(tmp_path / "c")],
    capture_output=True,
    text=True,
    timeout=120,
  )
  assert done.returncode == 0, done.stderr
  assert done.stderr == ""
  message, names = done.stdout.splitlines()
  path = tmp_path / "c" / "2"
  assert message.startswith(
    f"7 checkpoint 2 is not saved, those before it still stand: cannot write {path}: File too "
    "large; 800024 bytes needed, "
  )
  assert names in (
    "['1']",
    "['1', '2.orbax-checkpoint-tmp']",
  )  # a thread of Orbax may be writing there still


QUIET = """
import gc, logging, pathlib, shutil, sys
logging.basicConfig(level=logging.INFO)
import absl.logging
absl.logging.set_verbosity(absl.logging.INFO)
import numpy as np
from sdt.run.checkpoints import CheckpointStore
assert "orbax" not in sys.modules
store = CheckpointStore(sys.argv[1], keep=2)
state = {"x": np.ones(3)}
assert store.restore_latest(state) is None
assert "orbax" not in sys.modules
for step in range(4):
  store.save(step, state, {})
store.restore_latest(state)
absl.logging.info("a line of our own")
state = {str(number): np.random.default_rng(number).normal(size=1000) for number in range(50)}
store.save(6, state, {})
store.save(7, state, {})
whole = pathlib.Path(sys.argv[1], "7", "state")
shutil.copytree(whole, sys.argv[1] + "-copy")
for pattern in ("d/*", "manifest.ocdbt", "ocdbt.process_0/d/*"):
  for path in whole.rglob(pattern):
    data = path.read_bytes()
    half = len(data) // 2
    path.write_bytes(data[:-100] if pattern == "d/*" else data[:half] + b"x" + data[half + 1 :])
  assert store.restore_latest(state)[0] == 6
  gc.collect()
  whole.parent.with_name("7.unusable").rename(whole.parent)
  shutil.rmtree(whole)
  shutil.copytree(sys.argv[1] + "-copy", whole)
"""


def test_a_clean_run_says_nothing_damage_gives_one_line_and_orbax_is_loaded_when_needed(tmp_path):
  done = subprocess.run(
    [sys.executable, "-W", "error", "-c", QUIET, str(tmp_path / "c")],
    capture_output=True,
    text=True,
    timeout=120,
  )
  assert (done.returncode, done.stdout) == (0, "")
  ours, *damaged = [line for line in done.stderr.splitlines() if "xla_bridge" not in line]
  assert ours == "INFO:absl:a line of our own"
  assert len(damaged) == 3
  for line in damaged:
    assert line.startswith(
      f"WARNING:sdt.run.checkpoints:checkpoint {tmp_path / 'c' / '7'} is not usable: "
    )


ENDLESS = """
import sys
import numpy as np
from sdt.run.checkpoints import CheckpointStore
store = CheckpointStore(sys.argv[1], keep=2, log=lambda line: print("log", line, flush=True))
found = store.restore_latest({"x": np.zeros(20_000)})
start = found[0] + 1 if found else 0
assert found is None or (found[1]["x"] == found[0]).all()
for step in range(start, start + 100):
  print("saving", step, flush=True)
  store.save(step, {"x": np.full(20_000, float(step))}, {"step": step})
  print("saved", step, flush=True)
"""


@pytest.mark.chaos
def test_a_writer_killed_again_and_again_loses_no_saved_step(tmp_path, figure):
  seed = int(os.environ.get("SDT_CHAOS_SEED", random.randrange(2**32)))
  rng = random.Random(seed)
  target = {"x": np.zeros(20_000)}
  for _ in range(10):
    child = subprocess.Popen(
      [sys.executable, "-c", ENDLESS, str(tmp_path / "c")], stdout=subprocess.PIPE, text=True
    )
    lines = [child.stdout.readline() for _ in range(2 * rng.randrange(1, 6) + 1)]
    time.sleep(rng.uniform(0, 0.06))
    child.kill()
    lines += child.stdout.readlines()
    child.wait()
    child.stdout.close()
    assert not [line for line in lines if line.startswith("log")], lines
    saved = max(int(line.split()[1]) for line in lines if line.startswith("saved"))
    step, state, meta = CheckpointStore(tmp_path / "c", keep=2).restore_latest(target)
    assert step in (saved, saved + 1)
    assert (state["x"] == step).all()
    assert meta == {"step": step}
  figure(f"10 writers of checkpoints killed: every saved step came back (seed {seed})")
