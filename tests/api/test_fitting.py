"""`sdt.fit`: a whole tiny fit by a plan, what it keeps, and what it refuses."""

import dataclasses
import json
import pickle
import time
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_iris

import sdt
from sdt.api import fitting
from sdt.api.fitting import Request, fit_by
from sdt.devices import compile as compile_module
from sdt.engine.program import Program
from sdt.errors import ConfigError, DataError
from sdt.run.search.budget import Plan
from sdt.trained.networks import Networks
from tests.support import tiny, whole

X, NUMBERS = load_iris(return_X_y=True)
Y = np.array(["setosa", "versicolor", "virginica"])[NUMBERS]
OF_PLAN = {"minutes": None}
PLAN = {"kind": "vectors", "seed": 1, "rungs": [[2, 3], [2, 9]]}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
  return tmp_path_factory.mktemp("fit") / "run"


@pytest.fixture(scope="module")
def fitted(place):
  return sdt.fit(X, Y, plan=PLAN, workdir=place)


def test_a_fit_is_the_mean_of_its_best_networks_and_predicts_labels(fitted):
  assert list(fitted.classes_) == ["setosa", "versicolor", "virginica"]
  rows = fitted.predict_proba(X)
  alone = [Networks((model,)).predict_proba(X) for model in fitted.models]
  assert len(alone) == 2
  np.testing.assert_allclose(rows, (alone[0] + alone[1]) / 2, rtol=1e-12)
  assert list(fitted.predict(X)) == list(fitted.classes_[rows.argmax(axis=1)])
  np.testing.assert_array_equal(fitted.predict_proba(iter(list(X[:5]))), rows[:5])
  assert fitted.score(X, Y) == np.mean(fitted.predict(X) == Y) > 0.6
  with pytest.raises(DataError, match="expected one each"):
    fitted.score(X, Y[:-1])


def test_it_says_what_it_tried_what_it_chose_and_what_the_time_did_not_reach(fitted):
  assert fitted.plan == PLAN
  assert [(one["trial"], one["round"]) for one in fitted.trials] in (
    [(1, 9), (2, 9)],
    [(2, 9), (1, 9)],
  )
  data, recipes, mean, left = fitted.record["text"]
  assert data == "vectors: 128 examples to train on, 22 held out to choose on"
  assert recipes.startswith("recipes tried: 2 up to round 3, 2 up to round 9; the best: hidden_")
  assert f"has {100 * fitted.validation_accuracy:.2f} % of the held-out examples right" in mean
  assert left == (
    "not reached: more than 2 recipes (up to 81); 3 networks that are trained to the end; "
    "trainings of 27 or 81 or 243 rounds"
  )


def test_a_single_recipe_and_a_single_network_are_told_in_the_singular(fitted):
  plan = PLAN | {"rungs": [[1, 9]]}
  one = {**fitted.record, "plan": plan, "members": fitted.record["members"][:1]}
  task, cut = SimpleNamespace(steps_per_round=8), tiny.data(tiny.config())
  text = fitting._text(dataclasses.replace(fitted, record=one), "vectors", cut)
  assert text[2].startswith("the best network has ")
  assert "right; it was chosen by these examples" in text[2]
  assert "more than 1 recipe (up to 81); " in fitting._not_reached(Plan.read(plan), task)[0]


def test_it_pickles_saves_and_loads_to_the_same_bytes(fitted, place, tmp_path):
  rows = fitted.predict_proba(X)
  for again in (
    pickle.loads(pickle.dumps(fitted)),  # noqa: S301 - of this test
    sdt.Fitted.load(fitted.save(tmp_path / "saved")),
    sdt.Fitted.load(place),
  ):
    assert again.weights == fitted.weights
    assert again.classes_.dtype == fitted.classes_.dtype
    np.testing.assert_array_equal(again.predict_proba(X[:9]), rows[:9])
  with pytest.raises(ConfigError, match="not an empty folder"):
    fitted.save(tmp_path / "saved")
  (tmp_path / "saved" / "network_1.safetensors").write_bytes(b"damaged")
  with pytest.raises(DataError, match="network_1"):
    sdt.Fitted.load(tmp_path / "saved")
  with pytest.raises(ConfigError, match="no such file"):
    sdt.Fitted.load(tmp_path)


def test_the_same_fit_trains_nothing_and_another_in_its_place_is_refused(
  fitted, place, no_training
):
  assert sdt.fit(X, Y, plan=PLAN, workdir=place).weights == fitted.weights
  for inputs, labels, others in (
    (X + 1, Y, {}),
    (X, Y, {"plan": PLAN | {"seed": 2}}),
    (X, Y, {"plan": None, "minutes": 3}),
  ):
    with pytest.raises(ConfigError, match="holds a fit of other data, or with another"):
      sdt.fit(inputs, labels, **({"plan": PLAN, "workdir": place} | others))


