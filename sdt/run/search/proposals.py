"""What a search tries next: a function of a seed, the number of the trial and earlier results.

So a search that was stopped proposes the same again. A proposal is a point in [0, 1]^D, as in
sdt/config/search_space.py.
"""

import dataclasses
import math
import warnings
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64

from sdt.config import search_space
from sdt.config.search_space import Space
from sdt.data import seeded

_MOST_DRAWS = 10_000  # of one trial; the config has refused spaces with too few points
_CANDIDATES, _NEARBY = 2000, 500  # points among which the expected improvement is compared
_NEARBY_WIDTH = 0.2


@dataclasses.dataclass(frozen=True)
class Seen:
  """An earlier trial: its point, and what it reached; None where it diverged."""

  point: tuple[float, ...]
  value: float | None


def propose(
  space: Space, method: str, *, seed: int, num_trials: int, earlier: Sequence[Seen]
) -> tuple[float, ...]:
  """Returns the point of the next trial; its number is that of the earlier ones.

  Args:
    space: of the arm that is searched for.
    method: grid, random, bayes or halving.
    seed: of the search; another seed draws other points.
    num_trials: in all.
    earlier: the trials so far, in order. All methods but bayes look at their points alone.
  """
  number = len(earlier)
  if method == "grid":
    return search_space.grid(space)[number]
  if method == "bayes":
    return _by_improvement(space, seed, num_trials=num_trials, earlier=earlier)
  return next(
    point
    for point in (_drawn(space, seed, number, draw=draw) for draw in range(_MOST_DRAWS))
    if _is_new(space, point, earlier)
  )


def _drawn(space: Space, seed: int, number: int, draw: int) -> tuple[float, ...]:
  """Returns a random point; `draw` counts those of one trial."""
  ids = np.arange(len(space)) + 1000 * draw
  return tuple(map(float, seeded.uniform(seed, f"search {number}", ids)))


def _is_new(space: Space, point: Sequence[float], earlier: Sequence[Seen]) -> bool:
  texts = search_space.texts(space, point)
  return all(search_space.texts(space, one.point) != texts for one in earlier)


def num_first(space: Space, num_trials: int) -> int:
  """Returns how many trials of a Bayesian search are spread out before the model is asked."""
  return max(3, min(2 * len(space) + 2, num_trials // 3))


def _by_improvement(
  space: Space, seed: int, *, num_trials: int, earlier: Sequence[Seen]
) -> tuple[float, ...]:
  """Returns the point of the largest expected improvement on the best mean of the model.

  The model is a Gaussian process with a Matern kernel, a length for each key, and noise. The first
  trials are spread out evenly (Halton's sequence, moved by a seeded shift).

  Source: Jones, Schonlau and Welch 1998. Differs from source: the best is that of the model's mean
  at the points tried, because the values are noisy.
  """
  number, found = len(earlier), [one.value for one in earlier if one.value is not None]
  candidates = _spread(space, seed, number)
  if number >= num_first(space, num_trials) and len(set(found)) > 1:
    worst = min(found)
    values = np.array([worst if one.value is None else one.value for one in earlier])
    points = np.array([one.point for one in earlier])
    best = points[int(np.argmax(values))]
    stream, width = f"search near {number}", len(space)
    steps = seeded.uniform(seed, stream, np.arange(_NEARBY * width).reshape(_NEARBY, width)) - 0.5
    nearby = np.clip(best + _NEARBY_WIDTH * steps, 0.0, 1.0)
    ids = np.arange(_CANDIDATES * width).reshape(_CANDIDATES, width)
    candidates = np.concatenate((seeded.uniform(seed, f"search {number}", ids), nearby))
    gains = _expected_gains(_features(space, points), values, _features(space, candidates))
    candidates = candidates[np.argsort(-gains, kind="stable")]
  new = (point for point in candidates.tolist() if _is_new(space, point, earlier))
  point = next(new, None)
  if point is None:
    return propose(space, "random", seed=seed, num_trials=num_trials, earlier=earlier)
  return tuple(point)


def _spread(space: Space, seed: int, number: int) -> Float64[np.ndarray, "n D"]:
  """Returns point `number` of a sequence that fills the space evenly."""
  from scipy.stats import qmc

  sequence = qmc.Halton(len(space), scramble=False).random(number + 1)[-1:]
  shift = seeded.uniform(seed, "search shift", np.arange(len(space)))
  return (sequence + shift) % 1.0


def _features(space: Space, points: Float64[np.ndarray, "n D"]) -> Float64[np.ndarray, "n F"]:
  """Returns what the model sees of points: places in ranges, and a column for each choice."""
  columns = []
  for dimension, units in zip(space, points.T, strict=True):
    if dimension.is_range:
      columns.append([dimension.place(unit) for unit in units.tolist()])
      continue
    chosen = [dimension.index(unit) for unit in units.tolist()]
    width = 1 / math.sqrt(2)  # two different choices are at distance 1
    columns += [
      [width * (index == other) for index in chosen] for other in range(len(dimension.values))
    ]
  return np.array(columns, np.float64).T


def _expected_gains(
  seen: Float64[np.ndarray, "n F"],
  values: Float64[np.ndarray, "n"],
  candidates: Float64[np.ndarray, "m F"],
) -> Float64[np.ndarray, "m"]:
  """Returns E max(0, f - best) of each candidate under a Gaussian process fitted to the values."""
  from sklearn.exceptions import ConvergenceWarning
  from sklearn.gaussian_process import GaussianProcessRegressor, kernels

  kernel = kernels.ConstantKernel(1.0, (1e-2, 1e2)) * kernels.Matern(
    length_scale=np.full(seen.shape[1], 0.5), length_scale_bounds=(0.05, 10.0), nu=2.5
  ) + kernels.WhiteKernel(1e-2, (1e-5, 1.0))
  model = GaussianProcessRegressor(
    kernel, normalize_y=True, n_restarts_optimizer=0, random_state=len(values)
  )
  with warnings.catch_warnings():
    warnings.simplefilter("ignore", ConvergenceWarning)  # a length at its bound is fine
    model.fit(seen, values)
  best = float(model.predict(seen).max())
  mean, sd = model.predict(candidates, return_std=True)
  # The noise of one more measurement is no gain.
  noise = model.kernel_.k2.noise_level * float(np.std(values)) ** 2
  return expected_gain(mean, np.sqrt(np.maximum(sd**2 - noise, 1e-18)), best)


def expected_gain(
  mean: Float64[np.ndarray, "m"], sd: Float64[np.ndarray, "m"], best: float
) -> Float64[np.ndarray, "m"]:
  """Returns E max(0, f - best) of normal f: (mean - best) Phi(z) + sd phi(z), z the lead in sds."""
  from scipy.stats import norm

  z = (mean - best) / sd
  return np.asarray((mean - best) * norm.cdf(z) + sd * norm.pdf(z), np.float64)
