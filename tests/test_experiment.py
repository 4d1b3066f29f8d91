"""Whole runs: what they write, what they say, and what a network that diverges changes."""

import csv

import numpy as np
import pytest

from sdt import experiment, files
from sdt.config import config_hash, to_dict
from sdt.config.score_names import SCORES
from sdt.errors import DivergedError
from tests.support import tiny, whole

CONFIG = whole.CONFIG


def test_a_run_leaves_every_artifact_of_the_design_and_nothing_else(reference_run):
  names = {
    str(path.relative_to(reference_run))
    for path in reference_run.rglob("*")
    if path.is_file() and ".sha256" not in path.parts
  }
  names = {
    name
    for name in names
    if not name.startswith("checkpoints/") and not name.endswith((".png", ".svg"))
  }
  expected = {
    "config.json",
    "environment.json",
    "timing.json",
    "metrics.jsonl",
    "scores.csv",
    "scores.npz",
    "scores.json",
    "split.csv",
    "suspects.csv",
  }
  expected |= {
    "arms/method.npz",
    "results.json",
    "report.html",
    "model.safetensors",
    *(f"models/{arm}-seed{seed}.safetensors" for arm in ("baseline", "method") for seed in (0, 1)),
    "figures/mosaics.npz",
    "figures/review.npz",
    "figures/review_test.npz",
    "suspects_test.csv",
    "review.html",
    "predictions.npz",
    "predictions.csv",
    ".lock",
  }
  assert names == expected
  assert list((reference_run / "figures").glob("*.svg"))
  for name in expected - {".lock"}:
    assert files.is_intact(reference_run / name), name


def test_config_and_environment_say_what_the_run_was(reference_run):
  content = files.read_json(reference_run / "config.json")
  assert content == {"config": to_dict(CONFIG), "hash": config_hash(CONFIG)}
  environment, data = files.read_json(reference_run / "environment.json"), tiny.data(CONFIG)
  assert environment["data"] == {
    "name": "shapes",
    "variant": data.variant,
    "checksum": data.checksum,
    "notes": list(data.notes),
    "duplicates": data.duplicates.counts,
  }
  assert set(environment["choices"]["dispatches"]) == {"baseline", "method"}
  assert {"versions", "platform", "devices", "host", "commit", "cpus"} <= environment.keys()


def test_metrics_hold_one_row_per_arm_seed_round_and_phase(reference_run):
  rows = whole.rows(reference_run, seconds=True)
  keys = [(row["arm"], row["round"], row["seed"], row["phase"]) for row in rows]
  baseline = [("baseline", number, seed, "all") for number in range(1, 5) for seed in (0, 1)]
  assert keys == baseline + [
    ("method", number, seed, phase) for number in range(1, 5) for seed in (0, 1) for phase in "AB"
  ]
  names = (
    "arm seed round phase last_phase step learning_rate weight_decay train_loss train_accuracy"
  )
  names += " gradient_norm update_norm weight_norm weight_norms test_loss test_accuracy seconds"
  assert {tuple(row) for row in rows} == {tuple(names.split())}
  assert [
    row["learning_rate"] for row in rows if row["arm"] == "baseline" and row["seed"] == 0
  ] == [0.05, 0.05, 0.005, 0.0005]
  first, last = (
    row for row in rows if row["arm"] == "method" and row["seed"] == 1 and row["round"] == 3
  )
  assert (
    first["phase"],
    first["last_phase"],
    first["step"],
    first["weight_decay"],
    first["test_accuracy"],
  ) == ("A", False, 11, 1e-3, None)
  assert (last["phase"], last["last_phase"], last["step"], last["weight_decay"]) == (
    "B",
    True,
    15,
    1e-4,
  )
  assert 0 <= last["test_accuracy"] <= 1
  assert (last["test_accuracy"] * 30) == pytest.approx(round(last["test_accuracy"] * 30))


