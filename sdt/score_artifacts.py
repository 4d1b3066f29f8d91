"""The files of the scores and the split (docs/design.md, "Artifacts of a run"), and what they say about the seeds and about the truth."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sdt import files
from sdt.config import Config
from sdt.config.schema import SplitConfig
from sdt.config.score_names import LAST_ROUND, OUT_OF_FOLD, SCORES, Score
from sdt.data.dataset import Data, Dataset, image_sizes
from sdt.inputs.augment import centre_crop
from sdt.split import Partition, rank

_MOSAIC_TILES = 100
_LEAST_OVERLAP = 0.5
_UNSTEADY = (
  "two seeds share only {:.0f} % of the A that their own scores give, so that which examples count as easy depends much on the seed; {}; "
  "another score.name may be steadier too"
)
_ADVICE = {
  "seed": "split.source=mean splits for all seeds by the mean score, which more seeds make steadier",
  "mean": "more seeds make the mean, by which all of them split, steadier",
}


def described(config: Config) -> Mapping[str, Score]:
  """Returns every score as it is in a run of this config.

  Those of a single pass may come from networks that have not seen the example, or of an earlier round, and the user says which end of the
  scores of a file is easy.
  """
  table = {**SCORES, "file": dataclasses.replace(SCORES["file"], direction=f"higher_is_{config.score.higher_is}")}
  is_early = config.score.at_round not in (None, config.rounds)
  told = [OUT_OF_FOLD] if config.score.folds is not None else []
  told += [f"round {config.score.at_round}"] if is_early else []
  changes: dict[str, Any] = ({"source": ", ".join(told)} if told else {}) | ({"note": None} if is_early else {})
  return {name: dataclasses.replace(score, **changes) if score.source == LAST_ROUND else score for name, score in table.items()}


def without_nan(score: Score, values: np.ndarray) -> np.ndarray:
  """Returns the values of a score with the hardest that it can have in the place of NaN, which a diverged network may give."""
  return np.where(np.isnan(values), score.hardest, values).astype(values.dtype)


def easiness(score: Score, values: np.ndarray) -> np.ndarray:
  """Returns the values of a score turned so that larger is easier, without NaN: what examples are ranked by."""
  numbers = without_nan(score, values)
  return numbers if score.is_higher_easier else -numbers


def mean_score(score: Score, values: np.ndarray, sound: np.ndarray) -> np.ndarray:
  """Returns the mean [N] of a score [R, N] over the seeds that are `sound` [R]; over all of them where none is."""
  numbers = without_nan(score, values)
  with np.errstate(invalid="ignore", over="ignore"):  # what a diverged network gives may be infinite
    mean = (numbers[sound] if sound.any() else numbers).mean(axis=0)
  return without_nan(score, mean)


def write_scores(
  workdir: Path,
  data: Data,
  config: Config,
  scores: Mapping[str, np.ndarray],
  partitions: Sequence[Partition],
  sound: np.ndarray,
  stability: Mapping[str, Any] | None,
) -> None:
  """Writes scores.csv, scores.json and, last, scores.npz, whose presence says that the stage is done.

  Args:
    workdir: of the run.
    data: for ids, labels, source files and, where it is known, the truth about the examples.
    config: for the seeds.
    scores: name -> [R, N].
    partitions: per seed.
    sound: [R] bool, False for a seed whose network diverged: its scores are listed, but no mean counts them.
    stability: what `score_stability` returned.
  """
  train = data.train
  known = {name: value for name in ("difficulty", "wrong_label") if (value := getattr(train, name)) is not None}
  header = ["example_id", "source_file", "label", *known]
  columns: list[Any] = [train.example_ids, train.source_files or [""] * len(train), train.labels, *(_as_cells(v) for v in known.values())]
  table, entries = described(config), {}
  for name, values in scores.items():
    header += [name, f"{name}_sd", *(f"{name}_seed{seed}" for seed in config.seeds)]
    spread = _sd_over_seeds(values, sound)
    columns += [mean_score(table[name], values, sound), [None] * len(train) if spread is None else spread, *values]
    entries[name] = {**dataclasses.asdict(table[name]), **score_summary(table[name], values, config.seeds, sound)}
  files.write_csv(workdir / "scores.csv", header, zip(*columns, strict=True))
  ties = {seed: part.ties_at_cut for seed, part in zip(config.seeds, partitions, strict=True)}
  content: dict[str, Any] = {"ranked_by": config.score.name, "scorers": entries, "ties_at_cut": ties, "stability": stability}
  truth = score_truth(train, scores, partitions, config.seeds, sound, table)
  if truth is not None:
    content["truth"] = truth
  files.write_json(workdir / "scores.json", content)
  seeds = np.asarray(config.seeds, np.int64)
  files.write_npz(workdir / "scores.npz", example_id=train.example_ids, label=train.labels, seeds=seeds, sound=sound, **known, **scores)


def score_summary(score: Score, values: np.ndarray, seeds: Sequence[int], sound: np.ndarray) -> dict[str, Any]:
  """Returns what is said of a score [R, N] in scores.json.

  mean, sd: over all examples of the seeds that are `sound` [R] (of all of them where none is); per_seed: of every seed alone.
  sd_over_seeds: the spread of an example's score over these seeds, mean over the examples; null for fewer than two.
  mean_spearman: correlation of two of these seeds' scores, mean over the pairs; null for fewer than two.
  """
  counted = (values[sound] if sound.any() else values).astype(np.float64)
  spread = _sd_over_seeds(values, sound)
  with np.errstate(invalid="ignore", over="ignore"):  # what a diverged network gives may be infinite
    per_seed = {seed: {"mean": row.mean(), "sd": row.std()} for seed, row in zip(seeds, values.astype(np.float64), strict=True)}
    return {
      "mean": counted.mean(),
      "sd": counted.std(),
      "per_seed": per_seed,
      "sd_over_seeds": None if spread is None else float(spread.mean()),
      "mean_spearman": None if spread is None else _mean_over_pairs(spearman(easiness(score, counted))),
    }


def _sd_over_seeds(values: np.ndarray, sound: np.ndarray) -> np.ndarray | None:
  """Returns the standard deviation [N] of a score [R, N] over the seeds that count, None for fewer than two of them."""
  counted = values[sound] if sound.any() else values
  if len(counted) < 2:
    return None
  with np.errstate(invalid="ignore", over="ignore"):
    return counted.std(axis=0, ddof=1)


def spearman(scores: np.ndarray) -> np.ndarray:
  """Returns Spearman's correlation [R, R] of the rows of `scores` [R, N]; NaN for a row of one value, which has none."""
  from scipy.stats import rankdata

  with np.errstate(invalid="ignore", divide="ignore"):
    return np.corrcoef(rankdata(scores, axis=1))


