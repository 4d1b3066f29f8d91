"""The artifacts of a run against NumPy, SciPy and brute force."""

import csv
import dataclasses
import json

import jax
import numpy as np
import pytest
from safetensors import safe_open
from scipy.stats import spearmanr

from sdt import files
from sdt.arms.planning import Setting, make_plan
from sdt.config.schema import SplitConfig
from sdt.config.score_names import SCORES
from sdt.engine.evaluate import predict
from sdt.engine.scan import Sums
from sdt.engine.score_pass import ScoreRunner
from sdt.engine.state import TrainState
from sdt.engine.trainer import FinishedRound
from sdt.inputs.augment import normalise, shift_and_scale
from sdt.models import make_model
from sdt.run import metrics
from sdt.run.programs import Setup
from sdt.scores import agreement
from sdt.scores.formulas import SCORERS
from sdt.scores.split import Partition, Sizes, split
from sdt.stages import score_files
from sdt.stages.model_file import write_model
from sdt.stages.results import Outcome, results_of, write_arm_ids
from sdt.stages.score_files import Scored
from tests.support import tiny, whole

CONFIG = tiny.config(seeds=(3, 8), rounds=2)
STABILITY = {"mean_spearman": 0.5}


@pytest.fixture(scope="module")
def data():
  made = tiny.data(CONFIG)
  ids = np.arange(len(made.train), dtype=np.int32) * 3 + 5  # ids are not positions
  files_of = tuple(f"a/{index}.png" for index in range(len(made.train)))
  return dataclasses.replace(
    made, train=dataclasses.replace(made.train, example_ids=ids, source_files=files_of)
  )


def scored(data, seed=0):
  """Returns scores of two networks and their partitions of size 7."""
  odds = np.random.default_rng(seed).normal(size=(2, len(data.train))).astype(np.float32)
  scores = {"confidence": (1 / (1 + np.exp(-odds))).astype(np.float32), "log_odds": odds}
  parts = tuple(
    split(one, data.train, size=7, seed=seed) for one, seed in zip(odds, CONFIG.seeds, strict=True)
  )
  return scores, parts


def test_scores_on_disk_are_the_scores(data, tmp_path):
  scores, parts = scored(data)
  score_files.write_scores(
    tmp_path,
    data,
    CONFIG,
    Scored(scores, np.array([True, True]), parts, stability=STABILITY),
  )
  stored = files.read_npz(tmp_path / "scores.npz")
  assert list(stored) == [
    "example_id",
    "label",
    "seeds",
    "sound",
    "difficulty",
    "wrong_label",
    "confidence",
    "log_odds",
  ]
  np.testing.assert_array_equal(stored["example_id"], data.train.example_ids)
  np.testing.assert_array_equal(stored["seeds"], [3, 8])
  for name, values in scores.items():
    np.testing.assert_array_equal(stored[name], values)
  with open(tmp_path / "scores.csv", newline="") as file:
    table = list(csv.DictReader(file))
  assert list(table[0])[:7] == [
    "example_id",
    "source_file",
    "label",
    "difficulty",
    "wrong_label",
    "confidence",
    "confidence_sd",
  ]
  assert table[4]["source_file"] == "a/4.png"
  np.testing.assert_array_equal([int(row["example_id"]) for row in table], data.train.example_ids)
  for replica, seed in enumerate(CONFIG.seeds):
    np.testing.assert_array_equal(
      np.array([row[f"log_odds_seed{seed}"] for row in table], np.float32),
      scores["log_odds"][replica],
    )
  np.testing.assert_allclose(
    [float(row["log_odds"]) for row in table],
    scores["log_odds"].astype(np.float64).mean(axis=0),
    rtol=1e-6,
  )
  info = files.read_json(tmp_path / "scores.json")
  assert list(info) == ["ranked_by", "scorers", "ties_at_cut", "stability", "truth"]
  assert info["scorers"]["confidence"]["range"] == [0.0, 1.0]
  assert info["scorers"]["log_odds"]["direction"] == "higher_is_easier"
  assert info["scorers"]["log_odds"]["source"] == "last round"
  odds = scores["log_odds"].astype(np.float64)
  entry = info["scorers"]["log_odds"]
  assert entry["sd"] == pytest.approx(odds.std())
  assert entry["per_seed"]["8"] == {
    "mean": pytest.approx(odds[1].mean()),
    "sd": pytest.approx(odds[1].std()),
  }
  assert entry["mean_spearman"] == pytest.approx(spearmanr(*odds).statistic)
  spread = np.abs(odds[0] - odds[1]) / np.sqrt(2)
  assert entry["sd_over_seeds"] == pytest.approx(spread.mean())
  np.testing.assert_allclose([float(row["log_odds_sd"]) for row in table], spread, rtol=1e-5)
  assert info["ties_at_cut"] == {"3": 0, "8": 0}


