"""What the figures of a report draw: the numbers of the artifacts, read back from the axes."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from sdt import files
from sdt.report import (
  curve_figures,
  drawing,
  figures,
  forest,
  image_figures,
  norm_figures,
  read,
  score_figures,
)
from tests.support.fake_figures import add_cam, add_dynamics, add_norms, add_scores
from tests.support.report_page import small_run

ARMS = ("baseline", "method", "alternate_mean", "uniform_mean", "less_data")


@pytest.fixture
def drawn(monkeypatch):
  """Returns a function that draws all of a workdir and gives the figures by their function's name;
  no pixel is made.
  """

  def draw(workdir):
    made = {}

    def keep(function, *args, **kwargs):
      made.setdefault(function.__name__, []).append(function(*args, **kwargs))
      return b""

    monkeypatch.setattr(drawing, "render", keep)
    return made, drawing.draw(read.load(workdir))

  return draw


def labels_of(axes):
  return [tick.get_text() for tick in axes.get_yticklabels()]


def test_the_forest_plot_draws_every_contrast_its_seeds_mean_interval_and_verdict(tmp_path, drawn):
  workdir = small_run(tmp_path, seeds=(0, 1, 2, 3), arms=ARMS)
  config = files.read_json(workdir / "config.json")
  config["config"]["stats"] = {"margin": 0.0025}
  files.write_json(workdir / "config.json", config)
  results = files.read_json(workdir / "results.json")
  made, pictures = drawn(workdir)
  axes, beside = made["contrasts"][0].axes
  entries = [*results["contrasts"].values(), results["power"]["contrast"]]
  assert labels_of(axes)[::-1][:3] == [
    "method - baseline",
    "method - alternate_mean",
    "method - uniform_mean",
  ]
  assert labels_of(axes)[:2] == [
    "baseline - less_data (positive control)",
    "method - less_data (outside the family)",
  ]
  assert labels_of(beside)[::-1][:4] == [
    entry["verdict"].replace("+-", "\u00b1") for entry in entries[:4]
  ]
  seeds = [line for line in axes.lines if line.get_marker() == "o"]
  means = [line for line in axes.lines if line.get_marker() == "D" and len(line.get_xdata())]
  bars = [line for line in axes.lines if line.get_linewidth() == 2.2 and len(line.get_xdata()) == 2]
  assert len(seeds) == len(means) == len(entries) == 5
  assert len(bars) == sum(entry["interval"] is not None for entry in entries) >= 3
  for place, entry in enumerate(reversed(entries)):
    row = len(entries) - 1 - place
    np.testing.assert_allclose(
      seeds[row].get_xdata(), [100 * value for value in entry["per_seed"].values()]
    )
    assert np.abs(np.asarray(seeds[row].get_ydata()) - place).max() < 0.3
    np.testing.assert_allclose(
      [means[row].get_xdata()[0], means[row].get_ydata()[0]], [100 * entry["mean"], place]
    )
    found = [bar.get_xdata() for bar in bars if bar.get_ydata()[0] == place]
    np.testing.assert_allclose(
      found, [] if entry["interval"] is None else [[100 * edge for edge in entry["interval"]]]
    )
  (band,) = axes.patches
  np.testing.assert_allclose([band.get_x(), band.get_width()], [-0.25, 0.5])
  assert "shaded margin" in pictures["forest"].caption
  assert [line.get_ydata()[0] for line in axes.lines if line.get_linestyle() == ":"] == [
    0.5
  ]  # above the positive control


def test_the_forest_plot_of_few_seeds_has_no_interval_and_names_what_diverged_by_leaving_it_out(
  tmp_path, drawn
):
  made, pictures = drawn(
    small_run(tmp_path, seeds=(0, 1), arms=("baseline", "method"), diverged={"method": [1]})
  )
  axes, beside = made["contrasts"][0].axes
  assert [len(line.get_xdata()) for line in axes.lines if line.get_marker() == "o"] == [1]
  assert not [line for line in axes.lines if line.get_linewidth() == 2.2]
  assert labels_of(beside) == ["one seed: no verdict"]
  assert "too few seeds for intervals" in pictures["forest"].caption
  lost = small_run(
    tmp_path / "lost", seeds=(0,), arms=("baseline", "method"), diverged={"method": [0]}
  )
  assert "forest" not in drawn(lost)[1]


def test_panels_of_many_arms_keep_to_baseline_and_method_and_one_figure_has_all(tmp_path, drawn):
  made, _ = drawn(small_run(tmp_path, arms=ARMS, rounds=8))
  late, *panels = made["curve"]
  assert [line.get_label() for line in late.axes[0].lines if line.get_label()[0] != "_"] == [
    "baseline",
    "method, after B",
    "alternate_mean, after B",
    "uniform_mean",
    "less_data, after B",
  ]
  assert len(panels) == 4
  for panel in panels:
    assert {
      line.get_label().split(",")[0] for line in panel.axes[0].lines if line.get_label()[0] != "_"
    } == {"baseline", "method"}
  assert figures.main_arms(["a", "b", "c", "d"]) == ["a", "b", "c"]


def test_norms_are_the_numbers_of_the_rows_after_each_phase(tmp_path, drawn):
  workdir = small_run(
    tmp_path, seeds=(0, 1), arms=("baseline", "method"), diverged={"baseline": [1]}
  )
  layers = add_norms(workdir, 12)
  made, pictures = drawn(workdir)
  assert set(read.NORMS) <= set(pictures)
  assert (
    "Without seeds that diverged, over all rounds: baseline, seed 1."
    in pictures["weight_norm"].caption
  )
  rows = files.read_rows(workdir / "metrics.jsonl")
  panels = dict(zip(read.NORMS, made["curve"][-4:], strict=True))

  def mean(measure, arm, phase, seeds):
    own = [
      [
        row[measure]
        for row in rows
        if (row["arm"], row["phase"], row["seed"]) == (arm, phase, seed)
      ]
      for seed in seeds
    ]
    return np.mean(own, axis=0)

  lines = {line.get_label(): line.get_ydata() for line in panels["weight_norm"].axes[0].lines}
  np.testing.assert_allclose(lines["baseline (n = 1)"], mean("weight_norm", "baseline", "all", [0]))
  np.testing.assert_allclose(lines["method, after A"], mean("weight_norm", "method", "A", [0, 1]))
  np.testing.assert_allclose(lines["method, after B"], mean("weight_norm", "method", "B", [0, 1]))
  lines = {line.get_label(): line.get_ydata() for line in panels["effective_rate"].axes[0].lines}
  rates = [
    np.mean(
      [
        row["learning_rate"] / row["weight_norm"] ** 2
        for row in rows
        if (row["arm"], row["phase"], row["round"]) == ("method", "B", n)
      ]
    )
    for n in range(1, 9)
  ]
  np.testing.assert_allclose(lines["method, after B"], rates)
  lines = {line.get_label(): line.get_ydata() for line in panels["update_norm"].axes[0].lines}
  np.testing.assert_allclose(lines["method, phase A"], mean("update_norm", "method", "A", [0, 1]))
  axes = made["layer_norms"][0].axes[0]
  order = [tick.get_text() for tick in axes.get_xticklabels()]
  assert order == ["stem_conv", *(f"stage1_block{index}/conv" for index in range(1, 11)), "head"]
  last = [
    row["weight_norms"]
    for row in rows
    if (row["arm"], row["phase"], row["round"]) == ("method", "B", 8)
  ]
  expected = dict(zip(layers, np.mean(last, axis=0), strict=True))
  (line,) = (line for line in axes.lines if line.get_label() == "method")
  np.testing.assert_allclose(line.get_ydata(), [expected[name] for name in order])


def test_runs_without_norms_dynamics_or_maps_have_no_such_figures(tmp_path, drawn):
  made, pictures = drawn(small_run(tmp_path, seeds=(0,)))
  assert not {*read.NORMS, "layer_norms", "cam", "data_map", "stability"} & set(pictures)
  assert set(made) == {
    "contrasts",
    "curve",
    "mosaic",
    "histogram",
    "class_histograms",
    "class_counts",
  }
  assert all(picture.caption and picture.alt for picture in pictures.values())
  (tmp_path / "scores.json").unlink()
  assert "class_histograms" in drawn(tmp_path)[1]
  rows = files.read_rows(tmp_path / "metrics.jsonl")
  assert all(
    row["effective_rate"] is None
    for row in norm_figures.with_effective_rate([row | {"weight_norm": None} for row in rows])
  )


def test_the_map_of_the_data_is_of_the_dynamics_where_they_are_known(tmp_path, drawn):
  workdir = small_run(tmp_path, seeds=(0, 1, 2))
  scores, split = files.read_npz(workdir / "scores.npz"), read.load(workdir).split
  made, pictures = drawn(workdir)
  assert "stand-in" in pictures["data_map"].caption
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
  assert "stand-in" not in pictures["data_map"].caption
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


def test_pictures_of_the_scores_leave_out_seeds_whose_baseline_diverged_and_say_so(tmp_path, drawn):
  workdir = small_run(tmp_path, seeds=(0, 1, 2), diverged={"baseline": [1]})
  scores, split, kept = files.read_npz(workdir / "scores.npz"), read.load(workdir).split, [0, 2]
  made, pictures = drawn(workdir)
  confidence = scores["confidence"][kept]
  panel = made["data_map"][0].axes[0]
  _check_points(
    panel, confidence.std(axis=0, ddof=1), confidence.mean(axis=0), split.in_A[kept].mean(axis=0)
  )
  assert "under 2 seeds" in pictures["data_map"].caption
  assert "seed 1" not in [text.get_text() for text in made["histogram"][0].legends[0].get_texts()]
  for name in ("data_map", "histogram_log_odds", "class_histograms"):
    assert pictures[name].caption.endswith("Without seeds whose baseline diverged: 1.")
  assert made["stability"][0].axes[0].get_ylabel().endswith("seed 2")
  add_scores(workdir, sound=np.array([True, False, False]))
  assert "data_map" not in drawn(workdir)[1]  # of one seed there is no spread
  lost = small_run(tmp_path / "lost", seeds=(0, 1), diverged={"baseline": [0, 1]})
  assert "Without seeds whose" not in drawn(lost)[1]["data_map"].caption


def _check_points(axes, x, y, colour):
  """Asserts that the points are these, in any order."""
  (points,) = axes.collections
  found = np.column_stack([np.asarray(points.get_offsets()), points.get_array()])
  expected = np.column_stack([x, y, colour])
  np.testing.assert_allclose(
    found[np.lexsort(found.T)], expected[np.lexsort(expected.T)], atol=1e-6
  )


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
  assert score_figures.shown_classes(scores, labels, 13, is_higher_easier=True) == [
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
  assert score_figures.shown_classes(scores, labels, 13, is_higher_easier=False) == [
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
  assert score_figures.shown_classes(
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


@pytest.mark.parametrize("num_train", [200, 4000])
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
  assert right.get_title(loc="left") == "Shared part of A (chance: 0.10)"
  assert "0.10 by chance" in pictures["stability"].caption


def test_two_seeds_share_one_number_not_a_matrix(tmp_path, drawn):
  workdir = small_run(tmp_path, seeds=(0, 1))
  made, _ = drawn(workdir)
  (axes,) = made["stability"][0].axes
  shared = files.read_json(workdir / "scores.json")["stability"]["mean_overlap_of_A"]
  assert axes.get_title(loc="left").endswith(f"shared part of A {shared:.2f} (chance: 0.10)")


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


def test_activation_maps_stand_beside_their_image_in_the_row_of_their_group(tmp_path, drawn):
  workdir = small_run(tmp_path)
  content = add_cam(workdir)
  made, pictures = drawn(workdir)
  figure = made["class_activation_maps"][0]
  texts = [text.get_text() for text in figure.axes[0].texts]
  assert [text for text in texts if text in content["groups"]] == [
    "all right",
    "only one right",
    "all wrong",
  ]
  assert f"id 41\n{content['labels'][1]}" in texts
  share = image_figures.percent_of_confidence(float(content["probabilities"][1, 6]))
  assert f"method\n{content['predictions'][1, 6]}\n{share}" in texts
  (picture,) = figure.axes[0].images
  canvas = np.asarray(picture.get_array())
  tile = image_figures.tile_of(content["images"][6])
  expected = image_figures.overlay(tile, content["maps"][1, 6])
  width = 3 * image_figures.TILE + 2 * 4 + 26
  top, left = 2 * (30 + image_figures.TILE + 50) + 30, 2 * width + 13
  np.testing.assert_array_equal(canvas[top : top + 96, left : left + 96], tile)
  np.testing.assert_array_equal(canvas[top : top + 96, left + 200 : left + 296], expected)
  assert "baseline's and the method's map" in pictures["cam"].caption


def test_an_overlay_is_brightest_where_the_map_is_highest_and_grey_images_stay_grey():
  grey = np.full((8, 8, 3), 100, np.uint8)
  values = np.zeros((4, 4))
  values[3, 0] = 5.0
  light = image_figures.overlay(grey, values).astype(int).sum(axis=2)
  assert np.unravel_index(light.argmax(), light.shape) == (7, 0)
  assert light[7, 0] > light[0, 7] + 200
  np.testing.assert_array_equal(
    image_figures.overlay(grey, np.ones((4, 4))), image_figures.overlay(grey, np.zeros((2, 2)))
  )
  np.testing.assert_array_equal(
    image_figures.overlay(grey, values), image_figures.overlay(grey, 3 * values - 7)
  )  # a scale of its own


def test_a_log_axis_shows_all_means_even_where_a_band_would_reach_below_zero():
  def row(seed, number, value):
    return {
      "arm": "baseline",
      "seed": seed,
      "round": number,
      "phase": "all",
      "last_phase": True,
      "learning_rate": 0.1,
      "test_loss": value,
    }

  rows = [
    row(seed, number, (0.02 if seed else 3.0) / number**3)
    for seed in range(5)
    for number in range(1, 7)
  ]
  all_curves = read.curves(rows, ["baseline"], ["test_loss"])
  axes = curve_figures.curve(
    all_curves, "test_loss", ["baseline"], shown=["baseline"], drops=[], title="t"
  ).axes[0]
  means = np.mean(
    [[one["test_loss"] for one in rows if one["seed"] == seed] for seed in range(5)], axis=0
  )
  assert axes.get_yscale() == "log"
  low, high = axes.get_ylim()
  assert 0 < low < means.min() < means.max() < high < 10 * means.max()
  edges = axes.collections[0].get_paths()[0].vertices[:, 1]
  np.testing.assert_allclose(edges.min(), 0.02 / 6**3)


def test_forest_colours_say_what_the_words_say():
  row = {
    "difference": "a - b",
    "per_seed": {"0": 0.01},
    "mean": 0.01,
    "interval": [0.005, 0.015],
    "verdict": "better",
  }
  figure = forest.contrasts([row], ["a - b"], ["better"], margin=None)
  assert figure.axes[1].get_yticklabels()[0].get_color() == figures.BLUE
  assert not figure.axes[0].patches


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
