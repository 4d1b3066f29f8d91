"""Whole runs that rank by training dynamics, or by the network of an earlier round: resumed, taken
over, restored.
"""

import dataclasses
import shutil

import numpy as np
import pytest

from sdt import experiment, files
from sdt.config import from_dict, to_dict
from sdt.config.score_names import COURSE, DYNAMICS, OTHER_CLASS, SCORES
from sdt.engine.score_pass import ScoreRunner
from sdt.engine.state import Position
from sdt.errors import CheckpointError, ConfigError
from sdt.run.checkpoints import CheckpointStore
from sdt.run.programs import Setup
from sdt.run.saved_states import step_after
from sdt.scores.agreement import score_truth
from sdt.scores.dynamics import dynamics_scores
from sdt.scores.formulas import SCORERS
from sdt.scores.split import split
from tests.support import tiny, whole

CONFIG = whole.config(score__name="forgetting", score__at_round=2, score__course=True)
# Its second arm is trained by the method's program. A baseline alone has a program of its own: it
# is taken over in tests/run/test_reused_baseline.py.
WITHOUT_METHOD = dataclasses.replace(CONFIG, arms=("baseline", "random_subset"))


@pytest.fixture(autouse=True)
def without_report(monkeypatch):
  whole.without_report(monkeypatch)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
  workdir = tmp_path_factory.mktemp("finished") / "run"
  with pytest.MonkeyPatch.context() as patch:
    whole.without_report(patch)
    assert whole.run(CONFIG, workdir) == 0
  return workdir


def test_scores_of_both_kinds_are_those_of_the_engine(finished):
  """Those of a pass come from the network after round 2, those of the dynamics from all four
  rounds.
  """
  data = tiny.data(CONFIG)
  setup = Setup.make(CONFIG, data)
  trainer = tiny.trainer(CONFIG, tiny.everything(CONFIG, len(data.train)), data)
  states = {progress.position: trainer.get_state() for progress in trainer.run(Position())}
  state = states[Position(2)].state
  variables = state.variables
  expected = ScoreRunner(setup.score_program(), setup.source).scores(variables)
  expected |= dynamics_scores(states[Position(4)].dynamics, 4)
  expected |= {COURSE: states[Position(4)].dynamics.course}
  stored = files.read_npz(finished / "scores.npz")
  assert set(expected) == {name for name in stored if name in (*SCORES, OTHER_CLASS, COURSE)}
  for name, values in expected.items():
    np.testing.assert_array_equal(stored[name], values, err_msg=name)
  described = files.read_json(finished / "scores.json")["scorers"]
  assert described["forgetting"]["source"] == "training dynamics"
  assert {described[name]["source"] for name in SCORERS} == {"round 2"}
  assert described["el2n"]["note"] is None
  easy = np.load(finished / "arms" / "method.npz")["A"]
  for replica, ids in enumerate(easy):
    assert (
      stored["forgetting"][replica][ids].max()
      <= np.delete(stored["forgetting"][replica], ids).min()
    )


@pytest.mark.slow_rows("1.4")
@pytest.mark.parametrize("done", [1.4, 2.4])
def test_a_run_that_stops_inside_a_round_goes_on_to_the_same_bytes(
  finished, tmp_path, monkeypatch, done
):
  """Before and after the round that is scored; the summaries of the round under way are in the
  checkpoint too.
  """
  whole.stopped(CONFIG, tmp_path / "run", monkeypatch, task="baseline", done=done)
  assert whole.run(CONFIG, tmp_path / "run") == 0
  whole.assert_same(CONFIG, finished, tmp_path / "run", report=False)


@pytest.mark.slow
def test_a_baseline_of_another_run_hands_its_dynamics_and_its_scored_round_over(
  finished, tmp_path, capsys
):
  assert whole.run(WITHOUT_METHOD, tmp_path / "first") == 0
  own = dataclasses.replace(CONFIG, baseline_from=str(tmp_path / "first"))
  assert whole.run(own, tmp_path / "run") == 0
  whole.assert_same(CONFIG, finished, tmp_path / "run", report=False)
  assert "it is not trained again" in capsys.readouterr().err
  other = dataclasses.replace(own, score=dataclasses.replace(own.score, at_round=1))
  with pytest.raises(ConfigError, match=r"another baseline \(score\.at_round: 2 -> 1\)"):
    experiment.run(other, tmp_path / "other", "tiny")
  store = CheckpointStore(tmp_path / "first" / "checkpoints", 2, read_only=True)
  shutil.rmtree(tmp_path / "first" / "checkpoints" / str(step_after(store, 2)))
  with pytest.raises(CheckpointError, match=r"after round 2, which is needed later, is missing"):
    experiment.run(own, tmp_path / "late", "tiny")
  assert not (tmp_path / "late").exists()


