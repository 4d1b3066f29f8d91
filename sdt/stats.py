"""Paired statistics over seeds: differences method - arm, their intervals and verdicts. Pure Python float64 and scipy.special, no files.

The decision is Holm's step-down test over all m contrasts of a run. The interval shown with a contrast is Bonferroni's t interval, at
level 1 - alpha/m; as long as no end is moved, all m together hold with probability at least 1 - alpha. Where Holm's test rejects and
Bonferroni's does not, the end by zero is moved to Holm's own level, alpha * p / p_holm, so that the interval excludes zero exactly when
Holm rejects. An interval with a moved end is outside Bonferroni's guarantee: what then holds jointly is the test (it calls any true zero a
difference in at most a share alpha of the runs), not the coverage of the intervals.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TypedDict

from scipy import special

MIN_PAIRS = 3
# Accuracies are counts over a test set; differences that agree to this are the same count seen through rounding.
SAME = 1e-7
_COUNT_WORDS = {0: "no pair of seeds", 1: "one seed", 2: "two seeds"}


class Summary(TypedDict):
  """Mean and sd (ddof 1; None for fewer than two values) of the n finite values."""

  mean: float | None
  sd: float | None
  n: int


class Contrast(TypedDict):
  """One entry of `contrasts` in results.json; differences are fractions, not percent, and seeds are strings as in JSON."""

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


def summary(values: Iterable[float | None]) -> Summary:
  """Returns mean, sd and n of the finite values; None and NaN (diverged seeds) are left out, and n tells it.

  The sums are exact (fsum), so that the order of the values cannot change a bit.
  """
  finite = [float(value) for value in values if value is not None and math.isfinite(value)]
  if not finite:
    return {"mean": None, "sd": None, "n": 0}
  mean = math.fsum(finite) / len(finite)
  if len(finite) == 1:
    return {"mean": mean, "sd": None, "n": 1}
  return {"mean": mean, "sd": math.sqrt(math.fsum((value - mean) ** 2 for value in finite) / (len(finite) - 1)), "n": len(finite)}


def holm(p_values: Sequence[float]) -> list[float]:
  """Returns Holm's adjusted p values, in the order given: max over i <= rank of (m - i + 1) p_(i), at most 1.

  Source: Holm 1979, "A simple sequentially rejective multiple test procedure". Differs from source: none.
  """
  adjusted = [0.0] * len(p_values)
  highest = 0.0
  for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
    highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
    adjusted[index] = highest
  return adjusted


def expected_best_of(num_values: int) -> float:
  """Returns the expected largest of `num_values` independent standard normal numbers, in standard deviations: 0, 0.56, 0.85, ...

  By so much the best of so many equally good settings looks better than they are, in standard deviations of one setting's figure.

  Integral of x k phi(x) Phi(x)^(k - 1), by the trapezoidal rule, whose error for such an integrand is far below 1e-9.
  """
  nodes = [index / 64 for index in range(-64 * 9, 64 * 9 + 1)]
  density = (x * math.exp(-x * x / 2) * float(special.ndtr(x)) ** (num_values - 1) for x in nodes)
  return num_values / math.sqrt(2 * math.pi) * math.fsum(density) / 64


def smallest_detectable(sd: float, n: int, alpha: float = 0.05, power: float = 0.8) -> float:
  """Returns the true mean difference that a two-sided paired t test of n pairs finds, with the right sign, with the given power.

  Solves P(T > t_crit) = power, T noncentral t with n - 1 degrees of freedom and noncentrality difference * sqrt(n) / sd.

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
  critical = float(special.stdtrit(n - 1, 1 - alpha / 2))

  def found(noncentrality: float) -> float:
    return 1 - float(special.nctdtr(n - 1, noncentrality, critical))

  low, high = 0.0, critical
  while found(high) < power:
    low, high = high, 2 * high
  while high - low > 1e-12 * high:
    middle = (low + high) / 2
    low, high = (middle, high) if found(middle) < power else (low, middle)
  return high * sd / math.sqrt(n)


def contrasts(
  method: Mapping[int, float | None],
  others: Mapping[str, Mapping[int, float | None]],
  margin: float = 0.0025,
  alpha: float = 0.05,
) -> dict[str, Contrast]:
  """Returns method minus every other arm, paired over the seeds that both have finished.

  Verdicts: "better" or "worse" where Holm's test over the family rejects a zero difference; "equal within +-<margin> points" where two
  one-sided t tests at alpha/m each put the difference inside +-margin; else "not resolved". With fewer than three pairs there is no
  test, and the verdict says so. Where all differences are the same number the spread, and with it the error, cannot be estimated: no
  interval, no p, "not resolved" (such a contrast stays in the family with p = 1, so that it makes no other verdict easier).
  `smallest_detectable` is taken at alpha/m, the strictest level that Holm can ask for.

  Args:
    method: seed -> test accuracy in [0, 1]; NaN or None for a diverged seed.
    others: arm -> the same.
    margin: half-width of "equal", a fraction (0.0025 is 0.25 points).
    alpha: level of the whole family.
  """
  pairs = {arm: _differences(method, accuracy) for arm, accuracy in others.items()}
  family = [arm for arm, per_seed in pairs.items() if len(per_seed) >= MIN_PAIRS]
  p_values = {arm: _p_value(pairs[arm].values()) for arm in family}
  adjusted = dict(zip(family, holm([1.0 if p_values[arm] is None else p_values[arm] or 0.0 for arm in family]), strict=True))
  result: dict[str, Contrast] = {}
  for arm, per_seed in pairs.items():
    entry: Contrast = {
      "difference": f"method - {arm}",
      "per_seed": {str(seed): value for seed, value in per_seed.items()},
      **summary(per_seed.values()),
      "interval": None,
      "p": None,
      "p_holm": None,
      "smallest_detectable": None,
      "verdict": f"{_COUNT_WORDS.get(len(per_seed), '')}: no verdict" if len(per_seed) < MIN_PAIRS else "not resolved",
    }
    p = p_values.get(arm)
    if p is not None:
      entry["p"], entry["p_holm"] = p, adjusted[arm]
      _decide(entry, p, adjusted[arm], len(family), margin, alpha)
    result[arm] = entry
  return result


