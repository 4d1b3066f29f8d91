"""Sweeps: every value is an ordinary run, stopped and repeated sweeps end as one that was left
alone, and the table is theirs.
"""

import dataclasses
import shutil
import signal

import numpy as np
import pytest

from sdt import experiment, files
from sdt.commands import program, sweep
from sdt.config.sweep_points import expand
from sdt.engine.trainer import Trainer
from sdt.errors import ConfigError, DivergedError, Interrupted, SdtError
from sdt.run import lifecycle
from tests.support import whole
from tests.support.places import ROOT

CONFIG = whole.CONFIG
VALUES = (1e-3, 1e-2, 1e-1)
FOLDERS = ("lambda_A=0.001", "lambda_A=0.01", "lambda_A=0.1")


def swept(key="method.lambda_A", values=VALUES, **changes):
  return whole.config(**changes, sweep__key=key, sweep__values=values)


def run(config, workdir):
  """Returns the exit code of a sweep in this process."""
  try:
    return sweep.run(config, expand(config), workdir, "tiny")
  except SdtError as error:
    return error.exit_code


def outputs(workdir):
  """Returns what two runs of one sweep have in common: of every value, and of the sweep itself."""
  content = {
    folder.name: whole.outputs(folder)
    for folder in workdir.iterdir()
    if (folder / "results.json").exists()
  }
  return content | {
    name: (workdir / name).read_bytes()
    for name in ("config.json", "sweep.json", "report.html", "figures/sweep.svg")
  }


@pytest.fixture(autouse=True)
def quick_reports(monkeypatch):
  """A line stands for each value's own report, which takes most of the time of a tiny run; the
  sweep's is real.
  """
  whole.quick_report(monkeypatch)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
  """A sweep that was left alone."""
  workdir = tmp_path_factory.mktemp("finished") / "sweep"
  with pytest.MonkeyPatch.context() as patch:
    whole.quick_report(patch)
    assert run(swept(), workdir) == 0
  return workdir


@pytest.fixture
def copy(finished, tmp_path):
  return shutil.copytree(finished, tmp_path / "copy")


def test_a_value_leaves_the_bytes_of_an_ordinary_run_that_trained_its_own_baseline(
  finished, tmp_path
):
  names = {path.name for path in finished.iterdir()}
  assert names == {
    *FOLDERS,
    ".lock",
    ".sha256",
    "config.json",
    "sweep.json",
    "report.html",
    "figures",
  }
  ordinary = whole.config(method__lambda_A=VALUES[2])
  assert whole.run(ordinary, tmp_path / "ordinary") == 0
  whole.assert_same(ordinary, tmp_path / "ordinary", finished / FOLDERS[2])
  stages = [set(files.read_json(finished / folder / "timing.json")["stages"]) for folder in FOLDERS]
  assert ["train baseline" in own for own in stages] == [True, False, False]


def test_the_table_is_made_of_the_numbers_of_the_values_own_results(finished):
  content = files.read_json(finished / "sweep.json")
  assert {name: content[name] for name in ("key", "also_key", "seeds", "shared_baseline")} == {
    "key": "method.lambda_A",
    "also_key": None,
    "seeds": [0, 1],
    "shared_baseline": True,
  }
  assert content["best_of"]["num_values"] == 3
  assert content["best_of"]["expected_gain_sds"] == pytest.approx(
    1.5 / np.sqrt(np.pi), rel=1e-9
  )  # known in closed form for three
  for value, folder, entry in zip(VALUES, FOLDERS, content["values"], strict=True):
    results = files.read_json(finished / folder / "results.json")
    assert (entry["value"], entry["also_value"], entry["folder"]) == (value, None, folder)
    for arm, own in results["arms"].items():
      accuracy = list(own["accuracy"].values())
      assert entry["arms"][arm]["accuracy"] == own["accuracy"]
      assert entry["arms"][arm]["mean"] == pytest.approx(np.mean(accuracy))
      assert entry["arms"][arm]["sd"] == pytest.approx(np.std(accuracy, ddof=1))
    difference = np.array(list(results["arms"]["method"]["accuracy"].values())) - list(
      results["arms"]["baseline"]["accuracy"].values()
    )
    assert entry["contrasts"]["baseline"]["mean"] == pytest.approx(difference.mean())
    assert entry["contrasts"] == results["contrasts"]
    assert entry["steps_per_round"] == {"baseline": {"all": 5}, "method": {"A": 1, "B": 4}}
    assert entry["mean_decay"] == pytest.approx((1 * value + 4 * 1e-4) / 5)
    assert (
      entry["num_easy"],
      entry["rounds"],
      entry["data"]["num_train"],
      entry["model"]["num_params"],
    ) == (7, 4, 70, 3139)


