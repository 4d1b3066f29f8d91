"""The checkpoint store before damage, foreign files and links: no wrong state ever comes back."""

import os
import random
import shutil

import numpy as np
import pytest

from sdt.errors import CheckpointError
from sdt.run.checkpoints import CheckpointStore
from tests.support.checkpoint_states import bits, files_of, make_state, snapshot


@pytest.fixture
def lines():
  return []


@pytest.fixture
def store(tmp_path, lines):
  return CheckpointStore(tmp_path / "checkpoints", keep=2, log=lines.append)


def damage(step, older, rng):
  """Damages one file of the step in one of six ways; returns a description."""
  path = rng.choice(files_of(step))
  data = bytearray(path.read_bytes())
  kind = rng.choice(["flip", "truncate", "empty", "zero block", "delete", "swap"])
  at = rng.randrange(max(len(data), 1))
  if kind == "flip" and data:
    data[at] ^= 1 << rng.randrange(8)
  elif kind == "truncate":
    del data[at:]
  elif kind == "empty":
    data.clear()
  elif kind == "zero block":
    data[at : at + 512] = bytes(len(data[at : at + 512]))
  elif kind == "swap":
    other = rng.choice(files_of(rng.choice([step, older])))
    data = bytearray(other.read_bytes())
    if other.is_relative_to(step):
      other.write_bytes(path.read_bytes())
  path.write_bytes(data)
  if kind == "delete":
    path.unlink()
  return f"{kind} {path.relative_to(step)} at {at}"


@pytest.mark.parametrize("num_faults", [40, pytest.param(200, marks=pytest.mark.chaos)])
def test_faults_never_give_a_wrong_state(tmp_path, figure, num_faults):
  seed = 1_234
  rng = random.Random(seed)
  states = {10: make_state(10), 20: make_state(20)}
  expected = {step: bits(state) for step, state in states.items()}
  template = tmp_path / "template"
  store = CheckpointStore(template, keep=2)
  for step, state in states.items():
    store.save(step, state, {"step": step})
  used = []
  for trial in range(num_faults):
    directory = tmp_path / "trial"
    shutil.copytree(template, directory)
    fault = damage(directory / "20", directory / "10", rng)
    lines: list[str] = []
    step, state, meta = CheckpointStore(directory, keep=2, log=lines.append).restore_latest(
      states[10]
    )
    assert bits(state) == expected[step], (trial, fault)
    assert meta == {"step": step}, (trial, fault)
    if step == 10:
      (line,) = lines
      assert line.startswith(f"checkpoint {directory / '20'} is not usable: "), (trial, fault)
      assert line.endswith("; using step 10 instead"), (trial, fault)
      assert "\n" not in line
    else:
      assert lines == [], (trial, fault)
    used.append(step)
    shutil.rmtree(directory)
  figure(
    f"{num_faults} faults in checkpoints: 0 wrong restores, {used.count(10)} of the step before "
    f"(seed {seed})"
  )
  assert min(used.count(10), used.count(20)) > num_faults // 10