def sentence(accuracy: Mapping[str, Mapping[int, float | None]], contrasts: Mapping[str, Contrast]) -> str:
  """Returns one plain English sentence: what the method reached, the differences and their verdicts.

  Args:
    accuracy: arm -> seed -> test accuracy in [0, 1], the method's arm named "method".
    contrasts: what `contrasts` returned for it.
  """
  means = {arm: summary(values.values()) for arm, values in accuracy.items()}
  if "method" not in means:
    return f"No method arm was trained, so nothing is compared: {_list(_reached(arm, mean) for arm, mean in means.items())}."
  if not contrasts:
    return f"Nothing to compare with: {_reached('method', means['method'])}."
  first = "baseline" if "baseline" in contrasts else next(iter(contrasts))
  head = f"{_reached('method', means['method'])} and {_reached(first, means[first])}; {_compared(contrasts[first])}"
  rest = [_briefly(arm, contrast) for arm, contrast in contrasts.items() if arm != first]
  tail = "; against " + _list(rest) if rest else ""
  return head[0].upper() + head[1:] + tail + "."


def _differences(method: Mapping[int, float | None], other: Mapping[int, float | None]) -> dict[int, float]:
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
  return float(2 * special.stdtr(stats["n"] - 1, -abs(stats["mean"] or 0.0) / _standard_error(stats)))


def _standard_error(stats: Summary | Contrast) -> float:
  return (stats["sd"] or 0.0) / math.sqrt(stats["n"])


def _decide(entry: Contrast, p: float, p_holm: float, family_size: int, margin: float, alpha: float) -> None:
  """Fills in interval, smallest detectable difference and verdict of a contrast that can be tested."""
  mean, freedom, error = entry["mean"] or 0.0, entry["n"] - 1, _standard_error(entry)
  level = alpha / family_size
  half = float(special.stdtrit(freedom, 1 - level / 2)) * error
  near, far = abs(mean) - half, abs(mean) + half
  if p_holm < alpha:
    if p >= level:
      near = abs(mean) - float(special.stdtrit(freedom, 1 - alpha * p / p_holm / 2)) * error
    near = max(near, math.ulp(0.0))  # p a hair below the level: rounding must not let the interval say otherwise
  else:
    near = min(near, 0.0)
  entry["interval"] = [near, far] if mean > 0 else [-far, -near]
  entry["smallest_detectable"] = smallest_detectable(entry["sd"] or 0.0, entry["n"], level)
  if p_holm < alpha:
    entry["verdict"] = "better" if mean > 0 else "worse"
  elif abs(mean) + float(special.stdtrit(freedom, 1 - level)) * error < margin:
    entry["verdict"] = f"equal within +-{100 * margin:g} points"


def _reached(arm: str, mean: Summary) -> str:
  name = "the method" if arm == "method" else f"the {arm}" if arm == "baseline" else arm
  if mean["mean"] is None:
    return f"{name} finished no seed"
  spread = "" if mean["sd"] is None else f" +- {100 * mean['sd']:.2f}"
  return f"{name} reached {100 * mean['mean']:.2f}{spread} % test accuracy (n = {mean['n']})"


def _compared(contrast: Contrast) -> str:
  if contrast["mean"] is None:
    return f"{contrast['difference']}: {contrast['verdict']}"
  text = f"{contrast['difference']} is {100 * contrast['mean']:+.2f} points"
  if contrast["interval"] is None:
    return f"{text} ({contrast['verdict']})"
  low, high = contrast["interval"]
  text += f" (interval {100 * low:+.2f} to {100 * high:+.2f}, n = {contrast['n']}): {contrast['verdict']}"
  if contrast["verdict"] == "not resolved" and contrast["smallest_detectable"] is not None:
    text += f", the smallest detectable difference being {100 * contrast['smallest_detectable']:.2f}"
  return text


def _briefly(arm: str, contrast: Contrast) -> str:
  difference = "" if contrast["mean"] is None else f"{100 * contrast['mean']:+.2f}, "
  return f"{arm} ({difference}{contrast['verdict']})"


def _list(parts: Iterable[str]) -> str:
  return ", ".join(parts) or "no arm"
