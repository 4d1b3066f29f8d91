"""Two finished runs, paired by seed: the figures by hand, and what cannot be compared."""

import numpy as np
import pytest
from scipy import stats

from sdt import files
from sdt.errors import ConfigError, DataError
from sdt.trained.comparing import compare
from tests.support.fake_pair import LABELS, NAMES, SEEDS, answers, write

BEFORE, AFTER = (15, 18, 16), (19, 21, 22)


@pytest.fixture
def pair(tmp_path):
  """Returns a function that writes a run before and one after, with other keys for the latter."""

  def made(before=None, after=None, *, of_before=None, **of_after):
    return (
      write(tmp_path / "before", before or {"baseline": answers(BEFORE)}, **(of_before or {})),
      write(tmp_path / "after", after or {"baseline": answers(AFTER)}, **of_after),
    )

  return made


def by_seed(values):
  return {str(seed): value for seed, value in zip(SEEDS, values, strict=True)}


def test_the_difference_is_the_paired_t_test_of_the_arms_as_one_family(pair):
  rng = np.random.default_rng(3)
  right = {arm: rng.integers(10, 25, (2, 3)) for arm in ("baseline", "method")}
  runs = pair(*({arm: answers(right[arm][side]) for arm in right} for side in (0, 1)))
  found = compare(*runs)["graded"]["both"]
  for arm, (before, after) in right.items():
    t = stats.ttest_rel(after / 30, before / 30)
    difference = found[arm]["difference"]
    assert difference["per_seed"] == pytest.approx(by_seed((after - before) / 30))
    assert difference["p"] == pytest.approx(t.pvalue)
    # Two arms: each interval at 97.5 %.
    expected = t.confidence_interval(0.975)
    assert difference["verdict"] == "not resolved"
    assert difference["interval"] == pytest.approx(list(expected))
    assert found[arm]["before"]["mean"] == pytest.approx(before.mean() / 30)
    assert found[arm]["after"]["per_seed"] == pytest.approx(by_seed(after / 30))
  alone = compare(*runs, arms=["method"])["graded"]["both"]
  assert list(alone) == ["method"]
  assert alone["method"]["difference"]["p_holm"] == alone["method"]["difference"]["p"]


def test_images_that_changed_and_classes_are_counted_by_seed(pair):
  before, after = answers(BEFORE), answers(AFTER)
  after[:, 0] = (LABELS[0] + 1) % 3  # every seed loses the first image
  after[1:, 29] = LABELS[29]  # two seeds gain the last
  found = compare(*pair({"baseline": before}, {"baseline": after}))["graded"]["both"]["baseline"]
  images = found["images"]
  assert images["to_right"]["per_seed"] == {"0": 4, "1": 4, "2": 7}
  assert images["to_wrong"]["per_seed"] == {"0": 1, "1": 1, "2": 1}
  assert images["to_wrong_in_every_seed"] == [0]
  assert images["to_right_in_every_seed"] == [18]
  recall = {
    name: [(said[:, kind::3] == kind).mean(axis=1) for said in (before, after)]
    for kind, name in enumerate(NAMES)
  }
  assert [row["class"] for row in found["classes"]] == sorted(
    NAMES, key=lambda name: -(recall[name][1] - recall[name][0]).mean()
  )
  for row in found["classes"]:
    first, second = recall[row["class"]]
    assert row["num_test"] == 10
    assert row["before"] == pytest.approx(first.mean())
    assert row["difference"] == pytest.approx((second - first).mean())
    assert (row["seeds_up"], row["seeds_down"]) == (
      (second > first).sum(),
      (second < first).sum(),
    )


