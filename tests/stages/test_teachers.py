"""The teachers of a run: who they are, and that a stopped run learns from the same."""

import jax
import numpy as np
import pytest

from sdt.config.schema import DISTIL
from sdt.inputs.preprocess import Preparation, prepare
from sdt.run import saved_states
from sdt.stages import teachers as teachers_of_runs
from sdt.stages import train, train_arm
from sdt.stages.teachers import class_means
from tests.engine.test_semi import softmax
from tests.support import tiny, whole


def config(kind="distil", **changes):
  return whole.config(
    own_arms=(f"soft = all@mean[{kind}=0.6]", f"hard = A@mean | B@mean[{kind}=0.6]"),
    arms=("baseline", "soft", "hard"),
    rounds=2,
    optim__milestones=(1,),
    **changes,
  )


def test_the_mean_of_a_class_by_hand():
  half = np.array([[0.5, 0.5, 0.0], [0.3, 0.3, 0.4], [0.0, 0.0, 1.0]], np.float32)
  labels = np.array([1, 1, 2], np.int32)
  expected = [[1, 0, 0], [0.4, 0.4, 0.2], [0, 0, 1]]  # no example of class 0
  np.testing.assert_allclose(class_means(half, labels, 1.0), expected, atol=1e-7)
  roots = np.sqrt([0.3, 0.3, 0.4]) / np.sqrt([0.3, 0.3, 0.4]).sum()
  at_two = class_means(half, labels, 2.0)[1]
  np.testing.assert_allclose(at_two, (np.array([0.5, 0.5, 0]) + roots) / 2, atol=1e-7)
  for extreme in (0.1, 20.0):
    np.testing.assert_allclose(class_means(half, labels, extreme).sum(axis=1), 1, rtol=1e-6)


@pytest.mark.slow_rows(
  "distil_classes-the mean of each class under the baseline's network of the same seed"
)
@pytest.mark.parametrize(
  ("kind", "who"),
  [
    ("distil", "the baseline's network of the same seed after round 2"),
    pytest.param(
      "distil_mean", "the mean of the baseline's networks of 2 seed", marks=pytest.mark.slow
    ),
    ("distil_classes", "the mean of each class under the baseline's network of the same seed"),
  ],
)
def test_a_stopped_run_learns_from_the_same_teacher(kind, who, tmp_path, monkeypatch, capsys):
  of = config(kind)
  whole.without_report(monkeypatch)
  assert whole.run(of, tmp_path / "whole") == 0
  said = capsys.readouterr()
  assert f"soft: its teacher is {who}" in said.out + said.err
  whole.stopped(of, tmp_path / "cut", monkeypatch, task="soft", done=1.4)
  assert whole.run(of, tmp_path / "cut") == 0
  whole.assert_same(of, tmp_path / "whole", tmp_path / "cut", report=False)


def _watched(monkeypatch, of, workdir):
  """Runs and returns the baseline's state [R, ...] after each round, and the teachers."""
  states, teachers, save, teacher = {}, [], saved_states.save_state, train.teacher_for

  def saving(context, plan, arm_index, *, reached, pin):
    if plan.arm == "baseline" and not reached.position.step:
      states[reached.position.round_index] = reached.state
    save(context, plan, arm_index, reached=reached, pin=pin)

  def asked(context, plan):
    found = teacher(context, plan)
    teachers.extend([] if found is None else [found])
    return found

  monkeypatch.setattr(train_arm, "save_state", saving)
  monkeypatch.setattr(train, "teacher_for", asked)
  assert whole.run(of, workdir) == 0
  return states, teachers


@pytest.mark.slow_rows("distil_classes", "distil_mean")
@pytest.mark.parametrize("kind", DISTIL)
def test_the_networks_that_teach_are_those_that_scored(kind, tmp_path, monkeypatch, capsys):
  whole.without_report(monkeypatch)
  of = config(kind, score__at_round=1, distil__temperature=3.0)
  states, teachers = _watched(monkeypatch, of, tmp_path)
  assert "after round 1, at temperature 3" in (said := capsys.readouterr()).out + said.err
  assert [teacher.temperature for teacher in teachers] == [3.0, 3.0]  # of both arms
  own, shared = teachers[0].own, teachers[0].shared
  scored = states[1].variables
  if kind == "distil_classes":
    assert shared is None
    data = tiny.data(of)
    by = Preparation.of(data.mean, data.std, data.steps, dtype=data.train.inputs.dtype)
    inputs = np.asarray(prepare(data.train.inputs, by))
    for row in range(2):
      params = jax.tree.map(lambda leaf, row=row: leaf[row], scored["params"])
      hidden = np.maximum(
        inputs.reshape(70, -1) @ params["hidden1"]["kernel"] + params["hidden1"]["bias"], 0
      )
      said = softmax((hidden @ params["head"]["kernel"] + params["head"]["bias"]) / 3.0)
      for label in range(3):
        mean = said[data.train.labels == label].mean(axis=0)
        np.testing.assert_allclose(own[row, label], mean, rtol=0, atol=1e-5)
  else:
    there, nothing = (own, shared) if kind == "distil" else (shared, own)
    assert nothing is None
    tiny.assert_equal(there, scored)


@pytest.mark.slow
def test_a_baseline_that_was_taken_over_teaches_the_same(tmp_path, monkeypatch):
  whole.without_report(monkeypatch)
  assert whole.run(config(), tmp_path / "first") == 0
  again = config(baseline_from=str(tmp_path / "first"))
  assert whole.run(again, tmp_path / "second") == 0
  rows = [
    [row for row in whole.rows(tmp_path / name) if row["arm"] == "soft"]
    for name in ("first", "second")
  ]
  assert rows[0] == rows[1] != []


@pytest.mark.slow
def test_a_network_that_diverged_is_not_in_the_mean_and_is_told(tmp_path, monkeypatch, capsys):
  whole.without_report(monkeypatch)
  monkeypatch.setattr(teachers_of_runs, "_lost", lambda context: (1,))
  states, teachers = _watched(monkeypatch, config("distil_mean"), tmp_path)
  first = jax.tree.map(lambda leaf: leaf[:1], states[2].variables)
  tiny.assert_equal(teachers[0].shared, first)
  assert (
    "the mean of the baseline's networks of 1 seed(s)"
    in (said := capsys.readouterr()).out + said.err
  )
