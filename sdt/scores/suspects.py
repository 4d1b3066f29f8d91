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


@dataclasses.dataclass(frozen=True)
class Source:
  """What suspicions are taken from.

  Attributes:
    words: its name in tables and on pages.
    scores: their mean rank, over these scores and the seeds, is the suspicion.
    vote: the score by which a network prefers another class than the given one.
    votes_below: it does where that score is below this.
  """

  words: str
  scores: tuple[str, ...]
  vote: str
  votes_below: float = 0.0


OUT_OF_FOLD = Source("networks that have not seen the image", ("margin",), "margin")
DYNAMICS = Source("training dynamics", ("aum", "mean_confidence"), "aum")
IN_SAMPLE = Source(TRAINED_NETWORKS, ("margin",), "margin")


def source_of(names: Sequence[str], *, has_folds: bool) -> Source:
  """Returns the best source that a run with these scores has: what sees an example before it is
  learned by heart.
  """
  if has_folds:
    return OUT_OF_FOLD
  return DYNAMICS if set(DYNAMICS.scores) <= set(names) else IN_SAMPLE


@dataclasses.dataclass(frozen=True)
class Suspects:
  """The training examples as suspects.

  Attributes:
    source: what the suspicion is taken from.
    suspicion: [N] in [0, 1]: the share of the training set that is less suspicious, a mean over
      scores and seeds.
    suggested: [N], the class that most seeds' networks find most probable beside the given one.
    seeds_agree: [N], how many seeds' networks prefer the suggested class to the given one.
    num_seeds: how many seeds there are that did not diverge.
    share_right: share of the training labels that the scored networks give back, in [0, 1].
    order: [N], positions, the most suspicious first.
    cleanlab: what cleanlab says of the same labels; None where it was not asked.
  """

  source: Source
  suspicion: Float[np.ndarray, "N"]
  suggested: Int[np.ndarray, "N"]
  seeds_agree: Int[np.ndarray, "N"]
  num_seeds: int
  share_right: float
  order: Int[np.ndarray, "N"]
  cleanlab: CleanlabIssues | None = None

  @property
  def is_flagged(self) -> Bool[np.ndarray, "N"]:
    """Which examples are called suspects, [N]: every seed's network prefers the suggested class."""
    return self.seeds_agree == self.num_seeds

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
      "pairs": [
        {"given": names[pairs[at, 0]], "suggested": names[pairs[at, 1]], "num": int(counts[at])}
        for at in first
      ],
      **({} if self.cleanlab is None else {"cleanlab": self.cleanlab.summary(flagged, wrong)}),
    }


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
  easy = {name: easiness(table[name], values[name][counted]) for name in source.scores}
  suspicion = np.mean([_share_easier(rows) for rows in easy.values()], axis=(0, 1))
  classes = other_class[counted]
  suggested = _most_frequent(classes)
  with np.errstate(invalid="ignore"):  # a diverged network may give NaN
    prefers_other = values[source.vote][counted] < source.votes_below
    if "confidence_in_sample" in values:
      is_right = values["confidence_in_sample"][counted] > 0.5
    else:
      is_right = values["margin"][counted] > 0
  return Suspects(
    source,
    suspicion,
    suggested,
    seeds_agree=(prefers_other & (classes == suggested)).sum(axis=0),
    num_seeds=int(counted.sum()),
    share_right=float(is_right.mean()),
    order=np.argsort(-suspicion, kind="stable"),
  )


def _share_easier(rows: Float[np.ndarray, "R N"]) -> Float[np.ndarray, "R N"]:
  """Returns the share of the other examples of each row that are easier; equal ones count half."""
  from scipy.stats import rankdata

  return (rows.shape[1] - rankdata(rows, axis=1)) / max(rows.shape[1] - 1, 1)


def _most_frequent(classes: Int[np.ndarray, "R N"]) -> Int[np.ndarray, "N"]:
  """Returns the class [N] that most rows name; of equally many the one of the earlier row."""
  votes = (classes[:, None] == classes[None]).sum(axis=0)  # [R, N], of each row's class
  return np.take_along_axis(classes, votes.argmax(axis=0)[None], axis=0)[0]
