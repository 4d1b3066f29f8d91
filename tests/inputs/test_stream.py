"""Streamed inputs: the same bits as inputs that lie on the devices, and what happens when they
cannot be read.
"""

import dataclasses
import gc
import signal
import threading
import time
import weakref

import jax
import numpy as np
import pytest

from sdt import files
from sdt.config import from_dict, to_dict
from sdt.config.schema import DataConfig
from sdt.devices.layout import make_layout
from sdt.engine.state import Position
from sdt.engine.trainer import Trainer
from sdt.errors import DataError
from sdt.inputs import placement, source
from sdt.inputs.stream import HostInputs, ascending, read_ahead
from sdt.run.programs import Setup
from tests.support import tiny, whole

MIXED = {"mixup_alpha": 0.4, "augment_strength": 0.5}


def placed(of, where):
  return dataclasses.replace(of, data=dataclasses.replace(of.data, placement=where))


def plan_of(of, overrides=None):
  """Returns a plan of A, with these overrides, and B."""
  plan = tiny.alternating(of, 70, 20)
  return dataclasses.replace(
    plan,
    arm="baseline",
    phases=(dataclasses.replace(plan.phases[0], overrides=overrides or {}), plan.phases[1]),
  )


def trained(of, plan, start=None, until=None):
  """Returns the snapshot after the training, or at `until`, and the sums of the ended rounds."""
  setup = Setup.make(of, tiny.data(of))
  made = setup.trainer(plan)
  start = start or setup.fresh_start
  made.set_state(start)
  sums = []
  for progress in made.run(start.position):
    sums += [(ended.index, ended.sums) for ended in progress.finished]
    if progress.position == until:
      break
  return made.get_state(), sums


# A round has 2 + 5 steps, a dispatch 4: the first has steps of A and of B, the second is not full;
# one seed after the other.
CUT = {
  "parallel__replicas": "loop",
  "parallel__steps_per_dispatch": 4,
  "batch_size": 12,
  "augment__pad_crop": 1,
  "augment__flip": True,
  "rounds": 3,
}


@pytest.mark.parametrize(
  ("changes", "overrides"),
  [
    pytest.param(CUT, None, id="dispatches that cut a phase"),
    pytest.param(
      {
        "parallel__replicas": "loop",
        "augment__ops": "crop(1) rotate(20) noise(0.1) cutmix(1)",
        "rounds": 2,
        "optim__milestones": (1,),
      },
      {"rotate": 60.0, "cutmix": 0.0},
      id="operations",
      marks=pytest.mark.slow,
    ),
    pytest.param(
      {"parallel__num_devices": 2, "parallel__mode": "pmap", "score__batch_size": 7, "rounds": 3},
      MIXED,
      id="pmap",
      marks=pytest.mark.slow,
    ),
    pytest.param(
      {"parallel__replicas": "vmap", "augment__resized_crop_area": 0.3},
      MIXED,
      id="vmap",
      marks=pytest.mark.slow,
    ),
    pytest.param(
      {"parallel__num_devices": 2, "eval_every_rounds": 3, "augment__flip": True},
      MIXED,
      id="jit",
      marks=pytest.mark.slow,
    ),
  ],
)
def test_a_streamed_training_has_the_same_bits(changes, overrides):
  of = tiny.config(**changes)
  resident, streamed = (
    trained(placed(of, where), plan_of(of, overrides)) for where in ("device", "stream")
  )
  tiny.assert_equal(streamed, resident)
  assert len(streamed[1]) == of.rounds


@pytest.mark.parametrize(
  "middle", [Position(1, 4), Position(1, 7)], ids=["between two steps", "before an evaluation"]
)
def test_a_training_may_change_over_in_the_middle_of_a_round(middle):
  of = tiny.config(**CUT)
  resident = trained(placed(of, "device"), plan_of(of))
  for first, then in (("device", "stream"), ("stream", "device")):
    half = trained(placed(of, first), plan_of(of), until=middle)
    rest = trained(placed(of, then), plan_of(of), start=half[0])
    tiny.assert_equal(rest[0], resident[0])
    tiny.assert_equal(half[1] + rest[1], resident[1])


@pytest.mark.slow
def test_a_streamed_training_of_whole_rounds_may_go_on_with_its_evaluation_on_the_device():
  of = tiny.config(rounds=2)
  half = trained(placed(of, "stream"), plan_of(of), until=Position(0, 6))
  setup = Setup.make(
    placed(of, "device"),
    tiny.data(of),
    {"replicas": "loop", "dispatches": {"baseline": {"rounds": 1, "steps": 6, "evals": 1}}},
  )
  made = setup.trainer(plan_of(of))
  made.set_state(half[0])
  rounds = [ended.index for progress in made.run(Position(0, 6)) for ended in progress.finished]
  assert rounds == [0, 1]
  tiny.assert_equal(made.get_state(), trained(placed(of, "device"), plan_of(of))[0])