@pytest.mark.parametrize("lost", ["file", COURSE])
def test_a_finished_baseline_still_gives_its_scores(finished, tmp_path, lost):
  """From its pinned checkpoints, where the file of scores is lost, or the course in it."""
  shutil.copytree(finished, tmp_path / "run")
  path = tmp_path / "run" / "scores.npz"
  stored = files.read_npz(path)
  path.unlink()
  if lost == COURSE:
    files.write_npz(path, **{name: value for name, value in stored.items() if name != COURSE})
    (tmp_path / "run" / "results.json").unlink()
  assert whole.run(CONFIG, tmp_path / "run") == 0
  assert (tmp_path / "run" / "scores.npz").read_bytes() == (finished / "scores.npz").read_bytes()


@pytest.mark.slow
def test_a_seed_that_is_trained_later_has_the_course_of_one_run_of_all(
  finished, tmp_path, monkeypatch
):
  whole.quick_report(monkeypatch)
  for seeds in ((1,), CONFIG.seeds):
    assert whole.run(dataclasses.replace(CONFIG, seeds=seeds), tmp_path / "run") == 0
  ours, theirs = (files.read_npz(one / "scores.npz") for one in (tmp_path / "run", finished))
  tiny.assert_equal(ours, theirs)
  assert ours[COURSE].shape == (2, 70, CONFIG.rounds)
  for one, other in zip(
    whole.final_states(CONFIG, tmp_path / "run"),
    whole.final_states(CONFIG, finished),
    strict=True,
  ):
    tiny.assert_equal(one, other)


def test_keys_that_do_not_go_together_are_refused():
  def refused(match, **score):
    with pytest.raises(ConfigError, match=match):
      from_dict(to_dict(tiny.config()) | {"score": to_dict(tiny.config())["score"] | score})

  for name in (name for name, one in SCORES.items() if one.source == DYNAMICS):
    refused(rf"score\.name = '{name}' with score\.dynamics = False", name=name, dynamics=False)
  refused(
    r"score\.name = 'grand' with score\.grand = False: expected score\.grand = True", name="grand"
  )
  refused(r"score\.at_round = 5: expected at most rounds = 4", at_round=5)


@pytest.mark.slow
def test_early_scores_of_the_last_round_come_with_a_note(tmp_path, capsys):
  config = whole.config(score__name="grand", score__grand=True, score__dynamics=False)
  assert whole.run(config, tmp_path / "run") == 0
  assert (
    "note: score.name=grand: its source means a network early in training (20 of 200 epochs)"
    in capsys.readouterr().err
  )
  described = files.read_json(tmp_path / "run" / "scores.json")["scorers"]
  assert [
    "another quantity" in described[name]["note"] for name in ("grand", "grand_last_layer", "el2n")
  ] == [True] * 3
  assert "forgetting" not in described


@pytest.mark.slow
def test_every_score_of_the_dynamics_finds_wrong_labels_in_its_declared_direction():
  of = tiny.config(
    data__shapes__num_train=600,
    data__wrong_label_fraction=0.1,
    data__shapes__num_classes=4,
    model__hidden_sizes=(64,),
    rounds=40,
    optim__milestones=(30,),
    seeds=(0, 1, 2),
  )
  data = tiny.data(of)
  trainer = tiny.trainer(of, tiny.everything(of, len(data.train)), data)
  for _ in trainer.run(Position()):
    pass
  scores = dynamics_scores(trainer.get_state().dynamics, of.rounds)
  parts = [split(scores["aum"][0], data.train, size=60, seed=0)]
  areas = score_truth(data.train, scores, parts, seeds=of.seeds[:1], sound=np.ones(3, bool))[
    "auroc_wrong_label"
  ]
  assert {name for name, area in areas.items() if area > 0.5} == set(scores), areas
