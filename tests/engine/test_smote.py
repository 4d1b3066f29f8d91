"""SMOTE in the engine: strengths by phase, programs, devices, and where it is refused."""

import dataclasses

import numpy as np
import pytest

from sdt import files
from sdt.config.resolve import resolve
from sdt.data.dataset import RawSplit, make_dataset
from sdt.engine.state import Position
from sdt.errors import ConfigError
from sdt.inputs.placement import Placement
from sdt.run.class_neighbours import class_neighbours
from sdt.run.programs import Setup
from tests.support import tiny, whole

IMBALANCED = {"data__imbalance": "longtail(6)", "seeds": (0,), "rounds": 2}


def config(ops="smote(0.5, 3)", **changes):
  return tiny.config(
    **(IMBALANCED | {"optim__milestones": (1,), "augment__ops": ops} | changes),
    parallel__steps_per_dispatch=1,
  )


@pytest.fixture(scope="module")
def problem():
  of = config()
  data = tiny.data(of)
  plan = dataclasses.replace(tiny.alternating(of, len(data.train), 20), rounds=2)
  return data, plan, Setup.make(of, data)


def trained(setup, plan, **overrides):
  phases = tuple(dataclasses.replace(phase, overrides=overrides) for phase in plan.phases)
  made = setup.trainer(dataclasses.replace(plan, phases=phases))
  made.set_state(setup.fresh_start)
  list(made.run(Position()))
  return made, tiny.leaves(made.get_state().state.params)


def test_other_strengths_need_no_other_program_and_change_what_is_learned(problem):
  _, plan, setup = problem
  made, half = trained(setup, plan)
  used, off = trained(setup, plan, smote=0.0)
  assert used is made
  assert made.num_compilations == 1
  assert max(np.abs(half[name] - off[name]).max() for name in off) > 1e-4


@pytest.mark.slow
def test_at_strength_zero_the_training_is_the_one_without(problem):
  data, plan, setup = problem
  _, off = trained(setup, plan, smote=0.0)
  _, plain = trained(Setup.make(config(""), data), plan)
  for leaf in plain:
    np.testing.assert_allclose(off[leaf], plain[leaf], rtol=0, atol=1e-6, err_msg=leaf)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["jit", "pmap"])
def test_two_devices_train_as_one(problem, mode):
  data, plan, setup = problem
  _, one = trained(setup, plan)
  of = config(parallel__num_devices=2, parallel__mode=mode)
  _, two = trained(Setup.make(of, data), plan)
  for name, leaf in one.items():
    np.testing.assert_allclose(two[name], leaf, rtol=0, atol=1e-5, err_msg=name)


ON_DEVICE = Placement("device", 1, 100)


def test_what_it_cannot_be_used_on_is_refused_with_the_way_out(problem):
  data, _, _ = problem
  of, equal = config(), tiny.data(tiny.config())
  labels = np.repeat(np.arange(3, dtype=np.int32), 4)
  equal = dataclasses.replace(
    equal,
    train=make_dataset(RawSplit(equal.train.inputs[:12], labels), num_classes=3, where="test"),
  )
  sizes = np.full((len(data.train), 2), 8, np.int32)
  sizes[0] = 7
  other_sizes = dataclasses.replace(data, train=dataclasses.replace(data.train, sizes=sizes))
  for one, placement, message in (
    (data, Placement("stream", 1, 100), "streamed inputs hold the batch alone; leave smote out"),
    (equal, ON_DEVICE, "all classes are equally frequent"),
    (other_sizes, ON_DEVICE, "the images differ in size"),
  ):
    with pytest.raises(ConfigError, match=message):
      class_neighbours(of, one, placement)
  assert class_neighbours(config("crop(1)"), equal, ON_DEVICE) is None


@pytest.mark.parametrize(
  ("ops", "message"),
  [
    ("crop(1) smote", "it reads images as they are stored, before anything changes them"),
    ("smote flip crop(1)", "a crop sets the size of the images for what follows"),
    ("smote(2)", "probability"),
    ("smote(1, 0)", "neighbours"),
  ],
)
def test_texts_that_cannot_be(ops, message):
  with pytest.raises(ConfigError, match=message):
    resolve({}, [("augment.ops", ops)])
  with pytest.raises(ConfigError, match="a guess belongs to one image"):
    resolve({}, [("augment.strong", "smote")])


@pytest.mark.slow
def test_a_run_goes_on_after_a_signal_to_the_same_bytes(tmp_path, monkeypatch):
  whole.without_report(monkeypatch)
  of = whole.config(
    data__imbalance="longtail(6)",
    augment__ops="smote(0) crop(1)",
    arms=("baseline", "synthetic"),
    own_arms=("synthetic = over_all@baseline[smote=1]:all",),
  )
  assert whole.run(of, tmp_path / "whole") == 0
  whole.stopped(of, tmp_path / "stopped", monkeypatch, task="synthetic", done=1.5)
  assert whole.run(of, tmp_path / "stopped") == 0
  whole.assert_same(of, tmp_path / "whole", tmp_path / "stopped", report=False)
  arms = files.read_json(tmp_path / "whole" / "results.json")["arms"]
  assert arms["synthetic"]["accuracy"]