def test_where_a_training_set_is_imbalanced_the_balanced_accuracy_is_compared(pair):
  labels = np.array([0] * 20 + [1] * 7 + [2] * 3)
  runs = pair(
    {"baseline": answers(BEFORE, labels)},
    {"baseline": answers(AFTER, labels)},
    of_before={"labels": labels},
    labels=labels,
    results={"imbalance": {}},
  )
  content = compare(*runs)
  assert content["measure"] == "balanced_accuracy"
  found = content["graded"]["both"]["baseline"]["after"]["per_seed"]
  recalls = [
    [(said[labels == kind] == kind).mean() for kind in range(3)] for said in answers(AFTER, labels)
  ]
  assert list(found.values()) == pytest.approx(np.mean(recalls, axis=1))


def test_training_labels_and_keys_that_differ_are_told(pair):
  given = ["cat", "dog", "eel", "cat", "cat", "dog"]
  mended = ["dog", "dog", "eel", "dog", "", "eel"]
  keys = {"data__corrections": ("fixes.csv",), "optim__learning_rate": 0.1, "stats__margin": 0.01}
  two = {"baseline": answers(BEFORE), "method": answers(AFTER)}
  before, after = pair(two, two, of_before={"given": given}, given=mended, **keys)
  for run, share in ((before, 0.2), (after, 0.1)):
    files.write_json(run / "scores.json", {"truth": {"wrong_label_rate": share}})
  content = compare(before, after)
  assert content["training_labels"] == {
    "num": [6, 5],
    "relabelled": 3,
    "only_before": 1,
    "only_after": 0,
    "pairs": [
      {"before": "cat", "after": "dog", "num": 2},
      {"before": "dog", "after": "eel", "num": 1},
    ],
    "known_wrong": [0.2, 0.1],
  }
  assert [(one["key"], one["about_labels"]) for one in content["config"]] == [
    ("data.corrections", True),
    ("optim.learning_rate", False),
  ]
  assert "More than labels differs (optim.learning_rate)" in " ".join(content["notes"])


def test_a_file_of_the_same_name_with_other_content_differs(pair):
  keys = {"data__corrections": ("fixes.csv",)}
  before, after = pair(of_before=keys, **keys)
  assert compare(before, after)["config"] == []
  environment = files.read_json(after / "environment.json")
  environment["file_checksums"]["data.corrections"] = "another"
  files.write_json(after / "environment.json", environment)
  (one,) = compare(before, after)["config"]
  assert one["text"] == "data.corrections: a file of other content"


def test_mended_test_labels_are_graded_both_ways_and_dropped_ones_left_out(pair):
  labels = LABELS[:-1].copy()
  labels[[0, 5]] = (labels[[0, 5]] + 1) % 3
  change = {"key": "data.corrections_test", "relabelled": 2, "dropped": 1}
  before, after = pair(
    {"baseline": answers(BEFORE)},
    {"baseline": answers(AFTER)[:, :-1]},
    labels=labels,
    results={"data": {"label_changes": [change]}},
  )
  content = compare(before, after)
  assert content["test_labels"] == {"differ": 2, "left_out": [1, 0]}
  assert content["num_test"] == 29
  for by, of in (("before", LABELS[:-1]), ("after", labels)):
    found = content["graded"][by]["baseline"]
    for side, said in (("before", answers(BEFORE)), ("after", answers(AFTER))):
      expected = (said[:, :-1] == of).mean(axis=1)
      assert list(found[side]["per_seed"].values()) == pytest.approx(expected)
  notes = " ".join(content["notes"])
  assert "The labels of 2 test images differ" in notes
  assert "1 test image that one run dropped is left out" in notes


def other_label():
  labels = LABELS.copy()
  labels[3] = 1
  return {"labels": labels}


@pytest.mark.parametrize(
  ("of_after", "told"),
  [
    ({"seeds": (5, 6, 7)}, r"no seed in common \(0, 1, 2 and 5, 6, 7\).*--config.seeds=0,1,2"),
    ({"ids": range(1, 31)}, r"other test examples: 29 are in both, 1 in the first alone"),
    ({"ids": range(90, 120)}, r"other test examples: 0 are in both"),
    (other_label(), r"1 of 30 test examples have another label, which data.corrections_test"),
    ({"results": {"data": {"class_names": ("cat", "dog", "fox")}}}, r"their classes differ"),
  ],
)
def test_runs_that_are_not_of_one_test_set_are_refused(pair, of_after, told):
  before, after = pair(**of_after)
  with pytest.raises(ConfigError, match=told) as caught:
    compare(before, after)
  assert str(before) in str(caught.value)
  assert "\n" not in str(caught.value)