def _mean_over_pairs(matrix: np.ndarray) -> float:
  """Returns the mean of a symmetric matrix [R, R] over pairs of different rows."""
  return float(matrix[np.triu_indices(len(matrix), 1)].mean())


def _as_cells(values: np.ndarray) -> np.ndarray:
  """Returns the column of a table: 0 and 1 for what is or is not."""
  return values.astype(np.int8) if values.dtype == np.bool_ else values


def score_stability(scores: np.ndarray, partitions: Sequence[Partition], rule: SplitConfig, sound: np.ndarray) -> dict[str, Any] | None:
  """Returns how far the seeds agree, None for one seed.

  Args:
    scores: [R, N].
    partitions: per seed, by its own scores; their As are of one size.
    rule: `split`; the As of random draws are not expected to agree.
    sound: [R] bool, False for a seed whose network diverged: it stands in the matrices, but in no mean.
  Returns:
    Spearman's correlation of the scores and |A_i & A_j| / |A| of every pair of seeds, [R, R], their means over pairs of different seeds
    that are sound (None for fewer than two), and a `warning` in words where these share less than half of A, else None.
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
  is_unsteady = mean_overlap is not None and rule.policy != "random" and mean_overlap < _LEAST_OVERLAP
  return {
    "spearman": correlation,
    "overlap_of_A": overlap,
    "mean_spearman": _mean_over_pairs(correlation[sound][:, sound]) if has_pair else None,
    "mean_overlap_of_A": mean_overlap,
    "warning": _UNSTEADY.format(100 * mean_overlap, _ADVICE[rule.source]) if is_unsteady and mean_overlap is not None else None,
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

  auroc_wrong_label: per scorer the area under the ROC curve of "low score" as the sign of a wrong label; 1 is perfect, 0.5 is chance.
  average_precision_wrong_label: per scorer the precision of "low score" as that sign, mean over the wrong labels, each at its own rank; 1
    is perfect, wrong_label_rate, the share of the labels that is wrong, is chance.
  spearman_difficulty: per scorer Spearman's correlation of the score with minus the difficulty; 1 is perfect.
  These are means over the seeds that are `sound` [R] (over all of them where none is), None where they are not defined.
  wrong_labels_in_A: per seed the share of A, in [0, 1], whose label is wrong, None where it is not known; wrong_labels_in_cut: the same of
    what is left out of A and B, only where something is.
  """
  from scipy.stats import rankdata
  from sklearn.metrics import average_precision_score, roc_auc_score

  wrong, difficulty = train.wrong_label, train.difficulty
  if wrong is None and difficulty is None:
    return None
  truth: dict[str, Any] = {"auroc_wrong_label": dict.fromkeys(scores), "average_precision_wrong_label": dict.fromkeys(scores)}
  truth |= {"wrong_label_rate": None if wrong is None else float(wrong.mean()), "wrong_labels_in_A": dict.fromkeys(seeds)}
  truth["spearman_difficulty"] = dict.fromkeys(scores)
  for name, values in scores.items():
    ease = easiness(table[name], values)
    ranks = rankdata(ease[sound] if sound.any() else ease, axis=1)  # infinities in order
    if wrong is not None and wrong.any() and not wrong.all():
      truth["auroc_wrong_label"][name] = float(np.mean([roc_auc_score(wrong, -row) for row in ranks]))
      truth["average_precision_wrong_label"][name] = float(np.mean([average_precision_score(wrong, -row) for row in ranks]))
    if difficulty is not None:
      known = rankdata(-difficulty)
      with np.errstate(invalid="ignore", divide="ignore"):  # constants have no correlation: NaN, written as null
        truth["spearman_difficulty"][name] = float(np.mean([np.corrcoef(row, known)[0, 1] for row in ranks]))
  if wrong is not None:
    truth["wrong_labels_in_A"] = {seed: float(wrong[part.easy].mean()) for seed, part in zip(seeds, partitions, strict=True)}
    if any(len(part.left_out) for part in partitions):
      truth["wrong_labels_in_cut"] = {seed: float(wrong[part.left_out].mean()) for seed, part in zip(seeds, partitions, strict=True)}
  return truth


