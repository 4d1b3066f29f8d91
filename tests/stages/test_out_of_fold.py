"""Out-of-fold scores: every example is scored by a network that has not seen it, and everything
else is as in an ordinary run.
"""

import csv
import dataclasses
import importlib.util

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdt import files
from sdt.arms.catalogue import fold_arms, trainings
from sdt.arms.planning import make_plan
from sdt.arms.setting import Setting
from sdt.commands import dry_run
from sdt.errors import ConfigError
from sdt.scores import cleanlab_issues
from sdt.scores.split import folds
from tests.support import tiny, whole

NUM_FOLDS = 3
HAS_CLEANLAB = importlib.util.find_spec("cleanlab") is not None
CONFIG = whole.config(
  score__folds=NUM_FOLDS, score__probabilities=not HAS_CLEANLAB, score__cleanlab=HAS_CLEANLAB
)


@given(
  labels=st.lists(st.sampled_from([0, 0, 0, 1, 2]), min_size=2, max_size=50),
  seed=st.integers(0, 9),
  draw=st.data(),
)
def test_folds_are_equal_to_one_example_in_all_and_in_every_class_and_go_by_the_ids(
  labels, seed, draw
):
  labels = np.array(labels)
  ids = np.arange(len(labels), dtype=np.int32) * 3
  num_folds = draw.draw(st.integers(2, len(labels)))
  found = folds(labels, ids, num_folds, seed=seed)
  for counts in (
    np.bincount(found[labels == label], minlength=num_folds)
    for label in (*set(labels.tolist()), labels)
  ):
    assert counts.max() - counts.min() <= 1
  order = np.array(draw.draw(st.permutations(range(len(labels)))))
  np.testing.assert_array_equal(
    folds(labels[order], ids[order], num_folds, seed=seed), found[order]
  )


def test_another_seed_has_other_folds_and_too_many_are_refused():
  labels, ids = np.zeros(40, np.int32), np.arange(40, dtype=np.int32)
  assert not np.array_equal(folds(labels, ids, 4, seed=0), folds(labels, ids, 4, seed=1))
  with pytest.raises(
    ConfigError, match=r"score\.folds=41: expected at most one for each of the 40 training examples"
  ):
    folds(labels, ids, 41, seed=0)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
  with pytest.MonkeyPatch.context() as patch:
    whole.without_report(patch)
    workdir = tmp_path_factory.mktemp("folds") / "run"
    assert whole.run(CONFIG, workdir) == 0
  return workdir


def probabilities(state, images):
  """Returns the softmax probabilities, [R, N, K], of the network in a checkpoint.

  NumPy, float64.
  """
  leaf = {name: np.asarray(value, np.float64) for name, value in state.items() if ".params" in name}
  weights = [
    leaf[f"['state'].params['{layer}']['{part}']"]
    for layer in ("hidden1", "head")
    for part in ("kernel", "bias")
  ]
  rows = []
  for kernel, bias, head, head_bias in zip(*weights, strict=True):
    logits = np.maximum(images @ kernel + bias, 0) @ head + head_bias
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    rows.append(p / p.sum(axis=1, keepdims=True))
  return np.stack(rows)


def confidences(state, images, labels):
  """Returns the probability of the label, [R, N], of the network in a checkpoint."""
  return probabilities(state, images)[:, np.arange(len(labels)), labels]