def test_one_flipped_bit_in_the_arrays_is_found_by_the_leaf_digest(tmp_path):
  """Random bits do not compress, so no decoder trips over the flip: only the seal sees it."""
  state = {"x": np.random.default_rng(0).integers(0, 2**32, 10_000, dtype=np.uint32)}
  store = CheckpointStore(tmp_path / "c", keep=2)
  store.save(1, state, {})
  largest = max(files_of(tmp_path / "c" / "1"), key=lambda path: path.stat().st_size)
  data = bytearray(largest.read_bytes())
  data[len(data) // 2] ^= 1
  largest.write_bytes(data)
  with pytest.raises(CheckpointError, match="leaf x does not match its digest"):
    store.restore(1, state)


def test_if_no_step_is_usable_all_are_named_and_nothing_starts_from_zero(store, tmp_path, lines):
  state = make_state(0)
  assert store.restore_latest(state) is None
  store.save(1, state, {})
  store.save(2, state, {})
  (tmp_path / "checkpoints" / "1" / "meta" / "metadata").write_text("{}")
  shutil.rmtree(tmp_path / "checkpoints" / "2" / "state")
  (tmp_path / "checkpoints" / "3").mkdir()
  (tmp_path / "checkpoints" / "4").write_text("")
  before = snapshot(tmp_path)
  with pytest.raises(CheckpointError) as caught:
    CheckpointStore(tmp_path / "checkpoints", keep=2, log=lines.append).restore_latest(state)
  message = str(caught.value)
  assert caught.value.exit_code == 5
  assert all(f"step {step}: " in message for step in (1, 2, 3, 4))
  assert "\n" not in message
  assert snapshot(tmp_path) == before


@pytest.mark.parametrize(
  "text",
  ["[" * 100_000, '{"a":' * 100_000, "NaN", '"x"', "null", '{"sha256": 1}', "\x80\x04K\x01.", ""],
)
def test_hostile_meta_is_a_damaged_step(store, tmp_path, text, lines):
  state = {"x": np.ones(3)}
  store.save(1, state, {"a": 1})
  store.save(2, state, {"a": 2})
  (tmp_path / "checkpoints" / "2" / "meta" / "metadata").write_text(text, "latin-1")
  assert store.restore_latest(state)[0] == 1
  assert len(lines) == 1
  with pytest.raises(CheckpointError, match="2 is not usable"):
    store.read_meta(2)


def test_changed_meta_and_huge_meta_are_refused(store, tmp_path):
  store.save(1, {"x": np.ones(3)}, {"round": 1})
  path = tmp_path / "checkpoints" / "1" / "meta" / "metadata"
  path.write_text(path.read_text().replace('"round": 1', '"round": 2'))
  with pytest.raises(CheckpointError, match="does not match its own digest"):
    store.read_meta(1)
  os.truncate(path, 2**30)
  with pytest.raises(CheckpointError, match="1073741824 bytes"):
    store.read_meta(1)


def test_steps_and_halves_of_steps_that_changed_places_are_refused(store, tmp_path):
  directory = tmp_path / "checkpoints"
  states = {step: make_state(step) for step in (1, 2)}
  for step, state in states.items():
    store.save(step, state, {})
  (directory / "1").rename(directory / "3")
  with pytest.raises(CheckpointError, match="it was saved as step 1"):
    store.restore(3, states[1])
  (directory / "3").rename(directory / "1")
  (directory / "1" / "state").rename(tmp_path / "state")
  (directory / "2" / "state").rename(directory / "1" / "state")
  (tmp_path / "state").rename(directory / "2" / "state")
  for step in (1, 2):
    with pytest.raises(CheckpointError, match="does not match its digest"):
      store.restore(step, states[step])


def test_a_step_that_was_passed_over_never_comes_back(store, tmp_path):
  """Once training has gone on from an older step, a newer one that is readable again would belie
  the rows written since.
  """
  directory = tmp_path / "checkpoints"
  for step in (1, 2):
    store.save(step, {"x": np.full(3, step)}, {})
  (directory / "2" / "meta").rename(tmp_path / "hidden")
  assert store.restore_latest({"x": np.zeros(3, int)})[0] == 1
  assert store.steps() == [1]
  store.save(2, {"x": np.full(3, 7)}, {})
  assert store.restore_latest({"x": np.zeros(3, int)})[1]["x"].tolist() == [7, 7, 7]


def test_links_and_pipes_are_refused(store, tmp_path, lines):
  directory = tmp_path / "checkpoints"
  state = {"x": np.ones(3)}
  store.save(1, state, {})
  store.save(2, state, {})
  (directory / "2").rename(tmp_path / "2")
  (directory / "2").symlink_to(tmp_path / "2")
  assert store.restore_latest(state)[0] == 1
  assert "it is a symbolic link; using step 1" in lines[0]
  assert (directory / "2.unusable").is_symlink()
  shutil.copytree(tmp_path / "2", directory / "2")
  victim = files_of(directory / "2" / "state")[0]
  victim.rename(tmp_path / "data")
  victim.symlink_to(tmp_path / "data")
  with pytest.raises(CheckpointError, match="neither a file nor a directory"):
    store.restore(2, state)
  victim.unlink()
  os.mkfifo(victim)
  with pytest.raises(CheckpointError, match="neither a file nor a directory"):
    store.restore(2, state)
  (tmp_path / "link").symlink_to(directory)
  with pytest.raises(CheckpointError, match="symbolic link"):
    CheckpointStore(tmp_path / "link", keep=2)
