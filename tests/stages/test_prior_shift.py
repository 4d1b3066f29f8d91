"""A run whose thresholds are moved by a strength that the validation split chooses."""

import dataclasses

import numpy as np
import pytest
from sklearn import metrics

from sdt import files
from sdt.config.keys.evaluate import SHIFT_STEP
from sdt.data.validation_split import with_validation
from sdt.engine.prediction_pass import Predictor
from sdt.run.programs import Setup
from sdt.stats import prior_shift
from tests.support import tiny, whole

CONFIG = whole.config(
  arms=("baseline",),
  data__imbalance="longtail(6)",
  data__validation_fraction=0.3,
  evaluate__prior_shift=2.0,
  evaluate__ensemble=True,
)
FILE = "predictions_prior_shift.npz"


@pytest.fixture(scope="module")
def shifted(tmp_path_factory):
  """A run, and what its networks said of the validation split."""
  workdir, said = tmp_path_factory.mktemp("shift") / "run", []
  predictions = Predictor.predictions

  def listening(self, variables):
    for part in predictions(self, variables):
      said.append((self._source.num_test, part[2]))
      yield part

  with pytest.MonkeyPatch.context() as patch:
    whole.without_report(patch)
    patch.setattr(Predictor, "predictions", listening)
    assert whole.run(CONFIG, workdir) == 0
  size = len(with_validation(tiny.data(CONFIG), CONFIG.data).validation)
  (held_out,) = [one.probabilities for num, one in said if num == size]
  return workdir, held_out


def test_the_strengths_are_chosen_by_held_out_examples_that_nothing_trained_on(shifted):
  workdir, held_out = shifted
  data = with_validation(tiny.data(CONFIG), CONFIG.data)
  trained, validation = data.train, data.validation
  assert not set(trained.example_ids) & set(validation.example_ids)
  assert files.read_json(workdir / "results.json")["data"]["num_train"] == len(trained)
  shares = np.bincount(trained.labels) / len(trained)
  tried = prior_shift.strengths(2.0, SHIFT_STEP)
  stored = files.map_npz(workdir / FILE)
  expected = [prior_shift.chosen(one, validation.labels, shares, tried) for one in held_out]
  assert stored["strengths"].tolist() == [expected]
  assert max(expected) > 0


def test_the_answers_are_those_of_the_centre_over_a_power_of_the_shares(shifted):
  workdir, _ = shifted
  plain, moved = (files.map_npz(workdir / name) for name in ("predictions.npz", FILE))
  data, labels = with_validation(tiny.data(CONFIG), CONFIG.data), plain["label"]
  shares = np.bincount(data.train.labels) / len(data.train)
  row = next(
    row
    for row in files.read_json(workdir / "results.json")["predictions"]["answers"]
    if row["way"] == "prior_shift" and row["ensemble"] is None
  )
  for place, strength in enumerate(moved["strengths"][0]):
    weights = plain["probabilities"][0, place].astype(np.float64) / shares**strength
    expected = weights / weights.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(moved["probabilities"][0, place], expected, rtol=1e-5, atol=1e-9)
    answers = expected.argmax(axis=1)
    np.testing.assert_array_equal(moved["predicted"][0, place], answers)
    np.testing.assert_array_equal(moved["label_rank"][0, place] == 0, answers == labels)
    seed = str(CONFIG.seeds[place])
    assert row["accuracy"]["per_seed"][seed] == pytest.approx((answers == labels).mean())
    balanced = metrics.balanced_accuracy_score(labels, answers)
    assert row["balanced_accuracy"]["per_seed"][seed] == pytest.approx(balanced)
    loss = metrics.log_loss(labels, expected, labels=[0, 1, 2])
    assert row["nll"]["per_seed"][seed] == pytest.approx(loss, rel=1e-4)
    assert row["strength"]["per_seed"][seed] == strength


def test_a_lost_file_is_made_again_to_the_same_bytes(shifted, monkeypatch, no_training):
  workdir, _ = shifted
  whole.without_report(monkeypatch)
  before = whole.outputs(workdir, report=False)
  files.remove(workdir / FILE)
  assert whole.run(CONFIG, workdir) == 0
  assert whole.outputs(workdir, report=False) == before


def test_a_setup_without_a_validation_split_has_none_to_ask():
  of = dataclasses.replace(CONFIG, evaluate=type(CONFIG.evaluate)())
  with pytest.raises(ValueError, match="no validation split"):
    _ = Setup.make(of, tiny.data(of), is_abstract=True).validation_predictor


@pytest.mark.slow
def test_a_run_that_is_stopped_while_it_asks_goes_on_to_the_same_bytes(
  shifted, tmp_path, monkeypatch
):
  workdir, _ = shifted
  whole.without_report(monkeypatch)
  for number, (task, done) in enumerate([("baseline", 2.5), ("predictions", 1)]):
    path = tmp_path / str(number)
    whole.stopped(CONFIG, path, monkeypatch, task=task, done=done)
    assert whole.run(CONFIG, path) == 0
    whole.assert_same(CONFIG, workdir, path, report=False)
