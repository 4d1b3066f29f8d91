"""Runs that go on after a stop or a damage: they end as one that was left alone, or say why not."""

import dataclasses
import re
import shutil
import signal

import pytest

from sdt import experiment, files
from sdt.config import config_hash, to_dict
from sdt.data import sources
from sdt.errors import CheckpointError, ConfigError, DataError
from sdt.run.checkpoints import CheckpointStore
from tests.support import tiny, whole

CONFIG = whole.CONFIG


@pytest.fixture
def copy(reference_run, tmp_path):
  return shutil.copytree(reference_run, tmp_path / "copy")


@pytest.mark.slow
def test_only_the_report_is_made_again_where_only_a_figure_is_missing(
  copy, reference_run, no_training
):
  lost = next(copy.glob("figures/*.svg"))
  lost.unlink()
  shutil.rmtree(copy / "checkpoints")  # not needed for a report
  before = whole.stamps(copy)
  assert whole.run(CONFIG, copy) == 0
  made_again = {path for path, stamp in whole.stamps(copy).items() if before.get(path) != stamp}
  assert str(lost.relative_to(copy)) in made_again
  pages = ("report.html", "review.html")
  assert all(path.endswith(pages) or path.startswith("figures/") for path in made_again)
  assert whole.outputs(copy) == whole.outputs(reference_run)


def test_only_the_report_is_made_again_where_only_its_page_is_missing(
  copy, no_training, monkeypatch
):
  whole.quick_report(monkeypatch)
  (copy / "report.html").unlink()
  shutil.rmtree(copy / "checkpoints")
  before = whole.stamps(copy)
  assert whole.run(CONFIG, copy) == 0
  made_again = {path for path, stamp in whole.stamps(copy).items() if before.get(path) != stamp}
  pages = ("report.html", "review.html")
  assert made_again == {*pages, *(f".sha256/{page}" for page in pages)}


@pytest.mark.slow_rows(
  "arms/method.npz",
  "figures/mosaics.npz",
  "scores.csv",
  "suspects.csv",
  "suspects_test.csv",
  "timing.json",
)
@pytest.mark.parametrize(
  "name",
  [
    "scores.npz",
    "scores.csv",
    "split.csv",
    "arms/method.npz",
    "model.safetensors",
    "figures/mosaics.npz",
    "suspects.csv",
    "suspects_test.csv",
    "timing.json",
  ],
)
def test_a_lost_or_damaged_artifact_is_made_again_without_training(
  copy, reference_run, name, no_training, monkeypatch
):
  whole.without_report(monkeypatch)
  monkeypatch.chdir(copy.parent)
  (copy / name).unlink() if name in ("scores.csv", "arms/method.npz") else (
    copy / name
  ).write_bytes(whole.HOSTILE)
  before = (copy / "metrics.jsonl").read_bytes()
  assert whole.run(CONFIG, copy) == 0
  assert (copy / "metrics.jsonl").read_bytes() == before
  for kept in copy.rglob("*.kept-*"):  # who knows who changed it
    assert kept == copy / f"{name}.kept-1"
    assert kept.read_bytes() == whole.HOSTILE
    kept.unlink()
  whole.assert_same(CONFIG, reference_run, copy, report=False)
  assert not list(copy.parent.rglob("executed"))


@pytest.mark.slow_rows("stop2", "stop3")
@pytest.mark.parametrize(
  "stop",
  [
    ("baseline", 1.4, "in arm baseline, round 2, after step 2", signal.SIGTERM),
    pytest.param(
      ("baseline", 4.0, "in arm baseline, round 4, after step 5", signal.SIGINT),
      marks=pytest.mark.slow,
    ),
    ("score", 1.0, "while scoring", signal.SIGINT),
    ("method", 2.6, "in arm method, round 3, after step 3", signal.SIGTERM),
  ],
)
def test_a_stopped_run_saves_and_ends_as_one_that_was_left_alone(
  reference_run, tmp_path, monkeypatch, stop
):
  task, done, where, number = stop
  whole.without_report(monkeypatch)
  said = whole.stopped(
    CONFIG, tmp_path / "run", monkeypatch, task=task, done=done, number=number, times=2
  )
  assert said.startswith(f"stopped by {number.name} {where}")
  assert "run the same command again" in said
  assert "\n" not in said
  assert CheckpointStore(tmp_path / "run" / "checkpoints", 2).steps()
  assert whole.run(CONFIG, tmp_path / "run") == 0
  whole.assert_same(CONFIG, reference_run, tmp_path / "run", report=False)
  timing = files.read_json(tmp_path / "run" / "timing.json")
  assert timing["num_starts"] == 2
  assert timing["images"] == {"baseline": 4 * 70 * 2, "method": 4 * 70 * 2}


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
    whole.stopped(config, workdir, monkeypatch, task="method", done=2.6)
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


def damage_checkpoint(path):
  target = max(
    (entry for entry in (path / "state").rglob("*") if entry.is_file()),
    key=lambda entry: entry.stat().st_size,
  )
  target.write_bytes(whole.HOSTILE)