def with_truth(data, difficulty, wrong):
  return dataclasses.replace(
    data, train=dataclasses.replace(data.train, difficulty=difficulty, wrong_label=wrong)
  )


def test_truth_is_written_beside_the_labels_where_it_is_known(data, tmp_path):
  scores, parts = scored(data)
  wrong = np.random.default_rng(1).random(70) < 0.2
  for name, difficulty, is_wrong in (("both", data.train.difficulty, wrong), ("none", None, None)):
    score_files.write_scores(
      tmp_path / name,
      with_truth(data, difficulty, is_wrong),
      CONFIG,
      Scored(scores, np.array([True, True]), parts, stability=STABILITY),
    )
  stored = files.read_npz(tmp_path / "both" / "scores.npz")
  np.testing.assert_array_equal(stored["difficulty"], data.train.difficulty)
  np.testing.assert_array_equal(stored["wrong_label"], wrong)
  with open(tmp_path / "both" / "scores.csv", newline="") as file:
    table = list(csv.DictReader(file))
  assert [row["wrong_label"] for row in table] == ["1" if one else "0" for one in wrong]
  np.testing.assert_array_equal(
    np.array([row["difficulty"] for row in table], np.float32), data.train.difficulty
  )
  assert "truth" not in files.read_json(tmp_path / "none" / "scores.json")
  assert list(files.read_npz(tmp_path / "none" / "scores.npz")) == [
    "example_id",
    "label",
    "seeds",
    "sound",
    "confidence",
    "log_odds",
  ]


