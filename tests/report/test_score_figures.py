"""The histograms of the scores, the classes, and their captions."""

import numpy as np
import pytest

from sdt import files
from sdt.report import class_figures, read
from tests.support.fake_figures import add_scores
from tests.support.report_page import labels_of, small_run


def test_cut_is_the_border_only_where_one_subset_lies_above():
  scores = np.array([1.0, 2.0, 3.0, 4.0])
  assert read.cut(scores, scores >= 3) == 3.0
  assert read.cut(scores, scores <= 2) == 2.0
  assert read.cut(scores, np.array([True, False, True, False])) is None
  assert read.cut(scores, np.array([True, False, False, True])) is None
  assert read.cut(scores, np.array([False, True, True, False])) is None
  assert read.cut(scores, scores > 9) is None


def test_histograms_by_class_count_the_examples_and_mark_the_border_of_a(tmp_path, drawn):
  workdir = small_run(tmp_path, seeds=(4, 9), num_train=400, num_classes=3)
  loaded = read.load(workdir)
  scores, labels, in_A = (
    loaded.scores["log_odds"].astype(np.float64),
    loaded.scores["label"],
    loaded.split.in_A,
  )
  made, pictures = drawn(workdir)
  axes = made["class_histograms"][0].axes[0]
  medians = [np.median(scores[:, labels == index]) for index in range(3)]
  order = sorted(range(3), key=lambda index: -medians[index])
  assert labels_of(axes) == [str(index) for index in reversed(order)]
  assert "Every class" in pictures["class_histograms"].caption
  steps = [patch.get_data() for patch in axes.patches]
  for place, index in enumerate(order):
    bottom, (all_of, of_A, _) = 2 - place, steps[3 * place : 3 * place + 3]
    for found, counted in ((all_of, np.ones_like(in_A)), (of_A, in_A)):
      counts = np.mean(
        [
          np.histogram(row[(labels == index) & own], found.edges)[0]
          for row, own in zip(scores, counted, strict=True)
        ],
        axis=0,
      )
      whole = np.mean(
        [np.histogram(row[labels == index], found.edges)[0] for row in scores], axis=0
      )
      np.testing.assert_allclose(found.values - bottom, 0.85 * counts / whole.max())
  triangles = [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "v"]
  np.testing.assert_allclose(triangles, [medians[index] for index in order])
  borders = [path.get_segments()[0][0][0] for path in axes.collections]
  np.testing.assert_allclose(
    borders, [row[own].min() for row, own in zip(scores, in_A, strict=True)]
  )


def test_of_many_classes_the_five_easiest_and_the_five_hardest_are_shown():
  labels = np.arange(24) % 12
  scores = (labels * 1.0)[None]
  assert class_figures.shown_classes(scores, labels, 13, is_higher_easier=True) == [
    11,
    10,
    9,
    8,
    7,
    4,
    3,
    2,
    1,
    0,
  ]
  assert class_figures.shown_classes(scores, labels, 13, is_higher_easier=False) == [
    0,
    1,
    2,
    3,
    4,
    7,
    8,
    9,
    10,
    11,
  ]
  assert class_figures.shown_classes(
    scores[:, :10], labels[:10], 12, is_higher_easier=True
  ) == list(range(9, -1, -1))


def test_a_balanced_subset_has_a_border_in_every_class(tmp_path, drawn):
  workdir = small_run(
    tmp_path, seeds=(0,), num_train=60, num_classes=2, arms=("baseline", "method")
  )
  scores = files.read_npz(workdir / "scores.npz")["log_odds"][0]
  table = (workdir / "split.csv").read_text().splitlines()
  labels = np.array([int(line.split(",")[1]) for line in table[1:]])
  # Shifted, so that the borders of the classes lie apart.
  add_scores(workdir, log_odds=(scores + 20 * labels)[None].astype(np.float32))
  chosen = np.concatenate(
    [np.flatnonzero(labels == k)[np.argsort(-scores[labels == k])[:3]] for k in (0, 1)]
  )
  rows = [
    f"{i},{labels[i]},{name},{name}"
    for i, name in enumerate(np.where(np.isin(np.arange(60), chosen), "A", "B"))
  ]
  (workdir / "split.csv").write_text("\n".join([table[0], *rows]) + "\n")
  axes = drawn(workdir)[0]["class_histograms"][0].axes[0]
  borders = sorted(path.get_segments()[0][0][0] for path in axes.collections)
  np.testing.assert_allclose(
    borders,
    sorted(
      (scores + 20 * labels)[labels == k][np.argsort(-scores[labels == k])[2]] for k in (0, 1)
    ),
    rtol=1e-6,
  )