@pytest.mark.slow_rows("stop2")
@pytest.mark.parametrize(
  "stop",
  [
    pytest.param(("baseline", 1.4, "in arm baseline, round 2", ()), marks=pytest.mark.slow),
    pytest.param(("score", 1.0, "while scoring", ()), marks=pytest.mark.slow),
    ("method", 1.4, "in arm method, round 2", FOLDERS[:1]),
  ],
)
def test_a_sweep_that_is_stopped_inside_a_value_ends_as_one_that_was_left_alone(
  finished, tmp_path, monkeypatch, stop
):
  task, done, said, before = stop
  workdir = tmp_path / "sweep"
  workdir.mkdir()
  (workdir / ".lock").touch()  # a sweep was here
  for folder in before:
    shutil.copytree(finished / folder, workdir / folder)
  with monkeypatch.context() as patch:
    whole.signal_at(patch, task, done, times=2)
    with pytest.raises(Interrupted, match=said) as caught:
      sweep.run(swept(), expand(swept()), workdir, "tiny")
  assert caught.value.exit_code == 75
  assert [(workdir / folder).exists() for folder in FOLDERS].count(True) == len(before) + 1
  assert not (workdir / "sweep.json").exists()
  assert run(swept(), workdir) == 0
  assert outputs(workdir) == outputs(finished)


@pytest.mark.slow
def test_a_signal_between_two_values_stops_the_sweep_there(finished, tmp_path, monkeypatch, capsys):
  def report_and_stop(workdir):
    for page in ("report.html", "review.html"):
      files.write_text(workdir / page, "stands for the report")
    signal.raise_signal(signal.SIGINT)

  with monkeypatch.context() as patch:
    patch.setattr(lifecycle, "build_report", report_and_stop)
    with pytest.raises(
      Interrupted, match=r"stopped by SIGINT before lambda_A=0\.01; .* run the same command again"
    ):
      sweep.run(swept(), expand(swept()), tmp_path / "sweep", "tiny")
  assert (tmp_path / "sweep" / FOLDERS[0] / "results.json").exists()
  assert not (tmp_path / "sweep" / FOLDERS[1]).exists()
  capsys.readouterr()
  assert run(swept(), tmp_path / "sweep") == 0
  lines = capsys.readouterr().err.splitlines()
  assert [line for line in lines if "lambda_A=0.001" in line and "taken over" not in line] == [
    "lambda_A=0.001: complete"
  ]
  assert outputs(tmp_path / "sweep") == outputs(finished)


def test_a_complete_sweep_is_told_so_in_a_line_a_value_and_not_touched(
  finished, capsys, no_training
):
  before = whole.stamps(finished)
  assert run(swept(), finished) == 0
  told = capsys.readouterr()
  assert told.err.splitlines()[1:] == [f"{folder}: complete" for folder in FOLDERS]
  assert "complete: nothing to do" in told.out
  after = whole.stamps(finished)
  assert {
    name: stamp
    for name, stamp in after.items()
    if name not in ("config.json", ".sha256/config.json")
  } == {
    name: stamp
    for name, stamp in before.items()
    if name not in ("config.json", ".sha256/config.json")
  }
  assert after["config.json"][1] == before["config.json"][1]


