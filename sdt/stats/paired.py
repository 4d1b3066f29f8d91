"""Paired statistics over seeds: differences of two arms, their intervals and their verdicts.

Holm's step-down test over all m contrasts of a family decides. The interval shown with a contrast
is Bonferroni's t interval at level 1 - alpha/m: as long as no end is moved, all m intervals
together hold with probability at least 1 - alpha. Where Holm's test rejects and Bonferroni's does
not, the end next to zero is moved to Holm's own level, alpha * p / p_holm. So the interval excludes
zero exactly when Holm rejects. An interval with a moved end is outside Bonferroni's guarantee: then
the test holds jointly (it calls any true zero a difference in at most a share alpha of the runs),
not the coverage of the intervals.
"""

import functools
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypedDict

from scipy import special

from sdt.stats.looks import ONLY, Look

MIN_PAIRS = 3
# Accuracies are counts over a test set: differences that agree to this are the same count, rounded.
SAME = 1e-7
# Said beside a comparison that has no verdict.
MORE_SEEDS = (
  f"For a verdict give the same command at least {MIN_PAIRS} seeds: --config.seeds=0,1,2,3,4."
)
# A first look may have next to no level: its interval says nothing.
_NO_LEVEL = 1e-9
_COUNT_WORDS = {0: "no pair of seeds", 1: "one seed", 2: "two seeds"}


class Summary(TypedDict):
  """Mean and sd (ddof 1; None for fewer than two values) of the n finite values."""

  mean: float | None
  sd: float | None
  n: int


class Contrast(TypedDict):
  """An entry of `contrasts` in results.json: differences are fractions, seeds are text."""

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


class PerSeed(TypedDict):
  """A figure of an arm: its value for each seed (None if diverged), and mean, sd and n of these."""

  per_seed: dict[str, float | None]
  mean: float | None
  sd: float | None
  n: int


