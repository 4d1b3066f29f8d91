import json
import os
import random
import shutil
import threading
import time
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sdt.errors import CheckpointError, WorkdirError
from sdt.run.checkpoints import CheckpointStore


@flax.struct.dataclass
class State:
  step: Any
  params: Any
  batch_stats: Any
  opt_state: Any


def make_state(seed, num_replicas=2):
  """Returns a state as training makes it: optax NamedTuples in a struct dataclass, every leaf with
  a leading replica axis.
  """
  rng = np.random.default_rng(seed)
  params = {
    "dense": {
      "kernel": jnp.asarray(rng.normal(size=(num_replicas, 40, 20)), jnp.float32),
      "bias": jnp.zeros((num_replicas, 20)),
    },
    "head": {"kernel": jnp.asarray(rng.normal(size=(num_replicas, 20, 3)), jnp.bfloat16)},
  }
  return State(
    step=jnp.full((num_replicas,), seed, jnp.int32),
    params=params,
    batch_stats={"mean": jnp.asarray([[np.nan, -0.0], [np.inf, 1e-45]], jnp.float32)},
    opt_state=optax.chain(
      optax.trace(0.9, nesterov=True), optax.scale_by_schedule(lambda count: 0.1)
    ).init(params),
  )


def bits(tree):
  """Returns structure and every leaf as (dtype, shape, bytes): equal for equal bits only."""
  leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]
  return jax.tree.structure(tree), [(leaf.dtype, leaf.shape, leaf.tobytes()) for leaf in leaves]


def files_of(step):
  return sorted(path for path in step.rglob("*") if path.is_file())


def snapshot(directory):
  return {
    str(path.relative_to(directory)): (path.read_bytes(), path.stat().st_mtime_ns)
    for path in directory.rglob("*")
    if path.is_file()
  }


@pytest.fixture
def lines():
  return []


@pytest.fixture
def store(tmp_path, lines):
  return CheckpointStore(tmp_path / "checkpoints", keep=2, log=lines.append)


def test_state_comes_back_bit_for_bit_in_its_own_structure(store, lines, tmp_path):
  state = make_state(3)
  meta = {
    "stage": "train",
    "arm": "method",
    "round": 2,
    "numbers": [0.1, 1e300, -0.0, None, True],
    "ü": {"z": 1, "a": 2},
  }
  store.save(7, state, meta)
  again = CheckpointStore(tmp_path / "checkpoints", keep=2, log=lines.append)
  step, restored, meta_back = again.restore_latest(jax.eval_shape(lambda: state))
  assert step == 7
  assert isinstance(restored, State)
  assert bits(restored) == bits(state)
  assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(restored))
  assert not any(jnp.asarray(leaf).weak_type for leaf in jax.tree.leaves(restored))
  assert json.dumps(meta_back) == json.dumps(meta) == json.dumps(again.read_meta(7))
  assert lines == []
  assert store.last_save_secs > 0


def test_what_was_restored_is_saved_with_the_same_digests(store):
  store.save(1, make_state(3), {"round": 1})
  state, meta = store.restore(1, make_state(3))
  store.save(2, jax.tree.map(jnp.asarray, state), meta)
  first, second = (store._read_seal(step) for step in (1, 2))
  assert first == second
  assert list(first.leaves) == list(second.leaves)


@pytest.mark.parametrize(
  "leaf",
  [
    np.zeros((0, 3), np.float32),
    np.asarray(5, np.uint8),
    np.int64([2**40, -1]),
    np.float16([1.5]),
    np.array([True, False]),
    np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    np.arange(10)[::-2],
    np.float32(0.5),
    np.complex64([1 + 2j]),
    np.frombuffer(b"\x01\x00\xa0\x7f", np.float32),  # a signalling NaN with a payload
  ],
  ids=[
    "empty",
    "scalar",
    "int64",
    "float16",
    "bool",
    "fortran",
    "strided",
    "numpy scalar",
    "complex",
    "NaN payload",
  ],
)
def test_every_kind_of_array_comes_back(store, leaf):
  store.save(1, {"x": leaf}, {})
  state, _ = store.restore(1, {"x": leaf})
  assert bits(state) == bits({"x": leaf})


