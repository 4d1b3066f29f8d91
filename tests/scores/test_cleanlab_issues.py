"""What cleanlab calls wrong: cases worked by hand, and cleanlab itself for the numbers."""

import warnings

import numpy as np
import pytest

from sdt.scores import cleanlab_issues

pytestmark = pytest.mark.filterwarnings("default")  # of the packages of others


def cleanlab():
  return pytest.importorskip("cleanlab.filter", reason="needs the package cleanlab")


def certain(classes, num_classes=2, rest=0.1):
  """Returns [N, K]: a network that is sure of these classes."""
  share = rest / (num_classes - 1)
  return np.where(np.arange(num_classes) == np.array(classes)[:, None], 1 - rest, share).astype(
    np.float32
  )


LABELS = np.array([0, 0, 0, 0, 1, 1, 1, 1], np.int32)
# Sure of every label but the fourth and the last.
ONE = certain([0, 0, 0, 1, 1, 1, 1, 0])
# Sure of every label but the fourth.
TWO = certain([0, 0, 0, 1, 1, 1, 1, 1])


def test_of_two_classes_what_the_network_is_sure_is_the_other_is_an_issue():
  cleanlab()
  found = cleanlab_issues.find(LABELS, np.stack([ONE, TWO]), np.array([True, True]))
  np.testing.assert_array_equal(np.flatnonzero(found.is_issue[0]), [3, 7])
  np.testing.assert_array_equal(np.flatnonzero(found.is_issue[1]), [3])
  np.testing.assert_array_equal(found.seeds_agree, [0, 0, 0, 2, 0, 0, 0, 1])
  np.testing.assert_array_equal(np.flatnonzero(found.is_flagged), [3])
  assert found.version == pytest.importorskip("cleanlab").__version__


def test_the_issues_are_those_of_cleanlab_for_each_seed():
  own = cleanlab().find_label_issues
  rng = np.random.default_rng(0)
  truth = rng.integers(0, 4, 200)
  labels = np.where(rng.random(200) < 0.2, rng.integers(0, 4, 200), truth).astype(np.int32)
  unsure = rng.dirichlet(np.full(4, 0.3), (3, 200))
  probabilities = (0.5 * unsure + 0.5 * np.eye(4)[truth]).astype(np.float32)
  found = cleanlab_issues.find(labels, probabilities, np.array([True, False, True]))
  assert len(found.is_issue) == 2  # the seed that diverged has no say
  for mask, rows in zip(found.is_issue, probabilities[[0, 2]], strict=True):
    np.testing.assert_array_equal(mask, own(labels, rows.astype(float), n_jobs=1))
    assert 0 < mask.sum() < 100


@pytest.mark.parametrize(
  ("labels", "probabilities", "issues"),
  [
    # Nobody has label 2, as where a fold lacks a class.
    ([0, 0, 0, 0, 1, 1, 1, 1], certain([0, 0, 0, 1, 1, 1, 1, 1], 3), [3]),
    # Exactly 0 and 1.
    (LABELS, certain([0, 0, 0, 1, 1, 1, 1, 1], rest=0.0), [3]),
    # The network of a seed that diverged.
    (LABELS, np.full((8, 2), np.nan, np.float32), []),
    (LABELS, np.where(np.arange(8)[:, None] == 2, np.nan, ONE), []),
    # A set with one label.
    ([0] * 8, ONE, []),
    # One example of each class.
    ([0, 1], certain([1, 0]), []),
  ],
)
def test_what_is_missing_extreme_or_no_number_is_no_error(labels, probabilities, issues):
  cleanlab()
  with warnings.catch_warnings():
    warnings.simplefilter("error")  # and it is quiet
    found = cleanlab_issues.find(
      np.asarray(labels, np.int32), probabilities[None], np.array([False])
    )
  np.testing.assert_array_equal(np.flatnonzero(found.is_flagged), issues)


def test_the_summary_counts_what_is_ours_too_and_what_is_known_to_be_wrong():
  called = np.array([[1, 1, 1, 0, 0], [1, 1, 0, 1, 0]], bool)
  issues = cleanlab_issues.CleanlabIssues(called, "2.9.0")
  ours, wrong = np.array([0, 1, 1, 0, 1], bool), np.array([1, 1, 0, 0, 0], bool)
  assert issues.summary(ours, wrong) == {
    "version": "2.9.0",
    "num": 2,
    "num_ours": 1,
    "known_wrong": 2,
  }
  assert "known_wrong" not in issues.summary(ours, None)
