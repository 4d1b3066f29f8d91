"""A baseline that is taken over: the same bytes as one that is trained, and never one that is not
the run's own.
"""

import dataclasses
import shutil

import pytest

from sdt import experiment, files
from sdt.config.differences import (
  NOT_READ_BY_BASELINE,
  NOT_SWEPT,
  SAFE_TO_CHANGE,
  changes_baseline,
  entry,
)
from sdt.config.resolve import key_names
from sdt.errors import CheckpointError, ConfigError, DataError, WorkdirError
from sdt.run import reused_baseline, saved_states
from tests.support import tiny, whole
from tests.support.report_page import page_alone

BASE = whole.CONFIG
# Every kind of key that the baseline does not read, at once.
OTHER = whole.config(
  method__fraction=0.33,  # 47, then 23: the program of tests/stages/test_score_and_split.py
  method__lambda_A=0.01,
  method__order="hard_first",
  method__init="warm",
  split__source="mean",
  split__class_balanced=True,
  score__name="confidence",
  stats__margin=0.01,
  arms=("method", "baseline", "random_subset"),
)


def run(config, workdir, origin):
  """Runs `config` with the baseline of `origin`."""
  return experiment.run(dataclasses.replace(config, baseline_from=str(origin)), workdir, "tiny")


@pytest.fixture(scope="module")
def origin(reference_run):
  return reference_run


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
  """A run of OTHER that trained its own baseline, without its report."""
  workdir = tmp_path_factory.mktemp("trained") / "run"
  with pytest.MonkeyPatch.context() as patch:
    whole.without_report(patch)
    assert whole.run(OTHER, workdir) == 0
  return workdir


@pytest.mark.slow
def test_a_baseline_whose_rounds_have_not_all_their_rows_is_taken_over(tmp_path, monkeypatch):
  whole.without_report(monkeypatch)
  rows = {"log_every_rounds": 3, "eval_every_rounds": 2}  # those of rounds 2, 3 and 4 of 4
  of = whole.config(**rows)
  assert whole.run(of, tmp_path / "first") == 0
  assert (
    run(
      dataclasses.replace(of, method=dataclasses.replace(of.method, lambda_A=0.01)),
      tmp_path / "second",
      tmp_path / "first",
    )
    == 0
  )
  assert [
    row["round"]
    for row in whole.rows(tmp_path / "second")
    if (row["arm"], row["seed"]) == ("baseline", 0)
  ] == [2, 3, 4]


def test_a_run_that_takes_its_baseline_over_leaves_the_bytes_of_one_that_trains_it(
  origin, trained, tmp_path, capsys, monkeypatch
):
  whole.without_report(monkeypatch)
  before = whole.stamps(origin)
  assert run(OTHER, tmp_path / "run", origin) == 0
  whole.assert_same(OTHER, trained, tmp_path / "run", report=False)
  assert whole.stamps(origin) == before
  said = capsys.readouterr().err
  assert f"baseline: taken over with its scores from {origin}; it is not trained again" in said
  assert "baseline  round" not in said
  assert "score: " not in said
  stages = files.read_json(tmp_path / "run" / "timing.json")["stages"]
  assert "take over baseline" in stages
  assert "train baseline" not in stages
  # Where it came from stands where times and paths stand, and nowhere else.
  told = files.read_json(tmp_path / "run" / "environment.json")["choices"]["baseline_from"]
  content = files.read_json(origin / "config.json")
  assert (told["workdir"], told["config_hash"]) == (str(origin), content["hash"])
  page, page_of_trained = page_alone(tmp_path / "run"), page_alone(trained)
  assert f"it was taken over, with its scores, from {origin}" in page
  assert "taken over" not in page_of_trained
  assert whole.without_times(page) == whole.without_times(page_of_trained)
  assert files.read_json(tmp_path / "run" / "config.json")["config"]["baseline_from"] is None


@pytest.mark.slow
@pytest.mark.parametrize("make", [tiny.config, pytest.param(tiny.resnet, marks=pytest.mark.slow)])
def test_a_baseline_that_was_trained_alone_may_be_taken_over(make, tmp_path, monkeypatch):
  whole.without_report(monkeypatch)
  config = make(compilation_cache=False, parallel__steps_per_dispatch=1)
  alone = dataclasses.replace(config, arms=("baseline",))
  assert whole.run(alone, tmp_path / "alone") == 0
  assert whole.run(config, tmp_path / "own") == 0
  assert run(config, tmp_path / "taken", tmp_path / "alone") == 0
  whole.assert_same(config, tmp_path / "own", tmp_path / "taken", report=False)