@pytest.mark.parametrize(
  ("changes", "error", "told"),
  [
    ({"minutes": 0}, ConfigError, "minutes=0: expected a number above 0"),
    ({"minutes": -1.0}, ConfigError, "minutes=-1.0"),
    ({"minutes": float("inf")}, ConfigError, "minutes=inf"),
    ({"minutes": "10"}, ConfigError, "minutes='10'"),
    ({"minutes": True}, ConfigError, "minutes=True"),
    ({"minutes": 0.01}, ConfigError, r"minutes=0.01: too short .* vectors; the least is 0.05"),
    ({"plan": PLAN}, ConfigError, "minutes=1.0 beside a plan, .* reads no clock; give one"),
    ({"seed": -1}, ConfigError, "seed=-1"),
    (OF_PLAN | {"plan": {"kind": "vectors"}}, ConfigError, "expected the `plan` of an earlier fit"),
    (OF_PLAN | {"plan": PLAN | {"kind": "tiny_images"}}, ConfigError, "its kind is 'tiny_images'"),
    ({"labels": None}, ConfigError, "labels: expected one for each"),
    ({"labels": Y[:-1]}, DataError, r"images have shape \[150, 4\] and labels \[149\]"),
    ({"images": X[:40], "labels": Y[:40]}, DataError, "40 examples are too few to hold 20"),
    ({"labels": np.arange(150)}, DataError, "150 of 150 classes have a single example"),
    ({"images": np.zeros((150, 4, 4)), "labels": Y}, DataError, "images must be uint8"),
    ({"images": "/nowhere", "labels": None}, DataError, "images=/nowhere: no such folder; name a"),
  ],
)
def test_what_is_wrong_is_refused_before_anything_compiles(
  changes, error, told, tmp_path, no_training
):
  given = {"images": X, "labels": Y, "minutes": 1.0, "plan": None, "seed": 0} | changes
  with pytest.raises(error, match=told):
    sdt.fit(given.pop("images"), given.pop("labels"), workdir=tmp_path / "run", **given)
  assert not (tmp_path / "run").exists()


def test_a_folder_that_holds_something_else_is_refused(tmp_path, no_training):
  (tmp_path / "notes.txt").write_text("mine")
  for plan in (None, PLAN):
    with pytest.raises(ConfigError, match="not an empty folder"):
      sdt.fit(X, Y, plan=plan, workdir=tmp_path)
  assert [one.name for one in tmp_path.iterdir()] == ["notes.txt"]


def images_in(folder, side):
  for name, grey in (("dark", 40), ("light", 200)):
    (folder / name).mkdir(parents=True)
    for number in range(40):
      pixels = np.random.default_rng(number).integers(0, 50, (side, side + 2), np.uint8) + grey
      Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{number:02d}.png")


@pytest.mark.parametrize(("side", "expected"), [(5, 8), (8, 8), (40, 32), (99, 64)])
def test_the_images_of_a_folder_become_the_largest_size_that_they_fill(side, expected, tmp_path):
  images_in(tmp_path / "train", side)
  (tmp_path / "test" / "dark").mkdir(parents=True)
  found = fitting._examples(Request(tmp_path, None, minutes=1.0), 0)
  assert found.config.image_size == expected
  assert list(found.classes) == ["dark", "light"]
  assert (len(found.cut.train), len(found.cut.test)) == (60, 20)
  with pytest.raises(ConfigError, match="labels: a folder has its labels"):
    sdt.fit(tmp_path, Y)


def test_a_fit_by_the_clock_that_is_stopped_while_it_measures_says_to_begin_again(monkeypatch):
  def stopped(*_):
    raise sdt.errors.Interrupted("stopped by SIGTERM before arm baseline; run the same command")

  monkeypatch.setattr(fitting.timed, "forecast", stopped)
  trials = fitting.Trials.__new__(fitting.Trials)
  with pytest.raises(sdt.errors.Interrupted, match="before arm baseline; a fit by the clock does"):
    fitting._searched(trials, None, secs_left=lambda: 60.0)


@pytest.mark.slow
def test_a_fit_by_the_clock_and_its_plan_come_to_the_same_bytes_though_it_was_killed(
  tmp_path, monkeypatch
):
  request = Request(X, Y, minutes=0.5, workdir=tmp_path / "timed")
  timed = fit_by(request, clock=time.process_time)
  with monkeypatch.context() as patch:
    whole.signal_at(patch, "baseline", 2.4)
    with pytest.raises(sdt.errors.Interrupted):
      sdt.fit(X, Y, plan=timed.plan, workdir=tmp_path / "again")
  again = sdt.fit(X, Y, plan=timed.plan, workdir=tmp_path / "again")
  assert again.weights == timed.weights
  kept = [json.dumps(one.record["trials"]) for one in (timed, again)]
  assert kept[0] == kept[1]


@pytest.mark.slow
def test_a_folder_of_images_is_learned(tmp_path):
  images_in(tmp_path / "photos", 8)
  plan = {"kind": "tiny_images", "seed": 0, "rungs": [[2, 9]]}
  fitted = sdt.fit(tmp_path / "photos", plan=plan)
  light = fitted.predict(sorted((tmp_path / "photos" / "light").iterdir()))
  assert np.mean(light == "light") > 0.9


@pytest.mark.slow
def test_trials_that_differ_in_rates_decays_and_strengths_share_one_program(monkeypatch):
  trained, compiled = [], compile_module._compiled

  def noted(key, arguments):
    trained.extend([key.program] if isinstance(key.program, Program) else [])
    return compiled(key, arguments)

  compile_module._slot.cache_clear()
  monkeypatch.setattr(compile_module, "_compiled", noted)
  stripes = np.random.default_rng(0).integers(0, 200, (100, 8, 8), np.uint8)
  labels = np.arange(100) % 2
  stripes[labels == 1, :, :4] += 50
  plan = {"kind": "tiny_images", "seed": 0, "rungs": [[5, 3]]}
  fitted = sdt.fit(stripes, labels, plan=plan)
  networks = {tuple(one["values"]["model.widths"]) for one in fitted.trials}
  assert len({one["values"]["augment.ops"] for one in fitted.trials}) > 1
  assert len(trained) == len(networks) < 5
