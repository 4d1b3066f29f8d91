"""The stage between the trainings, in whole runs: which examples are A by every rule, and what is
said of the seeds' agreement.
"""

import csv
import dataclasses

import numpy as np
import pytest

from sdt import experiment, files
from sdt.commands import dry_run
from sdt.errors import ConfigError
from sdt.stages import score_and_split
from tests.support import tiny, whole


@pytest.fixture(scope="module")
def origin(tmp_path_factory):
  """A finished run whose baseline and scores the others take over."""
  with pytest.MonkeyPatch.context() as patch:
    whole.without_report(patch)
    workdir = tmp_path_factory.mktemp("origin") / "run"
    assert whole.run(config(), workdir) == 0
  return workdir


def config(**changes):
  """Networks as they were drawn: their seeds agree on nothing."""
  return whole.config(**({"optim__learning_rate": 1e-6, "score__name": "loss"} | changes))


def subsets(workdir):
  with open(workdir / "split.csv", newline="") as file:
    table = list(csv.DictReader(file))
  return [[row[f"subset_seed{seed}"] for row in table] for seed in (0, 1)]


def rerun(changes, origin, workdir):
  """Runs with other rules on the baseline of `origin`; returns the scores and the subsets of both
  seeds.
  """
  of = config(**changes)
  assert whole.run(dataclasses.replace(of, baseline_from=str(origin)), workdir) == 0
  return files.read_npz(workdir / "scores.npz"), subsets(workdir)


def test_a_threshold_takes_every_example_on_its_easy_side_for_all_seeds(
  origin, tmp_path, monkeypatch
):
  whole.without_report(monkeypatch)
  loss = files.read_npz(origin / "scores.npz")["loss"].mean(axis=0)
  rule = {
    "split__policy": "threshold",
    "split__source": "mean",
    "split__threshold": float(np.sort(loss)[46:48].mean()),
  }
  _, (first, second) = rerun(rule, origin, tmp_path / "run")
  assert first == second == ["A" if one < rule["split__threshold"] else "B" for one in loss]
  assert files.read_json(tmp_path / "run" / "results.json")["num_easy"] == 47
  assert any(
    "how many examples A gets is known when they are scored" in line
    for line in dry_run.describe(config(**rule))
  )
  # Nothing is that easy: the message has the numbers that are.
  nothing = dataclasses.replace(
    config(**(rule | {"split__threshold": -1.0})), baseline_from=str(origin)
  )
  with pytest.raises(
    ConfigError,
    match=(
      r"split.threshold=-1.0: "
      r"of 70 training examples A would get 0; the least, the 10, 50 and 90 "
      r"%"
    ),
  ):
    experiment.run(nothing, tmp_path / "none", "tiny")


def test_a_cut_trains_on_neither_a_nor_the_cut_and_for_as_many_steps(origin, tmp_path, monkeypatch):
  whole.without_report(monkeypatch)
  scores, both = rerun(
    {"split__policy": "mislabel_cut", "split__cut": 0.4}, origin, tmp_path / "run"
  )
  ids = files.read_npz(tmp_path / "run" / "arms" / "method.npz")
  for replica, row in enumerate(both):
    order = np.argsort(scores["loss"][replica], kind="stable")
    expected = np.full(70, "B  ")
    expected[order[:7]], expected[order[-28:]] = "A", "cut"
    assert row == [one.strip() for one in expected]
    assert ids["B"][replica].tolist() == [index for index, one in enumerate(row) if one == "B"]
  results = files.read_json(tmp_path / "run" / "results.json")
  assert results["steps_per_round"] == files.read_json(origin / "results.json")["steps_per_round"]


def test_a_window_begins_after_its_share(origin, tmp_path, monkeypatch):
  whole.without_report(monkeypatch)
  scores, both = rerun(
    {"split__policy": "window", "split__window_start": 0.5}, origin, tmp_path / "run"
  )
  for replica, row in enumerate(both):
    assert [index for index, one in enumerate(row) if one == "A"] == sorted(
      np.argsort(scores["loss"][replica], kind="stable")[35:42]
    )


def test_seeds_that_do_not_agree_are_told_what_that_means_also_where_the_mean_splits(
  origin, tmp_path, monkeypatch, capsys
):
  whole.without_report(monkeypatch)
  stability = files.read_json(origin / "scores.json")["stability"]
  a, b = (
    set(np.argsort(row, kind="stable")[:7].tolist())
    for row in files.read_npz(origin / "scores.npz")["loss"]
  )
  assert stability["mean_overlap_of_A"] == len(a & b) / 7 < 0.5
  assert f"warning: {stability['warning']}\n" in _log(
    origin, tmp_path, {"split__source": "seed"}, capsys
  )
  log = _log(origin, tmp_path, {"split__source": "mean"}, capsys)
  by_mean = files.read_json(tmp_path / "mean" / "scores.json")["stability"]
  assert by_mean["mean_overlap_of_A"] == stability["mean_overlap_of_A"]
  assert f"warning: {by_mean['warning']}\n" in log


def test_a_baseline_that_diverged_after_the_round_that_is_scored_is_told_so():
  rows = [
    {"arm": "baseline", "seed": 3, "round": number} | ({"diverged": True} if number > 4 else {})
    for number in range(1, 7)
  ]
  early, late = (tiny.config(rounds=6, score__at_round=number) for number in (2, 5))
  assert (
    score_and_split._what_is_scored(rows, 3, early) == "in round 5, after round 2 that is scored"
  )
  assert (
    score_and_split._what_is_scored(rows, 3, late) == "scored as it was at its last finite step"
  )
  assert (
    score_and_split._what_is_scored(rows, 3, tiny.config(rounds=6))
    == "scored as it was at its last finite step"
  )


def _log(origin, tmp_path, changes, capsys):
  capsys.readouterr()
  rerun(changes, origin, tmp_path / changes["split__source"])
  return capsys.readouterr().err
