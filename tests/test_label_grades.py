"""The grades of scores on labels whose truth is known: a case worked by hand, and cleanlab."""

import importlib
import sys

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from sdt import files
from sdt.scores import suspects
from tests.support.places import ROOT

# Eight examples of two classes; the labels of the fourth and the last are wrong.
LABELS = np.array([0, 0, 0, 0, 1, 1, 1, 1], np.int32)
WRONG = np.array([0, 0, 0, 1, 0, 0, 0, 1], bool)
# The first seed finds both and one that is right, the second only the fourth; the third diverged.
MARGIN = np.array(
  [[3, 2, 4, -2, 5, 6, -1, -3], [3, 2, 4, -2, 5, 6, 1, 2.5], [np.nan] * 8], np.float32
)
LOSS = np.array([[1, 1, 1, 2, 1, 1, 1, 2]] * 3, np.float32)
SEEDS = np.array([3, 5, 9])


@pytest.fixture(scope="module")
def scripts():
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(sys, "path", [str(ROOT / "benchmarks"), *sys.path])
    yield importlib.import_module("label_grades"), importlib.import_module("label_noise")


def write(workdir, **more):
  """Writes the scores of a run with folds."""
  of_first = 1 / (1 + np.exp(-np.nan_to_num(MARGIN)))
  values = {"margin": MARGIN, "loss": LOSS, "confidence": of_first.astype(np.float32)}
  ends = {name: "higher_is_harder" if name == "loss" else "higher_is_easier" for name in values}
  info = {
    "ranked_by": "margin",
    "scorers": {name: {"direction": end, "source": "out of fold"} for name, end in ends.items()},
    "truth": {"wrong_labels_in_A": {"3": 0.25, "5": 0.25}},
  }
  files.write_json(workdir / "scores.json", info)
  arrays = {
    "label": LABELS,
    "wrong_label": WRONG,
    "seeds": SEEDS,
    "sound": np.array([True, True, False]),
    "other_class": np.tile(1 - LABELS, (3, 1)),
    "confidence_in_sample": values["confidence"],
    **values,
    **more,
  }
  files.write_npz(workdir / "scores.npz", **arrays)
  return workdir


def probabilities():
  of_label = 1 / (1 + np.exp(-np.nan_to_num(MARGIN)))
  return np.where(LABELS[:, None] == np.arange(2), of_label[..., None], 1 - of_label[..., None])


def test_a_ranking_is_graded_as_worked_by_hand(scripts, tmp_path):
  grades, _ = scripts
  scored = grades.Scored.read(write(tmp_path))
  assert scored.seeds == [3, 5]  # the seed that diverged is left out
  found = grades.rankings(scored)
  np.testing.assert_array_equal(found["margin"].by_seed[0] * 8, [4, 5, 3, 7, 2, 1, 6, 8])
  # Equal ones share the mean of their ranks, and the hard end is that of the score.
  np.testing.assert_array_equal(found["loss"].by_seed[0] * 8, [3.5, 3.5, 3.5, 7.5] * 2)
  areas, precisions = grades.measures(WRONG, found["margin"].by_seed)
  # The second seed has the wrong ones in places 1 and 4: 6 and 4 of the right ones are behind them.
  np.testing.assert_allclose(areas, [1, 10 / 12])
  np.testing.assert_allclose(precisions, [1, (1 + 2 / 4) / 2])
  line = next(one for one in grades.ranking_table(WRONG, found) if "`margin`" in one)
  assert line == "| `margin` | out of fold | 0.917 +- 0.118 | 0.875 +- 0.177 |"


def test_all_seeds_together_rank_as_the_suspects_of_a_run_do(scripts, tmp_path):
  grades, _ = scripts
  scored = grades.Scored.read(write(tmp_path))
  default = scored.default()
  assert default.source == suspects.OUT_OF_FOLD
  together = grades.rankings(scored)[grades.DEFAULT].together
  np.testing.assert_array_equal(np.argsort(-together, kind="stable"), default.order)


def test_cuts_are_counted_with_precision_and_recall(scripts, tmp_path):
  grades, _ = scripts
  votes = grades.votes(grades.Scored.read(write(tmp_path)))
  assert list(votes) == ["margin < 0"]
  lines = grades.cut_table(WRONG, list(grades.cuts("a margin", votes["margin < 0"])))
  assert lines[2:] == [
    "| a margin | each seed alone | 2 +- 1 | 0.833 +- 0.236 | 0.750 +- 0.354 |",
    "| a margin | most seeds | 1 | 1.000 | 0.500 |",
    "| a margin | every seed | 1 | 1.000 | 0.500 |",
  ]
  # A rule that calls nothing wrong is never right.
  nothing = grades.Cut("a", "b", np.zeros((1, 8), bool))
  assert grades.cut_table(WRONG, [nothing])[2] == "| a | b | 0 | 0.000 | 0.000 |"


