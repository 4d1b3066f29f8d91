import dataclasses
import hashlib
import json
import os
import shutil
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sdt.engine.state import zero_sums
from sdt.errors import CheckpointError, WorkdirError
from sdt.files import json_text, sealed_json_text
from sdt.run.checkpoints import CheckpointStore
from tests.support.checkpoint_states import State, bits, files_of, make_state, snapshot


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


def test_sums_that_a_later_version_added_begin_with_zeros_in_checkpoints_of_an_earlier_one(store):
  earlier, now = (zero_sums(2, 1, 3, has_guesses=later) for later in (False, True))
  store.save(1, {"sums": dataclasses.replace(earlier, train_loss=np.ones((2, 1), np.float32))}, {})
  for found, _ in (store.restore(1, {"sums": now}), store.restore_latest({"sums": now})[1:]):
    np.testing.assert_array_equal(found["sums"].guesses_used, np.zeros((2, 1), np.float32))
    np.testing.assert_array_equal(found["sums"].train_loss, np.ones((2, 1), np.float32))
  store.save(2, {"sums": now}, {})
  with pytest.raises(CheckpointError, match=r"leaf sums/guesses_used is float32.* missing is "):
    store.restore(2, {"sums": earlier})


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


class Watcher(threading.Thread):
  """Reads the directory again and again; counts the usable steps of each reading."""

  def __init__(self, directory, target):
    super().__init__()
    self._directory, self._target, self._ended = directory, target, False
    self.counts, self.failures, self._has_read = [], [], threading.Condition()

  def run(self):
    try:
      while not self._ended:
        self._note(self._count())
    except BaseException as error:
      self.failures.append(error)
      self._note(0)

  def _count(self):
    # Without the removal of leftovers, which is the writer's.
    reader = CheckpointStore.__new__(CheckpointStore)
    reader._directory, reader._verified, reader._pins = self._directory, set(), {}
    usable = 0
    for step in reversed(reader.steps()):  # newest first: an older one may go meanwhile
      try:
        state, _ = reader.restore(step, self._target)
      except CheckpointError:
        continue
      assert (state["x"] == step).all()
      usable += 1
    return usable

  def _note(self, usable):
    with self._has_read:
      self.counts.append(usable)
      self._has_read.notify()

  def wait_for_a_reading(self):
    with self._has_read:
      done = len(self.counts)
      assert self._has_read.wait_for(lambda: len(self.counts) > done or self.failures, timeout=60)

  def stop(self):
    self._ended = True
    self.join()


def test_two_verified_steps_stand_at_every_instant_though_a_delete_fails(
  tmp_path, monkeypatch, lines
):
  """A second thread reads the directory the whole time; one delete fails half way."""
  directory = tmp_path / "checkpoints"
  store = CheckpointStore(directory, keep=3, log=lines.append)
  for step in (1, 2):
    store.save(step, {"x": np.full((50,), step, np.float32)}, {})
  deletes, rmtree = [], shutil.rmtree

  def failing(path, *args, **kwargs):
    if str(path).endswith(".deleting"):
      deletes.append(path)
      if len(deletes) == 2:
        raise OSError(5, "Input/output error")
    return rmtree(path, *args, **kwargs)

  monkeypatch.setattr(shutil, "rmtree", failing)
  watcher = Watcher(directory, {"x": np.zeros((50,), np.float32)})
  watcher.start()
  try:
    for step in range(3, 13):
      store.save(step, {"x": np.full((50,), step, np.float32)}, {})
      watcher.wait_for_a_reading()  # and not two saves within one reading
  finally:
    watcher.stop()
  assert watcher.failures == []
  assert len(watcher.counts) >= 10
  assert min(watcher.counts) >= 2
  assert store.steps() == [10, 11, 12]
  (line,) = lines
  assert "cannot delete the old checkpoint" in line
  assert "Input/output error" in line


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


# The meta of a step as version 0.1 wrote it, and the digest that it took then.
OF_AN_EARLIER_VERSION = {
  "step": 3,
  "pin": True,
  "meta": {
    **{"arm": "method", "rounds": [1, 2, 3], "rates": [0.1, 1e-05], "none": []},
    "nested": [[1, 2], ["a", 3]],
  },
  "leaves": {"params/kernel": {"dtype": "float32", "shape": [2, 3, 4], "sha256": "ab" * 32}},
}
ITS_DIGEST = "d1168c91a2636246cd2d13b110c5592deb226a3988052ad2687f5dce6a6e977d"


def test_the_seal_of_a_step_of_an_earlier_version_is_read(store, tmp_path):
  store.save(3, make_state(3), {"round": 1})
  (meta,) = (tmp_path / "checkpoints" / "3" / "meta").glob("metadata")
  meta.write_text(json.dumps(OF_AN_EARLIER_VERSION | {"sha256": ITS_DIGEST}))
  assert store.read_meta(3) == OF_AN_EARLIER_VERSION["meta"]
  meta.write_text(json.dumps(OF_AN_EARLIER_VERSION | {"pin": False, "sha256": ITS_DIGEST}))
  with pytest.raises(CheckpointError, match="does not match its own digest"):
    store.read_meta(3)


def test_the_digest_of_a_meta_does_not_depend_on_how_files_are_laid_out():
  text = sealed_json_text(OF_AN_EARLIER_VERSION)
  assert hashlib.sha256(text.encode()).hexdigest() == ITS_DIGEST
  assert text != json_text(OF_AN_EARLIER_VERSION)
