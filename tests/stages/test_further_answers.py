"""What a run adds to its predictions: views, dropout, snapshots, ensembles."""

import dataclasses

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

from sdt import files
from sdt.commands import forecast
from sdt.errors import ConfigError
from sdt.run import load_inputs
from sdt.run.programs import Setup
from tests.support import tiny, whole

TEXT = "flip shifts(1)"


def asking(of, **keys):
  return dataclasses.replace(of, evaluate=dataclasses.replace(of.evaluate, **keys))


def rows_of(workdir):
  """Returns the rows of the baseline by (way, whether it is of an ensemble)."""
  rows = files.read_json(workdir / "results.json")["predictions"]["answers"]
  return {
    (row["way"], row["ensemble"] is not None): row for row in rows if row["arm"] == "baseline"
  }


@pytest.fixture(scope="module")
def asked(reference_run, tmp_path_factory):
  """A run that took the reference's baseline over, and asks it under views, alone and together."""
  workdir = tmp_path_factory.mktemp("views") / "run"
  of = whole.config(arms=("baseline",), baseline_from=str(reference_run))
  with pytest.MonkeyPatch.context() as patch:
    whole.without_report(patch)
    whole.forbid_training(patch)
    assert whole.run(asking(of, views=TEXT, ensemble=True), workdir) == 0
  return workdir


def test_the_plain_predictions_stay_what_they_are_without_further_answers(asked, reference_run):
  ours, theirs = (files.map_npz(path / "predictions.npz") for path in (asked, reference_run))
  for name in ("probabilities", "predicted", "label_rank", "label_log_probability", "weights"):
    np.testing.assert_array_equal(ours[name][0], theirs[name][0])
  ours, theirs = (files.read_json(path / "results.json") for path in (asked, reference_run))
  assert ours["arms"]["baseline"] == theirs["arms"]["baseline"]
  of_arm = ours["predictions"]["arms"]["baseline"]
  assert of_arm == theirs["predictions"]["arms"]["baseline"]
  added = {"ways", "answers"}
  assert ours["predictions"].keys() - theirs["predictions"].keys() == added
  assert not added & theirs["predictions"].keys()
  assert {path.name for path in asked.glob("*.npz")} == {
    "predictions.npz",
    "predictions_views.npz",
  }


def test_the_rows_are_those_of_scikit_learn_and_numpy_from_the_files(asked):
  stored = {name: files.map_npz(asked / f"predictions{name}.npz") for name in ("", "_views")}
  labels, rows = stored[""]["label"], rows_of(asked)
  own = {name: one["probabilities"][0].astype(np.float64) for name, one in stored.items()}
  own = {name: one / one.sum(axis=-1, keepdims=True) for name, one in own.items()}
  loss = {name: [metrics.log_loss(labels, one) for one in of_way] for name, of_way in own.items()}
  for way, name in (("single", ""), ("views", "_views")):
    row = rows[way, False]
    assert list(row["nll"]["per_seed"].values()) == pytest.approx(loss[name], rel=1e-5)
    right = (own[name].argmax(axis=-1) == labels).mean(axis=1)
    assert list(row["accuracy"]["per_seed"].values()) == pytest.approx(right)
  difference = np.array(loss["_views"]) - loss[""]
  found = rows["views", False]["difference"]["nll"]
  assert list(found["per_seed"].values()) == pytest.approx(difference, abs=1e-6)
  assert rows["single", False]["difference"] is None
  for way, name in (("single", ""), ("views", "_views")):
    row, together = rows[way, True], own[name].mean(axis=0)
    assert row["ensemble"] == [0, 1]
    assert row["nll"]["mean"] == pytest.approx(metrics.log_loss(labels, together), rel=1e-5)
    picked = np.log(own[""][:, np.arange(len(labels)), labels]).mean(axis=0)
    apart = picked - np.log(together[np.arange(len(labels)), labels])
    low, high = stats.norm.interval(0.95, apart.mean(), stats.sem(apart))
    assert row["difference"]["nll"]["mean"] == pytest.approx(apart.mean(), abs=1e-6)
    assert row["difference"]["nll"]["interval"] == pytest.approx([low, high], abs=1e-6)
    assert row["ece"]["interval"] is None
  assert rows["single", True]["nll"]["mean"] < rows["single", False]["nll"]["mean"]


