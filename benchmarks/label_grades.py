"""How well the scores of a run find wrong labels whose truth is known: rankings, and cuts of them.

All of it comes from scores.npz and scores.json. label_noise.py prints it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.stats import rankdata
from sklearn.metrics import average_precision_score, roc_auc_score

from sdt import files
from sdt.errors import ConfigError
from sdt.packages import require
from sdt.scores import cleanlab_issues, suspects
from sdt.stats import paired

# What cleanlab ranks labels by.
QUALITY = ("self_confidence", "normalized_margin", "confidence_weighted_entropy")
# Means of ranks: of the training dynamics, and of them beside a pass by the networks of the end.
COMBINED = (("aum", "mean_confidence"), ("margin", "aum"), ("margin", "aum", "mean_confidence"))
DEFAULT = "odds"  # what a run does by default, see sdt/scores/suspects.py
LOG_ODDS = (1.5, 2.0, 2.5, 3.0, 3.5)  # cuts of them
# Rules by which a network calls a label wrong: a score below a number.
VOTES = (("margin", 0.0), ("normalized_margin", 0.4), ("normalized_margin", 0.3), ("aum", 0.0))
FIRST = (100, 250, 500, 1000)


class Ranking(NamedTuple):
  """A ranking of the labels, the most suspicious highest.

  Attributes:
    source: what its networks have seen.
    by_seed: [R, N].
    together: [N], of all seeds.
  """

  source: str
  by_seed: np.ndarray
  together: np.ndarray


class Cut(NamedTuple):
  """What a rule calls wrong, a row for every time that it was asked: [n, N] bool."""

  of: str
  rule: str
  called: np.ndarray


@dataclasses.dataclass(frozen=True)
class Scored:
  """The scores of the seeds that did not diverge, with the truth.

  Attributes:
    labels, wrong: [N], the given labels, and which of them are wrong.
    seeds: [R].
    values: by score, [R, N].
    hard_is_high, sources: by score.
    other_class: [R, N].
    probabilities: [R, N, K] or None.
    has_folds: whether the scores of a pass are by networks that have not seen the example.
  """

  labels: np.ndarray
  wrong: np.ndarray
  seeds: list[int]
  values: Mapping[str, np.ndarray]
  hard_is_high: Mapping[str, bool]
  sources: Mapping[str, str]
  other_class: np.ndarray
  probabilities: np.ndarray | None
  has_folds: bool

  @classmethod
  def read(cls, workdir: Path) -> Scored:
    stored, info = files.read_npz(workdir / "scores.npz"), files.read_json(workdir / "scores.json")
    wrong = stored.get("wrong_label")
    if wrong is None or not wrong.any():
      raise SystemExit(
        f"{workdir}: no label is known to be wrong; choose a config with data.wrong_label_fraction "
        "or data.labels_file"
      )
    entries, sound = info["scorers"], stored["sound"]
    return cls(
      stored["label"],
      wrong,
      stored["seeds"][sound].tolist(),
      values={name: stored[name][sound] for name in entries},
      hard_is_high={name: one["direction"] == "higher_is_harder" for name, one in entries.items()},
      sources={name: one["source"] for name, one in entries.items()},
      other_class=stored["other_class"][sound],
      probabilities=stored["probabilities"][sound] if "probabilities" in stored else None,
      has_folds="confidence_in_sample" in stored,
    )

  def hardness(self, name: str) -> np.ndarray:
    """Returns the ranks [R, N] of a score within each seed, in (0, 1], the hardest highest."""
    values = self.values[name] if self.hard_is_high[name] else -self.values[name]
    return rankdata(values, axis=1) / values.shape[1]  # also infinities have a rank

  def default(self, rows: slice = slice(None)) -> suspects.Suspects:
    """Returns the suspects of all seeds, or of some: what a run calls by default."""
    values = {name: values[rows] for name, values in self.values.items()}
    sound = np.ones(len(self.seeds), bool)[rows]
    return suspects.find(values, self.other_class[rows], sound, has_folds=self.has_folds)


def why_no_cleanlab(scored: Scored) -> str | None:
  """Returns in a line why cleanlab cannot be asked; None where it can."""
  if scored.probabilities is None:
    return "cleanlab is not asked: scores.npz has no probabilities; give score.probabilities=True."
  try:
    require("cleanlab", (2, 9), "cleanlab's part of the grades", instead="do without")
  except ConfigError as error:
    return f"cleanlab is not asked: {error}."
  return None


def rankings(scored: Scored) -> dict[str, Ranking]:
  """Returns every score as a ranking, the means of ranks of some of them, and the default's."""
  found = {
    name: Ranking(scored.sources[name], ranks := scored.hardness(name), ranks.mean(axis=0))
    for name in scored.values
  }
  default = scored.default()
  found[DEFAULT] = Ranking(default.source.words, log_odds_of(scored), default.log_odds)
  for names in COMBINED:
    if set(names) <= set(scored.values):
      ranks = np.mean([scored.hardness(name) for name in names], axis=0)
      sources = dict.fromkeys(scored.sources[name] for name in names)
      found[" + ".join(names)] = Ranking(" + ".join(sources), ranks, ranks.mean(axis=0))
  return found


