"""The teachers of a run: who they are, and that a stopped run learns from the same."""

import numpy as np
import pytest

from sdt.stages.teachers import class_means
from tests.support import whole


def config(kind="distil", **changes):
  return whole.config(
    own_arms=(f"soft = all@mean[{kind}=0.6]", f"hard = A@mean | B@mean[{kind}=0.6]"),
    arms=("baseline", "soft", "hard"),
    rounds=2,
    optim__milestones=(1,),
    **changes,
  )


def test_the_mean_of_a_class_by_hand():
  half = np.array([[[0.5, 0.5, 0.0], [0.3, 0.3, 0.4], [0.0, 0.0, 1.0]]], np.float32)
  labels = np.array([1, 1, 2], np.int32)
  expected = [[1, 0, 0], [0.4, 0.4, 0.2], [0, 0, 1]]  # no example of class 0
  np.testing.assert_allclose(class_means(half, labels, 1.0)[0], expected, atol=1e-7)
  roots = np.sqrt([0.3, 0.3, 0.4]) / np.sqrt([0.3, 0.3, 0.4]).sum()
  at_two = class_means(half, labels, 2.0)[0, 1]
  np.testing.assert_allclose(at_two, (np.array([0.5, 0.5, 0]) + roots) / 2, atol=1e-7)


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


def test_the_network_that_teaches_is_the_one_that_scored(tmp_path, monkeypatch, capsys):
  whole.without_report(monkeypatch)
  assert whole.run(config(score__at_round=1), tmp_path) == 0
  said = capsys.readouterr()
  assert "of the same seed after round 1, at temperature 2" in said.out + said.err