@pytest.mark.slow
def test_a_damaged_newest_checkpoint_is_passed_over_with_a_line(halted, reference_run, capsys):
  damage_checkpoint(max((halted / "checkpoints").iterdir(), key=lambda path: int(path.name)))
  capsys.readouterr()
  assert whole.run(CONFIG, halted) == 0
  assert "is not usable" in capsys.readouterr().err
  assert whole.outputs(halted, report=False) == whole.outputs(reference_run, report=False)


@pytest.mark.slow
def test_no_usable_checkpoint_is_an_error_and_never_a_new_start(halted, no_training):
  for path in (halted / "checkpoints").iterdir():
    damage_checkpoint(path)
  before = (halted / "metrics.jsonl").read_bytes()
  with pytest.raises(CheckpointError, match="none of the 3 checkpoints"):
    experiment.run(CONFIG, halted, "tiny")
  assert (halted / "metrics.jsonl").read_bytes() == before


@pytest.mark.parametrize("how", ["damaged", "missing"])
def test_config_and_environment_are_known_from_a_checkpoint_too(halted, reference_run, how, capsys):
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
  for kept in halted.glob("*.kept-1"):
    assert kept.read_text() == "{}"
    kept.unlink()
  assert whole.outputs(halted, report=False) == whole.outputs(reference_run, report=False)


def test_a_config_that_nothing_tells_any_more_is_refused(halted, no_training):
  (halted / "config.json").write_text("{}")
  shutil.rmtree(halted / "checkpoints")
  with pytest.raises(
    ConfigError, match=r"config.json is damaged or missing, and no checkpoint tells"
  ):
    experiment.run(CONFIG, halted, "tiny")


def test_another_config_is_refused_key_by_key(reference_run, no_training):
  other = whole.config(optim__momentum=0.8, seeds=(0, 2))
  before = whole.stamps(reference_run)
  with pytest.raises(
    ConfigError, match=r"optim.momentum: 0.9 -> 0.8; seeds: .*choose another --workdir"
  ):
    experiment.run(other, reference_run, "tiny")
  assert whole.stamps(reference_run) == before


def test_keys_that_change_nothing_may_change(reference_run, no_training):
  keep = dataclasses.replace(CONFIG.checkpoint, keep=5, every_secs=3.0)
  assert (
    whole.run(dataclasses.replace(CONFIG, checkpoint=keep, compilation_cache=True), reference_run)
    == 0
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


def test_a_torn_last_row_is_made_again(halted, reference_run):
  with open(halted / "metrics.jsonl", "a") as file:
    file.write('{"arm": "meth')
  assert whole.run(CONFIG, halted) == 0
  assert whole.rows(halted) == whole.rows(reference_run)


def test_rows_that_no_checkpoint_covers_are_made_again_and_the_steps_are_counted(
  halted, reference_run, capsys
):
  rows = [
    row
    for row in whole.rows(reference_run, seconds=True)
    if (row["arm"], row["round"]) == ("method", 3)
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
  told = r"in 2 starts \(2 optimiser step\(s\) made twice, training and evaluation \d+% of it, sel"
  assert re.search(told, said)
  assert files.read_json(halted / "timing.json")["steps_redone"] == 2
  assert whole.rows(halted) == whole.rows(reference_run)


def test_a_finished_run_without_its_checkpoints_is_not_trained_again_in_silence(copy, no_training):
  shutil.rmtree(copy / "checkpoints")
  (copy / "split.csv").unlink()
  with pytest.raises(CheckpointError, match="finished run whose checkpoints are gone"):
    experiment.run(CONFIG, copy, "tiny")


def test_scores_on_disk_are_not_taken_for_a_baseline_that_is_trained_anew(
  halted, reference_run, capsys
):
  shutil.rmtree(halted / "checkpoints")
  scores = files.read_npz(halted / "scores.npz")
  files.write_npz(halted / "scores.npz", **(scores | {"log_odds": -scores["log_odds"]}))
  assert whole.run(CONFIG, halted) == 0
  assert "no checkpoint was saved by the last start" in capsys.readouterr().err
  assert whole.outputs(halted, report=False) == whole.outputs(reference_run, report=False)


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


@pytest.mark.parametrize("lost", ["damaged", "gone"])
def test_a_lost_final_state_of_the_baseline_is_an_error_where_it_is_needed(copy, lost, no_training):
  step = min((copy / "checkpoints").iterdir(), key=lambda path: int(path.name))
  damage_checkpoint(step) if lost == "damaged" else shutil.rmtree(step)
  (copy / "scores.npz").unlink()
  with pytest.raises(CheckpointError, match=r"not usable|no usable"):
    experiment.run(CONFIG, copy, "tiny")


def test_checkpoints_of_another_run_are_not_continued(halted, no_training):
  other = dataclasses.replace(CONFIG, rounds=5)
  files.write_json(halted / "config.json", {"config": to_dict(other), "hash": config_hash(other)})
  with pytest.raises(
    ConfigError, match=r"checkpoints holds a run of another config \(rounds: 4 -> 5\)"
  ):
    experiment.run(other, halted, "tiny")