def test_every_example_is_scored_by_the_one_network_that_has_not_seen_it(finished):
  data = tiny.data(CONFIG)
  train = data.train
  images = (
    (train.inputs / 255 - data.mean.astype(np.float64)) / data.std.astype(np.float64)
  ).reshape(len(train), -1)
  states = dict(zip(trainings(CONFIG), whole.final_states(CONFIG, finished), strict=True))
  stored = files.read_npz(finished / "scores.npz")
  num_scored = np.zeros((2, 70), int)
  for arm in fold_arms(CONFIG):
    seen = files.read_npz(finished / "arms" / f"{arm}.npz")["all"]
    assert seen.shape[1] in (46, 47)
    expected = confidences(states[arm], images, train.labels)
    for replica in range(2):
      unseen = ~np.isin(stored["example_id"], seen[replica])
      np.testing.assert_allclose(
        stored["confidence"][replica, unseen], expected[replica, unseen], rtol=1e-4
      )
      np.testing.assert_allclose(
        stored["probabilities"][replica, unseen],
        probabilities(states[arm], images)[replica, unseen],
        rtol=1e-4,
      )
      num_scored[replica] += unseen
  assert (num_scored == 1).all()
  np.testing.assert_allclose(
    stored["confidence_in_sample"], confidences(states["baseline"], images, train.labels), rtol=1e-4
  )
  entries = files.read_json(finished / "scores.json")["scorers"]
  assert (entries["confidence"]["source"], entries["log_odds"]["source"]) == (
    "out of fold",
    "out of fold",
  )
  assert entries["confidence_in_sample"]["source"] == "in sample"
  easy = files.read_npz(finished / "arms" / "method.npz")["A"]
  for replica in range(2):
    assert set(easy[replica].tolist()) == set(np.argsort(-stored["log_odds"][replica])[:7].tolist())


def test_the_trainings_without_a_fold_have_rows_and_no_results_and_the_others_are_as_ever(
  finished, tmp_path, monkeypatch
):
  rows, results = whole.rows(finished), files.read_json(finished / "results.json")
  assert list(dict.fromkeys(row["arm"] for row in rows)) == [
    "baseline",
    "fold_1",
    "fold_2",
    "fold_3",
    "method",
  ]
  assert {(row["phase"], row["weight_decay"]) for row in rows if row["arm"] == "fold_2"} == {
    ("all", CONFIG.optim.weight_decay)
  }
  assert list(results["arms"]) == list(results["steps_per_round"]) == ["baseline", "method"]
  assert list(results["contrasts"]) == ["baseline"]
  whole.without_report(monkeypatch)
  alone = dataclasses.replace(CONFIG.score, folds=None, cleanlab=False)
  plain = dataclasses.replace(CONFIG, score=alone)
  assert whole.run(plain, tmp_path / "plain") == 0
  assert [row for row in whole.rows(tmp_path / "plain") if row["arm"] == "baseline"] == [
    row for row in rows if row["arm"] == "baseline"
  ]
  in_sample = files.read_npz(tmp_path / "plain" / "scores.npz")["confidence"]
  np.testing.assert_array_equal(
    files.read_npz(finished / "scores.npz")["confidence_in_sample"], in_sample
  )


@pytest.mark.skipif(not HAS_CLEANLAB, reason="needs the package cleanlab")
def test_cleanlab_is_asked_by_the_stored_probabilities_and_counted_in_table_and_results(finished):
  stored = files.read_npz(finished / "scores.npz")
  issues = cleanlab_issues.find(stored["label"], stored["probabilities"], stored["sound"])
  with open(finished / "suspects.csv", newline="") as file:
    rows = {int(row["example_id"]): row for row in csv.DictReader(file)}
  agree = [int(rows[number]["cleanlab_agree"]) for number in stored["example_id"]]
  assert agree == issues.seeds_agree.tolist()
  flagged = np.array([rows[number]["suspect"] == "1" for number in stored["example_id"]])
  summary = files.read_json(finished / "results.json")["suspects"]
  assert summary["cleanlab"] == {
    "version": issues.version,
    "num": issues.is_flagged.sum(),
    "num_ours": (issues.is_flagged & flagged).sum(),
    "known_wrong": (issues.is_flagged & stored["wrong_label"]).sum(),
  }
  assert summary["cleanlab"]["num"] > 0
  assert files.read_json(finished / "scores.json")["suspects"] == summary


@pytest.mark.slow
def test_a_run_that_is_stopped_in_a_fold_or_while_scoring_ends_as_one_that_was_left_alone(
  finished, tmp_path, monkeypatch
):
  whole.without_report(monkeypatch)
  for number, (task, done) in enumerate((("fold_2", 1.4), ("score", 1.0))):
    workdir = tmp_path / str(number)
    with pytest.MonkeyPatch.context() as patch:
      whole.signal_at(patch, task, done)
      assert whole.run(CONFIG, workdir) == 75
    assert whole.run(CONFIG, workdir) == 0
    whole.assert_same(CONFIG, finished, workdir, report=False)