def write_split(workdir: Path, data: Data, config: Config, partitions: Sequence[Partition], by_mean: Partition) -> None:
  """Writes split.csv: the subset of every example, "A", "B" or "cut", by the mean score, and for each seed."""
  columns = []
  for part in (by_mean, *partitions):
    subset = np.full(len(data.train), "B", "<U3")
    subset[part.easy] = "A"
    subset[part.left_out] = "cut"
    columns.append(subset)
  header = ["example_id", "label", "subset", *(f"subset_seed{seed}" for seed in config.seeds)]
  files.write_csv(workdir / "split.csv", header, zip(data.train.example_ids, data.train.labels, *columns, strict=True))


def write_mosaics(workdir: Path, data: Data, config: Config, confidence: np.ndarray, ranking: np.ndarray, partition: Partition) -> None:
  """Writes figures/mosaics.npz for the first seed: A's highest scores (lowest for the policy "bottom"), and a seeded random draw of B.

  Args:
    workdir: of the run.
    data: for images, ids and labels.
    config: for the policy and the first seed.
    confidence: [N] of the first seed.
    ranking: [N], the scores that the first seed's A was split by.
    partition: of the first seed.
  """
  if data.train.inputs.ndim != 4:
    return
  order = rank(-ranking if config.split.policy == "bottom" else ranking, data.train.example_ids, config.seeds[0])
  easiest = order[np.isin(order, partition.easy)][:_MOSAIC_TILES]
  draw = np.random.default_rng([config.seeds[0], 0x305A]).permutation(partition.rest)[:_MOSAIC_TILES]
  sizes = image_sizes(data.train)
  content: dict[str, Any] = {}
  for name, positions in (("easiest", easiest), ("other", draw)):
    content[f"{name}_images"] = np.asarray(centre_crop(data.train.inputs[positions], sizes[positions], config.data.crop_size))
    content[f"{name}_ids"] = data.train.example_ids[positions]
    content[f"{name}_labels"] = data.train.labels[positions]
    content[f"{name}_confidence"] = confidence[positions]
  files.write_npz(workdir / "figures" / "mosaics.npz", class_names=np.asarray(data.class_names), **content)
