"""The predictions on the page: their table, the confusions, the reliability diagrams."""

import numpy as np
import pytest

from sdt import files
from sdt.report import prediction_figures, prediction_pictures, prediction_section, read, tables
from tests.support.fake_predictions import add_predictions
from tests.support.report_page import Page, labels_of, page_alone, small_run


def run_of(workdir, num_classes, *, num_examples=240, **changes):
  add_predictions(small_run(workdir, num_classes=num_classes, **changes), num_examples)
  return workdir


def drawn_by(workdir, monkeypatch):
  """Returns the arguments of the figures that are drawn, by their function's name."""
  made = {}

  def keep(function, *args, families=(), **kwargs):
    made[function.__name__] = args
    function(*args, **kwargs)
    return b""

  monkeypatch.setattr(prediction_pictures.figures, "render", keep)
  return made, prediction_pictures.pictures(read.load(workdir))


def test_the_table_has_the_figures_of_results_json(tmp_path):
  results = files.read_json(run_of(tmp_path, 6) / "results.json")
  rows = {row[0]: row[1:] for row in Page(page_alone(tmp_path)).rows if len(row) == 7}
  for arm, of_arm in results["predictions"]["arms"].items():
    cells, together = rows[arm], rows[f"{arm}, ensemble of 3"]
    assert cells[0] == tables.mean_sd(results["arms"][arm])
    for place, name in enumerate(("balanced_accuracy", "top5_accuracy", "nll", "brier", "ece"), 1):
      entry, scale = results["arms"][arm][name], 1 if name in ("nll", "brier") else 100
      digits = 4 if scale == 1 else 2
      expected = f"{scale * entry['mean']:.{digits}f} ± {scale * entry['sd']:.{digits}f}"
      assert cells[place] == expected, name
      assert together[place] == f"{scale * of_arm['ensemble'][name]:.{digits}f}"


@pytest.mark.parametrize(("num_classes", "columns"), [(5, 6), (6, 7)])
def test_top_5_has_a_column_where_there_are_more_classes(tmp_path, num_classes, columns):
  rows = Page(page_alone(run_of(tmp_path, num_classes))).rows
  assert len(next(row for row in rows if "Brier score" in row)) == columns


def test_the_classes_stand_in_the_order_of_their_recall_the_lowest_first(tmp_path):
  rows = Page(page_alone(run_of(tmp_path, 6))).rows
  start = next(at for at, row in enumerate(rows) if row[:2] == ["class", "test examples"])
  recalls = [float(row[3]) for row in rows[start + 1 : start + 7]]
  assert recalls == sorted(recalls)
  assert len(set(recalls)) > 1


def test_a_run_without_predictions_has_no_section(tmp_path):
  text = page_alone(small_run(tmp_path))
  assert "predictions" not in text.lower().replace("predictions of a class", "")
  assert prediction_pictures.pictures(read.load(tmp_path)) == {}


def test_the_confusions_are_means_over_the_seeds_that_did_not_diverge(tmp_path, monkeypatch):
  run_of(tmp_path, 4, diverged={"baseline": [1]})
  made, pictures = drawn_by(tmp_path, monkeypatch)
  counts, totals, names = made["confusion"]
  of_arm = read.load(tmp_path).results["predictions"]["arms"]["baseline"]
  assert of_arm["per_seed"]["1"] is None
  expected = [of_arm["per_seed"][seed]["confusion"] for seed in ("0", "2")]
  np.testing.assert_allclose(counts, np.mean(expected, axis=0))
  assert totals.tolist() == [60] * 4
  assert names == ["0", "1", "2", "3"]
  assert "mean over the seeds" in pictures["confusion"].caption


@pytest.mark.parametrize("num_classes", [30, 120])
def test_of_many_classes_the_most_confused_are_shown_and_the_rest_as_others(
  num_classes, tmp_path, monkeypatch
):
  run_of(tmp_path, num_classes, num_examples=10 * num_classes, arms=("baseline",))
  made, pictures = drawn_by(tmp_path, monkeypatch)
  counts, totals, names = made["confusion"]
  assert counts.shape == (20, 21)
  np.testing.assert_allclose(counts.sum(axis=1), totals)
  assert counts[:, -1].min() >= 0
  assert f"20 of the {num_classes} classes" in pictures["confusion"].caption
  # In these runs a class is taken for the next one: most that are shown have their neighbour there.
  shown = {int(name) for name in names}
  assert sum((one + 1) % num_classes in shown or one - 1 in shown for one in shown) > 14
  section = prediction_section.describe(read.load(tmp_path))
  assert len(section["pairs"]) == 10
  assert len(section["classes"]) == num_classes
  numbers = [float(row[2]) for row in section["pairs"]]
  assert numbers == sorted(numbers, reverse=True)


def test_a_matrix_has_every_number_and_class(tmp_path):
  counts = np.array([[9.0, 1.0], [0.5, 3.5]])
  figure = prediction_figures.confusion(
    counts, np.array([10, 4]), ["cat", "a very long name of dogs"]
  )
  axes = figure.axes[0]
  texts = {text.get_position(): text.get_text() for text in axes.texts}
  assert texts == {(0, 0): "9", (1, 0): "1", (0, 1): "0.5", (1, 1): "3.5"}
  assert labels_of(axes) == ["cat", "a very long name of d…"]
  assert [prediction_figures.count_text(value) for value in (12.97, 12.34, 123.4)] == [
    *("13", "12.3", "123")
  ]


def test_the_dots_of_an_arm_are_the_bins_of_its_seeds_together(tmp_path, monkeypatch):
  run_of(tmp_path, 4, arms=("baseline", "method"))
  made, _ = drawn_by(tmp_path, monkeypatch)
  (arms, _), content = made["reliability"], files.map_npz(tmp_path / "predictions.npz")
  values, answers = content["probabilities"][1], content["predicted"][1]
  confidence = np.take_along_axis(values, answers[..., None], axis=-1)[..., 0].ravel()
  right = (answers == content["label"]).ravel()
  bins = arms[1].seeds
  assert bins.count.sum() == 3 * 240
  for place in range(15):
    inside = (confidence > place / 15) & (confidence <= (place + 1) / 15)
    assert bins.count[place] == inside.sum()
    if inside.any():
      assert bins.accuracy[place] == pytest.approx(right[inside].mean())
      assert bins.confidence[place] == pytest.approx(confidence[inside].mean())
    else:
      assert np.isnan(bins.accuracy[place])


def test_where_every_seed_diverged_the_page_has_dashes_and_no_pictures(tmp_path):
  lost = {"baseline": [0, 1, 2]}
  run_of(tmp_path, 4, arms=("baseline",), diverged=lost)
  assert prediction_pictures.pictures(read.load(tmp_path)) == {}
  rows = [row for row in Page(page_alone(tmp_path)).rows if row[0] == "baseline"]
  assert ["baseline", *["-"] * 5] in rows


def test_class_names_are_escaped(tmp_path):
  names = ["<b>x</b>", *(f"n{index}" for index in range(11))]
  text = page_alone(run_of(tmp_path, 12, class_names=names))
  assert "<b>x" not in text
  assert sum(row[0] == "<b>x</b>" for row in Page(text).rows) >= 2