def log_odds_of(scored: Scored) -> np.ndarray:
  """Returns the log-odds [R, N] against each label by each seed alone."""
  seeds = range(len(scored.seeds))
  return np.stack([scored.default(slice(at, at + 1)).log_odds for at in seeds])


def cuts_of_odds(scored: Scored) -> Iterator[Cut]:
  """Yields the labels against which the odds are so large, by each seed and by the mean of all."""
  by_seed, together = log_odds_of(scored), scored.default().log_odds[None]
  for least in LOG_ODDS:
    rule = f"{DEFAULT} of {np.exp(least):.1f} to 1"
    if len(by_seed) > 1:
      yield Cut(rule, "each seed alone", by_seed >= least)
    yield Cut(rule, "mean over the seeds", together >= least)


def rankings_of_cleanlab(scored: Scored) -> dict[str, Ranking]:
  """Returns cleanlab's quality scores as rankings; of all seeds by its own rule for ensembles."""
  from cleanlab.rank import get_label_quality_ensemble_scores, get_label_quality_scores

  found, rows = {}, list(np.asarray(scored.probabilities, np.float64))
  for method in QUALITY:
    by_seed = [get_label_quality_scores(scored.labels, one, method=method) for one in rows]
    together = by_seed[0]
    if len(rows) > 1:
      together = get_label_quality_ensemble_scores(
        scored.labels, rows, method=method, verbose=False
      )
    source = scored.sources["confidence"]
    found[f"cleanlab {method}"] = Ranking(source, -np.stack(by_seed), together=-together)
  return found


def votes(scored: Scored) -> dict[str, np.ndarray]:
  """Returns rules by which a network calls a label wrong, and whom they call, [R, N] each.

  All ask that the class which the network prefers is the one that most seeds suggest.
  """
  found = {
    f"{name} < {below:g}": scored.values[name] < below
    for name, below in VOTES
    if name in scored.values
  }
  if {"margin < 0", "aum < 0"} <= set(found):
    found["margin and aum < 0"] = found["margin < 0"] & found["aum < 0"]
  if "normalized_margin" in scored.values:
    found["confident"] = confident(scored)
  suggested = scored.default().suggested
  return {name: called & (scored.other_class == suggested) for name, called in found.items()}


def confident(scored: Scored) -> np.ndarray:
  """Returns [R, N]: where another class is more probable than the label, and than that class is on
  average in the examples which have it for a label.

  Source: Northcutt, Jiang and Chuang 2021, "Confident Learning", the threshold of section 3.1.
  Differs from source: it asks of the most probable other class alone.
  """
  of_label, labels = scored.values["confidence"].astype(np.float64), scored.labels
  of_other = of_label + 1 - 2 * scored.values["normalized_margin"]
  counts = np.bincount(labels)
  sums = np.stack([np.bincount(labels, row) for row in of_label])
  # Nothing is as probable as 2: a class that no example has is never preferred.
  means = np.where(counts > 0, sums / np.maximum(counts, 1), 2.0)
  means = np.pad(means, ((0, 0), (0, int(scored.other_class.max()) + 1)), constant_values=2.0)
  return (of_other > of_label) & (of_other >= np.take_along_axis(means, scored.other_class, axis=1))


def cuts(of: str, called: np.ndarray) -> Iterator[Cut]:
  """Yields what a rule calls wrong: by each seed alone, by most seeds, and by every seed."""
  if len(called) > 1:
    yield Cut(of, "each seed alone", called)
    yield Cut(of, "most seeds", (called.mean(axis=0) > 0.5)[None])
  yield Cut(of, "every seed", called.all(axis=0)[None])


