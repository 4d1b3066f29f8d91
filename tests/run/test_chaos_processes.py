"""Two processes of one run of which one is killed or stopped: the other ends too, nothing is
half-committed, the next start ends alike.
"""

import os
import random
import re

import pytest

from sdt.run.checkpoints import CheckpointStore
from tests.support import one_of_several, several, whole

pytestmark = pytest.mark.chaos

SEED = int(os.environ.get("SDT_CHAOS_SEED", "20261121"))
HEARTBEAT_SECS = 10
ALONE = f"--heartbeat={HEARTBEAT_SECS}"


def finish(folder, workdir):
  ended = several.run(folder, workdir, [[ALONE], [ALONE]])
  assert [one.code for one in ended] == [0, 0], "\n".join(one.err for one in ended)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
  """Returns the workdir of a run of two processes that was left alone."""
  folder = tmp_path_factory.mktemp("undisturbed")
  finish(folder, folder / "run")
  return folder / "run"


def struck(tmp_path, who, at, number, delay, name):
  """Runs two processes of which one gets a signal; returns how both ended, and when it
  was struck.
  """
  flags = [[ALONE], [ALONE]]
  flags[who] += [f"--at={at}", f"--number={number}", f"--delay={delay}", f"--signal={name}"]
  ended = several.run(tmp_path / "said", tmp_path / "run", flags)
  moment = re.search(r"struck at ([\d.]+)", ended[who].out)
  assert moment, ended[who].err
  return ended, float(moment[1])


@pytest.mark.parametrize("at", ["dispatch", "save"])
@pytest.mark.parametrize("who", [1, 0])
def test_one_of_two_killed_ends_the_other_and_the_next_start_ends_with_the_same_bytes(
  undisturbed, tmp_path, figure, who, at
):
  rng = random.Random(f"{SEED} {who} {at}")
  number, delay = (
    rng.randrange(2, 6) if at == "save" else rng.randrange(5, 30),
    rng.uniform(0, 0.05),
  )
  ended, moment = struck(tmp_path, who, at, number, delay, "SIGKILL")
  assert ended[who].code == -9
  assert ended[1 - who].code != 0
  seconds = ended[1 - who].at - moment
  assert seconds < HEARTBEAT_SECS + 5
  # What stands under a step's name is whole.
  store = CheckpointStore(tmp_path / "run" / "checkpoints", 2, read_only=True)
  for step in store.steps():
    store._load(step, store._read_seal(step).leaves)
  finish(tmp_path / "again", tmp_path / "run")
  whole.assert_same(one_of_several.config(), tmp_path / "run", undisturbed, report=False)
  figure(
    f"process {who} killed at {at} {number}: the other ended with {ended[1 - who].code} after "
    f"{seconds:.1f} s (seed {SEED})"
  )


@pytest.mark.parametrize("who", [1, 0])
def test_sigterm_to_one_of_two_saves_one_step_and_ends_both_with_75(
  undisturbed, tmp_path, figure, who
):
  rng = random.Random(f"{SEED} {who} SIGTERM")
  ended, moment = struck(
    tmp_path, who, "dispatch", rng.randrange(5, 30), rng.uniform(0, 0.05), "SIGTERM"
  )
  assert [one.code for one in ended] == [75, 75], "\n".join(one.err for one in ended)
  assert ended[0].lines[-1] == ended[1].lines[-1]
  finish(tmp_path / "again", tmp_path / "run")
  whole.assert_same(one_of_several.config(), tmp_path / "run", undisturbed, report=False)
  seconds = max(one.at for one in ended) - moment
  figure(
    f"SIGTERM to process {who} of two: both saved the same step and ended with 75 after "
    f"{seconds:.1f} s (seed {SEED})"
  )
