"""Whole runs: their artifacts, and that stopped, damaged and repeated runs end as one that was left
alone.
"""

import csv
import dataclasses
import json
import shutil
import signal

import numpy as np
import pytest

from sdt import experiment, files
from sdt.commands import dry_run
from sdt.config import config_hash, to_dict
from sdt.config.score_names import SCORES
from sdt.data import sources
from sdt.engine.trainer import Trainer
from sdt.errors import CheckpointError, ConfigError, DataError, DivergedError, Interrupted
from sdt.run.checkpoints import CheckpointStore
from tests.support import tiny, whole

CONFIG = whole.CONFIG


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
  """A run that was left alone."""
  workdir = tmp_path_factory.mktemp("finished") / "run"
  assert whole.run(CONFIG, workdir) == 0
  return workdir


@pytest.fixture
def copy(finished, tmp_path):
  return shutil.copytree(finished, tmp_path / "copy")


@pytest.fixture
def no_training(monkeypatch):
  """Makes any training fail the test."""
  monkeypatch.setattr(Trainer, "run", lambda *args: pytest.fail("it trained"))


def stopped(config, workdir, monkeypatch, task, done, number=signal.SIGTERM, times=1):
  """Runs until a signal stops the run, and returns what the error said."""
  with monkeypatch.context() as patch:
    whole.signal_at(patch, task, done, number, times)
    with pytest.raises(Interrupted) as caught:
      experiment.run(config, workdir, "tiny")
  return str(caught.value)


def test_a_run_leaves_every_artifact_of_the_design_and_nothing_else(finished):
  names = {
    str(path.relative_to(finished))
    for path in finished.rglob("*")
    if path.is_file() and ".sha256" not in path.parts
  }
  names = {
    name for name in names if not name.startswith("checkpoints/") and not name.endswith(".png")
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
  }
  expected |= {
    "arms/method.npz",
    "results.json",
    "report.html",
    "model.safetensors",
    "figures/mosaics.npz",
    ".lock",
  }
  assert names == expected
  assert list((finished / "figures").glob("*.png"))
  for name in expected - {".lock"}:
    assert files.is_intact(finished / name), name


def test_config_and_environment_say_what_the_run_was(finished):
  content = files.read_json(finished / "config.json")
  assert content == {"config": to_dict(CONFIG), "hash": config_hash(CONFIG)}
  environment, data = files.read_json(finished / "environment.json"), tiny.data(CONFIG)
  assert environment["data"] == {
    "name": "shapes",
    "variant": data.variant,
    "checksum": data.checksum,
    "notes": list(data.notes),
  }
  assert set(environment["choices"]["dispatches"]) == {"baseline", "method"}
  assert {"versions", "platform", "devices", "host", "commit", "cpus"} <= environment.keys()


def test_metrics_hold_one_row_per_arm_seed_round_and_phase(finished):
  rows = whole.rows(finished, seconds=True)
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


def test_results_are_those_of_the_last_rounds(finished):
  results, rows = files.read_json(finished / "results.json"), whole.rows(finished)
  assert list(results) == [
    "data",
    "model",
    "seeds",
    "rounds",
    "num_easy",
    "steps_per_round",
    "arms",
    "contrasts",
    "sentence",
  ]
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
    assert entry["loss"] == {seed: row["test_loss"] for seed, row in last.items()}
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


def test_scores_and_splits_on_disk_agree_with_each_other(finished):
  scores = files.read_npz(finished / "scores.npz")
  assert {name: (array.dtype.name, array.shape) for name, array in scores.items()} == {
    "example_id": ("int32", (70,)),
    "label": ("int32", (70,)),
    "seeds": ("int64", (2,)),
    "difficulty": ("float32", (70,)),
    "wrong_label": ("bool", (70,)),
    "sound": ("bool", (2,)),
    **{
      name: ("float32", (2, 70))
      for name in SCORES
      if name not in ("file", "confidence_in_sample", "grand")
    },
  }
  with open(finished / "split.csv", newline="") as file:
    split = list(csv.DictReader(file))
  assert list(split[0]) == ["example_id", "label", "subset", "subset_seed0", "subset_seed1"]
  ids = files.read_npz(finished / "arms" / "method.npz")
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


def test_two_runs_of_one_command_leave_the_same_bytes(finished, tmp_path):
  assert whole.run(CONFIG, tmp_path / "again") == 0
  whole.assert_same(CONFIG, finished, tmp_path / "again")