def test_a_baseline_that_is_taken_over_brings_its_folds(finished, tmp_path, monkeypatch):
  whole.without_report(monkeypatch)
  of = dataclasses.replace(CONFIG, method=dataclasses.replace(CONFIG.method, lambda_A=0.02))
  assert whole.run(dataclasses.replace(of, baseline_from=str(finished)), tmp_path / "taken") == 0
  assert [
    name
    for name in files.read_json(tmp_path / "taken" / "timing.json")["stages"]
    if name.startswith("train")
  ] == ["train method"]
  for name in ("scores.npz", "scores.csv", "scores.json", "split.csv", "arms/fold_1.npz"):
    assert (tmp_path / "taken" / name).read_bytes() == (finished / name).read_bytes()


@pytest.mark.slow
def test_an_earlier_rounds_networks_score_out_of_fold_too(tmp_path, monkeypatch):
  whole.without_report(monkeypatch)
  of = tiny.config(score__folds=2, rounds=1, score__dynamics=False, compilation_cache=False)
  later = dataclasses.replace(of, rounds=2, score=dataclasses.replace(of.score, at_round=1))
  for name, config in (("first", of), ("later", later)):
    assert whole.run(config, tmp_path / name) == 0
  first, second = (files.read_npz(tmp_path / name / "scores.npz") for name in ("first", "later"))
  for name, values in first.items():
    np.testing.assert_array_equal(second[name], values, err_msg=name)
  assert (
    files.read_json(tmp_path / "later" / "scores.json")["scorers"]["loss"]["source"]
    == "out of fold, round 1"
  )
  taken = dataclasses.replace(
    later,
    method=dataclasses.replace(of.method, lambda_A=0.02),
    baseline_from=str(tmp_path / "later"),
  )
  assert whole.run(taken, tmp_path / "taken") == 0
  assert (tmp_path / "taken" / "scores.npz").read_bytes() == (
    tmp_path / "later" / "scores.npz"
  ).read_bytes()


def test_a_networks_scores_of_its_fold_do_not_depend_on_the_labels_there():
  data = tiny.data(CONFIG)
  setting = Setting(CONFIG, data.train.labels, data.train.example_ids)
  plan = make_plan("fold_2", setting)
  unseen = [np.setdiff1d(np.arange(70), ids) for ids in plan.phases[0].example_ids]
  both = np.intersect1d(*unseen)
  assert both.size
  other = data.train.labels.copy()
  other[both] = (other[both] + 1) % 3
  relabelled = dataclasses.replace(data, train=dataclasses.replace(data.train, labels=other))
  tiny.assert_equal(tiny.train(CONFIG, plan, data)[0], tiny.train(CONFIG, plan, relabelled)[0])
  whole_set = make_plan("baseline", setting)
  first, second = (tiny.leaves(tiny.train(CONFIG, whole_set, one)[0]) for one in (data, relabelled))
  assert any(not np.array_equal(first[name], second[name]) for name in first)


def test_a_dry_run_tells_what_the_folds_cost():
  lines = list(dry_run.describe(CONFIG))
  assert any(line.startswith("  fold_3: all 3 = 3; ") for line in lines)
  assert (
    "note      score.folds=3: 3 of these trainings, each on 2 of 3 parts of the training set, "
    "are there for the scores alone"
  ) in lines
  assert fold_arms(tiny.config(score__folds=3, arms=("baseline",))) == ()


def test_names_and_keys_that_folds_take_or_need():
  with pytest.raises(
    ConfigError, match=r"score.name = 'confidence_in_sample': expected score.folds too"
  ):
    tiny.config(score__name="confidence_in_sample")
  taken = tiny.config(score__folds=2, own_arms=("fold_2 = A@0 + B@0",), arms=("baseline", "fold_2"))
  with pytest.raises(ConfigError, match="the name 'fold_2' is taken"):
    list(dry_run.describe(taken))
