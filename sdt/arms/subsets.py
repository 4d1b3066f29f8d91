"""From the name of a subset to its examples, [R, n] int32 positions in the training set."""

import re
from collections.abc import Callable, Iterable, Mapping

import numpy as np
from jaxtyping import Int

from sdt.arms import resampling
from sdt.arms.language import PhaseSpec
from sdt.arms.setting import Setting
from sdt.config.schema import SplitConfig
from sdt.errors import ConfigError
from sdt.scores.split import Partition, folds, random_scores, split


def _everything(setting: Setting) -> np.ndarray:
  return np.tile(np.arange(len(setting.labels), dtype=np.int32), (len(setting.config.seeds), 1))


def _half(setting: Setting) -> np.ndarray:
  orders = [
    np.argsort(random_scores(setting.example_ids, seed, "less_data"), kind="stable")
    for seed in setting.config.seeds
  ]
  return np.stack([np.sort(order[: max(1, len(order) // 2)]) for order in orders]).astype(np.int32)


def _over(setting: Setting) -> np.ndarray:
  seeds, ids = setting.config.seeds, setting.example_ids
  return np.stack([resampling.over_sampled(setting.labels, ids, seed) for seed in seeds])


def _under(setting: Setting) -> np.ndarray:
  seeds, ids = setting.config.seeds, setting.example_ids
  return np.stack([resampling.under_sampled(setting.labels, ids, seed) for seed in seeds])


def _by_clusters(setting: Setting) -> np.ndarray:
  labels, ids, of = setting.labels, setting.example_ids, setting.clusters
  seeds = setting.config.seeds
  return np.stack([resampling.cluster_sampled(labels, of, ids, seed=seed) for seed in seeds])


def _kept(setting: Setting) -> np.ndarray:
  return np.stack([np.union1d(part.easy, part.rest) for part in setting.partitions])


def _clean(setting: Setting) -> np.ndarray:
  if setting.wrong_label is None:
    raise ConfigError(
      "arms: an arm trains on the subset clean, and these data do not say which labels are right; "
      "data.wrong_label_fraction and data.labels_file give such data"
    )
  right = np.flatnonzero(~setting.wrong_label).astype(np.int32)
  if not len(right):
    raise ConfigError(
      "arms: an arm trains on the subset clean, and no label of these data is right; leave it out"
    )
  return np.tile(right, (len(setting.config.seeds), 1))


def _by_score(setting: Setting) -> tuple[Partition, ...]:
  return setting.partitions


def _random(setting: Setting) -> tuple[Partition, ...]:
  # Not split.policy "random": there the method's A is random too, and this arm must draw another.
  draws = [
    random_scores(setting.example_ids, seed, "random_subset") for seed in setting.config.seeds
  ]
  return _other_partitions(setting, draws, "top")


def _matched(setting: Setting) -> tuple[Partition, ...]:
  """Returns random partitions in which A has the class counts of the seed's A."""
  partitions = []
  for part, seed in zip(setting.partitions, setting.config.seeds, strict=True):
    draw = random_scores(setting.example_ids, seed, "class_matched_random")
    counts = np.bincount(setting.labels[part.easy], minlength=int(setting.labels.max()) + 1)
    used = np.union1d(part.easy, part.rest)
    is_easy = np.zeros(len(setting.labels), bool)
    for label, count in enumerate(counts):
      members = used[setting.labels[used] == label]
      is_easy[members[np.argsort(draw[members], kind="stable")][:count]] = True
    easy = np.flatnonzero(is_easy).astype(np.int32)
    rest = used[~is_easy[used]].astype(np.int32)
    partitions.append(Partition(easy, rest, 0, left_out=part.left_out))
  return tuple(partitions)


def _hardest(setting: Setting) -> tuple[Partition, ...]:
  return _other_partitions(setting, _scores(setting), "bottom")


def _balanced(setting: Setting) -> tuple[Partition, ...]:
  return _other_partitions(setting, _scores(setting), "top", class_balanced=True)


def _scores(setting: Setting) -> np.ndarray:
  """Returns the scores [R, N]; zeros for a plan for its sizes alone."""
  if setting.scores is None:
    return np.zeros((len(setting.config.seeds), len(setting.labels)))
  return setting.scores


def _other_partitions(
  setting: Setting,
  scores: Iterable[np.ndarray],
  policy: str,
  *,
  class_balanced: bool | None = None,
) -> tuple[Partition, ...]:
  """Returns the partitions of the same sizes by other scores [R, N] or another policy.

  What the method leaves out is left out here too. `class_balanced`: None for as the config says.
  """
  own = setting.config.split.class_balanced
  is_balanced = own if class_balanced is None else class_balanced
  rule = SplitConfig(policy=policy, class_balanced=is_balanced)
  return tuple(
    split(one, setting, setting.num_easy, seed=seed, rule=rule, left_out=part.left_out)
    for one, seed, part in zip(scores, setting.config.seeds, setting.partitions, strict=True)
  )


def _but_fold(setting: Setting, index: int) -> np.ndarray:
  """Returns the positions [R, n] of all examples but those of a fold, by its index from 0."""
  rows = [
    folds(setting.labels, setting.example_ids, setting.config.score.folds or 0, seed=seed)
    for seed in setting.config.seeds
  ]
  return np.stack([np.flatnonzero(row != index) for row in rows]).astype(np.int32)


_WHOLE: Mapping[str, Callable[[Setting], np.ndarray]] = {
  "all": _everything,
  "kept": _kept,
  "clean": _clean,
  "half": _half,
  "over_all": _over,
  "under_all": _under,
  "cluster_all": _by_clusters,
}
_PARTITIONS: Mapping[str, Callable[[Setting], tuple[Partition, ...]]] = {
  "": _by_score,
  "random": _random,
  "matched": _matched,
  "hardest": _hardest,
  "balanced": _balanced,
}


def ids_of(setting: Setting, subset: str) -> np.ndarray:
  """Returns the positions [R, n] of a subset of `language.SUBSETS`."""
  if subset in _WHOLE:
    return _WHOLE[subset](setting)
  if match := re.fullmatch(r"but_fold(\d+)_all", subset):
    return _but_fold(setting, int(match[1]) - 1)
  kind, _, side = subset.rpartition("_")
  return np.stack([part.easy if side == "A" else part.rest for part in _PARTITIONS[kind](setting)])


def is_whole(subset: str) -> bool:
  """Returns whether a subset stands alone, and is no part of a split."""
  return subset in _WHOLE


def mixture_of(
  setting: Setting, spec: PhaseSpec
) -> tuple[Int[np.ndarray, "R n"], Int[np.ndarray, "R n"]]:
  """Returns the examples of a mixed phase in ascending order, and the part of each.

  Shuffled parts have as many examples as without, dealt out anew for every seed.

  Raises:
    ConfigError: two parts have examples in common.
  """
  subsets = [ids_of(setting, part.subset) for part in spec.parts]
  counts = [subset.shape[1] for subset in subsets]
  together, parts = np.concatenate(subsets, axis=1), np.repeat(np.arange(len(subsets)), counts)
  order = np.argsort(together, axis=1, kind="stable")
  ids = np.take_along_axis(together, order, axis=1).astype(np.int32)
  # Before scoring, a plan for its sizes alone has arbitrary examples.
  if setting.scores is not None and (np.diff(ids, axis=1) == 0).any():
    names = " | ".join(part.subset for part in spec.parts)
    raise ConfigError(
      f"arms: the two parts of {names} have examples in common; expected parts such as A | B"
    )
  if spec.is_shuffled:
    draws = [
      random_scores(setting.example_ids[row], seed, "shuffled")
      for row, seed in zip(ids, setting.config.seeds, strict=True)
    ]
    order = np.argsort(np.argsort(draws, axis=1, kind="stable"), axis=1)
  return ids, parts[order].astype(np.int32)
