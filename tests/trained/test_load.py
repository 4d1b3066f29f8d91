"""A workdir that is no finished run is refused in one line, and says what it is."""

import shutil

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
    entry["collapsed"] = [0, 1]


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
      "a run of an earlier version of sdt",
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
  for name in ("x" * 300, "a\0b", "sweep.json"):
    with pytest.raises(ConfigError):
      load(tmp_path / name)


def test_arms_and_seeds_that_do_not_exist_are_refused(reference_run):
  run = load(reference_run)
  with pytest.raises(ConfigError, match=r"no arm 'methd'; did you mean 'method'\?"):
    run.networks("methd")
  for seeds in (2, (0, 7), ()):
    with pytest.raises(ConfigError, match="expected all, or some of 0, 1"):
      run.networks(seeds=seeds)


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