def test_a_complete_run_is_told_so_and_not_touched(finished, capsys, no_training):
  before = whole.stamps(finished)
  assert whole.run(CONFIG, finished) == 0
  assert "complete: nothing to do" in capsys.readouterr().out
  assert whole.stamps(finished) == before


@pytest.mark.parametrize("name", ["report.html", "figures/*.png"])
def test_only_the_report_is_made_again_where_only_it_is_missing(copy, finished, name, no_training):
  lost = next(copy.glob(name))
  lost.unlink()
  shutil.rmtree(copy / "checkpoints")  # not needed for a report
  before = whole.stamps(copy)
  assert whole.run(CONFIG, copy) == 0
  made_again = {path for path, stamp in whole.stamps(copy).items() if before.get(path) != stamp}
  assert str(lost.relative_to(copy)) in made_again
  assert all("report.html" in path or path.startswith("figures/") for path in made_again)
  assert whole.outputs(copy) == whole.outputs(finished)


@pytest.mark.parametrize(
  "name",
  [
    "scores.npz",
    "scores.csv",
    "split.csv",
    "arms/method.npz",
    "model.safetensors",
    "figures/mosaics.npz",
    "timing.json",
  ],
)
def test_a_lost_or_damaged_artifact_is_made_again_without_training(
  copy, finished, name, no_training, monkeypatch
):
  whole.without_report(monkeypatch)
  monkeypatch.chdir(copy.parent)
  (copy / name).unlink() if name in ("scores.csv", "arms/method.npz") else (
    copy / name
  ).write_bytes(whole.HOSTILE)
  before = (copy / "metrics.jsonl").read_bytes()
  assert whole.run(CONFIG, copy) == 0
  assert (copy / "metrics.jsonl").read_bytes() == before
  whole.assert_same(CONFIG, finished, copy, report=False)
  assert not list(copy.parent.rglob("executed"))


@pytest.mark.parametrize(
  ("task", "done", "where", "number"),
  [
    ("baseline", 1.4, "in arm baseline, round 2, after step 2", signal.SIGTERM),
    ("baseline", 4.0, "in arm baseline, round 4, after step 5", signal.SIGINT),
    ("score", 1.0, "while scoring", signal.SIGINT),
    ("method", 2.6, "in arm method, round 3, after step 3", signal.SIGTERM),
  ],
)
def test_a_stopped_run_saves_and_ends_as_one_that_was_left_alone(
  finished, tmp_path, monkeypatch, task, done, where, number
):
  whole.without_report(monkeypatch)
  said = stopped(CONFIG, tmp_path / "run", monkeypatch, task, done, number, times=2)
  assert said.startswith(f"stopped by {number.name} {where}")
  assert "run the same command again" in said
  assert "\n" not in said
  assert CheckpointStore(tmp_path / "run" / "checkpoints", 2).steps()
  assert whole.run(CONFIG, tmp_path / "run") == 0
  whole.assert_same(CONFIG, finished, tmp_path / "run", report=False)
  timing = files.read_json(tmp_path / "run" / "timing.json")
  assert timing["num_starts"] == 2
  assert timing["images"] == {"baseline": 4 * 70 * 2, "method": 4 * 70 * 2}