def test_what_is_missing_is_said_and_the_rest_is_graded(scripts, tmp_path):
  _, script = scripts
  text = script.report(write(tmp_path))
  assert "cleanlab is not asked: scores.npz has no probabilities; give score.prob" in text
  assert "| `cleanlab " not in text
  assert "| margin < 0 | every seed | 1 | 1.000 | 0.500 |" in text
  assert text.endswith(
    "A, ranked by margin: 25.00 +- 0.00 %; in the training set 25.00 %. Chance is 0.5 and 0.250."
  )
  files.write_npz(tmp_path / "scores.npz", wrong_label=np.zeros(8, bool))
  with pytest.raises(SystemExit, match="no label is known to be wrong; choose a config with data"):
    script.report(tmp_path)


def test_the_confident_are_those_above_the_mean_of_the_class_that_they_prefer(scripts, tmp_path):
  grades, _ = scripts
  # By hand: class 0 is believed 0.5 on average where it is the label, class 1 0.65.
  of_label = np.array([[0.8, 0.8, 0.1, 0.3, 0.9, 0.9, 0.4, 0.4]] * 3, np.float32)
  of_other = np.array([[0.1, 0.1, 0.6, 0.68, 0.1, 0.1, 0.55, 0.45]] * 3, np.float32)
  nearest = (of_label - of_other + 1) / 2
  write(tmp_path, confidence=of_label, normalized_margin=nearest)
  info = files.read_json(tmp_path / "scores.json")
  info["scorers"]["normalized_margin"] = info["scorers"]["confidence"]
  files.write_json(tmp_path / "scores.json", info)
  votes = grades.votes(grades.Scored.read(tmp_path))
  # The third is unsure of the other class, the last of class 0.
  np.testing.assert_array_equal(np.flatnonzero(votes["confident"][0]), [3, 6])
  np.testing.assert_array_equal(np.flatnonzero(votes["normalized_margin < 0.4"][0]), [2, 3])


def test_one_seed_has_neither_a_spread_nor_seeds_to_agree_with(scripts, tmp_path):
  grades, script = scripts
  write(tmp_path, aum=MARGIN, mean_confidence=1 / (1 + np.exp(-MARGIN)))
  arrays, info = files.read_npz(tmp_path / "scores.npz"), files.read_json(tmp_path / "scores.json")
  del arrays["confidence_in_sample"]  # nor are there folds
  alone = {name: value[:1] if len(value) == 3 else value for name, value in arrays.items()}
  files.write_npz(tmp_path / "scores.npz", **alone)
  for name in ("aum", "mean_confidence"):
    info["scorers"][name] = {"direction": "higher_is_easier", "source": "training dynamics"}
  files.write_json(tmp_path / "scores.json", info)
  assert grades.Scored.read(tmp_path).default().source == suspects.DYNAMICS
  text = script.report(tmp_path)
  assert "| `aum + mean_confidence` | training dynamics | 1.000 | 1.000 |" in text
  assert "| margin and aum < 0 | every seed | 3 | 0.667 | 1.000 |" in text
  assert "together" not in text
  assert "each seed alone" not in text


@pytest.mark.filterwarnings("default")
def test_cleanlab_is_graded_by_the_same_probabilities(scripts, tmp_path):
  rank = pytest.importorskip("cleanlab.rank", reason="needs the package cleanlab")
  grades, script = scripts
  given = probabilities().astype(np.float32)
  scored = grades.Scored.read(write(tmp_path, probabilities=given))
  found = grades.rankings_of_cleanlab(scored)
  for method in grades.QUALITY:
    areas, precisions = grades.measures(WRONG, found[f"cleanlab {method}"].by_seed)
    for row, area, precision in zip(given[:2], areas, precisions, strict=True):
      quality = rank.get_label_quality_scores(LABELS, row.astype(float), method=method)
      assert area == roc_auc_score(WRONG, -quality)
      assert precision == average_precision_score(WRONG, -quality)
  issues = importlib.import_module("cleanlab.filter").find_label_issues
  called = [issues(LABELS, row.astype(float), n_jobs=1) for row in given[:2]]
  cuts = {cut.rule: cut.called for cut in grades.cuts_of_cleanlab(scored)}
  np.testing.assert_array_equal(cuts["each seed alone"], called)
  np.testing.assert_array_equal(cuts["every seed"], [called[0] & called[1]])
  text = script.report(tmp_path)
  for line in (
    "| `cleanlab self_confidence` | out of fold | 0.917 +- 0.118 | 0.875 +- 0.177 |",
    "| `cleanlab self_confidence` | 0.",
    # Of two classes both rank alike, and two seeds give no interval.
    "| AUROC | `odds - cleanlab self_confidence` | +0.0000 | two seeds: no",
    "| cleanlab | mean of the probabilities | 1 | 1.000 | 0.500 |",
  ):
    assert line in text, line