def test_truth_of_a_hand_made_case(data):
  """Ten examples; the first network ranks them perfectly, the second the other way round but for
  its infinities.
  """
  train = dataclasses.replace(
    data.train,
    **{
      name: getattr(data.train, name)[:10]
      for name in ("inputs", "labels", "example_ids", "source_files")
    },
    difficulty=np.arange(10, dtype=np.float32) / 10,
    wrong_label=np.array([False] * 8 + [True] * 2),
  )
  perfect = np.arange(10.0)[::-1] * 5
  other = np.array([-np.inf, 1, 2, 3, 4, 5, 6, 7, 0, np.inf])
  parts = tuple(
    Partition(np.array(easy, np.int32), np.zeros(0, np.int32), 0)
    for easy in ([0, 1, 2, 3], [6, 7, 9, 5])
  )

  def truth(sound, scores=(perfect, other), of=train):
    return agreement.score_truth(
      of, {"log_odds": np.array(scores)}, parts, seeds=CONFIG.seeds, sound=np.array(sound)
    )

  first = truth([True, False])
  assert first["auroc_wrong_label"]["log_odds"] == 1.0
  assert first["average_precision_wrong_label"]["log_odds"] == 1.0
  # The second has its wrong labels at ranks 2 and 10 from the hard end: precisions 1/2 and 2/10.
  assert truth([False, True])["average_precision_wrong_label"]["log_odds"] == pytest.approx(0.35)
  assert (
    truth([True, True], (np.ones(10),) * 2)["average_precision_wrong_label"]["log_odds"]
    == first["wrong_label_rate"]
    == 0.2
  )
  assert first["spearman_difficulty"]["log_odds"] == pytest.approx(1.0)
  assert first["wrong_labels_in_A"] == {3: 0.0, 8: 0.25}
  # Of 16 pairs (right, wrong) the second network puts the wrong one lower in seven: 0 against the 1
  # to 7.
  assert truth([False, True])["auroc_wrong_label"]["log_odds"] == pytest.approx(7 / 16)
  assert truth([True, True])["auroc_wrong_label"]["log_odds"] == pytest.approx((1 + 7 / 16) / 2)
  finite = np.where(np.isinf(other), np.sign(other) * 99, other)
  assert truth([False, True])["spearman_difficulty"]["log_odds"] == pytest.approx(
    spearmanr(finite, -train.difficulty).statistic
  )
  assert truth([False, False]) == truth([True, True])
  clean = dataclasses.replace(train, wrong_label=np.zeros(10, bool))
  assert truth([True, True], of=clean)["auroc_wrong_label"] == {"log_odds": None}
  assert truth([True, True], of=clean)["wrong_labels_in_A"] == {3: 0.0, 8: 0.0}
  only_difficulty = truth([True, True], of=dataclasses.replace(train, wrong_label=None))
  assert only_difficulty["wrong_labels_in_A"] == {3: None, 8: None}
  assert json.loads(files.json_text(truth([True, True], (np.ones(10),) * 2)))[
    "spearman_difficulty"
  ] == {"log_odds": None}
  assert (
    truth([True, True], of=dataclasses.replace(train, wrong_label=None, difficulty=None)) is None
  )
  assert "wrong_labels_in_cut" not in first
  cut = tuple(
    Partition(part.easy, part.rest, 0, left_out=np.array([8, 3], np.int32)) for part in parts
  )
  assert agreement.score_truth(train, {}, cut, seeds=CONFIG.seeds, sound=np.ones(2, bool))[
    "wrong_labels_in_cut"
  ] == {3: 0.5, 8: 0.5}


def test_stability_is_spearman_s_correlation_and_the_share_of_common_examples(data):
  scores, parts = scored(data)
  scores["log_odds"][1] = scores["log_odds"][0] + 0.5 * scores["log_odds"][1]
  scores["log_odds"][:, :4] = 1.0  # ties
  stability = agreement.score_stability(
    scores["log_odds"], parts, CONFIG.split, sound=np.ones(len(parts), bool)
  )
  assert stability["mean_spearman"] == pytest.approx(spearmanr(*scores["log_odds"]).statistic)
  common = len(set(parts[0].easy) & set(parts[1].easy)) / 7
  np.testing.assert_allclose(stability["overlap_of_A"], [[1, common], [common, 1]])
  assert stability["mean_overlap_of_A"] == common
  assert (
    agreement.score_stability(
      scores["log_odds"][:1], parts[:1], CONFIG.split, sound=np.ones(1, bool)
    )
    is None
  )