def test_results_are_those_of_the_last_rounds(reference_run):
  results, rows = files.read_json(reference_run / "results.json"), whole.rows(reference_run)
  assert list(results) == [
    *("data", "model", "seeds", "rounds", "num_easy", "steps_per_round", "arms"),
    *("recommended", "contrasts", "sentence", "design", "predictions", "suspects"),
  ]
  assert list(results["design"]["arms"]) == ["baseline", "method"]
  assert any(
    "what weight decay does can hardly be seen" in text for text in results["design"]["warnings"]
  )
  assert results["num_easy"] == 7
  assert results["steps_per_round"] == {"baseline": {"all": 5}, "method": {"A": 1, "B": 4}}
  assert results["model"] == {
    "name": "mlp",
    "num_params": 64 * 3 * 16 + 16 + 16 * 3 + 3,
    "layers": ["head", "hidden1"],
  }
  for arm, entry in results["arms"].items():
    last = {
      str(row["seed"]): row
      for row in rows
      if (row["arm"], row["round"], row["last_phase"]) == (arm, 4, True)
    }
    assert entry["accuracy"] == {seed: row["test_accuracy"] for seed, row in last.items()}
    assert entry["loss"] == entry["nll"]["per_seed"]
    evaluated = {seed: row["test_loss"] for seed, row in last.items()}
    assert entry["loss"] == pytest.approx(evaluated, rel=1e-6)
    assert entry["mean"] == pytest.approx(np.mean(list(entry["accuracy"].values())))
    best = {
      seed: max(
        row["test_accuracy"] or 0 for row in rows if (row["arm"], str(row["seed"])) == (arm, seed)
      )
      for seed in last
    }
    assert entry["paper_protocol"] == best
    assert (entry["last_round"], entry["diverged"], entry["n"]) == (4, [], 2)
  # The method's training accuracy counts the examples of both phases once.
  own = {
    row["phase"]: row["train_accuracy"]
    for row in rows
    if (row["arm"], row["seed"], row["round"]) == ("method", 0, 4)
  }
  assert results["arms"]["method"]["train_accuracy"]["0"] == pytest.approx(
    (7 * own["A"] + 63 * own["B"]) / 70
  )


def test_scores_and_splits_on_disk_agree_with_each_other(reference_run):
  scores = files.read_npz(reference_run / "scores.npz")
  assert {name: (array.dtype.name, array.shape) for name, array in scores.items()} == {
    "example_id": ("int32", (70,)),
    "label": ("int32", (70,)),
    "seeds": ("int64", (2,)),
    "difficulty": ("float32", (70,)),
    "wrong_label": ("bool", (70,)),
    "sound": ("bool", (2,)),
    "other_class": ("int32", (2, 70)),
    **{
      name: ("float32", (2, 70))
      for name in SCORES
      if name not in ("file", "confidence_in_sample", "grand")
    },
  }
  with open(reference_run / "split.csv", newline="") as file:
    split = list(csv.DictReader(file))
  columns = ["example_id", "label", "class_name", "subset", "subset_seed0", "subset_seed1"]
  assert list(split[0]) == columns
  ids = files.read_npz(reference_run / "arms" / "method.npz")
  for replica, seed in enumerate((0, 1)):
    in_easy = {int(row["example_id"]) for row in split if row[f"subset_seed{seed}"] == "A"}
    assert (
      in_easy
      == set(ids["A"][replica].tolist())
      == set(np.argsort(-scores["log_odds"][replica])[:7].tolist())
    )
    assert sorted([*ids["A"][replica], *ids["B"][replica]]) == list(range(70))
  assert {int(row["example_id"]) for row in split if row["subset"] == "A"} == set(
    np.argsort(-scores["log_odds"].mean(axis=0))[:7].tolist()
  )


@pytest.mark.slow
def test_two_runs_of_one_command_leave_the_same_bytes(reference_run, tmp_path):
  assert whole.run(CONFIG, tmp_path / "again") == 0
  whole.assert_same(CONFIG, reference_run, tmp_path / "again")


def test_a_complete_run_is_told_so_and_not_touched(reference_run, capsys, no_training):
  before = whole.stamps(reference_run)
  assert whole.run(CONFIG, reference_run) == 0
  assert "complete: nothing to do" in capsys.readouterr().out
  assert whole.stamps(reference_run) == before


