"""The table of further answers: what results.json says, in words that claim no more."""

import pytest

from sdt import files
from sdt.report import answer_table, tables
from tests.support.fake_predictions import add_predictions
from tests.support.report_page import Page, page_alone, small_run


def seeds(mean, interval, n=3):
  return {"per_seed": {}, "mean": mean, "sd": 0.1, "n": n, "interval": interval}


def one(mean, interval):
  return {"mean": mean, "interval": interval}


def row(way, ensemble, difference, arm="baseline"):
  make = one if ensemble else seeds
  figures = {"accuracy": make(0.99, [0.98, 1.0]), "nll": make(0.03, [0.02, 0.04])}
  figures |= {
    "balanced_accuracy": make(0.98, None),
    "brier": make(0.02, None),
    "ece": make(0.01, None),
  }
  return {"arm": arm, "way": way, "ensemble": ensemble, **figures, "difference": difference}


ANSWERS = {
  "ways": {
    "single": {"file": "predictions.npz", "in_words": "the final network, the centre"},
    "views": {"file": "predictions_views.npz", "in_words": "the mean of 2 views (flip)"},
  },
  "answers": [
    row("single", None, None),
    row("single", [0, 1, 2], {"accuracy": one(0.004, [-0.001, 0.009]), "nll": one(-0.01, None)}),
    row("views", None, {"accuracy": seeds(-0.002, [-0.004, 0.0]), "nll": seeds(None, None, n=0)}),
  ],
}


@pytest.fixture(scope="module")
def page(tmp_path_factory):
  workdir = tmp_path_factory.mktemp("answers")
  add_predictions(small_run(workdir, num_classes=4))
  results = files.read_json(workdir / "results.json")
  results["predictions"] |= ANSWERS
  files.write_json(workdir / "results.json", results)
  return page_alone(workdir)


def test_every_answer_has_a_row_with_its_intervals_and_its_difference(page):
  rows = {cells[0]: cells[1:] for cells in Page(page).rows if len(cells) == 7}
  assert rows["one network"] == [
    "99.00 (98.00 to 100.00)",
    "98.00",
    "0.0300 (0.0200 to 0.0400)",
    "1.00",
    "-",
    "-",
  ]
  assert rows["ensemble of 3"][4:] == ["+0.40 (\u22120.10 to +0.90)", "\u22120.0100"]
  assert rows["views"][4:] == ["\u22120.20 (\u22120.40 to +0.00)", "-"]
  assert "negative log-likelihood, minus one network's (below 0 is better)" in page


def test_the_notes_say_what_an_interval_is_about_and_what_is_no_finding(page):
  text = " ".join(page.split())
  assert "Views: the mean of 2 views (flip), in predictions_views.npz." in text
  assert "An ensemble is one answer, so it has no spread over seeds" in text
  assert "is no finding" in text


def test_without_ensembles_nothing_is_said_of_them_and_arms_have_a_column_where_they_are_several():
  answers = [one for one in ANSWERS["answers"] if not one["ensemble"]]
  answers += [row("single", None, None, arm="method")]
  found = answer_table.describe(ANSWERS | {"answers": answers})
  assert found["has_arms"]
  assert not any("nsemble" in note for note in found["notes"])
  assert answer_table.describe({"arms": {}}) is None


def test_the_printed_table_has_a_line_for_every_answer_and_says_what_is_better():
  results = {
    "seeds": [0],
    "arms": {"baseline": {"accuracy": {"0": 0.9}, "mean": 0.9, "sd": None, "n": 1}},
  }
  text = tables.result_table_text({**results, "predictions": ANSWERS})
  rows = [line.split("  ") for line in text.splitlines()[-6:-1]]
  assert [[cell.strip() for cell in row if cell] for row in rows if len(row) > 1] == [
    ["further answers", "accuracy, %", "NLL", "ECE, %"],
    ["baseline, one network", "99.00", "0.0300", "1.00"],
    ["baseline, ensemble of 3", "99.00", "0.0300", "1.00"],
    ["baseline, views", "99.00", "0.0300", "1.00"],
  ]
  assert "Lower is better." in text
  assert max(map(len, text.splitlines())) <= tables.MAX_WIDTH
  assert "NLL" not in tables.result_table_text(results)
