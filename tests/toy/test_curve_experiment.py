"""The toy whole: a short one in every run of the tests, the real configuration in the slow ones."""

import dataclasses

import jax
import numpy as np
import pytest

from sdt import files
from sdt.commands import dry_run
from sdt.config import resolve
from sdt.config.config_file import load_config_file
from sdt.data.readers.curve import truth
from sdt.data.sources import load
from sdt.errors import Interrupted
from sdt.report import build_report
from sdt.run import lifecycle, metrics
from sdt.toy import curve_experiment, merits
from sdt.toy.curve_arms import ARM_NAMES, arm_specs, find_points
from tests.support import whole
from tests.support.places import ROOT

SHORT = {
  "data": {"name": "curve", "curve": {"num_points": 10, "num_validation": 5}},
  "model": {"name": "mlp", "hidden_sizes": (6,), "activation": "tanh"},
  "seeds": (0, 3, 5),
  "rounds": 6,
  "batch_size": 4,
  "log_every_rounds": 4,
  "eval_every_rounds": 4,
  "optim": {"name": "adam", "learning_rate": 3e-2, "milestones": (4,), "decay_form": "penalty"},
  "toy": {"lambdas": (1e-1, 1e-3, 1e-2), "num_noisy": 3},
  "parallel": {"replicas": "vmap", "num_devices": 1, "steps_per_dispatch": 6},
  "compilation_cache": False,
}
CONFIG = resolve(SHORT)


