"""Paired statistics over seeds: differences of two arms, their intervals and verdicts, and figures
that decide nothing. No files, no words.

The decision is Holm's step-down test over all m contrasts of a run. The interval shown with a
contrast is Bonferroni's t interval, at level 1 - alpha/m; as long as no end is moved, all m
together hold with probability at least 1 - alpha. Where Holm's test rejects and Bonferroni's does
not, the end by zero is moved to Holm's own level, alpha * p / p_holm, so that the interval excludes
zero exactly when Holm rejects. An interval with a moved end is outside Bonferroni's guarantee: what
then holds jointly is the test (it calls any true zero a difference in at most a share alpha of the
runs), not the coverage of the intervals.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypedDict

import numpy as np
from scipy import special

MIN_PAIRS = 3
# Below this a percentile bootstrap is far too sure of itself: with 5 pairs it leaves a true zero
# out in 17 % of experiments, not in 5 %.
MIN_PAIRS_FOR_BOOTSTRAP = 10
BOOTSTRAP_RESAMPLES = 9999
# Accuracies are counts over a test set; differences that agree to this are the same count seen
# through rounding.
SAME = 1e-7
_COUNT_WORDS = {0: "no pair of seeds", 1: "one seed", 2: "two seeds"}


class Summary(TypedDict):
  """Mean and sd (ddof 1; None for fewer than two values) of the n finite values."""

  mean: float | None
  sd: float | None
  n: int


class Contrast(TypedDict):
  """One entry of `contrasts` in results.json; differences are fractions, not percent, and seeds are
  strings as in JSON.
  """

  difference: str
  per_seed: dict[str, float]
  mean: float | None
  sd: float | None
  n: int
  interval: list[float] | None
  p: float | None
  p_holm: float | None
  smallest_detectable: float | None
  verdict: str


class Wilcoxon(TypedDict):
  """Two-sided exact p of the signed-rank test, and the smallest p that so many non-zero differences
  can give.
  """

  p: float
  smallest_p: float


class Shown(TypedDict):
  """What is shown beside a contrast and never decides; None where it is not defined."""

  correlation: float | None
  wilcoxon: Wilcoxon | None
  bootstrap: list[float] | None


class PerSeed(TypedDict):
  """A figure of an arm: its value for each seed (None for a diverged one), mean, sd and n of those
  there are.
  """

  per_seed: dict[str, float | None]
  mean: float | None
  sd: float | None
  n: int


def summary(values: Iterable[float | None]) -> Summary:
  """Returns mean, sd and n of the finite values; None and NaN (diverged seeds) are left out, and n
  tells it.

  The sums are exact (fsum), so that the order of the values cannot change a bit.
  """
  finite = [float(value) for value in values if value is not None and math.isfinite(value)]
  if not finite:
    return {"mean": None, "sd": None, "n": 0}
  mean = math.fsum(finite) / len(finite)
  if len(finite) == 1:
    return {"mean": mean, "sd": None, "n": 1}
  return {
    "mean": mean,
    "sd": math.sqrt(math.fsum((value - mean) ** 2 for value in finite) / (len(finite) - 1)),
    "n": len(finite),
  }


def per_seed(values: Mapping[int, float | None]) -> PerSeed:
  """Returns the values with their summary, seeds as text and in the order given."""
  return {
    "per_seed": {str(seed): value for seed, value in values.items()},
    **summary(values.values()),
  }


def fluctuation(rows: Sequence[Mapping[str, Any]]) -> float | None:
  """Returns how much the test accuracy of one training fluctuates from round to round before the
  rate first drops, a fraction.

  Of the rounds before the learning rate is first lower than in the round before (all rounds, where
  it never is) the second half is taken: the first holds the rise. The figure is the sd (ddof 1) of
  the differences between successive evaluated rounds, divided by sqrt(2): a steady rise or fall has
  none, and the accuracy's own sd results where it scatters independently about a slow course.

  Args:
    rows: of metrics.jsonl, those of one arm and seed that end a round, rounds ascending.

  Returns:
    None with fewer than three evaluated rounds there, which a rate that falls from the start
    (cosine) never has.

  Source: the sd of successive differences, von Neumann et al. 1941, "The mean square successive
  difference".
  Differs from source: the differences' mean is taken off, so that a trend does not count.
  """
  falls = (
    index
    for index, (before, row) in enumerate(itertools.pairwise(rows), 1)
    if row["learning_rate"] < before["learning_rate"]
  )
  stretch = rows[: next(falls, len(rows))]
  values = [
    row["test_accuracy"] for row in stretch[len(stretch) // 2 :] if row["test_accuracy"] is not None
  ]
  sd = summary(after - before for before, after in itertools.pairwise(values))["sd"]
  return None if sd is None else sd / math.sqrt(2)


def holm(p_values: Sequence[float]) -> list[float]:
  """Returns Holm's adjusted p values, in the order given: max over i <= rank of (m - i + 1) p_(i),
  at most 1.

  Source: Holm 1979, "A simple sequentially rejective multiple test procedure". Differs from source:
  none.
  """
  adjusted = [0.0] * len(p_values)
  highest = 0.0
  for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
    highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
    adjusted[index] = highest
  return adjusted


def expected_best_of(num_values: int) -> float:
  """Returns the expected largest of `num_values` independent standard normal numbers, in standard
  deviations: 0, 0.56, 0.85, ...

  By so much the best of so many equally good settings looks better than they are, in standard
  deviations of one setting's figure.

  Integral of x k phi(x) Phi(x)^(k - 1), by the trapezoidal rule, whose error for such an integrand
  is far below 1e-9.
  """
  nodes = [index / 64 for index in range(-64 * 9, 64 * 9 + 1)]
  density = (x * math.exp(-x * x / 2) * float(special.ndtr(x)) ** (num_values - 1) for x in nodes)
  return num_values / math.sqrt(2 * math.pi) * math.fsum(density) / 64


def smallest_detectable(sd: float, n: int, alpha: float = 0.05, power: float = 0.8) -> float:
  """Returns the true mean difference that a two-sided paired t test of n pairs finds, with the
  right sign, with the given power.

  Solves P(T > t_crit) = power, T noncentral t with n - 1 degrees of freedom and noncentrality
  difference * sqrt(n) / sd.

  Args:
    sd: sd of the paired differences; the result has its unit.
    n: pairs, at least 2.
    alpha: two-sided level, in (0, 1).
    power: in (alpha, 1).

  Raises:
    ValueError: if n is below 2.
  """
  if n < 2:
    raise ValueError(f"smallest_detectable needs n >= 2 pairs, not {n}")
  return _noncentrality(n, alpha, power) * sd / math.sqrt(n)


@functools.cache
def _noncentrality(n: int, alpha: float, power: float) -> float:
  """Returns the noncentrality at which a two-sided t test of n pairs finds a difference, with its
  sign, with the given power.
  """
  critical = float(special.stdtrit(n - 1, 1 - alpha / 2))

  def found(noncentrality: float) -> float:
    return 1 - float(special.nctdtr(n - 1, noncentrality, critical))

  low, high = 0.0, critical
  while found(high) < power:
    low, high = high, 2 * high
  while high - low > 1e-12 * high:
    middle = (low + high) / 2
    low, high = (middle, high) if found(middle) < power else (low, middle)
  return high


class Pair(NamedTuple):
  """Two arms: their names, and of each the test accuracy in [0, 1] by seed; NaN or None for a
  diverged seed.
  """

  first: str
  second: str
  of_first: Mapping[int, float | None]
  of_second: Mapping[int, float | None]


def contrasts(
  pairs: Mapping[str, Pair], margin: float = 0.0025, alpha: float = 0.05
) -> dict[str, Contrast]:
  """Returns the first arm minus the second of every pair, paired over the seeds that both have
  finished; the pairs are one family.

  Verdicts: "better" or "worse" where Holm's test over the family rejects a zero difference; "equal
  within +-<margin> points" where two one-sided t tests at alpha/m each put the difference inside
  +-margin; else "not resolved". With fewer than three pairs there is no test, and the verdict says
  so. Where all differences are the same number the spread, and with it the error, cannot be
  estimated: no interval, no p, "not resolved" (such a contrast stays in the family with p = 1, so
  that it makes no other verdict easier). `smallest_detectable` is taken at alpha/m, the strictest
  level that Holm can ask for.

  Args:
    pairs: by a name of the pair, which names its contrast too.
    margin: half-width of "equal", a fraction (0.0025 is 0.25 points).
    alpha: level of the whole family.
  """
  differences = {name: _differences(pair.of_first, pair.of_second) for name, pair in pairs.items()}
  family = [name for name, per_seed in differences.items() if len(per_seed) >= MIN_PAIRS]
  p_values = {name: _p_value(differences[name].values()) for name in family}
  adjusted = dict(
    zip(
      family,
      holm([1.0 if p_values[name] is None else p_values[name] or 0.0 for name in family]),
      strict=True,
    )
  )
  result: dict[str, Contrast] = {}
  for name, per_seed in differences.items():
    entry: Contrast = {
      "difference": f"{pairs[name].first} - {pairs[name].second}",
      "per_seed": {str(seed): value for seed, value in per_seed.items()},
      **summary(per_seed.values()),
      "interval": None,
      "p": None,
      "p_holm": None,
      "smallest_detectable": None,
      "verdict": f"{_COUNT_WORDS.get(len(per_seed), '')}: no verdict"
      if len(per_seed) < MIN_PAIRS
      else "not resolved",
    }
    p = p_values.get(name)
    if p is not None:
      entry["p"], entry["p_holm"] = p, adjusted[name]
      _decide(entry, p, adjusted[name], family_size=len(family), margin=margin, alpha=alpha)
    result[name] = entry
  return result


def shown(
  method: Mapping[int, float | None], other: Mapping[int, float | None], alpha: float = 0.05
) -> Shown:
  """Returns the figures of method minus other that are shown beside the contrast and never decide;
  None with fewer than three pairs.

  correlation: Pearson's, of the two arms' accuracies over the seeds; None where one of them has no
  spread. bootstrap: percentile interval of the mean difference at level 1 - alpha, this difference
  alone; None below ten pairs, or without spread.
  """
  paired = _differences(method, other)
  values = list(paired.values())
  if len(values) < MIN_PAIRS:
    return {"correlation": None, "wilcoxon": None, "bootstrap": None}
  accuracies = np.array([[float(arm[seed] or 0.0) for seed in paired] for arm in (method, other)])
  has_spread = bool((np.ptp(accuracies, axis=1) > SAME).all())
  return {
    "correlation": float(np.corrcoef(accuracies)[0, 1]) if has_spread else None,
    "wilcoxon": wilcoxon(values),
    "bootstrap": bootstrap(values, alpha),
  }


def wilcoxon(differences: Sequence[float]) -> Wilcoxon | None:
  """Returns the two-sided p of Wilcoxon's signed-rank test and the smallest it can be, None where
  no difference is non-zero.

  Zeros are left out; ties share their mean rank, and the p is exact all the same: the share of the
  2^n sign patterns, all equally likely under the null, whose rank sum is as extreme. (scipy's exact
  table is that of untied ranks, and accuracies, being counts, tie.)

  Source: Wilcoxon 1945, "Individual comparisons by ranking methods". Differs from source: exact
  with ties.
  """
  from scipy.stats import rankdata

  counts = np.round(np.array(differences, np.float64) / SAME)
  counts = counts[counts != 0]
  if not len(counts):
    return None
  ranks = np.round(2 * rankdata(np.abs(counts))).astype(np.int64)  # doubled: mean ranks are halves
  share = np.ones(1)  # of the sign patterns, by the sum of the ranks of positive differences
  for rank in ranks:
    share = (np.pad(share, (0, rank)) + np.pad(share, (rank, 0))) / 2
  observed = int(ranks[counts > 0].sum())
  tail = min(math.fsum(share[: observed + 1]), math.fsum(share[observed:]))
  return {"p": min(1.0, 2 * tail), "smallest_p": min(1.0, 2.0 ** (1 - len(counts)))}


def bootstrap(differences: Sequence[float], alpha: float = 0.05) -> list[float] | None:
  """Returns the percentile bootstrap interval of the mean at level 1 - alpha; None below ten
  values, or where they have no spread.

  Deterministic: the resamples are drawn with a fixed seed from the sorted values, so that their
  order does not matter.

  Source: Efron 1979, "Bootstrap methods". Differs from source: none.
  """
  values = np.sort(np.array(differences, np.float64))
  if len(values) < MIN_PAIRS_FOR_BOOTSTRAP or np.ptp(values) <= SAME:
    return None
  from scipy import stats

  rng = np.random.default_rng(0)
  found = stats.bootstrap(
    (values,),
    np.mean,
    n_resamples=BOOTSTRAP_RESAMPLES,
    confidence_level=1 - alpha,
    method="percentile",
    rng=rng,
  )
  return [float(found.confidence_interval.low), float(found.confidence_interval.high)]


def _differences(
  method: Mapping[int, float | None], other: Mapping[int, float | None]
) -> dict[int, float]:
  """Returns seed -> method - other for the seeds with two finite numbers, seeds ascending."""
  result = {}
  for seed in sorted(method.keys() & other.keys()):
    a, b = method[seed], other[seed]
    if a is not None and b is not None and math.isfinite(a) and math.isfinite(b):
      result[seed] = float(a) - float(b)
  return result


def _p_value(differences: Iterable[float]) -> float | None:
  """Returns the two-sided p of a paired t test, None where the differences have no spread."""
  values = list(differences)
  if max(values) - min(values) <= SAME:
    return None
  stats = summary(values)
  return float(
    2 * special.stdtr(stats["n"] - 1, -abs(stats["mean"] or 0.0) / _standard_error(stats))
  )


def _standard_error(stats: Summary | Contrast) -> float:
  return (stats["sd"] or 0.0) / math.sqrt(stats["n"])


def _decide(
  entry: Contrast, p: float, p_holm: float, family_size: int, margin: float, alpha: float
) -> None:
  """Fills in interval, smallest detectable difference and verdict of a contrast that can
  be tested.
  """
  mean, freedom, error = entry["mean"] or 0.0, entry["n"] - 1, _standard_error(entry)
  level = alpha / family_size
  half = float(special.stdtrit(freedom, 1 - level / 2)) * error
  near, far = abs(mean) - half, abs(mean) + half
  if p_holm < alpha:
    if p >= level:
      near = abs(mean) - float(special.stdtrit(freedom, 1 - alpha * p / p_holm / 2)) * error
    near = max(
      near, math.ulp(0.0)
    )  # p a hair below the level: rounding must not let the interval say otherwise
  else:
    near = min(near, 0.0)
  entry["interval"] = [near, far] if mean > 0 else [-far, -near]
  entry["smallest_detectable"] = smallest_detectable(entry["sd"] or 0.0, entry["n"], level)
  if p_holm < alpha:
    entry["verdict"] = "better" if mean > 0 else "worse"
  elif abs(mean) + float(special.stdtrit(freedom, 1 - level)) * error < margin:
    entry["verdict"] = f"equal within +-{100 * margin:g} points"