def test_timing_adds_up(reference_run):
  timing = files.read_json(reference_run / "timing.json")
  stages = [
    "data",
    "restore",
    "train baseline",
    "score",
    "split",
    "train method",
    "predictions",
    "class activation maps",
    "results",
    "report",
  ]
  assert list(timing["stages"]) == stages
  assert 0.9 * timing["wall_secs"] <= sum(timing["stages"].values()) <= timing["wall_secs"]
  running = sum(timing["train_secs"].values()) + sum(timing["evaluation_secs"].values())
  arms = timing["stages"]["train baseline"] + timing["stages"]["train method"]
  spent = running + timing["compile_secs"] + timing["idle_secs"] + timing["save_secs"]
  assert 0 < timing["idle_secs"] < arms
  assert 0.5 * arms < spent <= arms
  assert timing["goodput"] == pytest.approx(running / timing["wall_secs"])
  for arm, secs in timing["train_secs"].items():
    assert timing["images_per_sec"][arm] == pytest.approx(timing["images"][arm] / secs)
  assert (timing["num_saves"], timing["num_starts"]) == (2, 1)


@pytest.mark.slow
def test_a_diverged_baseline_ends_with_4_and_its_account_and_the_others_finish(
  tmp_path, monkeypatch, capsys
):
  whole.quick_report(monkeypatch)
  config = whole.config(optim__learning_rate=1e6)
  with pytest.raises(DivergedError) as caught:
    experiment.run(config, tmp_path / "run", "tiny")
  said = str(caught.value)
  assert said.startswith("4 replica(s) diverged and were frozen")
  for part in (
    "arm baseline, seed 0: round 1, phase all, after step",
    "learning rate 1e+06",
    "weight decay 0.0001",
    "last finite loss",
  ):
    assert part in said
  assert (
    "the baseline of seed 0 diverged: scored as it was at its last finite step"
    in capsys.readouterr().err
  )
  results = files.read_json(tmp_path / "run" / "results.json")
  assert results["arms"]["method"]["diverged"] == [0, 1]
  assert results["arms"]["method"]["accuracy"] == {"0": None, "1": None}
  assert (tmp_path / "run" / "report.html").exists()
  assert len(whole.rows(tmp_path / "run")) == 24
  before = whole.stamps(tmp_path / "run")
  whole.forbid_training(monkeypatch)
  assert whole.run(config, tmp_path / "run") == 4
  assert whole.stamps(tmp_path / "run") == before


def test_an_arm_that_diverges_does_not_touch_the_others(tmp_path, reference_run, monkeypatch):
  whole.without_report(monkeypatch)
  config = whole.config(method__lambda_A=1e3, method__lambda_B=1e3)
  with pytest.raises(DivergedError) as caught:
    experiment.run(config, tmp_path / "run", "tiny")
  assert "arm method, seed 0: round " in str(caught.value)
  assert "arm baseline" not in str(caught.value)
  baseline = [row for row in whole.rows(reference_run) if row["arm"] == "baseline"]
  assert [row for row in whole.rows(tmp_path / "run") if row["arm"] == "baseline"] == baseline
  steps = [
    row["step"]
    for row in whole.rows(tmp_path / "run")
    if (row["arm"], row["seed"]) == ("method", 0)
  ]
  assert steps == sorted(steps)
  assert steps[-2] == steps[-1] < 20  # a frozen replica counts no more steps


@pytest.mark.slow
def test_warm_start_and_many_arms_run_and_their_orders_pair(tmp_path, monkeypatch):
  whole.without_report(monkeypatch)
  arms = ("method", "random_subset", "less_data", "baseline")
  config = whole.config(method__init="warm", arms=arms, seeds=(3, 4))
  assert whole.run(config, tmp_path / "run") == 0
  assert list(files.read_json(tmp_path / "run" / "results.json")["arms"]) == list(arms)
  first = {
    arm: next(row for row in whole.rows(tmp_path / "run") if row["arm"] == arm) for arm in arms
  }
  # The method and its control begin where the baseline ended, the baseline's control at the seed's
  # own weights.
  assert (
    max(first[arm]["train_loss"] for arm in ("method", "random_subset"))
    < first["less_data"]["train_loss"]
  )


def test_a_baseline_alone_needs_no_scores(tmp_path, monkeypatch):
  whole.without_report(monkeypatch)
  config = whole.config(arms=("baseline",))
  assert whole.run(config, tmp_path / "run") == 0
  assert not (tmp_path / "run" / "scores.npz").exists()
  (tmp_path / "run" / "report.html").write_text("stands for the report")
  files.write_text(tmp_path / "run" / "report.html", "stands for the report")
  whole.forbid_training(monkeypatch)
  assert whole.run(config, tmp_path / "run") == 0