def test_inputs_that_cannot_be_read_end_the_training_with_one_line(monkeypatch):
  of, take, reads = placed(tiny.config(**CUT), "stream"), source.rows_at, []

  def failing(inputs, positions):
    if positions.ndim == 3:  # of training: seeds, steps, examples
      reads.append(positions)
      if len(reads) > 3:
        raise OSError(5, "Input/output\nerror")
    return take(inputs, positions)

  monkeypatch.setattr(source, "rows_at", failing)
  with pytest.raises(
    DataError,
    match=(
      r"^the training inputs could not be read: OSError: \[Errno 5\] Input/output error; "
      r"everything done"
    ),
  ):
    trained(of, plan_of(of))


@pytest.mark.slow
def test_what_was_done_before_a_read_that_fails_is_saved(tmp_path, monkeypatch):
  own = placed(
    dataclasses.replace(
      whole.CONFIG, checkpoint=dataclasses.replace(whole.CONFIG.checkpoint, every_secs=1000.0)
    ),
    "stream",
  )
  whole.without_report(monkeypatch)
  take, run_one, done, broken = source.rows_at, Trainer._dispatch, [], [True]

  def counted(*args):
    done.append(run_one(*args))
    return done[-1]

  def failing(inputs, positions):  # some dispatches are read ahead, those of an arm are twenty
    if broken[0] and done and positions.ndim == 3:
      raise OSError(5, "Input/output error")
    return take(inputs, positions)

  monkeypatch.setattr(Trainer, "_dispatch", counted)
  monkeypatch.setattr(source, "rows_at", failing)
  assert whole.run(own, tmp_path / "run") == DataError.exit_code
  broken[0] = False
  assert len(done) < 20
  assert len(list((tmp_path / "run" / "checkpoints").iterdir())) == 1  # no other save was due
  assert whole.run(own, tmp_path / "run") == 0
  assert whole.run(own, tmp_path / "one") == 0
  whole.assert_same(own, tmp_path / "run", tmp_path / "one", report=False)


def test_streamed_scores_have_the_same_bits():
  of = tiny.config(score__batch_size=16)
  setups = [Setup.make(placed(of, where), tiny.data(of)) for where in ("device", "stream")]
  state = setups[0].fresh_start.state
  found = [setup.scorer().scores(state.variables) for setup in setups]
  tiny.assert_equal(found[1], found[0])
  assert {values.shape for values in found[1].values()} == {(2, 70)}


LITTLE = 2 * 192 * 100 - 1  # bytes: a little less than twice the inputs


@pytest.fixture
def little_memory(monkeypatch):
  """Devices with too little memory for the inputs."""
  monkeypatch.setattr(placement, "_device_bytes", lambda layout: LITTLE)


@pytest.mark.slow
@pytest.mark.parametrize("make", [tiny.config, pytest.param(tiny.resnet, marks=pytest.mark.slow)])
def test_a_run_whose_inputs_do_not_fit_streams_them_and_leaves_the_same_bytes(
  tmp_path, monkeypatch, little_memory, capsys, make
):
  of = make(rounds=2, parallel__steps_per_dispatch=2, compilation_cache=False, augment__pad_crop=1)
  whole.without_report(monkeypatch)
  with monkeypatch.context() as patch:  # stopped in the middle of the method
    whole.signal_at(patch, "method", 0.5, signal.SIGTERM)
    assert whole.run(of, tmp_path / "streamed") == 75
  assert (
    files.read_json(tmp_path / "streamed" / "environment.json")["choices"]["placement"] == "stream"
  )
  said = (
    "note: "
    "inputs stay on the host and are streamed, 0.0192 MB (more than half of the 0.0384 MB "
    "of a device)"
  )
  assert said in capsys.readouterr().err
  monkeypatch.setattr(placement, "_device_bytes", lambda layout: 2**30)
  assert whole.run(of, tmp_path / "streamed") == 0  # as it began, though the memory has grown
  assert "are streamed" in capsys.readouterr().err
  assert whole.run(of, tmp_path / "resident") == 0
  assert "are streamed" not in capsys.readouterr().err
  whole.assert_same(of, tmp_path / "streamed", tmp_path / "resident", report=False)