@pytest.mark.parametrize(
  ("state", "message"),
  [
    ({"x": 1.0}, "x is a float, expected an array"),
    ({"x": jnp.add(1.0, 2.0)}, "weak type"),
    ({"x": np.array(["a"])}, "no portable form"),
    ({"x": np.array([None])}, "no portable form"),
    ({"x": np.zeros(3, ">f4")}, "no portable form"),
    ({"x": jax.random.key(0)}, "no portable form"),
    ({"a": {"b": np.ones(1)}, "a/b": np.ones(1)}, "both named 'a/b'"),
  ],
  ids=["python float", "weak", "text", "object", "big-endian", "key", "names"],
)
def test_a_leaf_that_would_not_come_back_as_it_was_is_refused(store, tmp_path, state, message):
  with pytest.raises(ValueError, match=message):
    store.save(1, state, {})
  assert not (tmp_path / "checkpoints").exists()


@pytest.mark.parametrize("step", [-1, 1.0, "1", True])
def test_a_step_is_a_number_from_zero(store, step):
  with pytest.raises(ValueError, match="expected an integer >= 0"):
    store.save(step, make_state(0), {})


@pytest.mark.parametrize(
  ("change", "message"),
  [
    (
      lambda state: state.replace(step=state.step.astype(jnp.float32)),
      r"leaf step is int32\[2\] there, float32\[2\] is expected",
    ),
    (
      lambda state: state.replace(params=jax.tree.map(lambda leaf: leaf[:1], state.params)),
      r"float32\[2, 20\] there, float32\[1, 20\]",
    ),
    (
      lambda state: state.replace(batch_stats={}),
      r"leaf batch_stats/mean is float32\[2, 2\] there, missing is expected",
    ),
    (
      lambda state: state.replace(batch_stats={**state.batch_stats, "new": state.step}),
      r"leaf batch_stats/new is missing there",
    ),
  ],
  ids=["dtype", "shape", "fewer", "more"],
)
def test_another_dtype_shape_or_leaf_is_never_cast_or_guessed(store, change, message):
  state = make_state(0)
  store.save(1, state, {})
  with pytest.raises(CheckpointError, match=message):
    store.restore(1, change(state))
  with pytest.raises(CheckpointError, match=message):
    store.restore_latest(change(state))


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


def test_200_faults_never_give_a_wrong_state(tmp_path, figure):
  seed = 1_234
  rng = random.Random(seed)
  states = {10: make_state(10), 20: make_state(20)}
  expected = {step: bits(state) for step, state in states.items()}
  template = tmp_path / "template"
  store = CheckpointStore(template, keep=2)
  for step, state in states.items():
    store.save(step, state, {"step": step})
  used = []
  for trial in range(200):
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
    f"200 faults in checkpoints: 0 wrong restores, {used.count(10)} of the step before (seed "
    f"{seed})"
  )
  assert used.count(10) > 20
  assert used.count(20) > 20


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


def test_leftovers_go_at_the_start_and_look_alikes_stay(store, tmp_path):
  directory = tmp_path / "checkpoints"
  store.save(1, {"x": np.ones(3)}, {})
  leftovers = [f"{step}.orbax-checkpoint-tmp" for step in range(2, 10)] + [
    "10.orbax-checkpoint-tmp-1700000000",
    "1.deleting",
  ]
  alike = [
    "01.orbax-checkpoint-tmp",
    "x.orbax-checkpoint-tmp",
    "2.orbax-checkpoint-tmp.bak",
    "notes",
    "007",
    "2.deleting.txt",
    "-3",
  ]
  for name in leftovers + alike:
    (directory / name).mkdir()
    (directory / name / "data").write_text("x")
  (directory / "11.orbax-checkpoint-tmp").symlink_to(tmp_path)
  (directory / "12.orbax-checkpoint-tmp").write_text("a file")
  again = CheckpointStore(directory, keep=2)
  assert sorted(os.listdir(directory)) == sorted(
    ["1", "11.orbax-checkpoint-tmp", "12.orbax-checkpoint-tmp", *alike]
  )
  assert again.steps() == [1]
  assert again.restore_latest({"x": np.ones(3)})[0] == 1


def test_the_newest_stay_and_pinned_steps_never_go(store, tmp_path):
  state = {"x": np.ones(3)}
  for step in range(1, 4):
    store.save(step, state, {"step": step}, pin=step == 2)
  assert store.steps() == [1, 2, 3]
  store.save(4, state, {})
  assert store.steps() == [2, 3, 4]
  again = CheckpointStore(tmp_path / "checkpoints", keep=2)
  assert again.restore_latest(state)[0] == 4
  for step in range(5, 8):
    again.save(step, state, {})
  assert again.steps() == [2, 6, 7]
  assert again.restore(2, state)[1] == {"step": 2}
  with pytest.raises(ValueError, match="at least 2"):
    CheckpointStore(tmp_path / "checkpoints", keep=1)