def test_class_counts_leave_out_what_is_in_neither_subset(tmp_path, drawn):
  workdir = small_run(tmp_path, seeds=(0,), num_train=60, num_classes=3)
  lines = (workdir / "split.csv").read_text().splitlines()
  # The first ten examples are cut.
  lines[1:11] = [",".join([*line.split(",")[:2], "cut", "cut"]) for line in lines[1:11]]
  (workdir / "split.csv").write_text("\n".join(lines) + "\n")
  cells = [line.split(",") for line in lines[1:]]
  panels = drawn(workdir)[0]["class_counts"][0].axes
  for axes, name in zip(panels, "AB", strict=True):
    expected = [
      sum(cell[1] == str(index) and cell[3] == name for cell in cells) for index in range(3)
    ]
    assert [bar.get_height() for bar in axes.patches] == expected
    assert axes.get_title(loc="left").endswith(f": {sum(expected)} examples")


def test_the_score_that_ranks_has_the_histogram_with_its_own_name(tmp_path, drawn):
  workdir = small_run(tmp_path, seeds=(0,))
  scores, info = files.read_npz(workdir / "scores.npz"), files.read_json(workdir / "scores.json")
  add_scores(workdir, el2n=(1 - scores["confidence"]))
  info |= {
    "ranked_by": "el2n",
    "scorers": info["scorers"] | {"el2n": {"direction": "higher_is_harder"}},
  }
  files.write_json(workdir / "scores.json", info)
  made, pictures = drawn(workdir)
  assert [name for name in pictures if name.startswith("histogram_")] == [
    "histogram_el2n",
    "histogram_confidence",
  ]
  assert made["histogram"][0].axes[0].get_xlabel() == "EL2N, norm of the error"
  assert "smaller is easier" in pictures["class_histograms"].caption


@pytest.mark.parametrize(
  ("split", "swapped", "caption"),
  [
    ({}, (), "Outline: one seed. Filled: A. Dashed: the border of A."),
    (
      {"source": "mean"},
      (1,),
      "Dashed: the border of A. The A of seed 1 is not one end of this score, so it has no border "
      "here: all seeds share",
    ),
    (
      {"class_balanced": True},
      (0, 1, 2),
      "Filled: A. A is not one end of this score, so it has no border here: each class",
    ),
    (
      {"policy": "random"},
      (0, 1, 2),
      "Filled: A. A is not one end of this score, so it has no border here: A is a random draw.",
    ),
    (
      {"policy": "window"},
      (0, 1, 2),
      "Filled: A. A is not one end of this score, so it has no border here: A leaves the very "
      "easiest examples to B.",
    ),
    (
      {"policy": None},
      (0, 1, 2),
      "Filled: A. A is not one end of this score, so it has no border here.",
    ),
  ],
)
def test_a_histogram_says_that_a_has_no_border_only_where_it_has_none(
  split, swapped, caption, tmp_path, captioned
):
  workdir = small_run(tmp_path)
  config = files.read_json(workdir / "config.json")
  config["config"]["split"] |= split
  files.write_json(workdir / "config.json", config)
  loaded = read.load(workdir)
  for seed in swapped:  # the hardest of all joins A
    loaded.split.in_A[seed, loaded.scores["log_odds"][seed].argmin()] = True
  captions = [captioned(loaded)[f"histogram_{name}"].caption for name in ("log_odds", "confidence")]
  assert caption in captions[0]
  assert ["no border here" in one for one in captions] == [bool(swapped)] * 2


def test_the_histogram_of_a_score_that_does_not_rank_says_which_one_does(tmp_path, captioned):
  workdir = small_run(tmp_path)
  files.write_json(
    workdir / "scores.json", files.read_json(workdir / "scores.json") | {"ranked_by": "aum"}
  )
  loaded = read.load(workdir)
  loaded.split.in_A[:, ::7] = True
  loaded.scores["aum"] = np.where(loaded.split.in_A, 1.0, 0.0) + loaded.scores["confidence"] / 2
  pictures = captioned(loaded)
  assert pictures["histogram_aum"].caption.endswith(
    "Outline: one seed. Filled: A. Dashed: the border of A."
  )
  assert pictures["histogram_confidence"].caption.endswith(
    "A is not one end of this score, so it has no border here: A was chosen by aum."
  )