@pytest.mark.slow
@pytest.mark.parametrize(("task", "done"), [("method", 1.4), ("random_subset", 4.0)])
def test_a_stopped_run_goes_on_without_the_one_that_it_took_its_baseline_from(
  origin, trained, tmp_path, monkeypatch, task, done
):
  whole.without_report(monkeypatch)
  copy = shutil.copytree(origin, tmp_path / "origin")
  writing = copy / "checkpoints" / "7.orbax-checkpoint-tmp"  # as of a process that is at work there
  writing.mkdir()
  taking_over = dataclasses.replace(OTHER, baseline_from=str(copy))
  whole.stopped(taking_over, tmp_path / "run", monkeypatch, task=task, done=done)
  assert writing.exists()
  shutil.rmtree(copy)
  assert run(OTHER, tmp_path / "run", copy) == 0
  whole.assert_same(OTHER, trained, tmp_path / "run", report=False)
  assert files.read_json(tmp_path / "run" / "environment.json")["choices"]["baseline_from"][
    "workdir"
  ] == str(copy)


@pytest.mark.slow
def test_an_error_while_it_is_taken_over_leaves_a_run_without_a_baseline(
  origin, trained, tmp_path, monkeypatch
):
  whole.without_report(monkeypatch)
  for name in ("scores.csv", "scores.json", "scores.npz"):
    files.write_text(tmp_path / "run" / name, "of an earlier start whose checkpoints are gone")
  with monkeypatch.context() as patch:
    patch.setattr(
      reused_baseline,
      "save_state",
      lambda *args, **kwargs: (_ for _ in ()).throw(WorkdirError("disk full")),
    )
    with pytest.raises(WorkdirError):
      run(OTHER, tmp_path / "run", origin)
  assert reused_baseline.is_needed(tmp_path / "run")
  assert run(OTHER, tmp_path / "run", origin) == 0
  whole.assert_same(OTHER, trained, tmp_path / "run", report=False)


@pytest.mark.slow
def test_a_baseline_that_was_taken_over_can_be_taken_over_and_its_origin_stays_known(
  origin, trained, tmp_path, monkeypatch
):
  whole.without_report(monkeypatch)
  middle = whole.config(method__lambda_B=0.02)
  assert run(middle, tmp_path / "middle", origin) == 0
  assert run(OTHER, tmp_path / "run", tmp_path / "middle") == 0
  whole.assert_same(OTHER, trained, tmp_path / "run", report=False)
  assert files.read_json(tmp_path / "run" / "environment.json")["choices"]["baseline_from"][
    "workdir"
  ] == str(origin)


@pytest.mark.slow
def test_a_baseline_that_diverged_is_taken_over_as_it_is(tmp_path, monkeypatch):
  whole.without_report(monkeypatch)
  diverging = {
    "compilation_cache": False,
    "optim__learning_rate": 1e6,
    "rounds": 2,
    "optim__milestones": (1,),
  }
  assert whole.run(tiny.config(**diverging), tmp_path / "origin") == 4
  config = tiny.config(**diverging, method__lambda_A=0.01)
  assert whole.run(config, tmp_path / "own") == 4
  assert (
    whole.run(
      dataclasses.replace(config, baseline_from=str(tmp_path / "origin")), tmp_path / "taken"
    )
    == 4
  )
  whole.assert_same(config, tmp_path / "own", tmp_path / "taken", report=False)


def _lose(*names):
  def change(workdir):
    for name in names:
      shutil.rmtree(workdir / name) if (workdir / name).is_dir() else (workdir / name).unlink()

  return change


def _environment(**changes):
  def change(workdir):
    content = files.read_json(workdir / "environment.json")
    for name, value in changes.items():
      (content["choices"] if name in content["choices"] else content)[name] = value
    files.write_json(workdir / "environment.json", content)

  return change


def _other_data(workdir):
  content = files.read_json(workdir / "environment.json")
  files.write_json(
    workdir / "environment.json", content | {"data": content["data"] | {"checksum": "0" * 64}}
  )


def _damage_checkpoint(workdir):
  step = min((workdir / "checkpoints").iterdir(), key=lambda path: int(path.name))
  max(
    (path for path in (step / "state").rglob("*") if path.is_file()),
    key=lambda path: path.stat().st_size,
  ).write_bytes(b"rubbish")


def _a_row_less(workdir):
  rows = files.read_rows(workdir / "metrics.jsonl")
  (workdir / "metrics.jsonl").unlink()
  (workdir / ".sha256" / "metrics.jsonl").unlink()
  files.append_rows(workdir / "metrics.jsonl", rows[1:])


def _folder_of(name):
  def change(workdir):
    _lose("results.json")(workdir)
    files.write_json(workdir / name, {})

  return change


