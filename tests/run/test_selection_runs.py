"""Whole runs with a selection: no choice knows the test set, the run goes on as that of the chosen
values, and a stop changes nothing.
"""

import dataclasses
import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from sdt import experiment, files
from sdt.commands import dry_run, sweep
from sdt.config import from_dict, search_space, to_dict
from sdt.config.sweep_points import expand
from sdt.data.dataset import RawSplit, checksum, make_dataset
from sdt.errors import ConfigError
from sdt.report import read, run_page
from sdt.run import selection
from tests.support import tiny, whole

# What a selection computes, without runs: tests/run/test_selection.py.
pytestmark = pytest.mark.slow

CONFIG = whole.config(
  arms=("baseline", "method", "uniform_tuned"),
  data__validation_fraction=0.2,
  select__lambda_A=(10.0, 1e-2),
  select__weight_decay=(10.0, 1e-4),
)
# Another size of A is tried too, in a run of its own.
SIZES = dataclasses.replace(
  CONFIG,
  select=dataclasses.replace(
    CONFIG.select, fraction=(0.2, 0.1), weight_decay=(10.0, 1e-1, 1e-4, 1e-2)
  ),
)
DATA = tiny.data(CONFIG)
OF_THE_TEST_SET = {
  *("results.json", "metrics.jsonl", "predictions.npz", "predictions.csv"),
  *("suspects_test.csv", "figures/review_test.npz"),
}


@pytest.fixture(scope="module", autouse=True)
def quick_reports():
  with pytest.MonkeyPatch.context() as patch:
    whole.quick_report(patch)
    yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
  """A run with a selection that was left alone."""
  workdir = tmp_path_factory.mktemp("selection") / "run"
  assert experiment.run(CONFIG, workdir, "tiny", loaded=DATA) == 0
  return workdir


@pytest.fixture(scope="module")
def finished_sizes(tmp_path_factory):
  workdir = tmp_path_factory.mktemp("sizes") / "run"
  assert experiment.run(SIZES, workdir, "tiny", loaded=DATA) == 0
  return workdir


@pytest.fixture
def content(finished):
  return files.read_json(finished / "selection.json")


def outputs(workdir):
  """Returns all artifacts of a run and of its selection's runs, times cut out."""
  found = whole.outputs(workdir)
  return found | {
    str(path): whole.rows(workdir / path)
    for path in sorted(own.relative_to(workdir) for own in workdir.glob("selection/*"))
  }


@pytest.mark.parametrize("field", ["labels", "inputs"])
def test_permuting_the_test_set_leaves_every_choice_and_every_network_byte_equal(
  finished, tmp_path, field
):
  permuted = getattr(DATA.test, field)[np.random.default_rng(5).permutation(len(DATA.test))]
  raw = {"inputs": DATA.test.inputs, "labels": DATA.test.labels} | {field: permuted}
  test = make_dataset(RawSplit(**raw), num_classes=3, where="permuted")
  other = dataclasses.replace(
    DATA, test=test, checksum=checksum(DATA.train, test, DATA.class_names)
  )
  assert experiment.run(CONFIG, tmp_path, "tiny", loaded=other) == 0
  ours, theirs = outputs(finished), outputs(tmp_path)
  different = {name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name)}
  seals = {str(Path(name).parent / ".sha256" / Path(name).name) for name in OF_THE_TEST_SET}
  assert different - seals == OF_THE_TEST_SET
  for name in (
    "selection.json",
    "scores.npz",
    "split.csv",
    "arms/method.npz",
    "arms/uniform_tuned.npz",
    "model.safetensors",
  ):
    assert ours[name] == theirs[name]
  before, after = (files.read_json(workdir / "results.json") for workdir in (finished, tmp_path))
  assert before["selection"] == after["selection"]
  assert (
    before["arms"]["method"]["loss"] != after["arms"]["method"]["loss"]
  )  # what is measured on the test set did change


