"""The artifacts of a run against NumPy, SciPy and brute force."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from safetensors import safe_open
from scipy.stats import spearmanr

from sdt import files
from sdt.engine.evaluate import predict
from sdt.engine.state import Sums, TrainState
from sdt.engine.trainer import FinishedRound
from sdt.inputs.augment import normalise, shift_and_scale
from sdt.models import make_model
from sdt.run import metrics
from sdt.stages.model_file import header, write_model
from sdt.stages.predictions import Predicted
from sdt.stages.results import Outcome, results_of
from tests.support import tiny, whole
from tests.support.scored import CONFIG

NETWORK = {"num_params": 99, "layers": ["stem", "head"]}


def sums(**changes):
  """Returns the sums of a round of two replicas and two phases: 7 examples of A, 63 of B,
  30 tests.
  """
  base = {
    "train_loss": np.array([[3.5, 63.0], [7.0, 31.5]], np.float32),
    "train_correct": np.array([[7, 21], [6, 42]], np.int32),
    "train_count": np.array([[7, 63], [7, 63]], np.int32),
    "test_loss": np.array([15.0, 60.0], np.float32),
    "test_correct": np.array([27, 24], np.int32),
    "test_count": np.array([30, 30], np.int32),
    "gradient_norm": np.array([[2.0, 6.0], [4.0, 12.0]], np.float32),
    "update_norm": np.array([[0.5, 1.5], [1.0, 3.0]], np.float32),
    "num_steps": np.array([[1, 4], [1, 4]], np.int32),
    "weight_norms": np.array([[[3.0, 4.0], [6.0, 8.0]], [[0.0, 1.0], [0.0, 0.0]]], np.float32),
  }
  return Sums(**(base | changes))


def written(workdir, data, config, outcome):
  """Returns results.json as a reader of the file has it."""
  files.write_json(workdir / "results.json", results_of(workdir, data, config, outcome))
  return files.read_json(workdir / "results.json")


def rows_of(round_sums, steps_done, index=1, evaluated=True):
  plan = tiny.alternating(CONFIG, 70, 7, (2e-3, 1e-4))
  rates = np.array([0.1, 0.1 * 0.1])
  every = dataclasses.replace(CONFIG, eval_every_rounds=1 if evaluated else 100)
  return metrics.rows_of_round(
    dataclasses.replace(plan, rounds=max(plan.rounds, index + 2)),
    every,
    FinishedRound(index, round_sums, 10.0),
    learning_rate=rates[index],
    steps_done=np.array(steps_done),
  )


def test_a_row_holds_means_over_the_examples_of_its_phase():
  first, last, other_first, other_last = rows_of(sums(), [10, 10])
  assert first == {
    "arm": "method",
    "seed": 3,
    "round": 2,
    "phase": "A",
    "last_phase": False,
    "step": 6,
    "learning_rate": 0.01,
    "weight_decay": 2e-3,
    "train_loss": 0.5,
    "train_accuracy": 1.0,
    "gradient_norm": 2.0,
    "update_norm": 0.5,
    "weight_norm": 5.0,
    "weight_norms": [3.0, 4.0],
    "test_loss": None,
    "test_accuracy": None,
    "seconds": 2.0,
  }
  assert (last["gradient_norm"], last["update_norm"], last["weight_norm"]) == (
    1.5,
    0.375,
    10.0,
  )  # means over the steps; of the end
  assert (other_last["gradient_norm"], other_last["weight_norm"]) == (
    3.0,
    None,
  )  # the replica was frozen before the phase ended
  assert (
    last["step"],
    last["train_loss"],
    last["test_loss"],
    last["test_accuracy"],
    last["seconds"],
  ) == (10, 1.0, 0.5, 0.9, 8.0)
  assert (other_first["seed"], other_last["seed"], other_last["test_accuracy"]) == (8, 8, 0.8)
  assert json.loads(json.dumps(last["learning_rate"])) == 0.01


def test_a_round_without_evaluation_has_no_test_numbers():
  assert all(
    row["test_accuracy"] is None and row["test_loss"] is None
    for row in rows_of(sums(), [10, 10], evaluated=False)
  )


def test_a_frozen_replica_counts_the_steps_that_it_did():
  counts = np.array([[7, 16], [7, 63]], np.int32)  # the first replica did one step of B
  first, last, *others = rows_of(sums(train_count=counts), [7, 10])
  assert (first["step"], "diverged" in first) == (6, False)
  assert (last["step"], last["diverged"], last["test_accuracy"]) == (7, True, None)
  assert not any("diverged" in row for row in others)
  later = rows_of(sums(train_count=np.array([[0, 0], [7, 63]], np.int32)), [4, 10])
  assert [(row["step"], row["train_loss"], row["diverged"]) for row in later[:2]] == [
    (4, None, True)
  ] * 2


def test_a_network_whose_test_loss_is_no_number_has_diverged():
  rows = rows_of(sums(test_loss=np.array([np.nan, 60.0], np.float32)), [10, 10])
  assert [row["seed"] for row in rows if row.get("diverged")] == [3]
  assert metrics.diverged_seeds(rows, "method") == (3,)
  assert metrics.diverged_seeds(rows, "baseline") == ()


def test_a_model_file_is_of_the_replica_and_says_whose_it_is_and_what_is_wrong_with_it(tmp_path):
  of = tiny.config(seeds=(3, 8))
  state = TrainState(0, {"head": {"bias": np.array([[1.0], [2.0]], np.float32)}}, {}, None)
  for replica, flaws in ((0, ()), (1, ("collapsed",)), (1, ("diverged", "collapsed"))):
    about = header(tiny.data(of), of, arm="method", seed=of.seeds[replica], flaws=flaws)
    path = tmp_path / "models" / f"{replica}{len(flaws)}.safetensors"
    write_model(path, state, replica, about=about)
    assert files.is_intact(path)
    with safe_open(path, "np") as stored:
      assert {key: stored.metadata()[key] for key in ("arm", "seed", "diverged", "collapsed")} == {
        "arm": "method",
        "seed": str(of.seeds[replica]),
        "diverged": str("diverged" in flaws).lower(),
        "collapsed": str("collapsed" in flaws).lower(),
      }
      assert stored.get_tensor("params/head/bias").tolist() == [replica + 1.0]


def test_a_model_file_that_stands_already_is_not_written_again_and_a_damaged_one_is(tmp_path):
  of, path = tiny.config(seeds=(3,)), tmp_path / "m.safetensors"
  state = TrainState(0, {"head": {"bias": np.array([[1.0]], np.float32)}}, {}, None)
  about = header(tiny.data(of), of, arm="method", seed=3)
  write_model(path, state, 0, about=about)
  content, stamp = path.read_bytes(), path.stat()
  write_model(path, state, 0, about=about)
  assert (path.stat().st_mtime_ns, path.stat().st_ino) == (stamp.st_mtime_ns, stamp.st_ino)
  path.write_bytes(b"damaged")
  write_model(path, state, 0, about=about)
  assert path.read_bytes() == content
  write_model(path, state, 0, about=header(tiny.data(of), of, arm="method", seed=4))
  assert path.read_bytes() != content


def test_model_file_gives_the_network_back_with_the_accuracy_of_the_results(tmp_path):
  of = whole.resnet(arms=("baseline",))
  data = tiny.data(of)
  state, ended = tiny.train(of, tiny.everything(of, 70), data)
  row = metrics.rows_of_round(
    tiny.everything(of, 70),
    of,
    FinishedRound(of.rounds - 1, ended[-1].sums, 1.0),
    learning_rate=1.0,
    steps_done=state.step,
  )[0]
  first = jax.tree.map(lambda leaf: leaf[0], (state.params, state.batch_stats))
  for name in ("one", "two"):
    about = header(data, of, arm="method", seed=0)
    write_model(tmp_path / name / "model.safetensors", state, 0, about=about)
  assert (tmp_path / "one" / "model.safetensors").read_bytes() == (
    tmp_path / "two" / "model.safetensors"
  ).read_bytes()
  variables = {}
  with safe_open(tmp_path / "one" / "model.safetensors", "np") as stored:
    metadata = stored.metadata()
    for name in stored.keys():
      *path, last = name.split("/")
      section = variables
      for part in path:
        section = section.setdefault(part, {})
      section[last] = stored.get_tensor(name)
  assert json.loads(metadata["class_names"]) == list(data.class_names)
  of_data = json.loads(metadata["config"])["data"]
  assert (of_data["name"], of_data["image_size"]) == ("shapes", None)
  assert of_data.keys().isdisjoint({"path", "cache", "placement", "verify"})
  normalisation = {
    name: np.asarray(value, np.float32)
    for name, value in json.loads(metadata["normalisation"]).items()
  }
  tiny.assert_equal(variables, {"params": first[0], "batch_stats": first[1]})
  model = make_model(of.model, len(json.loads(metadata["class_names"])))
  inputs = normalise(
    data.test.inputs, *shift_and_scale(normalisation["mean"], normalisation["std"], np.uint8)
  )
  correct = np.argmax(predict(model, variables, inputs), axis=-1) == data.test.labels
  assert correct.sum() / 30 == row["test_accuracy"]


def append_round(workdir, plan, round_sums, index):
  """Appends the rows of a round of five steps to metrics.jsonl."""
  rows = metrics.rows_of_round(
    plan,
    CONFIG,
    FinishedRound(index, round_sums, 1.0),
    learning_rate=1.0,
    steps_done=np.array([5 * (index + 1)] * 2),
  )
  files.append_rows(workdir / "metrics.jsonl", rows)


# Of a phase with all 70 examples: the first network has half of them right, the second all.
OF_ALL = {
  "train_count": np.array([[70, 0], [70, 0]], np.int32),
  "train_correct": np.array([[35, 0], [70, 0]], np.int32),
}
FIGURES = dict.fromkeys(("balanced_accuracy", "nll", "brier", "ece"), 0.2)
FIRST = FIGURES | {"accuracy": 0.9, "recall": [1.0, 0.8, None]}
SECOND = FIGURES | {"accuracy": 0.8, "recall": [0.5, 0.7, None]}


def test_results_count_both_phases_and_the_best_round(tmp_path):
  data, plan = tiny.data(CONFIG), tiny.everything(CONFIG, 70)
  alternating = tiny.alternating(CONFIG, 70, 7)
  better = sums(**OF_ALL, test_correct=np.array([30, 24], np.int32))
  for index, round_sums in enumerate((better, sums(**OF_ALL))):
    append_round(tmp_path, plan, round_sums, index)
    append_round(tmp_path, alternating, sums(), index)
  plans = {"baseline": plan, "method": alternating}
  predicted = {"baseline": Predicted({"3": FIRST, "8": SECOND}, None)}
  again = {"method": np.array([0.75, 0.5])}
  outcome = Outcome(plans, 7, NETWORK, predicted=predicted, recalibrated=again)
  results = written(tmp_path, data, CONFIG, outcome)
  assert results["steps_per_round"] == {"baseline": {"all": 5}, "method": {"A": 1, "B": 4}}
  baseline, method = results["arms"]["baseline"], results["arms"]["method"]
  assert method["recalibrated"]["per_seed"] == {"3": 0.75, "8": 0.5}
  assert method["recalibrated"]["mean"] == 0.625
  assert "recalibrated" not in baseline
  assert baseline["class_accuracy"] == {
    "per_seed": {"3": [1.0, 0.8, None], "8": [0.5, 0.7, None]},
    "mean": [0.75, 0.75, None],
  }
  assert baseline["accuracy"] == {"3": 0.9, "8": 0.8}
  assert baseline["paper_protocol"] == {"3": 1.0, "8": 0.8}
  assert baseline["best_round"] == {"3": 1, "8": 1}
  assert baseline["train_accuracy"] == {"3": 0.5, "8": 1.0}
  assert method["train_accuracy"] == {"3": (7 + 21) / 70, "8": (6 + 42) / 70}
  assert baseline["gap"]["per_seed"] == {
    "3": pytest.approx(0.5 - 0.9),
    "8": pytest.approx(1.0 - 0.8),
  }
  assert (baseline["gap"]["mean"], baseline["gap"]["n"]) == (pytest.approx(-0.1), 2)
  of_two_rounds = {"per_seed": {"3": None, "8": None}, "mean": None, "sd": None, "n": 0}
  assert baseline["fluctuation"] == of_two_rounds
  assert (baseline["mean"], baseline["n"], baseline["last_round"]) == (pytest.approx(0.85), 2, 2)
  assert baseline["sd"] == pytest.approx(np.std([0.9, 0.8], ddof=1))
  assert results["contrasts"]["baseline"]["per_seed"] == {"3": 0.0, "8": 0.0}
  assert results["data"]["num_train"] == 70
  pixels, normalisation = (
    data.train.inputs.astype(np.float64) / 255,
    results["data"]["normalisation"],
  )
  means, spreads = pixels.mean(axis=(0, 1, 2)), pixels.std(axis=(0, 1, 2))
  np.testing.assert_allclose(normalisation["mean"], means, rtol=1e-6)
  np.testing.assert_allclose(normalisation["std"], spreads, rtol=1e-6)


def test_a_diverged_seed_has_no_best_round_and_counts_in_no_mean(tmp_path):
  data, plan = tiny.data(CONFIG), tiny.everything(CONFIG, 70)
  # Seed 3 has a test loss that is no number after the first round, and numbers again after the
  # second.
  for index, loss in enumerate((np.nan, 15.0)):
    round_sums = sums(test_loss=np.array([loss, 60.0], np.float32), **OF_ALL)
    append_round(tmp_path, plan, round_sums, index)
  of = dataclasses.replace(CONFIG, arms=("baseline",))
  results = written(tmp_path, data, of, Outcome({"baseline": plan}, 7, NETWORK))
  entry = results["arms"]["baseline"]
  assert entry["diverged"] == [3]
  for name, sound in (
    ("accuracy", 0.8),
    ("best_round", 1),
    ("paper_protocol", 0.8),
    ("loss", 2.0),
    ("train_accuracy", 1.0),
  ):
    assert entry[name] == {"3": None, "8": sound}, name
  assert (entry["mean"], entry["n"]) == (0.8, 1)


@pytest.mark.parametrize(
  ("margin", "verdict"), [(0.0025, "not resolved"), (0.03, "equal within +-3 points")]
)
def test_the_margin_of_equal_is_the_config_s(margin, verdict, tmp_path):
  of = tiny.config(seeds=(0, 1, 2, 3), rounds=1, stats__margin=margin)
  for arm, accuracies in (
    ("baseline", (0.8, 0.81, 0.8, 0.81)),
    ("method", (0.81, 0.8, 0.805, 0.805)),
  ):
    for seed, accuracy in zip(of.seeds, accuracies, strict=True):
      row = {
        "arm": arm,
        "seed": seed,
        "round": 1,
        "phase": "all",
        "last_phase": True,
        "train_accuracy": 0.9,
      }
      files.append_rows(
        tmp_path / "metrics.jsonl", [row | {"test_loss": 0.5, "test_accuracy": accuracy}]
      )
  plans = dict.fromkeys(of.arms, tiny.everything(of, 70))
  results = written(tmp_path, tiny.data(of), of, Outcome(plans, 7, NETWORK))
  assert results["contrasts"]["baseline"]["verdict"] == verdict


def test_results_know_the_curve_before_the_drop_the_positive_control_and_what_is_not_equal_work(
  tmp_path,
):
  of = tiny.config(
    seeds=(0, 1, 2), rounds=8, arms=("baseline", "method", "long_baseline", "less_data")
  )
  for arm, level in (
    ("baseline", 0.8),
    ("method", 0.82),
    ("long_baseline", 0.81),
    ("less_data", 0.6),
  ):
    for seed in of.seeds:
      for number in range(1, 9):
        row = {
          "arm": arm,
          "seed": seed,
          "round": number,
          "phase": "all",
          "last_phase": True,
          "learning_rate": 0.1 if number < 7 else 0.01,
        }
        wave = 0.01 * (number % 2) + 0.001 * seed * (arm == "baseline")
        files.append_rows(
          tmp_path / "metrics.jsonl",
          [row | {"train_accuracy": 0.9, "test_loss": 0.5, "test_accuracy": level + wave}],
        )
  plans = dict.fromkeys(of.arms, tiny.everything(of, 70))
  results = written(tmp_path, tiny.data(of), of, Outcome(plans, 7, NETWORK))
  # Before the drop the rounds 4, 5, 6 count: +0.01, then -0.01.
  assert results["arms"]["method"]["fluctuation"]["per_seed"] == dict.fromkeys(
    "012", pytest.approx(0.01)
  )
  assert results["arms"]["less_data"]["gap"]["mean"] == pytest.approx(0.3)
  assert results["power"]["called_worse"] is True
  assert [arm for arm, entry in results["contrasts"].items() if not entry["equal_work"]] == [
    "long_baseline"
  ]
  assert set(list(results)[-4:]) == {"recommended", "contrasts", "power", "sentence"}


def test_a_trained_network_finds_wrong_labels_and_hard_examples(tmp_path, monkeypatch):
  whole.without_report(monkeypatch)
  of = whole.config(data__wrong_label_fraction=0.1)
  assert whole.run(of, tmp_path) == 0
  truth, scores = (
    files.read_json(tmp_path / "scores.json")["truth"],
    files.read_npz(tmp_path / "scores.npz"),
  )
  assert scores["wrong_label"].sum() == 7
  wrong = scores["wrong_label"]
  by_hand = [
    np.mean(row[wrong][:, None] < row[~wrong]) for row in scores["log_odds"].astype(np.float64)
  ]
  assert truth["auroc_wrong_label"]["log_odds"] == pytest.approx(np.mean(by_hand))
  assert truth["auroc_wrong_label"]["log_odds"] > 0.8
  spearman = [spearmanr(row, -scores["difficulty"]).statistic for row in scores["log_odds"]]
  assert truth["spearman_difficulty"]["log_odds"] == pytest.approx(np.mean(spearman))
  assert truth["spearman_difficulty"]["log_odds"] > 0
  easy = files.read_npz(tmp_path / "arms" / "method.npz")["A"]
  assert truth["wrong_labels_in_A"] == {
    str(seed): wrong[ids].mean() for seed, ids in zip(of.seeds, easy, strict=True)
  }