def run(workdir, config=CONFIG, loaded=None):
  with jax.numpy_dtype_promotion("standard"):  # optax's bias correction mixes float32 and int32
    return lifecycle.run(
      curve_experiment.EXPERIMENT, lifecycle.Job(config, workdir, "toy", loaded=loaded)
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
  workdir = tmp_path_factory.mktemp("toy") / "run"
  assert run(workdir) == 0
  return workdir


@pytest.mark.slow
def test_every_arm_has_its_merits_per_seed_and_they_are_those_of_its_curves(finished):
  results = files.read_json(finished / "results.json")
  assert list(results["arms"]) == list(ARM_NAMES)
  points = files.read_npz(finished / "points.npz")
  np.testing.assert_allclose(points["truth"], truth(points["grid"]), atol=1e-7)
  fit = files.read_npz(finished / "arms" / "drop_subset.npz")
  entry = results["arms"]["drop_subset"]
  np.testing.assert_allclose(
    list(entry["error"]["per_seed"].values()),
    ((fit["grid"] - points["truth"]) ** 2).mean(axis=1),
    rtol=1e-5,
  )
  np.testing.assert_allclose(
    list(entry["train_error"]["per_seed"].values()),
    ((fit["train"] - points["y"]) ** 2).mean(axis=1),
    rtol=1e-5,
  )
  np.testing.assert_allclose(
    list(entry["roughness"]["per_seed"].values()),
    np.abs(np.diff(fit["grid"], 2)).mean(axis=1),
    atol=1e-7,
  )


@pytest.mark.slow
def test_the_error_to_the_curve_is_the_engines_own_test_loss(finished):
  results, rows = files.read_json(finished / "results.json"), whole.rows(finished)
  for arm in ("no_decay", "differentiated"):
    last = {
      str(row["seed"]): row["test_loss"]
      for row in rows
      if row["arm"] == arm and row["round"] == 6 and row["last_phase"]
    }
    assert results["arms"][arm]["error"]["per_seed"] == pytest.approx(last, rel=1e-5)


@pytest.mark.slow
def test_rows_are_of_every_fourth_round_and_the_last_and_have_no_accuracies(finished):
  rows = whole.rows(finished)
  assert {row["round"] for row in rows} == {4, 6}
  assert all(row["train_accuracy"] is None and row["test_accuracy"] is None for row in rows)
  assert all(row["test_loss"] is not None for row in rows if row["last_phase"])
  assert len(rows) == 2 * 3 * (6 + 2 * 4)  # rounds, seeds, arms of one phase and of two


@pytest.mark.slow
def test_the_chosen_decay_has_the_smallest_validation_error_and_the_later_arms_use_it(finished):
  results = files.read_json(finished / "results.json")
  selection, data = results["selection"], load(CONFIG.data, seeds=CONFIG.seeds)
  assert selection["lambdas"] == [1e-3, 1e-2, 1e-1]
  targets = data.train.labels[find_points(CONFIG, data).validation][..., 0]
  errors = [
    ((files.read_npz(finished / "arms" / f"{arm}.npz")["validation"] - targets) ** 2).mean()
    for arm in selection["arms"]
  ]
  assert selection["chosen"] == selection["lambdas"][int(np.argmin(errors))]
  assert results["arms"]["differentiated"]["decay"] == pytest.approx(
    {"A": 50 * selection["chosen"], "B": selection["chosen"]}
  )
  assert results["arms"]["uniform"]["decay"] == {"all": selection["chosen"]}


@pytest.mark.slow
def test_neither_the_true_curve_nor_the_training_points_have_a_say_in_the_choice(
  finished, tmp_path, monkeypatch
):
  whole.without_report(monkeypatch)
  data = load(CONFIG.data, seeds=CONFIG.seeds)
  other = dataclasses.replace(
    data,
    test=dataclasses.replace(data.test, labels=data.test.labels[::-1] ** 3 - 7),
    checksum="other",
  )
  run(tmp_path / "run", loaded=other)
  ours, theirs = (
    files.read_json(workdir / "results.json") for workdir in (finished, tmp_path / "run")
  )
  assert ours["selection"] == theirs["selection"]
  assert ours["arms"]["uniform"]["error"] != theirs["arms"]["uniform"]["error"]


@pytest.mark.slow
def test_a_run_that_was_stopped_goes_on_where_it_was_to_the_same_artifacts(
  finished, tmp_path, monkeypatch, capsys
):
  workdir = tmp_path / "run"
  whole.without_report(monkeypatch)
  with monkeypatch.context() as patch:
    whole.signal_at(patch, "random_subset", 3)
    with pytest.raises(Interrupted, match="in arm random_subset, round"):
      run(workdir)
  assert not (workdir / "results.json").exists()
  (workdir / "arms" / "uniform_0.01.npz").unlink()  # made again from the arm's pinned checkpoint
  capsys.readouterr()
  assert run(workdir) == 0
  told = capsys.readouterr().err
  assert "continuing in arm random_subset after round 3 of 6 (checkpoint " in told
  assert "not usable" not in told
  ours, theirs = whole.outputs(finished, report=False), whole.outputs(workdir, report=False)
  assert ours.keys() == theirs.keys()
  assert [name for name in ours if ours[name] != theirs[name]] == []


@pytest.mark.slow
def test_a_finished_toy_is_left_alone_and_its_report_is_made_again(finished, capsys):
  before = whole.stamps(finished)
  assert run(finished) == 0
  assert "complete: nothing to do" in capsys.readouterr().out
  assert whole.stamps(finished) == before
  outputs = whole.outputs(finished)
  (finished / "report.html").unlink()
  (finished / "figures" / "fits.png").unlink()
  assert build_report(finished) == finished / "report.html"
  assert whole.outputs(finished) == outputs


@pytest.mark.slow
def test_the_page_says_which_polarity_this_is_and_what_does_not_hold(finished):
  page = (finished / "report.html").read_text(encoding="utf-8")
  assert "Opposite polarity" in page
  for check in files.read_json(finished / "results.json")["checks"]:
    assert (check["holds"] is True) or "Does not hold" in page
  assert page.count("<figure") == 4


def test_a_dry_run_tells_the_sizes_of_every_arm_and_writes_nothing(tmp_path):
  with jax.numpy_dtype_promotion("standard"):
    lines = list(dry_run.describe(CONFIG, tmp_path / "run", experiment=curve_experiment.EXPERIMENT))
  assert any("45 training and 201 test examples of shape [1]; A gets 3" in line for line in lines)
  assert any(line.startswith("  differentiated: A 1 + B 2 = 3; ") for line in lines)
  assert any(line.startswith("  drop_subset: B 3 = 3; ") for line in lines)
  assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_seed_that_diverged_counts_for_nothing(finished, monkeypatch):
  monkeypatch.setattr(
    metrics, "diverged_seeds", lambda rows, arm: (3,) if arm == "uniform_0.01" else ()
  )

  class Context:
    workdir = finished
    config, data = CONFIG, load(CONFIG.data, seeds=CONFIG.seeds)

  fits = {arm: files.read_npz(finished / "arms" / f"{arm}.npz") for arm in arm_specs(CONFIG)}
  selection = curve_experiment._choose(Context, find_points(CONFIG, Context.data), fits)
  assert selection["validation_error"][1]["per_seed"]["3"] is None
  assert selection["validation_error"][1]["n"] == 2


@pytest.mark.slow
def test_the_real_configuration_shows_what_the_toy_is_about(tmp_path):
  config = resolve(load_config_file(ROOT / "configs/toy.py"))
  assert run(tmp_path / "run", config) == 0
  results = files.read_json(tmp_path / "run" / "results.json")
  assert [check["holds"] for check in results["checks"]] == [True, True, True]
  assert not results["selection"]["at_edge"]
  assert results["data"]["noise_variance"] == pytest.approx(1 / 12)
  assert len(results["arms"]["no_decay"]["error"]["per_seed"]) == 20
  rougher = merits.sign_test(
    *(
      list(results["arms"][arm]["roughness"]["per_seed"].values())
      for arm in ("no_decay", "uniform")
    )
  )
  assert rougher["larger"] >= 18
