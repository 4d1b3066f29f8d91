"""How far the scores of several seeds agree, and how well they find what is known to be wrong or
difficult.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sdt.config.schema import SplitConfig
from sdt.config.score_names import SCORES, Score
from sdt.data.dataset import Dataset
from sdt.scores.split import Partition

_LEAST_OVERLAP = 0.5
_UNSTEADY = (
  "two seeds share only {:.0f} % of the A that their own scores give, so that which examples "
  "count as easy depends much on the seed; {}; "
  "another score.name may be steadier too"
)
_ADVICE = {
  "seed": (
    "split.source=mean splits for all seeds by the mean score, which more seeds make steadier"
  ),
  "mean": "more seeds make the mean, by which all of them split, steadier",
}


def without_nan(score: Score, values: np.ndarray) -> np.ndarray:
  """Returns the values of a score with the hardest that it can have in the place of NaN, which a
  diverged network may give.
  """
  return np.where(np.isnan(values), score.hardest, values).astype(values.dtype)


def easiness(score: Score, values: np.ndarray) -> np.ndarray:
  """Returns the values of a score turned so that larger is easier, without NaN: what examples are
  ranked by.
  """
  numbers = without_nan(score, values)
  return numbers if score.is_higher_easier else -numbers


def mean_score(score: Score, values: np.ndarray, sound: np.ndarray) -> np.ndarray:
  """Returns the mean [N] of a score [R, N] over the seeds that are `sound` [R]; over all of them
  where none is.
  """
  numbers = without_nan(score, values)
  with np.errstate(
    invalid="ignore", over="ignore"
  ):  # what a diverged network gives may be infinite
    mean = (numbers[sound] if sound.any() else numbers).mean(axis=0)
  return without_nan(score, mean)


def score_summary(
  score: Score, values: np.ndarray, seeds: Sequence[int], sound: np.ndarray
) -> dict[str, Any]:
  """Returns what is said of a score [R, N] in scores.json.

  mean, sd: over all examples of the seeds that are `sound` [R] (of all of them where none is);
  per_seed: of every seed alone. sd_over_seeds: the spread of an example's score over these seeds,
  mean over the examples; null for fewer than two. mean_spearman: correlation of two of these seeds'
  scores, mean over the pairs; null for fewer than two.
  """
  counted = (values[sound] if sound.any() else values).astype(np.float64)
  spread = sd_over_seeds(values, sound)
  with np.errstate(
    invalid="ignore", over="ignore"
  ):  # what a diverged network gives may be infinite
    per_seed = {
      seed: {"mean": row.mean(), "sd": row.std()}
      for seed, row in zip(seeds, values.astype(np.float64), strict=True)
    }
    return {
      "mean": counted.mean(),
      "sd": counted.std(),
      "per_seed": per_seed,
      "sd_over_seeds": None if spread is None else float(spread.mean()),
      "mean_spearman": None
      if spread is None
      else _mean_over_pairs(spearman(easiness(score, counted))),
    }


def sd_over_seeds(values: np.ndarray, sound: np.ndarray) -> np.ndarray | None:
  """Returns the standard deviation [N] of a score [R, N] over the seeds that count, None for fewer
  than two of them.
  """
  counted = values[sound] if sound.any() else values
  if len(counted) < 2:
    return None
  with np.errstate(invalid="ignore", over="ignore"):
    return counted.std(axis=0, ddof=1)


def spearman(scores: np.ndarray) -> np.ndarray:
  """Returns Spearman's correlation [R, R] of the rows of `scores` [R, N]; NaN for a row of one
  value, which has none.
  """
  from scipy.stats import rankdata

  with np.errstate(invalid="ignore", divide="ignore"):
    return np.corrcoef(rankdata(scores, axis=1))


def _mean_over_pairs(matrix: np.ndarray) -> float:
  """Returns the mean of a symmetric matrix [R, R] over pairs of different rows."""
  return float(matrix[np.triu_indices(len(matrix), 1)].mean())


def score_stability(
  scores: np.ndarray, partitions: Sequence[Partition], rule: SplitConfig, sound: np.ndarray
) -> dict[str, Any] | None:
  """Returns how far the seeds agree, None for one seed.

  Args:
    scores: [R, N].
    partitions: per seed, by its own scores; their As are of one size.
    rule: `split`; the As of random draws are not expected to agree.
    sound: [R] bool, False for a seed whose network diverged: it stands in the matrices, but in no
      mean.
  Returns:
    Spearman's correlation of the scores and |A_i & A_j| / |A| of every pair of seeds, [R, R], their
    means over pairs of different seeds that are sound (None for fewer than two), and a `warning` in
    words where these share less than half of A, else None.
  """
  if len(scores) < 2:
    return None
  correlation = spearman(scores)
  in_easy = np.zeros(scores.shape, bool)
  for row, part in zip(in_easy, partitions, strict=True):
    row[part.easy] = True
  overlap = (in_easy[:, None] & in_easy[None]).sum(axis=2) / in_easy[0].sum()
  has_pair = sound.sum() > 1
  mean_overlap = _mean_over_pairs(overlap[sound][:, sound]) if has_pair else None
  is_unsteady = (
    mean_overlap is not None and rule.policy != "random" and mean_overlap < _LEAST_OVERLAP
  )
  return {
    "spearman": correlation,
    "overlap_of_A": overlap,
    "mean_spearman": _mean_over_pairs(correlation[sound][:, sound]) if has_pair else None,
    "mean_overlap_of_A": mean_overlap,
    "warning": _UNSTEADY.format(100 * mean_overlap, _ADVICE[rule.source])
    if is_unsteady and mean_overlap is not None
    else None,
  }


def score_truth(
  train: Dataset,
  scores: Mapping[str, np.ndarray],
  partitions: Sequence[Partition],
  seeds: Sequence[int],
  sound: np.ndarray,
  table: Mapping[str, Score] = SCORES,
) -> dict[str, Any] | None:
  """Returns how well the scores [R, N] know the truth about the examples, None where none is known.

  auroc_wrong_label: per scorer the area under the ROC curve of "low score" as the sign of a wrong
  label; 1 is perfect, 0.5 is chance. average_precision_wrong_label: per scorer the precision of
  "low score" as that sign, mean over the wrong labels, each at its own rank; 1
    is perfect, wrong_label_rate, the share of the labels that is wrong, is chance.
  spearman_difficulty: per scorer Spearman's correlation of the score with minus the difficulty; 1
  is perfect. These are means over the seeds that are `sound` [R] (over all of them where none is),
  None where they are not defined. wrong_labels_in_A: per seed the share of A, in [0, 1], whose
  label is wrong, None where it is not known; wrong_labels_in_cut: the same of
    what is left out of A and B, only where something is.
  """
  from scipy.stats import rankdata
  from sklearn.metrics import average_precision_score, roc_auc_score

  wrong, difficulty = train.wrong_label, train.difficulty
  if wrong is None and difficulty is None:
    return None
  truth: dict[str, Any] = {
    "auroc_wrong_label": dict.fromkeys(scores),
    "average_precision_wrong_label": dict.fromkeys(scores),
  }
  truth |= {
    "wrong_label_rate": None if wrong is None else float(wrong.mean()),
    "wrong_labels_in_A": dict.fromkeys(seeds),
  }
  truth["spearman_difficulty"] = dict.fromkeys(scores)
  for name, values in scores.items():
    ease = easiness(table[name], values)
    ranks = rankdata(ease[sound] if sound.any() else ease, axis=1)  # infinities in order
    if wrong is not None and wrong.any() and not wrong.all():
      truth["auroc_wrong_label"][name] = float(
        np.mean([roc_auc_score(wrong, -row) for row in ranks])
      )
      truth["average_precision_wrong_label"][name] = float(
        np.mean([average_precision_score(wrong, -row) for row in ranks])
      )
    if difficulty is not None:
      known = rankdata(-difficulty)
      with np.errstate(
        invalid="ignore", divide="ignore"
      ):  # constants have no correlation: NaN, written as null
        truth["spearman_difficulty"][name] = float(
          np.mean([np.corrcoef(row, known)[0, 1] for row in ranks])
        )
  if wrong is not None:
    truth["wrong_labels_in_A"] = {
      seed: float(wrong[part.easy].mean()) for seed, part in zip(seeds, partitions, strict=True)
    }
    if any(len(part.left_out) for part in partitions):
      truth["wrong_labels_in_cut"] = {
        seed: float(wrong[part.left_out].mean())
        for seed, part in zip(seeds, partitions, strict=True)
      }
  return truth
