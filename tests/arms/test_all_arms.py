"""Every arm through a whole run: equal work, its own account, and equal bytes after a stop."""

import json
import re
import statistics

import pytest

from sdt.arms.catalogue import ARM_NAMES
from sdt.report.tables import result_table_text
from tests.support import whole
from tests.support.report_page import Page, page_alone

# Of the arms that give A a regulariser of its own, one: their programs are compared in
# test_regularisers.py.
ARMS = tuple(arm for arm in ARM_NAMES if not arm.endswith("_easy") or arm == "smooth_easy")
CONFIG = whole.config(
  arms=(*ARMS, "mine"),
  own_arms=("mine = A@9 + B@0 + A@1e-4:pass against alternate_only",),
  method__lambda_tuned=3e-4,
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
  """A run that was left alone, without its report."""
  workdir = tmp_path_factory.mktemp("every_arm") / "whole"
  with pytest.MonkeyPatch.context() as patch:
    whole.without_report(patch)
    assert whole.run(CONFIG, workdir) == 0
  return workdir


@pytest.mark.slow
def test_page_and_text_subtract_the_arm_from_the_method_and_the_control_from_its_arm(
  finished,
):
  results = json.loads((finished / "results.json").read_text())
  last = [
    row
    for row in whole.rows(finished)
    if row["last_phase"] and row["round"] == results["arms"][row["arm"]]["last_round"]
  ]
  means = {
    arm: statistics.fmean(100 * row["test_accuracy"] for row in last if row["arm"] == arm)
    for arm in results["arms"]
  }
  table, against_control = result_table_text(results).split("\n\n")[:2]
  page = page_alone(finished)
  arm = "mine = A@9 + B@0 + A@1e-4:pass against alternate_only"
  assert f"with the phases of one round: {arm}.</p>" in page
  pages = [row for row in Page(page).rows if len(row) == 8]
  pairs = [("method", arm, table, arm) for arm in means if arm != "method"]
  pairs += [
    (arm, "alternate_only", against_control, f"{arm} - alternate_only")
    for arm in ("smooth_easy", "mine")
  ]
  for first, second, text, name in pairs:
    (line,) = (line for line in text.splitlines() if line.startswith(f"{name} "))
    (row,) = (row for row in pages if row[0].split(" (")[0] == f"{first} - {second}")
    actual = re.search(r" ([+-]\d+\.\d\d)  two seeds: no verdict", line)
    assert (
      float(actual[1])
      == float(row[1].split(" \u00b1 ")[0])
      == pytest.approx(means[first] - means[second], abs=0.0051)
    )
  assert means["mine"] != means["alternate_only"]
  assert means["method"] != means["baseline"]


@pytest.mark.slow
def test_every_arm_runs_its_own_rounds_phases_and_rates(finished):
  results = json.loads((finished / "results.json").read_text())
  assert set(results["arms"]) == {*ARMS, "mine"}
  assert {
    arm: entry["last_round"] for arm, entry in results["arms"].items() if entry["last_round"] != 4
  } == {"long_baseline": 8}
  assert {arm for arm, entry in results["arms"].items() if not entry["equal_work"]} == {
    "long_baseline",
    "warm_start",
  }
  assert results["steps_per_round"]["mine"] == {"A": 1, "B": 4, "A2": 1}
  assert set(results["contrasts"]) == set(results["arms"]) - {"method"}
  overrides = {
    (row["arm"], row["phase"]): row["overrides"]
    for row in whole.rows(finished)
    if "overrides" in row
  }
  assert overrides == {
    ("smooth_easy", "A"): {"label_smoothing": 0.1},
    ("decay_steps_only", "A"): {"loss_weight": 0.0},
  }
  rates = {
    row["round"]: row["learning_rate"]
    for row in whole.rows(finished)
    if row["arm"] == "long_baseline"
  }
  assert list(rates) == [1, 2, 3, 4, 5, 6, 7, 8]
  assert rates[1] == rates[4] > rates[5] == rates[6] > rates[7] == rates[8]


@pytest.mark.slow
def test_a_stop_in_the_long_arm_changes_nothing(finished, tmp_path, monkeypatch):
  whole.without_report(monkeypatch)
  with monkeypatch.context() as patch:
    whole.signal_at(patch, "long_baseline", 2.5)
    assert whole.run(CONFIG, tmp_path / "stopped") == 75
  assert not (tmp_path / "stopped/results.json").exists()
  assert whole.run(CONFIG, tmp_path / "stopped") == 0
  whole.assert_same(CONFIG, finished, tmp_path / "stopped", report=False)
