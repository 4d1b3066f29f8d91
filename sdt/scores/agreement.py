"""How far the scores of the seeds agree, and how well they find wrong labels and hard examples."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

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


def without_nan(score: Score, values: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
  """Returns the values of a score with its hardest value for NaN (from a diverged network)."""
  return np.where(np.isnan(values), score.hardest, values).astype(values.dtype)


def easiness(score: Score, values: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
  """Returns the values without NaN, with the sign with which larger is easier: the ranking."""
  numbers = without_nan(score, values)
  return numbers if score.is_higher_easier else -numbers


def _sound_or_all(rows: np.ndarray, sound: np.ndarray) -> np.ndarray:
  """Returns the rows [R, ...] of the seeds that are `sound` [R]; all rows where none is."""
  return rows[sound] if sound.any() else rows


def mean_score(
  score: Score, values: Float[np.ndarray, "R N"], sound: Bool[np.ndarray, "R"]
) -> Float[np.ndarray, "N"]:
  """Returns the mean [N] of a score [R, N] over the seeds that are `sound` [R], or all if none."""
  numbers = without_nan(score, values)
  with np.errstate(invalid="ignore", over="ignore"):  # a diverged network may give infinities
    mean = _sound_or_all(numbers, sound).mean(axis=0)
  return without_nan(score, mean)


def score_summary(
  score: Score, values: Float[np.ndarray, "R N"], seeds: Sequence[int], sound: Bool[np.ndarray, "R"]
) -> dict[str, Any]:
  """Returns the entry of a score [R, N] in scores.json.

  The seeds that count are those that are `sound` [R], or all where none is.

  mean, sd: over all examples of the seeds that count. per_seed: the same for every seed alone.
  sd_over_seeds: the sd of an example's score over the seeds that count, mean over the examples;
  None for fewer than two seeds. mean_spearman: the correlation of the scores of two seeds that
  count, mean over the pairs; None for fewer than two seeds.
  """
  counted = _sound_or_all(values, sound).astype(np.float64)
  spread = sd_over_seeds(values, sound)
  with np.errstate(invalid="ignore", over="ignore"):  # a diverged network may give infinities
    correlation = None if spread is None else _mean_over_pairs(spearman(easiness(score, counted)))
    per_seed = {
      seed: {"mean": row.mean(), "sd": row.std()}
      for seed, row in zip(seeds, values.astype(np.float64), strict=True)
    }
    return {
      "mean": counted.mean(),
      "sd": counted.std(),
      "per_seed": per_seed,
      "sd_over_seeds": None if spread is None else float(spread.mean()),
      "mean_spearman": correlation,
    }


def sd_over_seeds(
  values: Float[np.ndarray, "R N"], sound: Bool[np.ndarray, "R"]
) -> Float[np.ndarray, "N"] | None:
  """Returns the standard deviation [N] of a score [R, N] over the seeds; None for fewer than two.

  The seeds are those that are `sound` [R], or all where none is.
  """
  counted = _sound_or_all(values, sound)
  if len(counted) < 2:
    return None
  with np.errstate(invalid="ignore", over="ignore"):
    return counted.std(axis=0, ddof=1)


def spearman(scores: Float[np.ndarray, "R N"]) -> Float[np.ndarray, "R R"]:
  """Returns Spearman's correlation [R, R] of the rows of `scores`; NaN for a constant row."""
  with np.errstate(invalid="ignore", divide="ignore"):
    return np.corrcoef(_ranks(scores))


def _mean_over_pairs(matrix: np.ndarray) -> float:
  """Returns the mean of a symmetric matrix [R, R] over pairs of different rows."""
  return float(matrix[np.triu_indices(len(matrix), 1)].mean())


