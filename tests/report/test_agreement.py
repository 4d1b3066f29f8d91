"""The agreement of the seeds and the map of the data: which examples and seeds they show."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from sdt import files
from sdt.report import drawing, figures, read, run_page
from tests.support.fake_figures import add_dynamics, add_scores
from tests.support.quick import only
from tests.support.report_page import page_alone, small_run


@pytest.mark.parametrize("num_train", only([200], [200, 4000]))
def test_stability_draws_two_seeds_and_the_overlap_of_all(tmp_path, drawn, num_train):
  workdir = small_run(tmp_path, seeds=(3, 5, 8), num_train=num_train)
  scores, info = (
    files.read_npz(workdir / "scores.npz")["log_odds"],
    files.read_json(workdir / "scores.json")["stability"],
  )
  made, pictures = drawn(workdir)
  left, right, *_ = made["stability"][0].axes
  assert (
    left.get_title(loc="left") == f"Spearman's correlation {spearmanr(*scores[:2]).statistic:.3f}"
  )
  assert left.get_xlabel().endswith("seed 3")
  if num_train < 3000:
    np.testing.assert_allclose(np.array(left.lines[0].get_data()), scores[:2])
  else:
    assert left.collections[0].get_array().sum() == num_train  # hexagons count every example once
  numbers = {tuple(map(int, text.get_position())): text.get_text() for text in right.texts}
  assert numbers == {
    (i, j): f"{info['overlap_of_A'][i][j]:.2f}" for i in range(3) for j in range(3) if i != j
  }
  assert right.get_title(loc="left") == "Shared part of A\n(chance: 0.10)"
  assert "0.10 by chance" in pictures["stability"].caption


def test_two_seeds_share_one_number_not_a_matrix(tmp_path, drawn):
  workdir = small_run(tmp_path, seeds=(0, 1))
  made, _ = drawn(workdir)
  (axes,) = made["stability"][0].axes
  shared = files.read_json(workdir / "scores.json")["stability"]["mean_overlap_of_A"]
  assert axes.get_title(loc="left").endswith(f"shared part of A {shared:.2f} (chance: 0.10)")


def test_scores_without_a_correlation_still_make_a_report(tmp_path, monkeypatch):
  """A network that diverged may give every example the same score; its correlation is null."""
  workdir = small_run(tmp_path, seeds=(0, 1))
  info = files.read_json(workdir / "scores.json")
  info["stability"] |= {"spearman": [[1.0, None], [None, 1.0]], "mean_spearman": None}
  files.write_json(workdir / "scores.json", info)
  titles = []
  monkeypatch.setattr(
    figures,
    "render",
    lambda draw, *args, families=(), **kwargs: (
      titles.append(draw(*args, **kwargs).axes[0].get_title(loc="left")) or b""
    ),
  )
  loaded = read.load(workdir)
  assert "their correlation is not defined" in run_page.html(loaded, drawing.draw(loaded))
  assert any(title.startswith("Spearman's correlation is not defined") for title in titles)


def test_a_run_with_fewer_than_two_sound_seeds_says_that_no_mean_compares_them(tmp_path):
  workdir = small_run(tmp_path, seeds=(0, 1), diverged={"baseline": [1]})
  info = files.read_json(workdir / "scores.json")
  info["stability"] |= {"mean_spearman": None, "mean_overlap_of_A": None}
  files.write_json(workdir / "scores.json", info)
  text = page_alone(workdir)
  assert "Fewer than two seeds have a baseline that did not diverge" in text
  assert "On average, two seeds share" not in text


@pytest.mark.slow
def test_the_map_of_the_data_is_of_the_dynamics_where_they_are_known(tmp_path, drawn):
  workdir = small_run(tmp_path, seeds=(0, 1, 2))
  scores, split = files.read_npz(workdir / "scores.npz"), read.load(workdir).split
  made, pictures = drawn(workdir)
  assert "did not record the training dynamics" in pictures["data_map"].caption
  panel = made["data_map"][0].axes[0]
  assert panel.get_xlabel() == "sd of the confidence over the seeds"
  _check_points(
    panel,
    scores["confidence"].std(axis=0, ddof=1),
    scores["confidence"].mean(axis=0),
    split.in_A.mean(axis=0),
  )
  dynamics = add_dynamics(workdir)
  made, pictures = drawn(workdir)
  assert "did not record" not in pictures["data_map"].caption
  left, right = made["data_map"][0].axes[:2]
  assert left.get_xlabel() == "variability: sd of the confidence over the epochs"
  assert left.get_ylabel() == "mean confidence over the epochs"
  means = {name: values.astype(np.float64).mean(axis=0) for name, values in dynamics.items()}
  _check_points(left, means["variability"], means["mean_confidence"], means["correctness"])
  _check_points(right, means["variability"], means["mean_confidence"], split.in_A.mean(axis=0))
  add_scores(
    workdir,
    margin=np.where(np.arange(200) % 4 == 0, -1.0, 1.0)[None].repeat(3, 0).astype(np.float32),
  )
  assert len(drawn(workdir)[0]["data_map"][0].axes) == 4


def _check_points(axes, x, y, colour):
  """Asserts that the points are these, in any order."""
  (points,) = axes.collections
  found = np.column_stack([np.asarray(points.get_offsets()), points.get_array()])
  expected = np.column_stack([x, y, colour])
  np.testing.assert_allclose(
    found[np.lexsort(found.T)], expected[np.lexsort(expected.T)], atol=1e-6
  )


def test_pictures_of_the_scores_leave_out_seeds_whose_baseline_diverged_and_say_so(tmp_path, drawn):
  workdir = small_run(tmp_path, seeds=(0, 1, 2), diverged={"baseline": [1]})
  scores, split, kept = files.read_npz(workdir / "scores.npz"), read.load(workdir).split, [0, 2]
  made, pictures = drawn(workdir)
  confidence = scores["confidence"][kept]
  panel = made["data_map"][0].axes[0]
  _check_points(
    panel, confidence.std(axis=0, ddof=1), confidence.mean(axis=0), split.in_A[kept].mean(axis=0)
  )
  assert "over 2 seeds" in pictures["data_map"].caption
  assert "seed 1" not in [text.get_text() for text in made["histogram"][0].legends[0].get_texts()]
  for name in ("data_map", "histogram_log_odds", "class_histograms"):
    assert pictures[name].caption.endswith("Seeds whose baseline diverged are left out: 1.")
  assert made["stability"][0].axes[0].get_ylabel().endswith("seed 2")
  add_scores(workdir, sound=np.array([True, False, False]))
  assert "data_map" not in drawn(workdir)[1]  # of one seed there is no spread
  lost = small_run(tmp_path / "lost", seeds=(0, 1), diverged={"baseline": [0, 1]})
  assert "are left out" not in drawn(lost)[1]["data_map"].caption