def test_the_candidates_numbers_are_those_of_their_runs_and_the_best_mean_wins(finished, content):
  assert content["validation"]["num_train"] + content["validation"]["num_validation"] == len(
    DATA.train
  )
  assert content["validation"]["num_validation"] == 14
  for of, choice in content["choices"].items():
    assert choice["num_trials"] == 2
    ranks = []
    for candidate in choice["candidates"]:
      own = files.read_json(finished / "selection" / candidate["folder"] / "results.json")
      accuracy = list(own["arms"][candidate["arm"]]["accuracy"].values())
      assert candidate["accuracy"] == own["arms"][candidate["arm"]]["accuracy"]
      assert candidate["mean"] == pytest.approx(np.mean(accuracy))
      assert candidate["sd"] == pytest.approx(np.std(accuracy, ddof=1))
      assert own["data"]["num_test"] == 14
      loss = np.mean(list(candidate["loss"].values()))
      ranks.append((round(-np.mean(accuracy), 9), loss, candidate["values"]))
    assert choice["chosen"] == min(ranks, key=lambda rank: rank[:2])[2], of
  assert content["chosen"] == {
    **content["choices"]["method"]["chosen"],
    **content["choices"]["uniform_tuned"]["chosen"],
  }
  assert (
    len(
      {
        json.dumps(candidate["accuracy"])
        for candidate in content["choices"]["uniform_tuned"]["candidates"]
      }
    )
    > 1
  )


def test_a_candidate_that_is_the_baseline_s_decay_is_the_baseline(finished):
  arms = files.read_json(finished / "selection/fraction=0.1/results.json")["arms"]
  assert arms["weight_decay_0.0001"]["accuracy"] == arms["baseline"]["accuracy"]
  assert arms["weight_decay_0.0001"]["loss"] == arms["baseline"]["loss"]


def test_the_baseline_of_the_selection_is_trained_once(finished_sizes):
  stages = [
    set(files.read_json(finished_sizes / "selection" / f"fraction={f}" / "timing.json")["stages"])
    for f in (0.2, 0.1)
  ]
  assert ["train baseline" in own for own in stages] == [True, False]
  assert files.read_json(finished_sizes / "timing.json")["stages"]["select"] > 0
  choices = files.read_json(finished_sizes / "selection.json")["choices"]
  tried = [
    (candidate["values"]["method.lambda_A"], candidate["folder"])
    for candidate in choices["method"]["candidates"]
  ]
  assert tried == [(decay, f"fraction={f}") for f in (0.2, 0.1) for decay in (10.0, 1e-2)]


def test_the_run_is_the_ordinary_one_of_the_chosen_values_byte_for_byte(
  finished, content, tmp_path
):
  assert (
    experiment.run(selection.frozen(CONFIG, content["chosen"]), tmp_path, "tiny", loaded=DATA) == 0
  )
  ours, theirs = whole.outputs(finished), whole.outputs(tmp_path)
  different = {name for name in ours.keys() & theirs.keys() if ours[name] != theirs[name]}
  assert {name for name in different if not name.startswith(".sha256")} == {
    "config.json",
    "results.json",
  }
  assert {name.removeprefix(".sha256/").split("/")[0] for name in ours.keys() ^ theirs.keys()} == {
    "selection",
    "selection.json",
  }
  results = files.read_json(finished / "results.json")
  assert results.pop("selection") == {"chosen": content["chosen"], "file": "selection.json"}
  ordinary = files.read_json(tmp_path / "results.json")
  both = [entry.pop("recommended") for entry in (results, ordinary)]
  assert results == ordinary
  assert ["validation split" in entry["rule"] for entry in both] == [True, False]
  assert files.read_json(finished / "config.json")["config"] == to_dict(CONFIG)
  assert files.read_json(finished / "environment.json")["choices"]["selected"] == content["chosen"]


def test_a_finished_selection_is_not_done_again_even_if_its_runs_are_gone(
  finished, tmp_path, monkeypatch
):
  run = shutil.copytree(finished, tmp_path / "run")
  shutil.rmtree(run / "selection")
  (run / "results.json").unlink()
  whole.forbid_training(monkeypatch)
  assert experiment.run(CONFIG, run, "tiny", loaded=DATA) == 0
  assert outputs(run) == {
    name: value for name, value in outputs(finished).items() if not name.startswith("selection/")
  }


def test_stops_in_the_selection_and_after_it_change_nothing_and_are_told(
  finished_sizes, tmp_path, monkeypatch, capsys
):
  run = tmp_path / "run"
  for task in ("lambda_A_0.01", "weight_decay_0.1", "method"):
    with monkeypatch.context() as patch:
      said = whole.stopped(SIZES, run, patch, task=task, done=1.4, times=3)
    assert said.startswith("stopped by" if task == "method" else "selection, run 1 of 2, fraction=")
    assert (run / "selection.json").exists() == (task == "method")
    lines = list(dry_run.describe(SIZES, run))
    if task != "method":
      assert f"workdir   {run}: a selection has begun, it would go on" in lines
  assert whole.run(SIZES, run) == 0
  assert outputs(run) == outputs(finished_sizes)
  assert "no checkpoint was saved" not in capsys.readouterr().err  # by the starts that selected
  whole.forbid_training(monkeypatch)
  before = whole.stamps(run)
  assert whole.run(SIZES, run) == 0
  assert whole.stamps(run) == before