def test_stability_by_hand():
  rest = np.zeros(0, np.int32)
  parts = tuple(Partition(np.array(easy, np.int32), rest, 0) for easy in ([0, 1], [1, 2], [2, 3]))
  scores = np.array([[4.0, 3.0, 2.0, 1.0], [3.0, 4.0, 2.0, 1.0], [1.0, 2.0, 3.0, 4.0]])
  stability = agreement.score_stability(
    scores, parts, CONFIG.split, sound=np.ones(len(parts), bool)
  )
  # rho = 1 - 6 sum d^2 / (n (n^2 - 1)): d^2 is 2, 20, 18.
  np.testing.assert_allclose(
    stability["spearman"], [[1, 0.8, -1], [0.8, 1, -0.8], [-1, -0.8, 1]], atol=1e-12
  )
  np.testing.assert_allclose(stability["overlap_of_A"], [[1, 0.5, 0], [0.5, 1, 0.5], [0, 0.5, 1]])
  assert stability["mean_overlap_of_A"] == pytest.approx(1 / 3)
  assert stability["warning"].startswith(
    "two seeds share only 33 % of the A that their own scores give"
  )
  assert "split.source=mean splits for all" in stability["warning"]
  by_mean = agreement.score_stability(
    scores, parts, SplitConfig(source="mean"), sound=np.ones(3, bool)
  )
  assert "more seeds make the mean, by which all of them split, steadier" in by_mean["warning"]
  assert (
    agreement.score_stability(scores, parts, SplitConfig(policy="random"), sound=np.ones(3, bool))[
      "warning"
    ]
    is None
  )
  half = agreement.score_stability(scores[:2], parts[:2], CONFIG.split, sound=np.ones(2, bool))
  assert (half["mean_overlap_of_A"], half["warning"]) == (0.5, None)
  # The third diverged: its A is shown, but neither means nor the warning count it.
  sound = agreement.score_stability(
    scores, parts, CONFIG.split, sound=np.array([True, True, False])
  )
  assert (sound["mean_overlap_of_A"], sound["warning"]) == (0.5, None)
  assert sound["mean_spearman"] == pytest.approx(0.8)
  np.testing.assert_array_equal(sound["overlap_of_A"], stability["overlap_of_A"])


def test_a_diverged_network_is_listed_but_counts_in_no_mean(data, tmp_path):
  scores, parts = scored(data)
  scores["log_odds"][1, :5], scores["confidence"][1, :5] = np.nan, np.nan
  scores["log_odds"][1, 5] = np.inf
  ease = agreement.easiness(SCORES["log_odds"], scores["log_odds"])
  stability = agreement.score_stability(ease, parts, CONFIG.split, sound=np.array([True, False]))
  score_files.write_scores(
    tmp_path,
    data,
    CONFIG,
    Scored(scores, np.array([True, False]), parts, stability=stability),
  )
  with open(tmp_path / "scores.csv", newline="") as file:
    table = list(csv.DictReader(file))
  np.testing.assert_array_equal(
    np.array([row["log_odds"] for row in table], np.float32), scores["log_odds"][0]
  )
  assert table[0]["confidence_seed8"] == "nan"
  info = files.read_json(tmp_path / "scores.json")
  assert info["scorers"]["confidence"]["mean"] == pytest.approx(
    scores["confidence"][0].astype(np.float64).mean()
  )
  assert (
    info["scorers"]["confidence"]["sd_over_seeds"],
    info["scorers"]["confidence"]["mean_spearman"],
  ) == (None, None)
  assert table[0]["confidence_sd"] == ""
  assert [info["stability"][key] for key in ("mean_spearman", "mean_overlap_of_A", "warning")] == [
    None,
    None,
    None,
  ]
  assert len(info["stability"]["overlap_of_A"]) == 2
  np.testing.assert_array_equal(files.read_npz(tmp_path / "scores.npz")["sound"], [True, False])


def test_scores_that_are_no_numbers_are_the_hardest():
  odds = np.array([[1.0, np.nan, -3.0], [np.nan, np.nan, np.inf]], np.float32)
  np.testing.assert_array_equal(
    agreement.easiness(SCORES["log_odds"], odds),
    np.array([[1, -np.inf, -3], [-np.inf, -np.inf, np.inf]], np.float32),
  )
  np.testing.assert_array_equal(
    agreement.mean_score(SCORES["log_odds"], odds, np.array([True, False])),
    np.float32([1, -np.inf, -3]),
  )
  np.testing.assert_array_equal(
    agreement.mean_score(SCORES["log_odds"], odds, np.array([False, False])),
    np.float32([-np.inf, -np.inf, np.inf]),
  )
  np.testing.assert_array_equal(
    agreement.easiness(SCORES["confidence"], odds[:, 1:2]), np.zeros((2, 1), np.float32)
  )
  losses = np.array([[0.5, np.nan]], np.float32)
  np.testing.assert_array_equal(
    agreement.easiness(SCORES["loss"], losses), np.array([[-0.5, -np.inf]], np.float32)
  )
  np.testing.assert_array_equal(
    agreement.mean_score(SCORES["loss"], losses, np.array([True])),
    np.array([0.5, np.inf], np.float32),
  )


