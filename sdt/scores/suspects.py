"""Which training examples are probably labelled wrong: a suspicion of each, and another label."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from sdt.config.score_names import SCORES, TRAINED_NETWORKS, Score
from sdt.scores.agreement import easiness
from sdt.scores.cleanlab_issues import CleanlabIssues

# A network that gives this share of the training labels back knows the wrong ones by heart too.
_MEMORISED = 0.99
# A label is called suspect where another class is e^2.5, 12 times as probable. Among labels that
# people gave this calls a quarter of the wrong ones. Of those that it calls 74 % are wrong where
# 17 % of all are, and 46 % where 9 % are (docs/results/label_noise.md).
LEAST_LOG_ODDS = 2.5
# Where a larger share of a class is suspect, the networks have hardly learned it: it is rare.
_MOST_OF_CLASS = 0.5


@dataclasses.dataclass(frozen=True)
class Source:
  """What suspicions are taken from.

  Attributes:
    words: its name in tables and on pages.
    scores: each is the log of how many times as probable as the most probable other class a network
      finds the given one, at the end or as a mean over the rounds. Their mean, over these scores
      and the seeds, is the evidence for the label.
    has_folds: whether it needs networks that have not seen the example.
  """

  words: str
  scores: tuple[str, ...]
  has_folds: bool = False


UNSEEN = "networks that have not seen the image"
DYNAMICS = Source("training dynamics", ("aum",))
OUT_OF_FOLD = Source(UNSEEN, ("margin",), has_folds=True)
BOTH = Source(f"{UNSEEN}, and {DYNAMICS.words}", ("margin", "aum"), has_folds=True)
IN_SAMPLE = Source(TRAINED_NETWORKS, ("margin",))
# The best first: what sees an example before it is learned by heart.
SOURCES = (BOTH, OUT_OF_FOLD, DYNAMICS, IN_SAMPLE)


def source_of(names: Sequence[str], *, has_folds: bool) -> Source:
  """Returns the best source that a run with these scores has."""
  return next(
    one for one in SOURCES if set(one.scores) <= set(names) and (has_folds or not one.has_folds)
  )


@dataclasses.dataclass(frozen=True)
class Suspects:
  """The training examples as suspects.

  Attributes:
    source: what the suspicion is taken from.
    log_odds: [N], the log of how many times as probable as the given class another one is; a mean
      over scores and seeds.
    suspicion: [N] in [0, 1]: the share of the training set with smaller odds.
    suggested: [N], the class that most seeds' networks find most probable beside the given one.
    seeds_agree: [N], how many seeds' networks prefer the suggested class to the given one.
    num_seeds: how many seeds there are that did not diverge.
    share_right: share of the training labels that the scored networks give back, in [0, 1].
    order: [N], positions, the most suspicious first.
    cleanlab: what cleanlab says of the same labels; None where it was not asked.
  """

  source: Source
  log_odds: Float[np.ndarray, "N"]
  suspicion: Float[np.ndarray, "N"]
  suggested: Int[np.ndarray, "N"]
  seeds_agree: Int[np.ndarray, "N"]
  num_seeds: int
  share_right: float
  order: Int[np.ndarray, "N"]
  cleanlab: CleanlabIssues | None = None

  @property
  def is_flagged(self) -> Bool[np.ndarray, "N"]:
    """Which examples are called suspects, [N]: the odds against the label are 12 or more."""
    return self.log_odds >= LEAST_LOG_ODDS

  @property
  def has_memorised(self) -> bool:
    """Whether the networks know the training set by heart, its wrong labels too."""
    return self.share_right >= _MEMORISED

  def summary(
    self, labels: Int[np.ndarray, "N"], names: Sequence[str], wrong: Bool[np.ndarray, "N"] | None
  ) -> dict[str, object]:
    """Returns the entry `suspects` of scores.json and results.json; see docs/artifacts.md.

    Args:
      labels: [N], the given ones.
      names: of the classes.
      wrong: [N], which labels are known to be wrong; None where that is not known.
    """
    flagged = self.is_flagged
    pairs, counts = np.unique(
      np.stack([labels[flagged], self.suggested[flagged]], axis=1), axis=0, return_counts=True
    )
    first = np.argsort(-counts, kind="stable")
    found = {} if wrong is None else {"known_wrong": int((wrong & flagged).sum())}
    return {
      "source": self.source.words,
      "scores": self.source.scores,
      "has_memorised": self.has_memorised,
      "share_right": self.share_right,
      "num": int(flagged.sum()),
      **found,
      "unlearned": _unlearned(flagged, labels, names),
      "pairs": [
        {"given": names[pairs[at, 0]], "suggested": names[pairs[at, 1]], "num": int(counts[at])}
        for at in first
      ],
      **({} if self.cleanlab is None else {"cleanlab": self.cleanlab.summary(flagged, wrong)}),
    }


def _unlearned(
  flagged: Bool[np.ndarray, "N"], labels: Int[np.ndarray, "N"], names: Sequence[str]
) -> list[dict[str, object]]:
  """Returns the classes of which more than half of the examples are suspects, with both numbers."""
  sizes, found = (np.bincount(of, minlength=len(names)) for of in (labels, labels[flagged]))
  places = np.flatnonzero(found > _MOST_OF_CLASS * sizes).tolist()
  return [{"class": names[at], "num": int(found[at]), "of": int(sizes[at])} for at in places]


def find(
  values: Mapping[str, Shaped[np.ndarray, "R N"]],
  other_class: Int[np.ndarray, "R N"],
  sound: Bool[np.ndarray, "R"],
  *,
  table: Mapping[str, Score] = SCORES,
  has_folds: bool = False,
) -> Suspects:
  """Returns the training examples as suspects.

  Args:
    values: by score, [R, N].
    other_class: [R, N], the most probable class but the given one.
    sound: [R], False for a seed whose network diverged: it has no say, unless no seed is sound.
    table: what the scores mean.
    has_folds: whether the scores of a pass are of networks that have not seen the example.
  """
  source = source_of(tuple(values), has_folds=has_folds)
  counted = sound if sound.any() else np.ones_like(sound)
  for_label = [easiness(table[name], values[name][counted]) for name in source.scores]
  with np.errstate(invalid="ignore"):  # a diverged network may give NaN
    against = -np.mean(for_label, axis=0, dtype=np.float64)  # [R, N]
    prefers_other = against > 0
    if "confidence_in_sample" in values:
      is_right = values["confidence_in_sample"][counted] > 0.5
    else:
      is_right = values["margin"][counted] > 0
  log_odds = np.nan_to_num(against.mean(axis=0))
  classes = other_class[counted]
  suggested = _most_frequent(classes)
  suspicion = _share_smaller(log_odds)
  return Suspects(
    source,
    log_odds,
    suspicion,
    suggested=suggested,
    seeds_agree=(prefers_other & (classes == suggested)).sum(axis=0),
    num_seeds=int(counted.sum()),
    share_right=float(is_right.mean()),
    order=np.argsort(-suspicion, kind="stable"),
  )


def _share_smaller(values: Float[np.ndarray, "N"]) -> Float[np.ndarray, "N"]:
  """Returns the share of the other values that are smaller; equal ones count half."""
  from scipy.stats import rankdata

  return (rankdata(values) - 1) / max(len(values) - 1, 1)


def _most_frequent(classes: Int[np.ndarray, "R N"]) -> Int[np.ndarray, "N"]:
  """Returns the class [N] that most rows name; of equally many the one of the earlier row."""
  votes = (classes[:, None] == classes[None]).sum(axis=0)  # [R, N], of each row's class
  return np.take_along_axis(classes, votes.argmax(axis=0)[None], axis=0)[0]