def score_stability(
  scores: Float[np.ndarray, "R N"],
  partitions: Sequence[Partition],
  rule: SplitConfig,
  sound: Bool[np.ndarray, "R"],
) -> dict[str, Any] | None:
  """Returns how far the seeds agree, None for one seed.

  Args:
    scores: [R, N].
    partitions: of each seed, by its own scores; all As have one size.
    rule: `split`; the As of random draws are not expected to agree.
    sound: [R] bool, False for a seed whose network diverged. Such a seed is in the matrices, but in
      no mean.
  Returns:
    Spearman's correlation of the scores and |A_i & A_j| / |A| of every pair of seeds, [R, R]; their
    means over the pairs of sound seeds (None for fewer than two); and a `warning` in words where
    these seeds share less than half of A, else None.
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
  warning = None
  if is_unsteady and mean_overlap is not None:
    warning = _UNSTEADY.format(100 * mean_overlap, _ADVICE[rule.source])
  return {
    "spearman": correlation,
    "overlap_of_A": overlap,
    "mean_spearman": _mean_over_pairs(correlation[sound][:, sound]) if has_pair else None,
    "mean_overlap_of_A": mean_overlap,
    "warning": warning,
  }


def score_truth(
  train: Dataset,
  scores: Mapping[str, Float[np.ndarray, "R N"]],
  partitions: Sequence[Partition],
  seeds: Sequence[int],
  sound: Bool[np.ndarray, "R"],
  table: Mapping[str, Score] = SCORES,
) -> dict[str, Any] | None:
  """Returns how well the scores [R, N] know the truth about the examples, None where none is known.

  By the name of a score, means over the seeds that are `sound` [R] (over all where none is), None
  where they are not defined:
    auroc_wrong_label: area under the ROC curve of "low score" as the sign of a wrong label; 1 is
      perfect, 0.5 is chance.
    average_precision_wrong_label: precision of "low score" as that sign, mean over the wrong
      labels, each at its own rank; 1 is perfect, wrong_label_rate is chance.
    spearman_difficulty: Spearman's correlation of the score with minus the difficulty; 1 is
      perfect.
  wrong_label_rate: share of the labels that are wrong, in [0, 1].
  By seed, shares in [0, 1], None where wrong labels are not known:
    wrong_labels_in_A: share of A whose label is wrong.
    wrong_labels_in_cut: the same of what is left out of A and B; only where something is.
  """
  wrong, difficulty = train.wrong_label, train.difficulty
  if wrong is None and difficulty is None:
    return None
  ranks = {
    name: _ranks(_sound_or_all(easiness(table[name], values), sound))
    for name, values in scores.items()
  }
  truth: dict[str, Any] = {
    **_wrong_labels_found(ranks, wrong),
    "wrong_label_rate": None if wrong is None else float(wrong.mean()),
    "wrong_labels_in_A": dict.fromkeys(seeds),
    "spearman_difficulty": _difficulty_known(ranks, difficulty),
  }
  if wrong is not None:
    truth["wrong_labels_in_A"] = _share_wrong(wrong, seeds, [part.easy for part in partitions])
    if any(len(part.left_out) for part in partitions):
      left_out = [part.left_out for part in partitions]
      truth["wrong_labels_in_cut"] = _share_wrong(wrong, seeds, left_out)
  return truth


def _ranks(rows: np.ndarray) -> np.ndarray:
  """Returns the ranks [R, N] of the numbers within each row; infinities are in order."""
  from scipy.stats import rankdata

  return rankdata(rows, axis=1)


def _wrong_labels_found(
  ranks: Mapping[str, np.ndarray], wrong: np.ndarray | None
) -> dict[str, dict[str, float | None]]:
  """Returns both figures of "low score" as the sign of a wrong label, by score."""
  from sklearn.metrics import average_precision_score, roc_auc_score

  measures = {
    "auroc_wrong_label": roc_auc_score,
    "average_precision_wrong_label": average_precision_score,
  }
  if wrong is None or not wrong.any() or wrong.all():
    return {key: dict.fromkeys(ranks) for key in measures}
  return {
    key: {
      name: float(np.mean([measure(wrong, -row) for row in rows])) for name, rows in ranks.items()
    }
    for key, measure in measures.items()
  }


def _difficulty_known(
  ranks: Mapping[str, np.ndarray], difficulty: np.ndarray | None
) -> dict[str, float | None]:
  """Returns Spearman's correlation of each score with minus the difficulty; NaN for constants."""
  from scipy.stats import rankdata

  if difficulty is None:
    return dict.fromkeys(ranks)
  known = rankdata(-difficulty)
  with np.errstate(invalid="ignore", divide="ignore"):  # the NaN of constants is written as null
    return {
      name: float(np.mean([np.corrcoef(row, known)[0, 1] for row in rows]))
      for name, rows in ranks.items()
    }


def _share_wrong(
  wrong: np.ndarray, seeds: Sequence[int], parts: Sequence[np.ndarray]
) -> dict[int, float]:
  """Returns the share of the examples of each seed's part whose label is wrong."""
  return {seed: float(wrong[part].mean()) for seed, part in zip(seeds, parts, strict=True)}
