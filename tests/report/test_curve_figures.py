"""The curves over the rounds and the norms: the numbers of metrics.jsonl, read back."""

import numpy as np
import pytest

from sdt import files
from sdt.report import curve_figures, figures, read, run_page
from sdt.report.curve_figures import Panel
from tests.support.fake_figures import add_norms
from tests.support.report_page import MANY_ARMS, small_run


def _rows(arm, seed, phase, values, last=True, rates=None):
  rows = []
  for number, value in enumerate(values, start=1):
    row = {
      "arm": arm,
      "seed": seed,
      "round": number,
      "phase": phase,
      "last_phase": last,
      "learning_rate": rates[number - 1] if rates else 0.1,
    }
    rows.append(
      row | {"train_loss": 1.0, "train_accuracy": 0.5, "test_loss": 1.0, "test_accuracy": value}
    )
  return rows


def test_curves_leave_a_seed_that_diverges_out_of_every_round(tmp_path):
  rows = _rows("method", 0, "A", [None] * 3, last=False) + _rows(
    "method", 1, "A", [None] * 3, last=False
  )
  rows += _rows("method", 0, "B", [0.2, 0.4, 0.6]) + _rows("method", 1, "B", [0.8, 0.9, None])
  rows += _rows("baseline", 0, "all", [0.1, 0.2, 0.3]) + _rows(
    "baseline", 1, "all", [0.3, 0.4, 0.5]
  )
  next(row for row in rows if (row["seed"], row["round"], row["phase"]) == (1, 3, "B"))[
    "diverged"
  ] = True
  curves = read.curves(rows, ["baseline", "method"])
  figure = curve_figures.curve(
    curves,
    "test_accuracy",
    ["baseline", "method"],
    shown=["baseline", "method"],
    panel=Panel("t"),
  )
  lines = {line.get_label(): line.get_ydata().tolist() for line in figure.axes[0].lines}
  assert lines["baseline"] == pytest.approx([0.2, 0.3, 0.4])
  assert lines["method, after B (n = 1)"] == pytest.approx([0.2, 0.4, 0.6])
  (phase_a,) = (one for one in curves if one.phase == "A")
  assert phase_a.values["train_accuracy"].shape == (1, 3)
  assert figure.legends[0].get_title().get_text().startswith("mean of 2 seeds")
  every = read.curves([row | {"diverged": True} for row in rows], ["baseline", "method"])
  assert every == []


def test_curve_draws_the_mean_and_the_range_of_few_seeds():
  rows = _rows("method", 0, "B", [0.2, 0.4, None]) + _rows("method", 1, "B", [0.4, 0.8, 0.6])
  (curve,) = read.curves(rows, ["method"])
  axes = curve_figures.curve(
    [curve], "test_accuracy", ["method"], shown=["method"], panel=Panel("t")
  ).axes[0]
  np.testing.assert_allclose(axes.lines[0].get_ydata(), [0.3, 0.6, 0.6])
  edges = axes.collections[0].get_paths()[0].vertices
  np.testing.assert_allclose(
    [[edges[edges[:, 0] == x, 1].min(), edges[edges[:, 0] == x, 1].max()] for x in (1, 2, 3)],
    [[0.2, 0.4], [0.4, 0.8], [0.6, 0.6]],
  )


def test_curve_draws_one_sd_of_five_seeds():
  values = [0.1, 0.2, 0.3, 0.4, 0.9]
  rows = [
    row for seed, value in enumerate(values) for row in _rows("method", seed, "B", [value, value])
  ]
  figure = curve_figures.curve(
    read.curves(rows, ["method"]), "test_accuracy", ["method"], shown=["method"], panel=Panel("t")
  )
  edges = figure.axes[0].collections[0].get_paths()[0].vertices[:, 1]
  np.testing.assert_allclose(
    [edges.min(), edges.max()], np.mean(values) + np.array([-1, 1]) * np.std(values, ddof=1)
  )
  assert figure.legends[0].get_title().get_text() == "mean of 5 seeds, band: ± sd"


def test_phase_that_does_not_end_a_round_is_dotted_and_has_no_band():
  rows = _rows("method", 0, "A", [None, None], last=False) + _rows("method", 0, "B", [0.5, 0.6])
  curves = read.curves(rows, ["method"])
  axes = curve_figures.curve(
    curves, "train_accuracy", ["method"], shown=["method"], panel=Panel("t")
  ).axes[0]
  assert [line.get_label() for line in axes.lines] == ["method, phase A", "method, phase B"]
  assert [line.get_linestyle() for line in axes.lines] == [":", "-"]
  figure = curve_figures.curve(
    curves, "test_accuracy", ["method"], shown=["method"], panel=Panel("t")
  )
  assert [line.get_label() for line in figure.axes[0].lines] == ["method, after B"]


def turns(rates):
  return read.learning_rate_turns(_rows("b", 0, "all", [0.1] * len(rates), rates=rates))