def test_the_file_of_views_is_what_the_networks_say_and_is_made_again_where_it_is_lost(
  asked, monkeypatch, no_training
):
  whole.without_report(monkeypatch)
  before = whole.outputs(asked, report=False)
  config = files.read_json(asked / "config.json")["config"]
  assert config["evaluate"] == {"views": TEXT, "ensemble": True}
  files.remove(asked / "predictions_views.npz")
  of = whole.config(arms=("baseline",), evaluate__views=TEXT, evaluate__ensemble=True)
  assert whole.run(of, asked) == 0
  assert whole.outputs(asked, report=False) == before


def test_vectors_have_no_views_and_a_view_does_not_miss_its_image():
  of = asking(tiny.config(), views="shifts(8)")
  with pytest.raises(ConfigError, match="a view is moved by 8 pixels, and the network sees 8 x 8"):
    load_inputs.load_data(of, print, tiny.data(of))
  data = tiny.data(of)
  flat = {
    name: dataclasses.replace(
      getattr(data, name), inputs=np.zeros((len(getattr(data, name)), 5), np.float32)
    )
    for name in ("train", "test")
  }
  with pytest.raises(ConfigError, match="the data are vectors, which can be neither moved nor"):
    load_inputs.load_data(of, print, dataclasses.replace(data, **flat))


CYCLES = whole.config(
  model__dropout=0.3,
  optim__schedule="warm_restarts",
  optim__cycle_rounds=1,
  evaluate__snapshots=3,
  evaluate__dropout_samples=2,
  evaluate__views="flip",
  evaluate__ensemble=True,
)


@pytest.mark.slow
def test_a_run_with_all_of_them_goes_on_after_a_signal_to_the_same_bytes_and_takes_more_seeds(
  tmp_path, monkeypatch
):
  whole.without_report(monkeypatch)
  assert whole.run(CYCLES, tmp_path / "whole") == 0
  for number, (task, done) in enumerate(
    [("baseline", 2.5), ("method", 3.0), ("predictions, snapshots", 1)]
  ):
    path = tmp_path / f"stopped{number}"
    whole.stopped(CYCLES, path, monkeypatch, task=task, done=done)
    assert whole.run(CYCLES, path) == 0
    whole.assert_same(CYCLES, tmp_path / "whole", path, report=False)
  fewer = dataclasses.replace(CYCLES, seeds=(0,))
  fewer = asking(fewer, ensemble=False)
  more = asking(CYCLES, ensemble=False)
  assert whole.run(fewer, tmp_path / "grown") == 0
  assert whole.run(more, tmp_path / "grown") == 0
  assert whole.run(more, tmp_path / "at_once") == 0
  names = ["predictions.npz", *(f"predictions_{way}.npz" for way in ("views", "dropout"))]
  for name in (*names, "predictions_snapshots.npz"):
    grown, at_once = ((tmp_path / path / name).read_bytes() for path in ("grown", "at_once"))
    assert grown == at_once, name


@pytest.mark.slow
def test_snapshots_are_the_networks_after_each_cycle(tmp_path, monkeypatch):
  whole.without_report(monkeypatch)
  assert whole.run(CYCLES, tmp_path) == 0
  stored = files.map_npz(tmp_path / "predictions_snapshots.npz")
  expected = []
  for rounds in (2, 3, 4):  # a schedule of cycles of one round does not know how many follow
    of = asking(dataclasses.replace(CYCLES, rounds=rounds), snapshots=0)
    path = tmp_path / str(rounds)
    assert whole.run(of, path) == 0
    expected.append(files.map_npz(path / "predictions.npz")["probabilities"][0])
  mean = np.mean(expected, axis=0)
  np.testing.assert_allclose(stored["probabilities"][0], mean, atol=1e-6)


def test_the_forecast_counts_every_answer():
  plain = tiny.config(arms=("baseline",))
  of = asking(plain, views=TEXT)
  data = tiny.data(of)
  passes = [forecast.scoring_passes(Setup.make(one, data), False) for one in (plain, of)]
  assert passes == [30, 30 * 19]