def test_a_split_names_every_example_and_its_subsets(data, tmp_path):
  _, parts = scored(data)
  score_files.write_split(tmp_path, data, CONFIG, partitions=parts, by_mean=parts[1])
  with open(tmp_path / "split.csv", newline="") as file:
    table = list(csv.DictReader(file))
  assert list(table[0]) == ["example_id", "label", "subset", "subset_seed3", "subset_seed8"]
  for column, part in (
    ("subset", parts[1]),
    ("subset_seed3", parts[0]),
    ("subset_seed8", parts[1]),
  ):
    assert [index for index, row in enumerate(table) if row[column] == "A"] == part.easy.tolist()
    assert [index for index, row in enumerate(table) if row[column] == "B"] == part.rest.tolist()
  rule = SplitConfig(policy="mislabel_cut")
  cut = split(np.arange(70.0), data.train, Sizes(7, left_out=3), seed=0, rule=rule)
  score_files.write_split(tmp_path, data, CONFIG, partitions=(cut, cut), by_mean=cut)
  with open(tmp_path / "split.csv", newline="") as file:
    assert [row["subset_seed8"] for row in csv.DictReader(file)] == ["cut"] * 3 + ["B"] * 60 + [
      "A"
    ] * 7


def test_ids_of_arms_and_mosaics_are_ids_and_not_positions(data, tmp_path):
  scores, parts = scored(data)
  setting = Setting(
    CONFIG, data.train.labels, data.train.example_ids, scores=scores["log_odds"], partitions=parts
  )
  write_arm_ids(tmp_path, data, CONFIG, plan=make_plan("method", setting))
  ids = files.read_npz(tmp_path / "arms" / "method.npz")
  assert sorted(ids) == ["A", "B", "seeds"]
  np.testing.assert_array_equal(ids["A"][1], parts[1].easy * 3 + 5)
  assert ids["A"].dtype == np.int32
  score_files.write_mosaics(
    tmp_path,
    data,
    CONFIG,
    confidence=scores["confidence"][0],
    ranking=scores["log_odds"][0],
    partition=parts[0],
  )
  mosaics = files.read_npz(tmp_path / "figures" / "mosaics.npz")
  best = np.argsort(-scores["log_odds"][0])[:7]
  np.testing.assert_array_equal(mosaics["easiest_ids"], best * 3 + 5)
  np.testing.assert_array_equal(mosaics["easiest_images"], data.train.inputs[best])
  np.testing.assert_array_equal(mosaics["easiest_labels"], data.train.labels[best])
  np.testing.assert_array_equal(mosaics["easiest_confidence"], scores["confidence"][0][best])
  others = (mosaics["other_ids"] - 5) // 3
  assert len(set(others.tolist())) == 63
  assert set(others.tolist()) == set(parts[0].rest.tolist())
  assert others.tolist() != parts[0].rest.tolist()  # drawn, not in order
  np.testing.assert_array_equal(mosaics["other_images"], data.train.inputs[others])
  assert mosaics["class_names"].tolist() == list(data.class_names)
  bottom = tiny.config(seeds=(3, 8), split__policy="bottom")
  hardest = split(scores["log_odds"][0], data.train, size=7, seed=3, rule=bottom.split)
  score_files.write_mosaics(
    tmp_path / "bottom",
    data,
    bottom,
    confidence=scores["confidence"][0],
    ranking=scores["log_odds"][0],
    partition=hardest,
  )
  shown = files.read_npz(tmp_path / "bottom" / "figures" / "mosaics.npz")["easiest_ids"]
  np.testing.assert_array_equal(shown, np.argsort(scores["log_odds"][0])[:7] * 3 + 5)


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