def test_learning_rate_drops_are_the_rounds_that_begin_lower():
  assert turns([0.1, 0.1, 0.01, 0.01, 0.001]) == {3: "rate drops", 5: "rate drops"}
  cosine = [0.05 * (1 + np.cos(np.pi * number / 50)) for number in range(50)]
  assert len(turns(cosine)) <= 3
  assert read.learning_rate_turns([]) == {}


def test_where_the_learning_rate_goes_back_up_its_restarts_are_marked_and_no_warm_up():
  cycle = [0.05 * (1 + np.cos(np.pi * number / 10)) for number in range(10)]
  expected = {13: "rate restarts", 23: "rate restarts"}
  assert turns([0.01, 0.04, *cycle * 3]) == expected
  assert turns([0.01, 0.04, 0.1, 0.08, 0.04, 0.02, 0.06, 0.1]) == {7: "rate restarts"}
  curves = read.curves(_rows("b", 0, "all", [0.1] * 32), ["b"])
  panel = Panel("t", expected)
  figure = curve_figures.curve(curves, "test_accuracy", ["b"], shown=["b"], panel=panel)
  assert [text.get_text() for text in figure.axes[0].texts] == [" rate restarts "] * 2


def test_rounds_that_are_not_evaluated_leave_the_curves_whole(tmp_path):
  small_run(tmp_path, rounds=10, eval_every_rounds=4)
  curves = read.curves(read.load(tmp_path).metrics, ("baseline", "method"))
  arms = ("baseline", "method")
  figure = curve_figures.curve(curves, "test_accuracy", arms, shown=arms, panel=Panel("t"))
  shown = figure.axes[0].lines[0]
  assert shown.get_xdata().tolist() == [4, 8, 10]


def test_captions_of_curves_name_the_seeds_left_out(tmp_path, captioned):
  workdir = small_run(tmp_path, seeds=(0, 1, 2, 3, 4), diverged={"method": [2, 4], "baseline": [0]})
  loaded = read.load(workdir)
  caption = (
    "Seeds that diverged are left out of all rounds: baseline, seed 0; method, seed 2, "
    "4.</figcaption>"
  )
  text = run_page.html(loaded, captioned(loaded))
  assert text.count(caption) == 5
  assert "the band shows one sd above" in text  # uniform_mean still has five
  whole = read.load(small_run(tmp_path / "other"))
  assert "left out of all rounds" not in run_page.html(whole, captioned(whole))


@pytest.mark.slow
def test_panels_of_many_arms_keep_to_baseline_and_method_and_one_figure_has_all(tmp_path, drawn):
  made, _ = drawn(small_run(tmp_path, arms=MANY_ARMS, rounds=8))
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
    all_curves, "test_loss", ["baseline"], shown=["baseline"], panel=Panel("t")
  ).axes[0]
  means = np.mean(
    [[one["test_loss"] for one in rows if one["seed"] == seed] for seed in range(5)], axis=0
  )
  assert axes.get_yscale() == "log"
  low, high = axes.get_ylim()
  assert 0 < low < means.min() < means.max() < high < 10 * means.max()
  edges = axes.collections[0].get_paths()[0].vertices[:, 1]
  np.testing.assert_allclose(edges.min(), 0.02 / 6**3)


def _values(rows, measure, of):
  """Returns a measure over the rounds; `of` is (arm, phase, seed)."""
  return [row[measure] for row in rows if (row["arm"], row["phase"], row["seed"]) == of]


def test_norms_are_the_numbers_of_the_rows_after_each_phase(tmp_path, drawn):
  workdir = small_run(
    tmp_path, seeds=(0, 1), arms=("baseline", "method"), diverged={"baseline": [1]}
  )
  layers = add_norms(workdir, 12)
  made, pictures = drawn(workdir)
  assert set(read.NORMS) <= set(pictures)
  assert (
    "Seeds that diverged are left out of all rounds: baseline, seed 1."
    in pictures["weight_norm"].caption
  )
  rows = files.read_rows(workdir / "metrics.jsonl")
  panels = dict(zip(read.NORMS, made["curve"][-4:], strict=True))

  def mean(measure, arm, phase, seeds):
    return np.mean([_values(rows, measure, (arm, phase, seed)) for seed in seeds], axis=0)

  lines = {line.get_label(): line.get_ydata() for line in panels["weight_norm"].axes[0].lines}
  np.testing.assert_allclose(lines["baseline (n = 1)"], mean("weight_norm", "baseline", "all", [0]))
  np.testing.assert_allclose(lines["method, after A"], mean("weight_norm", "method", "A", [0, 1]))
  np.testing.assert_allclose(lines["method, after B"], mean("weight_norm", "method", "B", [0, 1]))
  lines = {line.get_label(): line.get_ydata() for line in panels["effective_rate"].axes[0].lines}
  rates, norms = (
    np.array([_values(rows, measure, ("method", "B", seed)) for seed in (0, 1)])
    for measure in ("learning_rate", "weight_norm")
  )
  np.testing.assert_allclose(lines["method, after B"], (rates / norms**2).mean(axis=0))
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