def test_another_selection_in_a_workdir_where_one_has_begun_is_refused(finished, tmp_path):
  (tmp_path / "run").mkdir()
  files.write_json(tmp_path / "run/config.json", files.read_json(finished / "config.json"))
  other = dataclasses.replace(
    CONFIG, select=dataclasses.replace(CONFIG.select, lambda_A=(1.0, 3e-3))
  )
  with pytest.raises(ConfigError, match=r"holds a run of another config \(select.lambda_A: "):
    experiment.run(other, tmp_path / "run", "tiny", loaded=DATA)


def test_a_selection_that_comes_to_other_values_than_the_run_began_with_is_refused(
  finished, tmp_path, content
):
  run = shutil.copytree(finished, tmp_path / "run")
  other = content | {"chosen": content["chosen"] | {"method.lambda_A": 0.5}}
  files.write_json(run / "selection.json", other)
  (run / "results.json").unlink()
  with pytest.raises(
    ConfigError,
    match=r"selection\.json: the selection comes to .*0\.5.* and the run there began with",
  ):
    experiment.run(CONFIG, run, "tiny", loaded=DATA)


@pytest.mark.parametrize(
  "change",
  [{"config_hash": "0"}, {"validation": {"checksum": "0"}}, None],
  ids=["config", "data", "older"],
)
def test_the_choices_of_another_selection_are_refused(finished, tmp_path, content, change):
  run = shutil.copytree(finished, tmp_path / "run")
  other = (
    {key: value for key, value in content.items() if key != "config_hash"}
    if change is None
    else content | change
  )
  files.write_json(run / "selection.json", other)
  (run / "results.json").unlink()
  with pytest.raises(
    ConfigError,
    match=(
      r"selection\.json "
      r"tells of another selection: .*delete it and the folder selection/ beside "
      r"it"
    ),
  ):
    experiment.run(CONFIG, run, "tiny", loaded=DATA)


def test_a_sweep_of_another_key_has_a_selection_for_each_value_and_says_what_each_chose(
  finished, tmp_path, content
):
  config = from_dict(
    to_dict(CONFIG) | {"sweep": {"key": "split.class_balanced", "values": ["False", "True"]}}
  )
  points = expand(config)
  for point in points:
    shutil.copytree(finished, tmp_path / point.folder)
  found = sweep.summarise(config, points, tmp_path)
  chosen = content["chosen"]
  steps = found["values"][0]["steps_per_round"]["method"]
  mean = (steps["A"] * chosen["method.lambda_A"] + steps["B"] * 1e-4) / (steps["A"] + steps["B"])
  assert [entry["selection"]["chosen"] for entry in found["values"]] == [chosen] * 2
  assert [entry["mean_decay"] for entry in found["values"]] == [pytest.approx(mean)] * 2


def test_a_dry_run_counts_the_trainings_of_the_selection(tmp_path):
  told = dry_run.describe(SIZES, tmp_path / "run")
  # What comes later, such as the time, compiles a program.
  lines = list(itertools.takewhile(lambda line: not line.startswith("workdir "), told))
  (line,) = [line for line in lines if line.startswith("selection ")]
  assert "9 trainings more, each with 2 seed(s)" in line
  assert (
    "8 trials (4 for method, 4 for uniform_tuned) and their baseline, on 56 examples; 14 are "
    "held out"
  ) in line
  assert any(line.startswith("  uniform_tuned: all 5 = 5; ") for line in lines)
  assert not (tmp_path / "run").exists()


def test_the_report_shows_the_candidates_the_choice_and_that_the_test_set_was_not_used(
  finished, content
):
  loaded = read.load(finished)
  page = run_page.html(loaded, {})
  section = page[page.index('id="selection"') :].partition("</section>")[0]
  assert "The test set was not used" in section
  assert "validation loss" in section
  assert "the lower loss decides" in section
  assert section.count(">chosen<") == 2
  assert section.count('<tr><th scope="row">') == 4
  for choice in content["choices"].values():
    assert f": {search_space.values_text(choice['chosen'])}, the best of 2</h3>" in section
    assert section.count("at an edge of its candidates") == sum(
      len(own["at_edge"]) for own in content["choices"].values()
    )
  assert '<th scope="col">paper_<wbr>protocol</th>' in page
  assert '<a href="#selection">Selection</a>' in page
  assert "#selection" not in run_page.html(dataclasses.replace(loaded, selection={}), {})
  assert 'id="selection"' not in run_page.html(dataclasses.replace(loaded, selection={}), {})