def test_timing_adds_up(finished):
  timing = files.read_json(finished / "timing.json")
  stages = [
    "data",
    "restore",
    "train baseline",
    "score",
    "split",
    "train method",
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


@pytest.fixture(scope="module")
def stopped_once(tmp_path_factory):
  """A run that was stopped in the last arm, with several checkpoints: `every_secs` this small saves
  after every dispatch.
  """
  workdir = tmp_path_factory.mktemp("stopped") / "run"
  config = dataclasses.replace(
    CONFIG, checkpoint=dataclasses.replace(CONFIG.checkpoint, every_secs=1e-6)
  )
  with pytest.MonkeyPatch.context() as monkeypatch:
    stopped(config, workdir, monkeypatch, "method", 2.6)
  assert (
    len(CheckpointStore(workdir / "checkpoints", 2).steps()) == 3
  )  # two, and the pinned one of the baseline
  assert files.read_json(workdir / "timing.json")["num_saves"] == 4 * 6 + 2 * 6 + 3
  return workdir


@pytest.fixture
def halted(stopped_once, tmp_path, monkeypatch):
  """A copy of that run; the report is left out when it goes on."""
  whole.without_report(monkeypatch)
  return shutil.copytree(stopped_once, tmp_path / "halted")


def damage(path):
  target = max(
    (entry for entry in (path / "state").rglob("*") if entry.is_file()),
    key=lambda entry: entry.stat().st_size,
  )
  target.write_bytes(whole.HOSTILE)


def test_a_damaged_newest_checkpoint_is_passed_over_with_a_line(halted, finished, capsys):
  damage(max((halted / "checkpoints").iterdir(), key=lambda path: int(path.name)))
  capsys.readouterr()
  assert whole.run(CONFIG, halted) == 0
  assert "is not usable" in capsys.readouterr().err
  assert whole.outputs(halted, report=False) == whole.outputs(finished, report=False)


def test_no_usable_checkpoint_is_an_error_and_never_a_new_start(halted, no_training):
  for path in (halted / "checkpoints").iterdir():
    damage(path)
  before = (halted / "metrics.jsonl").read_bytes()
  with pytest.raises(CheckpointError, match="none of the 3 checkpoints"):
    experiment.run(CONFIG, halted, "tiny")
  assert (halted / "metrics.jsonl").read_bytes() == before


@pytest.mark.parametrize("how", ["damaged", "missing"])
def test_config_and_environment_are_known_from_a_checkpoint_too(halted, finished, how, capsys):
  choices = files.read_json(halted / "environment.json")["choices"]
  for name in ("config.json", "environment.json"):
    if how == "damaged":
      (halted / name).write_text("{}")
    else:
      (halted / name).unlink()
      (halted / ".sha256" / name).unlink()
  with pytest.raises(ConfigError, match=r"another config \(rounds: 4 -> 5\)"):
    experiment.run(dataclasses.replace(CONFIG, rounds=5), halted, "tiny")
  capsys.readouterr()
  assert whole.run(CONFIG, halted) == 0
  assert "config.json and environment.json: damaged or missing" in capsys.readouterr().err
  assert files.read_json(halted / "environment.json")["choices"] == choices
  assert whole.outputs(halted, report=False) == whole.outputs(finished, report=False)


def test_a_config_that_nothing_tells_any_more_is_refused(halted, no_training):
  (halted / "config.json").write_text("{}")
  shutil.rmtree(halted / "checkpoints")
  with pytest.raises(
    ConfigError, match=r"config.json is damaged or missing, and no checkpoint tells"
  ):
    experiment.run(CONFIG, halted, "tiny")


def test_another_config_is_refused_key_by_key(finished, no_training):
  other = tiny.config(
    parallel__steps_per_dispatch=1, compilation_cache=False, optim__momentum=0.8, seeds=(0, 2)
  )
  before = whole.stamps(finished)
  with pytest.raises(
    ConfigError, match=r"optim.momentum: 0.9 -> 0.8; seeds: .*choose another --workdir"
  ):
    experiment.run(other, finished, "tiny")
  assert whole.stamps(finished) == before


def test_keys_that_change_nothing_may_change(finished, no_training):
  keep = dataclasses.replace(CONFIG.checkpoint, keep=5, every_secs=3.0)
  assert (
    whole.run(dataclasses.replace(CONFIG, checkpoint=keep, compilation_cache=True), finished) == 0
  )


@pytest.mark.parametrize("has_environment", [True, False])
def test_other_data_are_refused(halted, monkeypatch, has_environment, no_training):
  if not has_environment:
    (halted / "environment.json").unlink()
  data = tiny.data(CONFIG)
  monkeypatch.setattr(sources, "load", lambda *args: dataclasses.replace(data, checksum="0" * 64))
  with pytest.raises(DataError, match=f"other data \\(checksum {data.checksum}, now 0000"):
    experiment.run(CONFIG, halted, "tiny")


@pytest.mark.parametrize("fault", ["flipped", "a row less", "gone"])
def test_rows_that_cannot_be_made_again_are_never_lost_in_silence(halted, fault, no_training):
  path = halted / "metrics.jsonl"
  text = path.read_text()
  if fault == "flipped":
    path.write_text(text.replace("0.05", "0.06", 1))
  else:
    path.unlink()
    (halted / ".sha256" / "metrics.jsonl").unlink()
    if fault == "a row less":
      path.write_text(text.partition("\n")[2])
  with pytest.raises(DataError, match=r"metrics.jsonl.*restore"):
    experiment.run(CONFIG, halted, "tiny")


def test_a_torn_last_row_is_made_again(halted, finished):
  with open(halted / "metrics.jsonl", "a") as file:
    file.write('{"arm": "meth')
  assert whole.run(CONFIG, halted) == 0
  assert whole.rows(halted) == whole.rows(finished)


def test_rows_that_no_checkpoint_covers_are_made_again_and_the_steps_are_counted(
  halted, finished, capsys
):
  rows = [
    row for row in whole.rows(finished, seconds=True) if (row["arm"], row["round"]) == ("method", 3)
  ]
  files.append_rows(halted / "metrics.jsonl", rows)
  capsys.readouterr()
  assert whole.run(CONFIG, halted) == 0
  said = capsys.readouterr().err
  assert "continuing in arm method after round 2 of 4 and 3 steps (checkpoint " in said
  assert "scores: there already, read from scores.npz" in said
  assert (
    "metrics.jsonl: dropped 4 row(s) that no checkpoint covers; 2 optimiser step(s) are made again"
    in said
  )
  assert "in 2 starts (2 optimiser step(s) made twice, goodput " in said
  assert files.read_json(halted / "timing.json")["steps_redone"] == 2
  assert whole.rows(halted) == whole.rows(finished)


def test_a_finished_run_without_its_checkpoints_is_not_trained_again_in_silence(copy, no_training):
  shutil.rmtree(copy / "checkpoints")
  (copy / "split.csv").unlink()
  with pytest.raises(CheckpointError, match="finished run whose checkpoints are gone"):
    experiment.run(CONFIG, copy, "tiny")


def test_scores_on_disk_are_not_taken_for_a_baseline_that_is_trained_anew(halted, finished):
  shutil.rmtree(halted / "checkpoints")
  scores = files.read_npz(halted / "scores.npz")
  files.write_npz(halted / "scores.npz", **(scores | {"log_odds": -scores["log_odds"]}))
  assert whole.run(CONFIG, halted) == 0
  assert whole.outputs(halted, report=False) == whole.outputs(finished, report=False)


def test_a_machine_that_cannot_go_on_alike_is_refused(halted, no_training):
  content = files.read_json(halted / "environment.json")
  content["choices"]["precision"] = "bfloat16"
  files.write_json(halted / "environment.json", content)
  with pytest.raises(ConfigError, match="began with precision bfloat16, now float32"):
    experiment.run(CONFIG, halted, "tiny")


def test_a_change_of_the_machine_is_told(halted, capsys):
  content = files.read_json(halted / "environment.json")
  content["versions"]["jaxlib"] = "0.0.1"
  files.write_json(halted / "environment.json", content)
  capsys.readouterr()
  assert whole.run(CONFIG, halted) == 0
  assert "note: since the last start jaxlib: 0.0.1 -> " in capsys.readouterr().err


def test_a_diverged_baseline_ends_with_4_and_its_account_and_the_others_finish(
  tmp_path, monkeypatch, capsys
):
  config = tiny.config(compilation_cache=False, optim__learning_rate=1e6)
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
  monkeypatch.setattr(Trainer, "run", lambda *args: pytest.fail("it trained"))
  assert whole.run(config, tmp_path / "run") == 4
  assert whole.stamps(tmp_path / "run") == before


def test_an_arm_that_diverges_does_not_touch_the_others(tmp_path, finished, monkeypatch):
  whole.without_report(monkeypatch)
  config = tiny.config(
    compilation_cache=False,
    parallel__steps_per_dispatch=1,
    method__lambda_A=1e3,
    method__lambda_B=1e3,
  )
  with pytest.raises(DivergedError) as caught:
    experiment.run(config, tmp_path / "run", "tiny")
  assert "arm method, seed 0: round " in str(caught.value)
  assert "arm baseline" not in str(caught.value)
  baseline = [row for row in whole.rows(finished) if row["arm"] == "baseline"]
  assert [row for row in whole.rows(tmp_path / "run") if row["arm"] == "baseline"] == baseline
  steps = [
    row["step"]
    for row in whole.rows(tmp_path / "run")
    if (row["arm"], row["seed"]) == ("method", 0)
  ]
  assert steps == sorted(steps)
  assert steps[-2] == steps[-1] < 20  # a frozen replica counts no more steps


def test_warm_start_and_many_arms_run_and_their_orders_pair(tmp_path, monkeypatch):
  whole.without_report(monkeypatch)
  arms = ("method", "random_subset", "less_data", "baseline")
  config = tiny.config(
    compilation_cache=False, method__init="warm", arms=arms, rounds=2, seeds=(3,)
  )
  assert whole.run(config, tmp_path / "run") == 0
  assert list(files.read_json(tmp_path / "run" / "results.json")["arms"]) == list(arms)
  assert files.read_json(tmp_path / "run" / "scores.json")["stability"] is None
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
  config = tiny.config(compilation_cache=False, arms=("baseline",), rounds=2, seeds=(0,))
  assert whole.run(config, tmp_path / "run") == 0
  assert not (tmp_path / "run" / "scores.npz").exists()
  (tmp_path / "run" / "report.html").write_text("stands for the report")
  files.write_text(tmp_path / "run" / "report.html", "stands for the report")
  monkeypatch.setattr(Trainer, "run", lambda *args: pytest.fail("it trained"))
  assert whole.run(config, tmp_path / "run") == 0


def mistakes(tmp_path):
  vectors = tmp_path / "vectors.npz"
  rng = np.random.default_rng(0)
  labels = np.arange(30, dtype=np.int64) % 3
  arrays = {
    "train_x": rng.normal(size=(30, 5)).astype(np.float32),
    "train_y": labels,
    "test_x": np.ones((3, 5), np.float32),
  }
  np.savez(vectors, **arrays, test_y=labels[:3])
  np.savez(tmp_path / "bad_label.npz", **arrays, test_y=labels[:3] - 1)
  return {
    "no such file": ({"data__name": "npz", "data__path": str(tmp_path / "none.npz")}, DataError),
    "label": ({"data__name": "npz", "data__path": str(tmp_path / "bad_label.npz")}, DataError),
    "'methd' is not an arm; did you mean 'method'?": ({"arms": ("baseline", "methd")}, ConfigError),
    "'baseline' is missing": ({"arms": ("method",)}, ConfigError),
    "is not a network": ({"model__name": "resnt", "model__hidden_sizes": None}, ConfigError),
    "A would be empty": ({"method__fraction": 0.01}, ConfigError),
    "B would be empty": ({"method__num_easy": 70}, ConfigError),
    "this network wants images": (
      {
        "data__name": "npz",
        "data__path": str(vectors),
        "model__name": "resnet8",
        "model__hidden_sizes": None,
      },
      ConfigError,
    ),
    "neither cropped nor mirrored": (
      {"data__name": "npz", "data__path": str(vectors), "augment__flip": True},
      ConfigError,
    ),
    "device(s)": ({"parallel__num_devices": 99}, ConfigError),
  }


@pytest.mark.parametrize(
  "part",
  [
    "no such file",
    "label",
    "'methd' is not an arm; did you mean 'method'?",
    "'baseline' is missing",
    "is not a network",
    "A would be empty",
    "B would be empty",
    "this network wants images",
    "neither cropped nor mirrored",
    "device(s)",
  ],
)
def test_nothing_is_written_before_config_and_data_are_accepted(tmp_path, part):
  changes, kind = mistakes(tmp_path)[part]
  with pytest.raises(kind) as caught:
    experiment.run(tiny.config(**changes), tmp_path / "run", "tiny")
  assert part in str(caught.value)
  assert "\n" not in str(caught.value)
  assert not (tmp_path / "run").exists()


def test_the_story_is_one_line_a_round_with_the_time_left(finished, tmp_path, capsys, monkeypatch):
  whole.without_report(monkeypatch)
  assert whole.run(tiny.config(compilation_cache=False), tmp_path / "run") == 0
  lines = capsys.readouterr().err.splitlines()
  rounds = [line for line in lines if line.startswith(("baseline  round", "method  round"))]
  assert [line.split("  ")[1] for line in rounds] == [
    f"round {number}/4" for number in (1, 2, 3, 4)
  ] * 2
  assert "optimiser steps a round: baseline 5, method 1 + 4" in lines
  assert json.loads((tmp_path / "run" / "config.json").read_text())["hash"] == config_hash(
    tiny.config(compilation_cache=False)
  )


@pytest.mark.parametrize("lost", ["damaged", "gone"])
def test_a_lost_final_state_of_the_baseline_is_an_error_where_it_is_needed(copy, lost, no_training):
  step = min((copy / "checkpoints").iterdir(), key=lambda path: int(path.name))
  damage(step) if lost == "damaged" else shutil.rmtree(step)
  (copy / "scores.npz").unlink()
  with pytest.raises(CheckpointError, match=r"not usable|no usable"):
    experiment.run(CONFIG, copy, "tiny")


def test_a_dry_run_refuses_what_a_run_refuses(tmp_path):
  changes, kind = mistakes(tmp_path)["this network wants images"]
  with pytest.raises(kind, match="this network wants images"):
    next(dry_run.describe(tiny.config(**changes)))


def test_checkpoints_of_another_run_are_not_continued(halted, no_training):
  other = dataclasses.replace(CONFIG, rounds=5)
  files.write_json(halted / "config.json", {"config": to_dict(other), "hash": config_hash(other)})
  with pytest.raises(
    ConfigError, match=r"checkpoints holds a run of another config \(rounds: 4 -> 5\)"
  ):
    experiment.run(other, halted, "tiny")