def test_model_file_is_of_the_first_seed_that_did_not_diverge(tmp_path):
  of = tiny.config(seeds=(3, 8))
  data = tiny.data(of)
  params = {"head": {"bias": np.array([[1.0], [2.0]], np.float32)}}
  lost = {
    "arm": "method",
    "seed": 3,
    "round": 1,
    "phase": "B",
    "last_phase": True,
    "diverged": True,
  }
  for name, rows, seed, bias in (
    ("sound", [], "3", 1.0),
    ("lost", [lost], "8", 2.0),
    ("other", [lost | {"arm": "baseline"}], "3", 1.0),
  ):
    (tmp_path / name).mkdir()
    files.append_rows(tmp_path / name / "metrics.jsonl", rows)
    write_model(tmp_path / name, data, of, arm="method", state=TrainState(0, params, {}, None))
    with safe_open(tmp_path / name / "model.safetensors", "np") as stored:
      assert {key: stored.metadata()[key] for key in ("arm", "seed", "diverged")} == {
        "arm": "method",
        "seed": seed,
        "diverged": "false",
      }
      assert stored.get_tensor("params/head/bias").tolist() == [bias]


def test_model_file_gives_the_network_back_with_the_accuracy_of_the_results(tmp_path):
  of = tiny.resnet(seeds=(0,), rounds=1)
  data = tiny.data(of)
  state, ended = tiny.train(of, tiny.everything(of, 70), data)
  row = metrics.rows_of_round(
    tiny.everything(of, 70),
    of,
    FinishedRound(0, ended[0].sums, 1.0),
    learning_rate=1.0,
    steps_done=state.step,
  )[0]
  first = jax.tree.map(lambda leaf: leaf[0], (state.params, state.batch_stats))
  for name in ("one", "two"):
    write_model(tmp_path / name, data, of, arm="method", state=state)
  assert (tmp_path / "one" / "model.safetensors").read_bytes() == (
    tmp_path / "two" / "model.safetensors"
  ).read_bytes()
  variables = {}
  with safe_open(tmp_path / "one" / "model.safetensors", "np") as stored:
    header = stored.metadata()
    for name in stored.keys():
      *path, last = name.split("/")
      section = variables
      for part in path:
        section = section.setdefault(part, {})
      section[last] = stored.get_tensor(name)
  assert json.loads(header["class_names"]) == list(data.class_names)
  assert json.loads(header["config"])["data"] == {
    "name": "shapes",
    "image_size": None,
    "resize": "stretch",
    "crop_size": None,
  }
  normalisation = {
    name: np.asarray(value, np.float32)
    for name, value in json.loads(header["normalisation"]).items()
  }
  tiny.assert_equal(variables, {"params": first[0], "batch_stats": first[1]})
  model = make_model(of.model, len(json.loads(header["class_names"])))
  inputs = normalise(
    data.test.inputs, *shift_and_scale(normalisation["mean"], normalisation["std"], np.uint8)
  )
  correct = np.argmax(predict(model, variables, inputs), axis=-1) == data.test.labels
  assert correct.sum() / 30 == row["test_accuracy"]


