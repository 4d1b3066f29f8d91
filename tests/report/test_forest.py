"""The forest plot: the numbers of the contrasts, read back from its axes."""

import numpy as np

from sdt import files
from sdt.report import figures, forest
from tests.support.report_page import MANY_ARMS, labels_of, small_run


def test_the_forest_plot_draws_every_contrast_its_seeds_mean_interval_and_verdict(tmp_path, drawn):
  workdir = small_run(tmp_path, seeds=(0, 1, 2, 3), arms=MANY_ARMS)
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