@pytest.mark.parametrize("name", ["sweep.json", "report.html", "figures/sweep.svg", "config.json"])
def test_a_lost_or_damaged_output_is_made_again_without_training(copy, finished, name, no_training):
  (copy / name).write_bytes(b"rubbish")
  assert run(swept(), copy) == 0
  assert outputs(copy) == outputs(finished)


@pytest.mark.slow
def test_values_may_be_added_left_out_and_put_in_another_order(copy, monkeypatch, capsys):
  trained = []
  train = Trainer.run
  monkeypatch.setattr(
    Trainer, "run", lambda self, *args, **more: trained.append(1) or train(self, *args, **more)
  )
  before = whole.stamps(copy)
  assert run(swept(values=("0.1", "1e-3", "5e-2")), copy) == 0
  assert len(trained) == 1  # the new value's method
  content = files.read_json(copy / "sweep.json")
  assert [entry["value"] for entry in content["values"]] == [0.1, 1e-3, 5e-2]
  told = capsys.readouterr()
  assert f"note: lambda_A=0.01 in {copy} are not among sweep.values now" in told.err
  assert [line.split()[0] for line in told.out.splitlines() if line.startswith("0.")] == [
    "0.1",
    "0.001",
    "0.05",
  ]
  after = whole.stamps(copy)
  for folder in FOLDERS:
    own = {name: stamp for name, stamp in before.items() if name.startswith(f"{folder}/")}
    assert own == {name: stamp for name, stamp in after.items() if name.startswith(f"{folder}/")}


@pytest.mark.slow
def test_a_value_that_diverges_does_not_stop_the_others_and_the_sweep_ends_with_4(
  tmp_path, monkeypatch, capsys
):
  config = swept(values=(1e3, 1e-3), method__lambda_B=1e3)
  points = expand(config)
  points[1] = dataclasses.replace(points[1], config=whole.config(method__lambda_A=1e-3))
  with pytest.raises(
    DivergedError, match=r"1 of 2 values have replicas that diverged .*\(lambda_A=1000\.0\)"
  ):
    sweep.run(config, points, tmp_path / "sweep", "tiny")
  bad, good = files.read_json(tmp_path / "sweep" / "sweep.json")["values"]
  assert (
    bad["arms"]["method"]["diverged"],
    bad["arms"]["method"]["mean"],
    bad["contrasts"]["baseline"]["n"],
  ) == ([0, 1], None, 0)
  assert (good["arms"]["method"]["diverged"], good["arms"]["method"]["n"]) == ([], 2)
  assert "lambda_A=1000.0: 2 replica(s) diverged" in capsys.readouterr().err
  whole.forbid_training(monkeypatch)
  with pytest.raises(DivergedError, match="1 of 2 values"):
    sweep.run(config, points, tmp_path / "sweep", "tiny")


@pytest.mark.slow
def test_values_that_the_baseline_reads_have_a_baseline_each_and_data_are_read_for_each(tmp_path):
  config = swept("data.wrong_label_fraction", (0.0, 0.5))
  assert run(config, tmp_path / "sweep") == 0
  content = files.read_json(tmp_path / "sweep" / "sweep.json")
  first, second = content["values"]
  assert not content["shared_baseline"]
  assert first["data"]["checksum"] != second["data"]["checksum"]
  assert first["arms"]["baseline"] != second["arms"]["baseline"]
  for entry in (first, second):
    own = tmp_path / "sweep" / entry["folder"]
    assert "train baseline" in files.read_json(own / "timing.json")["stages"]
    assert (
      files.read_json(own / "environment.json")["data"]["checksum"] == entry["data"]["checksum"]
    )


