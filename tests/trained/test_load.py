"""A workdir that is no finished run is refused in one line, and says what it is."""

import dataclasses
import shutil

import numpy as np
import pytest

from sdt import files
from sdt.errors import ConfigError, DataError
from sdt.trained.load import load


def changed(run, name, change):
  """Changes what a JSON file of the run holds, and seals it."""
  content = files.read_json(run / name)
  change(content)
  files.write_json(run / name, content)


def removed(*names):
  def remove(run):
    for name in names:
      (run / name).unlink()

  return remove


def flipped(name):
  def flip(run):
    content = (run / name).read_bytes()
    (run / name).write_bytes(content[:-2] + b"!" + content[-1:])

  return flip


def collapse_all(content):
  for entry in content["arms"].values():
    entry["fit"] = []


@pytest.mark.parametrize(
  ("damage", "error", "told"),
  [
    (removed("results.json"), ConfigError, "a run that has not finished: give its command again"),
    (removed("config.json"), ConfigError, "a run that has not finished"),
    (shutil.rmtree, ConfigError, "it is no folder"),
    (flipped("results.json"), DataError, "content does not match its digest"),
    (flipped("environment.json"), DataError, "content does not match its digest"),
    (
      lambda run: changed(run, "results.json", lambda results: results.pop("recommended")),
      ConfigError,
      "a run of an earlier version of sdt.*give its command again, with",
    ),
    (
      lambda run: shutil.rmtree(run / ".sha256"),
      DataError,
      r"its digest is missing in the hidden folder \.sha256.*copy the run again",
    ),
    (
      lambda run: changed(run, "config.json", lambda one: one["config"].update(new_key=1)),
      ConfigError,
      "a run of another version of sdt",
    ),
    (
      lambda run: changed(run, "config.json", lambda one: one["config"]["data"].update(name="x")),
      ConfigError,
      "a run of another version of sdt",
    ),
  ],
)
def test_what_is_no_finished_run_is_refused(damage, error, told, reference_run, tmp_path):
  run = shutil.copytree(reference_run, tmp_path / "run")
  damage(run)
  with pytest.raises(error, match=told) as caught:
    load(run)
  assert str(run) in str(caught.value)
  assert "\n" not in str(caught.value)


def test_other_folders_are_refused(tmp_path):
  with pytest.raises(ConfigError, match=r"no run; results\.json is missing"):
    load(tmp_path)
  (tmp_path / "sweep.json").write_text("{}")
  with pytest.raises(ConfigError, match="the folder of a sweep, name that of one of its values"):
    load(tmp_path)
  (tmp_path / "sweep.json").rename(tmp_path / "acquire.json")
  with pytest.raises(ConfigError, match="folder of active learning, name that of one of its runs"):
    load(tmp_path)
  for name in ("x" * 300, "a\0b", "acquire.json"):
    with pytest.raises(ConfigError):
      load(tmp_path / name)


def test_a_run_is_one_short_line_in_a_notebook(reference_run):
  run = load(reference_run)
  assert repr(run) == (
    f"<sdt run {reference_run}: mlp on shapes, arms baseline, method, seeds 0, 1, recommended "
    "baseline>"
  )


def test_arms_and_seeds_that_do_not_exist_are_refused(reference_run):
  run = load(reference_run)
  with pytest.raises(ConfigError, match=r"no arm 'methd'; did you mean 'method'\?"):
    run.networks("methd")
  for seeds in (2, (0, 7), (), np.int64(2)):
    with pytest.raises(ConfigError, match="expected all, or some of 0, 1"):
      run.networks(seeds=seeds)
  for seeds in (None, "0", 0.5, (0.0,), True, ["0"], b"0"):
    with pytest.raises(ConfigError, match="expected 'all', a seed, or several"):
      run.networks(seeds=seeds)
  for same in (np.int64(1), [1, 1], np.array([1]), (one for one in [1])):
    assert [model.seed for model in run.networks(seeds=same).models] == [1]


@pytest.mark.parametrize(
  ("change", "told"),
  [
    (lambda results: results["recommended"].update(arm=None, why="all diverged"), "all diverged"),
    (collapse_all, "all networks of baseline diverged or collapsed; name a seed"),
  ],
)
def test_networks_that_are_not_fit_predict_only_where_they_are_named(
  change, told, reference_run, tmp_path
):
  copy = shutil.copytree(reference_run, tmp_path / "run")
  changed(copy, "results.json", change)
  run = load(copy)
  with pytest.raises(ConfigError, match=told):
    run.networks()
  assert run.networks("method", 1).models[0].seed == 1


def test_a_lost_or_damaged_network_and_table_is_a_data_error(reference_run, tmp_path):
  copy = shutil.copytree(reference_run, tmp_path / "run")
  flipped("models/baseline-seed1.safetensors")(copy)
  flipped("scores.csv")(copy)
  run = load(copy)
  run.networks(seeds=0)
  for lost in (lambda: run.networks(), lambda: run.scores):
    with pytest.raises(DataError, match="does not match its digest"):
      lost()


def test_the_config_of_another_program_is_no_run(tmp_path):
  (tmp_path / "config.json").write_text('{"model_type": "vit"}')
  with pytest.raises(ConfigError, match=r"no run; results\.json is missing"):
    load(tmp_path)
  for name in ("results.json", "environment.json"):
    (tmp_path / name).write_text("{}")
  for content in ('{"model_type": "vit"}', "[]", "{"):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(ConfigError, match=r"no run; its config\.json is of another program"):
      load(tmp_path)
  for workdir in (None, 3):
    with pytest.raises(ConfigError, match="expected a path"):
      load(workdir)


def test_one_network_is_the_first_that_is_fit_and_an_unfit_one_only_where_its_seed_is_named(
  reference_run,
):
  run = load(reference_run)

  def with_fit(seeds):
    arms = {arm: {**entry, "fit": seeds} for arm, entry in run.results["arms"].items()}
    return dataclasses.replace(run, results={**run.results, "arms": arms})

  assert with_fit([1]).network("method").seed == 1
  assert with_fit([1]).network("method", 0).seed == 0
  assert [model.seed for model in with_fit([1]).networks("method").models] == [1]
  for take in (with_fit([]).network, with_fit([]).networks):
    with pytest.raises(ConfigError, match="all networks of method diverged or collapsed"):
      take("method")
  assert with_fit([]).network("method", 0).seed == 0
  recommended = run.results["recommended"]
  assert (run.network().arm, run.network().seed) == (recommended["arm"], recommended["seed"])
  with pytest.raises(ConfigError, match="all networks of method"):
    with_fit([]).export("x.onnx", arm="method")


def test_the_network_of_another_seed_under_a_name_is_refused(reference_run, tmp_path):
  copy = shutil.copytree(reference_run, tmp_path / "run")
  shutil.rmtree(copy / "models" / ".sha256")
  for other, told in (("baseline-seed1", "baseline, seed 1"), ("method-seed0", "method, seed 0")):
    shutil.copy(
      copy / "models" / f"{other}.safetensors", copy / "models" / "baseline-seed0.safetensors"
    )
    with pytest.raises(DataError, match=f"holds the network of {told}; restore it"):
      load(copy).networks("baseline", 0)


@pytest.mark.parametrize("change", [dict.clear, lambda one: one.update(choices=[])])
def test_an_environment_without_choices_is_a_data_error(change, reference_run, tmp_path):
  copy = shutil.copytree(reference_run, tmp_path / "run")
  changed(copy, "environment.json", change)
  with pytest.raises(DataError, match=r"environment\.json: does not say the precision"):
    load(copy).networks()