def test_a_step_that_cannot_be_read_counts_for_nothing_and_is_not_deleted(store, tmp_path, lines):
  """Step 3 is damaged: steps 1 and 2 must not go on its account, and it may have been pinned."""
  state = {"x": np.ones(3)}
  store.save(1, state, {})
  store.save(2, state, {})
  shutil.copytree(tmp_path / "checkpoints" / "2", tmp_path / "checkpoints" / "3")
  again = CheckpointStore(tmp_path / "checkpoints", keep=2, log=lines.append)
  for step in (4, 5, 6):
    again.save(step, state, {})
  assert again.steps() == [3, 5, 6]
  (line,) = lines
  assert "3 stays, it is not usable: it was saved as step 2" in line


def test_a_damaged_step_is_replaced_and_a_sound_one_is_not(store, tmp_path, lines):
  old, new = {"x": np.ones(3)}, {"x": np.zeros(3)}
  store.save(1, old, {})
  store.save(2, old, {})
  with pytest.raises(ValueError, match="step 2 exists"):
    store.save(2, new, {})
  (tmp_path / "checkpoints" / "2" / "meta" / "metadata").unlink()
  store.save(2, new, {})
  assert "2 is replaced" in lines[0]
  assert bits(store.restore(2, new)[0]) == bits(new)


def test_two_verified_steps_stand_at_every_instant_though_a_delete_fails(
  tmp_path, monkeypatch, lines
):
  """A second thread reads the directory the whole time; one delete fails half way."""
  directory = tmp_path / "checkpoints"
  store = CheckpointStore(directory, keep=3, log=lines.append)
  target = {"x": np.zeros((50,), np.float32)}
  for step in (1, 2):
    store.save(step, {"x": np.full((50,), step, np.float32)}, {})
  stop = threading.Event()
  counts = []
  failures: list[BaseException] = []

  def poll():
    try:
      while not stop.is_set():
        reader = CheckpointStore.__new__(
          CheckpointStore
        )  # without the removal of leftovers, which is the writer's
        reader._directory, reader._verified, reader._pins = directory, set(), {}
        usable = 0
        for step in reversed(reader.steps()):  # newest first: an older one may go meanwhile
          try:
            state, _ = reader.restore(step, target)
          except CheckpointError:
            continue
          assert (state["x"] == step).all()
          usable += 1
        counts.append(usable)
    except BaseException as error:
      failures.append(error)

  calls = 0
  rmtree = shutil.rmtree

  def failing(path, *args, **kwargs):
    nonlocal calls
    if str(path).endswith(".deleting"):
      calls += 1
      if calls == 2:
        raise OSError(5, "Input/output error")
    return rmtree(path, *args, **kwargs)

  monkeypatch.setattr(shutil, "rmtree", failing)
  thread = threading.Thread(target=poll)
  thread.start()
  try:
    for step in range(3, 13):
      store.save(step, {"x": np.full((50,), step, np.float32)}, {})
      done = len(counts)
      while (
        len(counts) == done and not failures
      ):  # one reading at least for each save, and not two saves within one reading
        time.sleep(0.001)
  finally:
    stop.set()
    thread.join()
  assert failures == []
  assert len(counts) >= 10
  assert min(counts) >= 2
  assert store.steps() == [10, 11, 12]
  assert len(lines) == 1
  assert "cannot delete the old checkpoint" in lines[0]
  assert "Input/output error" in lines[0]


def test_an_older_step_goes_only_after_the_newer_one_was_read_back(store, monkeypatch, tmp_path):
  """The newest write comes out damaged: the save fails, and every older step is still there."""
  state = make_state(0)
  store.save(1, state, {})
  store.save(2, state, {})
  write = store._write

  def damaging(path, *args):
    write(path, *args)
    for file in files_of(path / "state"):
      file.write_bytes(file.read_bytes()[:-20])

  monkeypatch.setattr(store, "_write", damaging)
  with pytest.raises(WorkdirError, match="reads back otherwise"):
    store.save(3, state, {})
  assert store.steps() == [1, 2, 3]
  again = CheckpointStore(tmp_path / "checkpoints", keep=2, log=[].append)
  assert again.restore_latest(state)[0] == 2
  again.save(3, state, {})
  assert again.restore_latest(state)[0] == 3


def test_reading_changes_no_file(store, tmp_path):
  state = make_state(0)
  store.save(1, state, {})
  before = snapshot(tmp_path)
  again = CheckpointStore(tmp_path / "checkpoints", keep=2)
  again.restore_latest(state)
  again.read_meta(1)
  assert snapshot(tmp_path) == before