@pytest.mark.slow
def test_a_baseline_from_elsewhere_serves_all_values(finished, tmp_path, no_training, monkeypatch):
  monkeypatch.undo()
  whole.quick_report(monkeypatch)
  config = swept(values=VALUES[1:], baseline_from=str(finished / FOLDERS[0]))
  assert run(config, tmp_path / "sweep") == 0
  for folder in FOLDERS[1:]:
    assert whole.outputs(tmp_path / "sweep" / folder) == whole.outputs(finished / folder)
    assert (
      "train baseline" not in files.read_json(tmp_path / "sweep" / folder / "timing.json")["stages"]
    )


@pytest.mark.slow
def test_a_checkpoint_that_is_lost_is_no_baseline_for_others(copy, monkeypatch):
  for folder in FOLDERS:
    shutil.rmtree(copy / folder / "checkpoints")
  assert run(swept(values=(*VALUES, 0.5)), copy) == 0
  assert "train baseline" in files.read_json(copy / "lambda_A=0.5" / "timing.json")["stages"]


REFUSALS = [
  (
    swept(values=(1e-3, 1e-2), rounds=5),
    "holds a sweep of another config (rounds: 4 -> 5); use that config again or choose another",
  ),
  (
    swept("method.lambda_B", (1e-3,)),
    "holds a sweep of another config (sweep.key: 'method.lambda_A' -> 'method.lambda_B')",
  ),
]


@pytest.mark.parametrize(("config", "part"), REFUSALS, ids=["rounds", "key"])
def test_another_sweep_is_refused_in_the_workdir_of_one(finished, config, part, no_training):
  before = whole.stamps(finished)
  with pytest.raises(ConfigError) as caught:
    sweep.run(config, expand(config), finished, "tiny")
  assert part in str(caught.value)
  assert whole.stamps(finished) == before


def test_a_sweep_and_an_ordinary_run_do_not_share_a_workdir(finished, no_training):
  value = finished / FOLDERS[0]
  before = whole.stamps(finished)
  with pytest.raises(
    ConfigError, match=r"holds a run of another config \(.*sweep.key: None -> 'method.lambda_A'"
  ):
    sweep.run(swept(), expand(swept()), value, "tiny")
  with pytest.raises(
    ConfigError,
    match=r"holds a run of another config \(sweep.key: 'method.lambda_A' -> None; sweep.values",
  ):
    experiment.run(CONFIG, finished, "tiny")
  assert {name: stamp for name, stamp in whole.stamps(finished).items() if name in before} == before


def test_a_value_whose_folder_holds_another_run_is_found_before_anything_is_trained(
  copy, no_training
):
  shutil.rmtree(copy / FOLDERS[0])
  content = files.read_json(copy / FOLDERS[2] / "config.json")
  content["config"]["method"]["lambda_B"] = 0.5
  files.write_json(copy / FOLDERS[2] / "config.json", content)
  with pytest.raises(
    ConfigError,
    match=r"lambda_A=0\.1 holds a run of another config \(method.lambda_B: 0.5 -> 0.0001\)",
  ):
    sweep.run(swept(), expand(swept()), copy, "tiny")


def test_the_program_runs_a_sweep_and_gives_its_exit_code(tmp_path, monkeypatch, capsys):
  arguments = [
    f"--config={ROOT}/configs/shapes.py",
    f"--workdir={tmp_path / 'sweep'}",
    *whole.overrides(),
    "--config.sweep.key=method.lambda_A",
    "--config.sweep.values=1e-3,1e-2",
  ]
  with monkeypatch.context() as patch:
    whole.signal_at(patch, "method", 1.4)
    assert program.main(arguments) == 75
  assert (
    capsys.readouterr()
    .err.splitlines()[-1]
    .startswith("sdt: stopped by SIGTERM in arm method, round 2")
  )
  assert program.main(arguments) == 0
  assert "complete" not in capsys.readouterr().out
  assert program.main([*arguments, "--config.optim.momentum=0.8"]) == 2
  assert "sdt: error: " in capsys.readouterr().err
