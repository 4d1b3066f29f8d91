"""The files of the scores and of the split, against NumPy and SciPy."""

import dataclasses

import numpy as np
import pytest
from scipy.stats import spearmanr

from sdt import files
from sdt.arms.planning import make_plan
from sdt.arms.setting import Setting
from sdt.config.schema import SplitConfig
from sdt.config.score_names import OTHER_CLASS, SCORES
from sdt.engine.score_pass import ScoreRunner
from sdt.run.programs import Setup
from sdt.scores import agreement
from sdt.scores.formulas import SCORERS
from sdt.scores.split import Sizes, split
from sdt.stages import score_files
from sdt.stages.results import write_arm_ids
from tests.support import tiny
from tests.support.scored import CONFIG, STABILITY, make_data, read_table, scored, scored_of


@pytest.fixture(scope="module")
def data():
  return make_data()


def write(folder, data, scores, partitions, sound=(True, True), stability=STABILITY):
  """Writes the files of the scores; `scores` and `partitions` are those of `scored`."""
  named = scored_of(scores, partitions, sound=sound, stability=stability)
  score_files.write_scores(folder, data, CONFIG, named)


def test_scores_on_disk_are_the_scores(data, tmp_path):
  scores, parts = scored(data)
  write(tmp_path, data, scores, parts)
  stored = files.read_npz(tmp_path / "scores.npz")
  names = "example_id label seeds sound difficulty wrong_label other_class confidence log_odds"
  assert list(stored) == [*names.split(), "margin"]
  np.testing.assert_array_equal(stored["example_id"], data.train.example_ids)
  np.testing.assert_array_equal(stored["seeds"], [3, 8])
  for name, values in scores.items():
    np.testing.assert_array_equal(stored[name], values)
  table = read_table(tmp_path / "scores.csv")
  columns = "example_id source_file label class_name difficulty wrong_label confidence"
  assert list(table[0])[:7] == columns.split()
  assert table[4]["source_file"] == "a/4.png"
  np.testing.assert_array_equal([int(row["example_id"]) for row in table], data.train.example_ids)
  for replica, seed in enumerate(CONFIG.seeds):
    column = np.array([row[f"log_odds_seed{seed}"] for row in table], np.float32)
    np.testing.assert_array_equal(column, scores["log_odds"][replica])
  means = scores["log_odds"].astype(np.float64).mean(axis=0)
  np.testing.assert_allclose([float(row["log_odds"]) for row in table], means, rtol=1e-6)


def test_scores_are_described_with_their_direction_range_and_spread(data, tmp_path):
  scores, parts = scored(data)
  write(tmp_path, data, scores, parts)
  info = files.read_json(tmp_path / "scores.json")
  assert list(info) == ["ranked_by", "scorers", "ties_at_cut", "stability", "suspects", "truth"]
  assert info["scorers"]["confidence"]["range"] == [0.0, 1.0]
  entry, odds = info["scorers"]["log_odds"], scores["log_odds"].astype(np.float64)
  assert (entry["direction"], entry["source"]) == ("higher_is_easier", "last round")
  assert entry["sd"] == pytest.approx(odds.std())
  of_second = {"mean": pytest.approx(odds[1].mean()), "sd": pytest.approx(odds[1].std())}
  assert entry["per_seed"]["8"] == of_second
  assert entry["mean_spearman"] == pytest.approx(spearmanr(*odds).statistic)
  spread = np.abs(odds[0] - odds[1]) / np.sqrt(2)
  assert entry["sd_over_seeds"] == pytest.approx(spread.mean())
  column = [float(row["log_odds_sd"]) for row in read_table(tmp_path / "scores.csv")]
  np.testing.assert_allclose(column, spread, rtol=1e-5)
  assert info["ties_at_cut"] == {"3": 0, "8": 0}


def with_truth(data, difficulty, wrong):
  return dataclasses.replace(
    data, train=dataclasses.replace(data.train, difficulty=difficulty, wrong_label=wrong)
  )


def test_truth_is_written_beside_the_labels_where_it_is_known(data, tmp_path):
  scores, parts = scored(data)
  wrong = np.random.default_rng(1).random(70) < 0.2
  for name, difficulty, is_wrong in (("both", data.train.difficulty, wrong), ("none", None, None)):
    write(tmp_path / name, with_truth(data, difficulty, is_wrong), scores, parts)
  stored = files.read_npz(tmp_path / "both" / "scores.npz")
  np.testing.assert_array_equal(stored["difficulty"], data.train.difficulty)
  np.testing.assert_array_equal(stored["wrong_label"], wrong)
  table = read_table(tmp_path / "both" / "scores.csv")
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
    "other_class",
    "confidence",
    "log_odds",
    "margin",
  ]


def test_a_diverged_network_is_listed_but_counts_in_no_mean(data, tmp_path):
  scores, parts = scored(data)
  scores["log_odds"][1, :5], scores["confidence"][1, :5] = np.nan, np.nan
  scores["log_odds"][1, 5] = np.inf
  ease = agreement.easiness(SCORES["log_odds"], scores["log_odds"])
  stability = agreement.score_stability(ease, parts, CONFIG.split, sound=np.array([True, False]))
  write(tmp_path, data, scores, parts, sound=(True, False), stability=stability)
  table = read_table(tmp_path / "scores.csv")
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


def test_a_split_names_every_example_and_its_subsets(data, tmp_path):
  _, parts = scored(data)
  score_files.write_split(tmp_path, data, CONFIG, partitions=parts, by_mean=parts[1])
  table = read_table(tmp_path / "split.csv")
  columns = "example_id label class_name subset subset_seed3 subset_seed8"
  assert list(table[0]) == columns.split()
  assert [row["class_name"] for row in table] == [
    data.class_names[label] for label in data.train.labels
  ]
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
  table = read_table(tmp_path / "split.csv")
  assert [row["subset_seed8"] for row in table] == ["cut"] * 3 + ["B"] * 60 + ["A"] * 7


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
    easiness=scores["log_odds"][0],
  )
  mosaics = files.read_npz(tmp_path / "figures" / "mosaics.npz")
  order = np.argsort(-scores["log_odds"][0])
  for name, best in (("easiest", order[:20]), ("hardest", order[::-1][:20])):
    np.testing.assert_array_equal(mosaics[f"{name}_ids"], best * 3 + 5)
    np.testing.assert_array_equal(mosaics[f"{name}_images"], data.train.inputs[best])
    np.testing.assert_array_equal(mosaics[f"{name}_labels"], data.train.labels[best])
    np.testing.assert_array_equal(mosaics[f"{name}_confidence"], scores["confidence"][0][best])
  assert mosaics["class_names"].tolist() == list(data.class_names)


def test_setup_scores_fit_the_artifacts():
  """The names and shapes that `write_scores` takes are those that scoring gives."""
  setup = Setup.make(CONFIG, tiny.data(CONFIG))
  state = setup.fresh_start.state
  got = ScoreRunner(setup.score_program(), setup.source).scores(state.variables)
  assert {name: (value.shape, value.dtype.name) for name, value in got.items()} == {
    **dict.fromkeys(SCORERS, ((2, 70), "float32")),
    OTHER_CLASS: ((2, 70), "int32"),
  }
