"""Which labels the package cleanlab calls wrong, beside our own suspects."""

import dataclasses
import importlib.metadata
import warnings

import numpy as np
from jaxtyping import Bool, Float, Int


@dataclasses.dataclass(frozen=True)
class CleanlabIssues:
  """What cleanlab says of the training labels.

  Attributes:
    is_issue: [R, N], what it calls wrong by the probabilities of each seed that did not diverge.
    version: of the package.
  """

  is_issue: Bool[np.ndarray, "R N"]
  version: str

  @property
  def seeds_agree(self) -> Int[np.ndarray, "N"]:
    """By how many seeds each label is called wrong, [N]."""
    return self.is_issue.sum(axis=0)

  @property
  def is_flagged(self) -> Bool[np.ndarray, "N"]:
    """Which labels are called wrong by every seed, [N]."""
    return self.is_issue.all(axis=0)

  def summary(
    self, ours: Bool[np.ndarray, "N"], wrong: Bool[np.ndarray, "N"] | None
  ) -> dict[str, object]:
    """Returns the entry `cleanlab` of the summary of suspects; see docs/artifacts.md.

    Args:
      ours: [N], which examples are our suspects.
      wrong: [N], which labels are known to be wrong; None where that is not known.
    """
    flagged = self.is_flagged
    found = {} if wrong is None else {"known_wrong": int((wrong & flagged).sum())}
    return {
      "version": self.version,
      "num": int(flagged.sum()),
      "num_ours": int((flagged & ours).sum()),
      **found,
    }


def issues_of(
  labels: Int[np.ndarray, "N"], probabilities: Float[np.ndarray, "N K"]
) -> Bool[np.ndarray, "N"]:
  """Returns which labels `cleanlab.filter.find_label_issues` calls wrong, [N], by its default rule.

  A network that gave a number that is none calls nothing wrong.

  Args:
    labels: [N], the given ones.
    probabilities: [N, K], in [0, 1], of a network that has not seen the example.

  Source: Northcutt, Jiang and Chuang 2021, "Confident Learning: Estimating Uncertainty in Dataset
  Labels"; the code is cleanlab's own.
  """
  from cleanlab.filter import find_label_issues

  if not np.isfinite(probabilities).all():
    return np.zeros(len(labels), bool)
  with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of classes with few examples, and of libraries below it
    return find_label_issues(labels, probabilities.astype(np.float64), n_jobs=1)


def find(
  labels: Int[np.ndarray, "N"],
  probabilities: Float[np.ndarray, "R N K"],
  sound: Bool[np.ndarray, "R"],
) -> CleanlabIssues:
  """Returns what cleanlab says by the networks of each seed.

  Args:
    labels: [N], the given ones.
    probabilities: [R, N, K], out of fold.
    sound: [R], False for a seed whose network diverged: it has no say, unless no seed is sound.
  """
  counted = probabilities[sound] if sound.any() else probabilities
  return CleanlabIssues(
    np.stack([issues_of(labels, rows) for rows in counted]), importlib.metadata.version("cleanlab")
  )