def test_results_count_both_phases_and_the_best_round(tmp_path):
  data = tiny.data(CONFIG)
  plan = tiny.everything(CONFIG, 70)
  one = dataclasses.replace(
    sums(),
    train_count=np.array([[70, 0], [70, 0]], np.int32),
    train_correct=np.array([[35, 0], [70, 0]], np.int32),
  )
  better = dataclasses.replace(one, test_correct=np.array([30, 24], np.int32))
  for index, round_sums in enumerate((better, one)):
    for number, of in ((0, plan), (1, tiny.alternating(CONFIG, 70, 7))):
      of_arm = round_sums if number == 0 else sums()
      done = np.array([(index + 1) * 5] * 2)
      files.append_rows(
        tmp_path / "metrics.jsonl",
        metrics.rows_of_round(
          of, CONFIG, FinishedRound(index, of_arm, 1.0), learning_rate=1.0, steps_done=done
        ),
      )
  plans = {"baseline": plan, "method": tiny.alternating(CONFIG, 70, 7)}
  again = {"method": np.array([0.75, 0.5])}
  results = written(tmp_path, data, CONFIG, Outcome(plans, 7, NETWORK, recalibrated=again))
  assert results["steps_per_round"] == {"baseline": {"all": 5}, "method": {"A": 1, "B": 4}}
  baseline, method = results["arms"]["baseline"], results["arms"]["method"]
  assert method["recalibrated"]["per_seed"] == {"3": 0.75, "8": 0.5}
  assert method["recalibrated"]["mean"] == 0.625
  assert "recalibrated" not in baseline
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
  assert baseline["fluctuation"] == {
    "per_seed": {"3": None, "8": None},
    "mean": None,
    "sd": None,
    "n": 0,
  }  # of two rounds
  assert (baseline["mean"], baseline["n"], baseline["last_round"]) == (pytest.approx(0.85), 2, 2)
  assert baseline["sd"] == pytest.approx(np.std([0.9, 0.8], ddof=1))
  assert results["contrasts"]["baseline"]["per_seed"] == {"3": 0.0, "8": 0.0}
  assert results["data"]["num_train"] == 70
  pixels = data.train.inputs.astype(np.float64).reshape(-1, 3) / 255
  np.testing.assert_allclose(
    results["data"]["normalisation"]["mean"], pixels.mean(axis=0), rtol=1e-6
  )
  np.testing.assert_allclose(results["data"]["normalisation"]["std"], pixels.std(axis=0), rtol=1e-6)


def test_a_diverged_seed_has_no_best_round_and_counts_in_no_mean(tmp_path):
  data, plan = tiny.data(CONFIG), tiny.everything(CONFIG, 70)
  counts = {
    "train_count": np.array([[70, 0], [70, 0]], np.int32),
    "train_correct": np.array([[35, 0], [70, 0]], np.int32),
  }
  # Seed 3 has a test loss that is no number after the first round, and numbers again after the
  # second.
  for index, loss in enumerate((np.nan, 15.0)):
    of_round = sums(test_loss=np.array([loss, 60.0], np.float32), **counts)
    rows = metrics.rows_of_round(
      plan,
      CONFIG,
      FinishedRound(index, of_round, 1.0),
      learning_rate=1.0,
      steps_done=np.array([5 * (index + 1)] * 2),
    )
    files.append_rows(tmp_path / "metrics.jsonl", rows)
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
  assert set(list(results)[-3:]) == {"contrasts", "power", "sentence"}


def test_a_trained_network_finds_wrong_labels_and_hard_examples(tmp_path, monkeypatch):
  whole.without_report(monkeypatch)
  sizes = {
    "data__shapes__num_train": 300,
    "data__shapes__num_classes": 2,
    "data__wrong_label_fraction": 0.1,
  }
  of = tiny.config(arms=("baseline", "method"), rounds=3, compilation_cache=False, **sizes)
  assert whole.run(of, tmp_path) == 0
  truth, scores = (
    files.read_json(tmp_path / "scores.json")["truth"],
    files.read_npz(tmp_path / "scores.npz"),
  )
  assert scores["wrong_label"].sum() == 30
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


def test_setup_scores_fit_the_artifacts():
  """The names and shapes that `write_scores` takes are those that scoring gives."""
  setup = Setup.make(CONFIG, tiny.data(CONFIG))
  state = setup.fresh_start.state
  variables = {"params": state.params, "batch_stats": state.batch_stats}
  got = ScoreRunner(setup.score_program(), setup.device_data, 70).scores(variables)
  assert {name: (value.shape, value.dtype.name) for name, value in got.items()} == dict.fromkeys(
    SCORERS, ((2, 70), "float32")
  )