def test_other_refusals_and_damage(pair):
  before, after = pair()
  with pytest.raises(ConfigError, match="one run twice"):
    compare(before, before)
  with pytest.raises(ConfigError, match=r"no arm 'basline'; did you mean 'baseline'\?"):
    compare(before, after, arms=["basline"])
  sources = [[number, f"other/{number}.png"] for number in range(30)]
  files.write_csv(after / "predictions.csv", ["example_id", "source_file"], sources)
  with pytest.raises(ConfigError, match=r"test example 0 is 'test/0.png' in the first"):
    compare(before, after)
  (after / "predictions.npz").write_bytes(b"no archive")
  with pytest.raises(DataError, match=r"predictions\.npz"):
    compare(before, after)


def test_other_seeds_are_left_out_a_diverged_one_too_and_few_give_no_verdict(pair):
  before, after = answers((*BEFORE, 12)), answers((*AFTER, 20))
  after[1] = -1
  content = compare(
    *pair(
      {"baseline": before},
      {"baseline": after},
      of_before={"seeds": (0, 1, 2, 7)},
      seeds=(2, 1, 0, 9),
    )
  )
  assert content["seeds"] == [0, 1, 2]
  found = content["graded"]["both"]["baseline"]
  # The run after has its seeds in another order.
  assert found["difference"]["per_seed"] == pytest.approx(
    {"0": (22 - 15) / 30, "2": (19 - 16) / 30}
  )
  assert found["after"]["per_seed"]["1"] is None
  assert found["difference"]["verdict"] == "two seeds: no verdict"
  assert found["images"]["to_right"]["per_seed"] == {"0": 7, "2": 3}
  notes = " ".join(content["notes"])
  assert "the run before also has 7 and the one after also has 9" in notes
  assert "For a verdict give both commands at least 3 seeds" in notes


def test_the_same_networks_and_looks_that_nobody_planned_are_told(pair):
  made = [
    {"seeds": [0, 1, 2, 3, 4], "arms": ["baseline"], "verdicts": {}},
    {"seeds": list(SEEDS), "arms": ["baseline"], "verdicts": {}},
  ]
  before, after = pair(results={"looks": {"made": made}})
  stored = dict(files.map_npz(before / "predictions.npz"))
  with files.writing_npz(after / "predictions.npz") as archive:
    for name, values in stored.items():
      archive.write(name, values)
  content = compare(before, after)
  found = content["graded"]["both"]["baseline"]["difference"]
  assert (found["mean"], found["verdict"], found["planned"]) == (0.0, "not resolved", False)
  notes = " ".join(content["notes"])
  assert "same to the last bit" in notes
  assert "Exploratory" in notes


def test_a_run_of_one_arm_lists_no_training_labels_and_moved_files_are_not_compared(pair):
  change = {"key": "data.corrections", "text": "corrections: 3 relabelled"}
  before, after = pair(results={"data": {"label_changes": [change]}})
  why = compare(before, after)["training_labels"]["why"]
  assert why.endswith("a run of one arm lists none; corrections: 3 relabelled (the run after)")
  two = {"baseline": answers(BEFORE), "method": answers(AFTER)}
  before, after = pair(two, two)
  text = (after / "suspects.csv").read_text().replace("train/3.png", "train/x.png")
  files.write_text(after / "suspects.csv", text)
  why = compare(before, after)["training_labels"]["why"]
  assert why == "example 3 is 'train/3.png' in one and 'train/x.png' in the other"