REFUSALS = [
  (
    _lose("results.json"),
    {},
    ConfigError,
    "no finished run there, results.json is missing or damaged; name a run's workdir",
  ),
  (
    lambda workdir: (workdir / "metrics.jsonl").write_text("x"),
    {},
    ConfigError,
    "metrics.jsonl is missing or damaged",
  ),
  (_folder_of("sweep.json"), {}, ConfigError, "of a sweep, name that of one of its values"),
  (_folder_of("acquire.json"), {}, ConfigError, "of active learning, name that of one of its runs"),
  (shutil.rmtree, {}, ConfigError, "no finished run there"),
  (
    None,
    {"optim__momentum": 0.8, "seeds": (0, 2)},
    ConfigError,
    "another baseline (optim.momentum: 0.9 -> 0.8; seeds: [0, 1] -> [0, 2])",
  ),
  (None, {"rounds": 5}, ConfigError, "another baseline (rounds: 4 -> 5)"),
  (None, {"score__batch_size": 16}, ConfigError, "another baseline (score.batch_size: 32 -> 16)"),
  (_other_data, {}, DataError, "that run was on other data (checksum 0000"),
  (
    _environment(precision="bfloat16"),
    {},
    ConfigError,
    "that run had precision bfloat16, now float32",
  ),
  (_environment(platform="gpu"), {}, ConfigError, "that run had platform gpu, now cpu"),
  (
    _environment(file_checksums={"model.pretrained": "5f" * 32}),
    {},
    DataError,
    "that run started from another model.pretrained",
  ),
  (_lose("checkpoints"), {}, CheckpointError, "not usable"),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=[part[-30:] for *_, part in REFUSALS])
def test_another_baseline_is_refused_in_one_line_and_nothing_is_written(
  origin, tmp_path, no_training, refusal
):
  change, keys, kind, part = refusal
  copy = shutil.copytree(origin, tmp_path / "origin")
  if change is not None:
    change(copy)
  config = whole.config(**keys)
  with pytest.raises(kind) as caught:
    run(config, tmp_path / "run", copy)
  assert part in str(caught.value)
  assert "\n" not in str(caught.value)
  assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
  ("change", "kind", "part"),
  [
    (_damage_checkpoint, CheckpointError, "not usable"),
    (_a_row_less, DataError, "has 7 rows of the baseline, expected 8"),
  ],
)
def test_damage_that_shows_only_when_it_is_read_leaves_a_run_without_a_baseline(
  origin, tmp_path, monkeypatch, change, kind, part
):
  whole.forbid_training(monkeypatch)
  copy = shutil.copytree(origin, tmp_path / "origin")
  change(copy)
  with pytest.raises(kind, match=part):
    run(BASE, tmp_path / "run", copy)
  assert reused_baseline.is_needed(tmp_path / "run")
  assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_a_run_that_has_a_baseline_keeps_it(origin, tmp_path, monkeypatch):
  whole.without_report(monkeypatch)
  whole.stopped(BASE, tmp_path / "run", monkeypatch, task="baseline", done=1.4)
  assert run(BASE, tmp_path / "run", origin) == 0
  whole.assert_same(BASE, origin, tmp_path / "run", report=False)
  assert "baseline_from" not in files.read_json(tmp_path / "run" / "environment.json")["choices"]


def test_the_tables_of_differences_name_keys_that_exist_and_say_why():
  keys = key_names()
  for table in (SAFE_TO_CHANGE, NOT_READ_BY_BASELINE, NOT_SWEPT):
    assert all(table.values())
    assert [
      name for name in table if not any(key == name or key.startswith(f"{name}.") for key in keys)
    ] == []
  read = {name for name in keys if changes_baseline(name)}
  for prefix in (
    "model.name",
    "model.blocks",
    "optim.",
    "augment.",
    "parallel.",
    "seeds",
    "rounds",
    "batch_size",
    "score.batch_size",
    "precision",
    "data.name",
  ):
    own = {name for name in keys if name.startswith(prefix)} - {"augment.strong"}
    assert own
    assert own <= read, prefix
  # A sweep through a key that is safe to change would take one baseline for all without asking.
  assert [name for name in SAFE_TO_CHANGE if entry(NOT_SWEPT, name) is None] == []
  assert {name for name in keys if name.startswith(("method.", "split.", "sweep."))} & read == set()


def test_saving_a_state_elsewhere_than_in_training_keeps_the_clock_of_training(origin):
  # The end of an arm must have one number, however the run came there: retention and restoring go
  # by it.
  steps = sorted(int(path.name) for path in (origin / "checkpoints").iterdir())
  assert steps[0] == BASE.rounds * (5 + 30 + 1)
  assert saved_states.CheckpointKey.of(steps[-1]).arm == 1
