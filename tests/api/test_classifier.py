"""`SdtClassifier` as scikit-learn's own tools use it."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from sdt import SdtClassifier
from sdt.api import classifier as module
from sdt.api.labelled import names_of
from sdt.errors import ConfigError, DataError, Interrupted, WorkdirError
from tests.support import whole

# One training of one network, some seconds long: enough for scikit-learn's easy problems.
QUICK = {
  "model": {"name": "mlp", "hidden_sizes": [32]},
  "arms": ["baseline"],
  "seeds": [0],
  "rounds": 15,
  "batch_size": 8,
  "optim": {"learning_rate": 0.05, "milestones": [10]},
  "parallel": {"num_devices": 1},
  "compilation_cache": False,
}
VERY_QUICK = QUICK | {"rounds": 4, "optim": {"learning_rate": 0.05, "milestones": [3]}}


@pytest.fixture(scope="module")
def fitted():
  X, y = load_iris(return_X_y=True)
  names = np.array(["setosa", "versicolor", "virginica"])[y]
  return SdtClassifier(QUICK).fit(X, names), X, names


def test_vectors_with_names_are_learned_and_predicted(fitted):
  classifier, X, names = fitted
  assert list(classifier.classes_) == ["setosa", "versicolor", "virginica"]
  rows = classifier.predict_proba(X)
  assert list(classifier.predict(X)) == list(classifier.classes_[rows.argmax(axis=1)])
  assert classifier.score(X, names) == np.mean(classifier.predict(X) == names) > 0.85
  assert classifier.results_["arms"]["baseline"]["accuracy"]["0"] > 0.8


def test_a_fitted_classifier_needs_no_files_and_survives_a_pickle(fitted):
  classifier, X, _ = fitted
  again = pickle.loads(pickle.dumps(classifier))  # noqa: S301 - of this test
  np.testing.assert_array_equal(again.predict_proba(X), classifier.predict_proba(X))


@pytest.mark.slow
def test_it_clones_and_works_in_a_pipeline_and_a_cross_validation(fitted):
  classifier, X, names = fitted
  assert clone(classifier).get_params() == classifier.get_params()
  assert clone(classifier).set_params(verbose=True).verbose
  quick = SdtClassifier(VERY_QUICK)
  scores = cross_val_score(make_pipeline(StandardScaler(), quick), X, names, cv=2)
  assert scores.shape == (2,)
  assert scores.mean() > 0.5


def test_images_are_classified_and_a_workdir_keeps_every_fit(tmp_path, monkeypatch):
  whole.quick_report(monkeypatch)
  digits = load_digits()
  images = np.rint(digits.images * (255 / 16)).astype(np.uint8)[:300]
  classifier = SdtClassifier(VERY_QUICK, workdir=tmp_path)
  rows = classifier.fit(images, digits.target[:300]).predict_proba(images)
  assert rows.shape == (300, 10)
  assert classifier.predict(images).dtype == digits.target.dtype
  with pytest.raises(ValueError, match=r"may be one image or many grey ones"):
    classifier.predict(images[0][..., None])
  with pytest.raises(ValueError, match=r"one image is x\[None\]"):
    classifier.predict(images[0])
  larger = np.kron(images[..., None], np.ones((1, 3, 3, 1), np.uint8))
  with pytest.warns(UserWarning, match="300 images of another size were scaled to 8 x 8 pixels"):
    assert np.mean(classifier.predict(larger) == classifier.predict(images)) > 0.9
  with monkeypatch.context() as patch:
    whole.forbid_training(patch)
    again = SdtClassifier(VERY_QUICK, workdir=tmp_path).fit(images, digits.target[:300])
    np.testing.assert_array_equal(again.predict_proba(images), rows)
  assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.slow
def test_a_classifier_that_learned_nothing_warns_and_predicts_all_the_same():
  random = np.random.default_rng(0)
  X, y = random.normal(size=(40, 3)), random.integers(0, 2, 40)
  frozen = QUICK | {"optim": {"learning_rate": 1e-9, "milestones": []}}
  with pytest.warns(ConvergenceWarning, match="No network of baseline is fit"):
    classifier = SdtClassifier(frozen).fit(X, y)
  assert classifier.predict_proba(X).shape == (40, 2)


def test_what_cannot_be_trained_on_is_a_value_error(tmp_path):
  X, y = load_iris(return_X_y=True)
  for inputs, labels, told in (
    (X[:50], y[:50], "only one class"),
    (X, y + 0.5, "continuous"),
    (np.zeros((30, 4, 4)), y[::5], "images must be uint8"),
    (X, list(y[:-1]), "inconsistent"),
  ):
    with pytest.raises(ValueError, match=told):
      SdtClassifier(QUICK, workdir=tmp_path).fit(inputs, labels)
  assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
  ("arguments", "told"),
  [
    ({"arm": "metod"}, "no arm 'metod'; the run has baseline"),
    ({"arm": "method"}, "no arm 'method'; the run has baseline"),
    ({"seeds": [7]}, "no seed 7; expected all, or some of 0"),
    ({"seeds": None}, "seeds=None: expected 'all'"),
    ({"config": "nofile.py"}, "nofile.py"),
    ({"config": {"roudns": 3}}, "roudns"),
    ({"config": 3}, "config is a int"),
    ({"test_fraction": 0.0}, "test_fraction=0.0: expected a number above 0 and below 1"),
    ({"test_fraction": -1}, "test_fraction=-1"),
    ({"test_fraction": 1.5}, "test_fraction=1.5"),
    ({"test_fraction": "a"}, "test_fraction='a'"),
  ],
)
def test_a_wrong_argument_is_a_value_error_before_anything_is_trained(
  arguments, told, tmp_path, no_training
):
  X, y = load_iris(return_X_y=True)
  with pytest.raises(ValueError, match=told):
    SdtClassifier(**{"config": QUICK, "workdir": tmp_path} | arguments).fit(X, y)
  assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
  ("raised", "expected"),
  [
    (Interrupted("stopped by SIGINT"), KeyboardInterrupt),
    (DataError("bad"), ValueError),
    (ConfigError("bad"), ValueError),
    (WorkdirError("full"), WorkdirError),
  ],
)
def test_a_signal_stops_a_cross_validation_and_other_errors_are_what_they_are(
  raised, expected, monkeypatch
):
  calls = []

  def finish(*arguments, **options):
    calls.append(arguments)
    raise raised

  monkeypatch.setattr(module, "finish", finish)
  X, y = load_iris(return_X_y=True)
  with pytest.raises(expected, match=str(raised)):
    SdtClassifier(QUICK).fit(X, y)
  if expected is KeyboardInterrupt:
    with pytest.raises(KeyboardInterrupt):
      cross_val_score(SdtClassifier(QUICK), X, y, cv=3)
    assert len(calls) == 2


@pytest.mark.parametrize("bad", ["", "a\nb", "x" * 256, "\r", " "])
def test_labels_that_can_be_no_class_name_are_numbered_and_the_others_keep_theirs(bad):
  assert names_of(np.array([bad, "c"])) == ["0", "1"]
  assert names_of(np.array(["x" * 255, "c "])) == ["x" * 255, "c "]


def test_bools_grey_batches_and_labels_without_a_name_are_fitted_and_predicted_in_silence(capfd):
  random = np.random.default_rng(0)
  y = np.array(["", "c"])[np.arange(40) % 2]
  tiny = VERY_QUICK | {"model": {"name": "mlp", "hidden_sizes": [4]}}
  bools = random.integers(0, 2, (40, 3)).astype(bool)
  bools[:, 0] = y == "c"
  stripes = random.integers(0, 9, (40, 4, 3), dtype=np.uint8)
  stripes[y == "c"] += 200
  for inputs in (bools, stripes):
    classifier = SdtClassifier(tiny).fit(inputs, y)
    assert classifier.classes_.tolist() == ["", "c"]
    assert classifier.predict_proba(inputs).shape == (40, 2)
    assert set(classifier.predict(inputs)) <= {"", "c"}
  assert "sdt:" not in capfd.readouterr().err


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # labels at random
@parametrize_with_checks([SdtClassifier(QUICK)])  # none is expected to fail
def test_scikit_learns_own_checks(estimator, check):
  check(estimator)
