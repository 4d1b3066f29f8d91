"""How far networks' scores agree with each other and with the truth, against SciPy and by hand."""

import dataclasses
import json

import numpy as np
import pytest
from scipy.stats import spearmanr

from sdt import files
from sdt.config.schema import SplitConfig
from sdt.config.score_names import SCORES
from sdt.scores import agreement
from sdt.scores.split import Partition
from tests.support.scored import CONFIG, make_data, scored


@pytest.fixture(scope="module")
def data():
  return make_data()


# Ten examples: the first network ranks them perfectly, the second the other way round but for its
# infinities. The last two have wrong labels.
PERFECT = np.arange(10.0)[::-1] * 5
OTHER = np.array([-np.inf, 1, 2, 3, 4, 5, 6, 7, 0, np.inf])
PARTS = tuple(
  Partition(np.array(easy, np.int32), np.zeros(0, np.int32), 0)
  for easy in ([0, 1, 2, 3], [6, 7, 9, 5])
)


@pytest.fixture(scope="module")
def ten():
  train, fields = make_data().train, ("inputs", "labels", "example_ids", "source_files")
  return dataclasses.replace(
    train,
    **{name: getattr(train, name)[:10] for name in fields},
    difficulty=np.arange(10, dtype=np.float32) / 10,
    wrong_label=np.array([False] * 8 + [True] * 2),
  )


SOUND = ((True, False), (False, True), (True, True))


def truth_of(train, sound, scores=(PERFECT, OTHER)):
  named, sound = {"log_odds": np.array(scores)}, np.array(sound)
  return agreement.score_truth(train, named, PARTS, seeds=CONFIG.seeds, sound=sound)


def test_truth_of_a_hand_made_case(ten):
  first, second, both = (truth_of(ten, sound) for sound in SOUND)
  alike = truth_of(ten, [True, True], (np.ones(10),) * 2)
  assert first["auroc_wrong_label"]["log_odds"] == 1.0
  assert first["average_precision_wrong_label"]["log_odds"] == 1.0
  # The second has its wrong labels at ranks 2 and 10 from the hard end: precisions 1/2 and 2/10.
  assert second["average_precision_wrong_label"]["log_odds"] == pytest.approx(0.35)
  assert alike["average_precision_wrong_label"]["log_odds"] == first["wrong_label_rate"] == 0.2
  assert first["spearman_difficulty"]["log_odds"] == pytest.approx(1.0)
  assert first["wrong_labels_in_A"] == {3: 0.0, 8: 0.25}
  # Of 16 pairs (right, wrong) the second network puts the wrong one lower in seven: 0 against the 1
  # to 7.
  assert second["auroc_wrong_label"]["log_odds"] == pytest.approx(7 / 16)
  assert both["auroc_wrong_label"]["log_odds"] == pytest.approx((1 + 7 / 16) / 2)
  finite = np.where(np.isinf(OTHER), np.sign(OTHER) * 99, OTHER)
  expected = spearmanr(finite, -ten.difficulty).statistic
  assert second["spearman_difficulty"]["log_odds"] == pytest.approx(expected)
  assert truth_of(ten, [False, False]) == both
  assert json.loads(files.json_text(alike))["spearman_difficulty"] == {"log_odds": None}


def test_truth_tells_only_what_is_known(ten):
  clean = truth_of(dataclasses.replace(ten, wrong_label=np.zeros(10, bool)), [True, True])
  assert clean["auroc_wrong_label"] == {"log_odds": None}
  assert clean["wrong_labels_in_A"] == {3: 0.0, 8: 0.0}
  unmarked = dataclasses.replace(ten, wrong_label=None)
  assert truth_of(unmarked, [True, True])["wrong_labels_in_A"] == {3: None, 8: None}
  assert truth_of(dataclasses.replace(unmarked, difficulty=None), [True, True]) is None
  assert "wrong_labels_in_cut" not in truth_of(ten, [True, False])
  left_out = np.array([8, 3], np.int32)
  cut = tuple(Partition(part.easy, part.rest, 0, left_out=left_out) for part in PARTS)
  told = agreement.score_truth(ten, {}, cut, seeds=CONFIG.seeds, sound=np.ones(2, bool))
  assert told["wrong_labels_in_cut"] == {3: 0.5, 8: 0.5}


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
