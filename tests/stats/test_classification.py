"""The figures of a classifier, against scikit-learn's and cases made by hand."""

import warnings

import numpy as np
import pytest
from sklearn import calibration, metrics

from sdt.stats import classification
from sdt.stats.classification import Answers


def drawn(num_classes, n=400, seed=0, *, without=()):
  """Returns labels and probabilities [n, K] of a fair classifier; no label is in `without`."""
  rng = np.random.default_rng(seed)
  classes = [label for label in range(num_classes) if label not in without]
  labels = rng.choice(classes, n).astype(np.int32)
  logits = rng.normal(size=(n, num_classes))
  logits[np.arange(n), labels] += rng.normal(1.0, 1.5, n)
  values = np.exp(logits)
  return labels, (values / values.sum(axis=1, keepdims=True)).astype(np.float32)


def answers(labels, probabilities):
  own = probabilities[np.arange(len(labels)), labels]
  ranks = classification.label_ranks(probabilities, labels)
  predicted = probabilities.argmax(axis=1)
  return classification.answers_of(
    probabilities,
    labels,
    predicted=predicted,
    label_rank=ranks,
    label_log_probability=np.log(own.astype(np.float64)),
  )


@pytest.mark.parametrize(("num_classes", "without"), [(2, ()), (7, ()), (7, (3,)), (120, ())])
def test_every_figure_is_that_of_scikit_learn(num_classes, without):
  labels, probabilities = drawn(num_classes, without=without)
  found = classification.figures(labels, answers(labels, probabilities), num_classes)
  predicted, classes = probabilities.argmax(axis=1), np.arange(num_classes)
  assert found.accuracy == metrics.accuracy_score(labels, predicted)
  expected = metrics.precision_recall_fscore_support(
    labels, predicted, labels=classes, zero_division=np.nan
  )
  for ours, theirs in zip((found.precision, found.recall, found.f1), expected, strict=False):
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)
  np.testing.assert_array_equal(
    found.confusion, metrics.confusion_matrix(labels, predicted, labels=classes)
  )
  with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # a class without examples is predicted
    balanced = metrics.balanced_accuracy_score(labels, predicted)
  assert found.balanced_accuracy == pytest.approx(balanced, rel=1e-12)
  exact = probabilities.astype(np.float64)
  exact /= exact.sum(axis=1, keepdims=True)
  assert found.nll == pytest.approx(metrics.log_loss(labels, exact, labels=classes), rel=1e-6)
  brier = metrics.brier_score_loss(labels, exact, labels=classes, scale_by_half=False)
  assert found.brier == pytest.approx(brier, rel=1e-6)
  if num_classes <= 5:
    assert found.top5_accuracy is None
  else:
    expected = metrics.top_k_accuracy_score(labels, probabilities, k=5, labels=classes)
    assert found.top5_accuracy == expected


def test_the_reliability_diagram_is_that_of_scikit_learn_and_the_error_its_definition():
  labels, probabilities = drawn(4, 1000)
  confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
  bins = classification.reliability(confidence, right)
  accuracy, mean = calibration.calibration_curve(right, confidence, n_bins=15, strategy="uniform")
  full = bins.count > 0
  np.testing.assert_allclose(bins.accuracy[full], accuracy)
  np.testing.assert_allclose(bins.confidence[full], mean)
  error = 0.0
  for low in range(15):
    inside = (confidence > low / 15) & (confidence <= (low + 1) / 15)
    assert bins.count[low] == inside.sum()
    if inside.any():
      error += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
  assert bins.error == pytest.approx(error, rel=1e-6)
  assert np.isnan(bins.accuracy[~full]).all()
  assert not full.all()


def test_a_confidence_on_a_border_belongs_to_the_lower_bin_and_the_ends_to_the_outer_ones():
  confidence = np.array([0.0, 0.25, 0.5, np.nextafter(0.5, 1), 1.0])
  bins = classification.reliability(confidence, np.ones(5, bool), num_bins=4)
  assert bins.count.tolist() == [2, 1, 1, 1]


def test_classes_without_examples_or_predictions_have_no_figure_and_the_others_theirs():
  confusion = np.array([[3, 1, 0, 0], [0, 0, 0, 0], [2, 0, 0, 0], [0, 0, 0, 0]])
  recall, precision, f1 = classification.of_classes(confusion)
  np.testing.assert_array_equal(recall, [0.75, np.nan, 0.0, np.nan])
  np.testing.assert_array_equal(precision, [0.6, 0.0, np.nan, np.nan])
  np.testing.assert_array_equal(f1, [2 * 3 / 9, 0.0, 0.0, np.nan])


def test_of_equal_values_the_class_of_lower_number_comes_first():
  values = np.array([[0.4, 0.4, 0.2], [0.2, 0.4, 0.4], [0.4, 0.2, 0.4]])
  assert classification.label_ranks(values, np.array([1, 1, 2])).tolist() == [1, 0, 1]


def test_the_ensemble_is_the_mean_of_the_chosen_networks():
  labels, first = drawn(6, seed=1)
  second, lost = drawn(6, seed=2)[1], np.full_like(first, np.nan)
  stored = np.stack([first, lost, second])
  own = np.log(stored[:, np.arange(len(labels)), labels])
  found = classification.ensemble_of(stored, labels, own, networks=[0, 2])
  expected = answers(labels, (first.astype(np.float64) + second) / 2)
  np.testing.assert_array_equal(found.predicted, expected.predicted)
  np.testing.assert_array_equal(found.label_rank, expected.label_rank)
  for name in ("label_log_probability", "confidence", "squared_error"):
    np.testing.assert_allclose(getattr(found, name), getattr(expected, name), atol=1e-6)


def test_a_probability_that_is_rounded_to_nothing_has_a_finite_likelihood():
  probabilities = np.tile(np.array([[1.0, 0.0]], np.float32), (2, 1, 1))
  found = classification.ensemble_of(
    probabilities, np.array([1]), np.array([[-200.0], [-300.0]]), networks=[0, 1]
  )
  assert found.label_log_probability[0] == pytest.approx(-200 - np.log(2))


def test_reading_in_parts_changes_nothing(monkeypatch):
  labels, probabilities = drawn(6)
  stored = np.stack([probabilities, probabilities[::-1]]).astype(np.float16)
  own = np.log(stored[:, np.arange(len(labels)), labels].astype(np.float64))

  def all_answers():
    return [answers(labels, stored[0]), classification.ensemble_of(stored, labels, own, [0, 1])]

  whole = all_answers()
  monkeypatch.setattr(classification, "_CHUNK_NUMBERS", 100)
  for one, other in zip(whole, all_answers(), strict=True):
    for name in Answers.__dataclass_fields__:
      np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_the_most_frequent_confusions_and_the_classes_in_them():
  confusion = np.array([[9, 2, 0, 0], [2, 7, 0, 1], [0, 0, 5, 0], [0, 4, 0, 5]])
  assert classification.most_confused(confusion, 3) == [(3, 1, 4), (0, 1, 2), (1, 0, 2)]
  assert len(classification.most_confused(confusion, 99)) == 4
  assert classification.most_confused_classes(confusion, 2).tolist() == [1, 3]
  assert classification.most_confused_classes(confusion, 3).tolist() == [0, 1, 3]
  assert classification.most_confused_classes(np.diag([5, 5, 5]), 2).tolist() == [0, 1]