def test_placement_is_where_it_fits_unless_told_otherwise_or_begun_otherwise(monkeypatch):
  of = tiny.config()
  data, layout = tiny.data(of), make_layout(of.parallel)
  inputs = data.train.inputs.nbytes + data.test.inputs.nbytes

  def chosen(memory, where="auto", sealed=None):
    monkeypatch.setattr(placement, "_device_bytes", lambda layout: memory)
    return placement.choose_placement(DataConfig(placement=where), data, layout, sealed=sealed).name

  assert [chosen(2 * inputs), chosen(2 * inputs - 1)] == ["device", "stream"]
  assert [chosen(2 * inputs, "stream"), chosen(1, "device")] == ["stream", "device"]
  assert [chosen(1, sealed="device"), chosen(2 * inputs, sealed="stream")] == ["device", "stream"]
  assert [chosen(1, "device", "stream"), chosen(2 * inputs, "stream", "device")] == [
    "device",
    "stream",
  ]


def test_another_placement_keeps_to_where_dispatches_may_have_ended(monkeypatch):
  of = tiny.config(batch_size=4)
  data, share = tiny.data(of), 64 * 2 * 4 * 192  # a step of both seeds

  def sizes(where, dispatches, most_steps):
    monkeypatch.setattr(placement, "_device_bytes", lambda layout: share * most_steps)
    setup = Setup.make(placed(of, where), data, {"replicas": "loop", "dispatches": dispatches})
    program = setup.trainer(tiny.everything(of, 70)).program  # 18 steps, one evaluation batch
    assert setup.choices["placement"] == where
    return program.rounds_per_dispatch, program.steps_per_dispatch

  assert sizes("stream", {"baseline": {"rounds": 1, "steps": 6, "evals": 1}}, 5) == (1, 3)
  assert sizes("stream", {"baseline": {"rounds": 1, "steps": 6, "evals": 1}}, 9) == (1, 6)
  assert sizes("stream", {"baseline": {"rounds": 4, "steps": 18, "evals": 1}}, 12) == (
    1,
    9,
  )  # whole rounds
  assert sizes("stream", {}, 5) == (1, 3)
  assert sizes("device", {"baseline": {"rounds": 1, "steps": 3, "evals": 1}}, 5) == (
    1,
    3,
  )  # as it was streamed


def test_a_streamed_dispatch_stays_within_its_share_of_the_memory(little_memory):
  of = tiny.config(seeds=(0, 1), batch_size=4, score__batch_size=4)
  setup = Setup.make(of, tiny.data(of))
  program = setup.trainer(tiny.everything(of, 70)).program
  assert setup.placement.dispatch_bytes == LITTLE // 64 == 599  # three images
  assert (program.rounds_per_dispatch, program.steps_per_dispatch, program.evals_per_dispatch) == (
    1,
    1,
    1,
  )
  assert (setup.source.data.train.inputs, setup.source.data.test.inputs) == (None, None)
  assert (
    placement.most_batches(
      dataclasses.replace(setup.placement, device_bytes=2**40), 4, setup.data.train.inputs
    )
    == 2**27 // 768
  )
  assert from_dict(to_dict(placed(of, "stream"))).data.placement == "stream"


def readers():
  return [thread.name for thread in threading.enumerate() if thread.name.startswith("grain")]


def test_a_pass_comes_in_order_and_its_last_dispatch_is_filled_up():
  of = tiny.config(score__batch_size=16)
  inputs = np.arange(70 * 2, dtype=np.uint8).reshape(70, 2)
  streamed = dataclasses.replace(
    Setup.make(placed(of, "stream"), tiny.data(of)).source, host=HostInputs(inputs, inputs[:5])
  )
  with streamed.pass_over("train", ascending(16), num=5, group=3) as groups:
    found = [np.asarray(group.train.inputs.inputs) for group in groups]
  assert [group.shape for group in found] == [(3, 16, 2)] * 2
  rows = np.concatenate(found).reshape(-1, 2)
  np.testing.assert_array_equal(rows[:70], inputs)
  np.testing.assert_array_equal(rows[70:80], np.repeat(inputs[-1:], 10, axis=0))
  np.testing.assert_array_equal(rows[80:], rows[64:80])  # the last batch again


def test_no_more_than_three_groups_are_on_the_devices_at_a_time():
  alive, most = weakref.WeakSet(), []

  class Group:
    def __init__(self):
      alive.add(self)

  def put(group):
    gc.collect(1)  # what this test made is young
    made = Group()
    most.append(len(alive))
    return made

  with read_ahead(lambda index: np.zeros(1), 12, put, what="numbers") as groups:
    for _ in range(12):
      group = next(groups)
      time.sleep(0.01)  # the readers have time to run ahead as far as they may
      del group
  assert max(most) <= 3


def test_leaving_early_ends_the_readers():
  reads = []

  def read(index):
    reads.append(index)
    return np.zeros(1)

  with read_ahead(read, 1000, jax.device_put, what="numbers") as groups:
    next(groups)
  ends = time.monotonic() + 60
  while readers() and time.monotonic() < ends:
    time.sleep(0.01)
  assert readers() == []
  assert len(reads) <= 20