def cuts_of_cleanlab(scored: Scored) -> Iterator[Cut]:
  """Yields what `find_label_issues` calls wrong: likewise, and by the mean of the probabilities."""
  labels, probabilities = scored.labels, np.asarray(scored.probabilities)
  found = cleanlab_issues.find(labels, probabilities, np.ones(len(probabilities), bool))
  yield from cuts("cleanlab", found.is_issue)
  if len(probabilities) > 1:
    mean = cleanlab_issues.issues_of(labels, probabilities.mean(axis=0))
    yield Cut("cleanlab", "mean of the probabilities", mean[None])


def measures(wrong: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Returns AUROC and average precision of each row [n, N], as signs of a wrong label."""
  pairs = [(roc_auc_score(wrong, row), average_precision_score(wrong, row)) for row in rows]
  areas, precisions = np.array(pairs).T
  return areas, precisions


def shown(values: np.ndarray, digits: int = 3) -> str:
  """Returns "mean +- sd" over the seeds (n - 1); of one seed, the value alone."""
  spread = f" +- {values.std(ddof=1):.{digits}f}" if len(values) > 1 else ""
  return f"{values.mean():.{digits}f}{spread}"


def ranking_table(wrong: np.ndarray, found: Mapping[str, Ranking]) -> list[str]:
  """Returns the lines of a table of rankings by seed, the best average precision first."""
  graded = [(name, one.source, *measures(wrong, one.by_seed)) for name, one in found.items()]
  graded.sort(key=lambda row: -row[3].mean())
  return [
    "| ranked by | from | AUROC | average precision |",
    "|---|---|---|---|",
    *(
      f"| `{name}` | {source} | {shown(area)} | {shown(precision)} |"
      for name, source, area, precision in graded
    ),
  ]


def together_table(wrong: np.ndarray, found: Mapping[str, Ranking]) -> list[str]:
  """Returns the lines of a table of rankings of all seeds, with the precision of the first k."""
  looks = [k for k in FIRST if k <= len(wrong)]
  rows = []
  for name, one in found.items():
    (area,), (precision,) = measures(wrong, one.together[None])
    order = np.argsort(-one.together, kind="stable")
    first = "".join(f" {wrong[order[:k]].mean():.2f} |" for k in looks)
    rows.append((precision, f"| `{name}` | {area:.3f} | {precision:.3f} |{first}"))
  heads = "".join(f" first {k:,} |" for k in looks)
  return [
    f"| ranked by | AUROC | average precision |{heads}",
    "|---|---|---|" + "---|" * len(looks),
    *(row for _, row in sorted(rows, reverse=True)),
  ]


def difference_table(
  scored: Scored, ours: Mapping[str, Ranking], theirs: Mapping[str, Ranking]
) -> list[str]:
  """Returns the lines of a table: rankings of ours minus cleanlab's best, paired over the seeds."""
  lines = []
  for at, measure in enumerate(("AUROC", "average precision")):
    values = {
      name: measures(scored.wrong, one.by_seed)[at] for name, one in {**ours, **theirs}.items()
    }
    best = max(theirs, key=lambda name: values[name].mean())
    by_seed = {
      name: dict(zip(scored.seeds, row.tolist(), strict=True)) for name, row in values.items()
    }
    pairs = {name: paired.Pair(name, best, by_seed[name], by_seed[best]) for name in ours}
    for entry in paired.contrasts(pairs, margin=0.005).values():
      interval = " ({:+.4f} to {:+.4f})".format(*entry["interval"]) if entry["interval"] else ""
      lines.append(
        f"| {measure} | `{entry['difference']}` | {entry['mean']:+.4f}{interval} | "
        f"{entry['verdict'].replace('0.5 points', '0.005')} |"
      )
  return ["| measure | difference | mean (95 %, joint) | verdict |", "|---|---|---|---|", *lines]


def cut_table(wrong: np.ndarray, found: Sequence[Cut]) -> list[str]:
  """Returns the lines of a table of cuts: how many are called, precision and recall."""
  lines = []
  for of, rule, called in found:
    num = called.sum(axis=1)
    right = (called & wrong).sum(axis=1)
    precision = right / np.maximum(num, 1)
    lines.append(
      f"| {of} | {rule} | {shown(num, 0)} | {shown(precision)} | {shown(right / wrong.sum())} |"
    )
  return ["| cut | asked | called | precision | recall |", "|---|---|---|---|---|", *lines]