def summary(values: Iterable[float | None]) -> Summary:
  """Returns mean, sd and n of the finite values; None and NaN (diverged seeds) do not count.

  The sums are exact (fsum), so the order of the values changes no bit.
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
  """Returns the values with their summary; seeds become text, in the order given."""
  return {
    "per_seed": {str(seed): value for seed, value in values.items()},
    **summary(values.values()),
  }


def fluctuation(rows: Sequence[Mapping[str, Any]]) -> float | None:
  """Returns the sd of a training's test accuracy from round to round before the rate first drops.

  A fraction. The rounds are those before the learning rate is first lower than in the round before
  (all, if it never is); of these the second half, because the first holds the rise. The figure is
  the sd (ddof 1) of the differences between successive evaluated rounds, divided by sqrt(2). A
  steady rise or fall gives 0. An accuracy that scatters independently about a slow course gives its
  own sd.

  Args:
    rows: of metrics.jsonl, those of one arm and seed that end a round, rounds ascending.

  Returns:
    None with fewer than three evaluated rounds there: always so for a rate that falls from the
    start (cosine).

  Source: the sd of successive differences, von Neumann et al. 1941, "The mean square successive
  difference".
  Differs from source: the mean of the differences is subtracted, so a trend does not count.
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
  """Returns Holm's adjusted p values: max over i <= rank of (m - i + 1) p_(i), at most 1.

  In the order given.

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
  """Returns the expected maximum of k standard normal numbers: 0, 0.56, 0.85, ... for k = 1, 2, 3.

  The best of k equally good settings looks better than they are by so many standard deviations of
  one setting's figure.

  Computed as the integral of x k phi(x) Phi(x)^(k - 1) by the trapezoidal rule, whose error here is
  far below 1e-9.
  """
  nodes = [index / 64 for index in range(-64 * 9, 64 * 9 + 1)]
  density = (x * math.exp(-x * x / 2) * float(special.ndtr(x)) ** (num_values - 1) for x in nodes)
  return num_values / math.sqrt(2 * math.pi) * math.fsum(density) / 64


def smallest_detectable(sd: float, n: int, alpha: float = 0.05, power: float = 0.8) -> float:
  """Returns the smallest true mean difference that a paired t test of n pairs finds with `power`.

  The test is two-sided, and must find the right sign. Solves P(T > t_crit) = power, T noncentral t
  with n - 1 degrees of freedom and noncentrality difference * sqrt(n) / sd.

  Args:
    sd: sd of the paired differences; the result has its unit.
    n: pairs, at least 2.
    alpha: two-sided level, in (0, 1).
    power: in (alpha, 1).

  Raises:
    ValueError: n is below 2.
  """
  if n < 2:
    raise ValueError(f"smallest_detectable needs n >= 2 pairs, not {n}")
  return _noncentrality(n, alpha, power) * sd / math.sqrt(n)


@functools.cache
def _noncentrality(n: int, alpha: float, power: float) -> float:
  """Returns the noncentrality at which a two-sided t test of n pairs has the given power.

  The power is the probability to find a difference with the right sign.
  """
  critical = _critical(n - 1, alpha)

  def power_at(noncentrality: float) -> float:
    return 1 - float(special.nctdtr(n - 1, noncentrality, critical))

  low, high = 0.0, critical
  while power_at(high) < power:
    low, high = high, 2 * high
  while high - low > 1e-12 * high:
    middle = (low + high) / 2
    low, high = (middle, high) if power_at(middle) < power else (low, middle)
  return high


class Pair(NamedTuple):
  """Two arms: their names, and the test accuracy in [0, 1] of each by seed.

  NaN or None is a diverged seed.
  """

  first: str
  second: str
  of_first: Mapping[int, float | None]
  of_second: Mapping[int, float | None]


class _Rule(NamedTuple):
  """How a family decides: see `contrasts`."""

  margin: float
  alpha: float
  look: Look
  family_size: int


def contrasts(
  pairs: Mapping[str, Pair], margin: float = 0.0025, alpha: float = 0.05, *, look: Look = ONLY
) -> dict[str, Contrast]:
  """Returns the first arm minus the second of every pair, over the seeds that both finished.

  The pairs are one family. Verdicts:
    "better" or "worse": Holm's test over the family rejects a zero difference.
    "equal within +-<margin> points": two one-sided t tests at alpha/m put the difference inside
      +-margin.
    "not resolved": neither of these.
  With fewer than three seeds there is no test, and the verdict says so. If all differences are the
  same number, their spread cannot be estimated: no interval, no p, "not resolved". Such a contrast
  stays in the family with p = 1, so it makes no other verdict easier. `smallest_detectable` is
  taken at alpha/m, the strictest level that Holm can ask for.

  At one of several planned looks, every level is that which this look has of it (`Look.nominal`),
  and Holm's test takes the p values for all looks (`Look.adjusted`). So the guarantees hold for all
  looks together: this is Holm's test with a spending function in each of its steps.

  Args:
    pairs: by a name, which names the contrast too.
    margin: half-width of "equal", a fraction (0.0025 is 0.25 points).
    alpha: level of the whole family, over all looks.
    look: which of the planned looks this is.

  Source: Maurer and Bretz 2013, "Multiple testing in group sequential trials using graphical
  approaches", for looks. Differs from source: a difference that an earlier look has found must be
  found again.
  """
  differences = {
    name: paired_differences(pair.of_first, pair.of_second) for name, pair in pairs.items()
  }
  family = [name for name, per_seed in differences.items() if len(per_seed) >= MIN_PAIRS]
  p_values = {name: _p_value(differences[name].values()) for name in family}
  over_looks = {name: 1.0 if p is None else look.adjusted(p) for name, p in p_values.items()}
  adjusted = dict(zip(family, holm(list(over_looks.values())), strict=True))
  rule = _Rule(margin, alpha, look, family_size=len(family))
  result: dict[str, Contrast] = {}
  for name, per_seed in differences.items():
    entry = _undecided(f"{pairs[name].first} - {pairs[name].second}", per_seed)
    p = p_values.get(name)
    if p is not None:
      entry["p"], entry["p_holm"] = p, adjusted[name]
      _decide(entry, over_looks[name], adjusted[name], rule=rule)
    result[name] = entry
  return result


def _undecided(difference: str, per_seed: Mapping[int, float]) -> Contrast:
  no_verdict = f"{_COUNT_WORDS.get(len(per_seed), '')}: no verdict"
  return {
    "difference": difference,
    "per_seed": {str(seed): value for seed, value in per_seed.items()},
    **summary(per_seed.values()),
    "interval": None,
    "p": None,
    "p_holm": None,
    "smallest_detectable": None,
    "verdict": "not resolved" if len(per_seed) >= MIN_PAIRS else no_verdict,
  }


def paired_differences(
  first: Mapping[int, float | None], second: Mapping[int, float | None]
) -> dict[int, float]:
  """Returns first - second by seed, for the seeds with two finite numbers, ascending."""
  result = {}
  for seed in sorted(first.keys() & second.keys()):
    a, b = first[seed], second[seed]
    if a is not None and b is not None and math.isfinite(a) and math.isfinite(b):
      result[seed] = float(a) - float(b)
  return result


def _p_value(differences: Iterable[float]) -> float | None:
  """Returns the two-sided p of a paired t test; None if the differences have no spread."""
  values = list(differences)
  if max(values) - min(values) <= SAME:
    return None
  stats = summary(values)
  return float(
    2 * special.stdtr(stats["n"] - 1, -abs(stats["mean"] or 0.0) / _standard_error(stats))
  )


def _standard_error(stats: Summary | Contrast) -> float:
  return (stats["sd"] or 0.0) / math.sqrt(stats["n"])


def _critical(freedom: int, level: float) -> float:
  """Returns the t value of a two-sided test; 1 - level/2 has no digits left for a tiny level."""
  upper = 1 - level / 2
  return float(
    special.stdtrit(freedom, upper) if level > 1e-6 else -special.stdtrit(freedom, level / 2)
  )


def _decide(entry: Contrast, p: float, p_holm: float, rule: _Rule) -> None:
  """Fills in interval, smallest detectable difference and verdict of a contrast with a test.

  `p` is the p value for all looks.
  """
  mean, freedom, error = entry["mean"] or 0.0, entry["n"] - 1, _standard_error(entry)
  alpha, nominal = rule.alpha, rule.look.nominal
  level = alpha / rule.family_size
  half = _critical(freedom, nominal(level)) * error
  if nominal(level) < _NO_LEVEL:
    half = min(half, 1 + abs(mean))  # accuracies differ by 1 at most
  near, far = abs(mean) - half, abs(mean) + half
  if p_holm < alpha:
    if p >= level:
      near = abs(mean) - _critical(freedom, nominal(alpha * p / p_holm)) * error
    # Where p is a hair below the level, rounding must not let the interval include zero.
    near = max(near, math.ulp(0.0))
  else:
    near = min(near, 0.0)
  entry["interval"] = [near, far] if mean > 0 else [-far, -near]
  if nominal(level) >= _NO_LEVEL:
    entry["smallest_detectable"] = smallest_detectable(
      entry["sd"] or 0.0, entry["n"], nominal(level)
    )
  if p_holm < alpha:
    entry["verdict"] = "better" if mean > 0 else "worse"
  elif abs(mean) + _critical(freedom, nominal(2 * level)) * error < rule.margin:
    entry["verdict"] = f"equal within +-{100 * rule.margin:g} points"
