"""Several looks at one experiment: what level each look has, so that all together keep 5 %.

Whoever tests after 5, 10 and 20 seeds at 5 % each finds a difference that is not there in 12 % of
the runs. Looks that were planned beforehand share the 5 %: O'Brien-Fleming-like alpha spending,
which leaves nearly all of it to the last look.
"""

import dataclasses
import functools
import itertools
import math

import numpy as np
from jaxtyping import Float
from scipy import special

# Cells of |z|, where z is the t statistic of a look mapped to a standard normal number.
_EDGES: Float[np.ndarray, "cells+1"] = np.linspace(0.0, 6.5, 201)
# Of smaller parts of the level the cells say too little; nearly nobody has crossed before.
_LEAST_BY_CELLS = 1e-9
_LEVELS: Float[np.ndarray, "levels"] = np.geomspace(1e-16, 1.0, 321)

# From so many seeds on, t is taken for a normal number: it changes a level by less than 1 %.
_MANY = 40

type Transition = Float[np.ndarray, "cells cells"]


@dataclasses.dataclass(frozen=True)
class Look:
  """One look of a plan; without a plan it is the only one, and every level is its own.

  Attributes:
    plan: the numbers of seeds at all planned looks, ascending.
    number: which of them this is, from 1.
  """

  plan: tuple[int, ...] = ()
  number: int = 1

  def nominal(self, level: float) -> float:
    """Returns the level of a two-sided test at this look, of `level` for all looks together."""
    if len(self.plan) < 2:
      return level
    return _interpolated(level, _LEVELS, _nominal_levels(self.plan, self.number))

  def adjusted(self, p: float) -> float:
    """Returns the level for all looks together at which this look just rejects, the inverse.

    A p value for all looks: at least `p`, and at least 1e-16.
    """
    if len(self.plan) < 2:
      return p
    return _interpolated(p, _nominal_levels(self.plan, self.number), _LEVELS)


ONLY = Look()


def spent(share: float, level: float) -> float:
  """Returns how much of a two-sided level is spent when a share of the seeds is there.

  4 (1 - Phi(z / sqrt(share))) with z the upper level/4 point: half of the level on each side.

  Args:
    share: seeds at the look by those at the last, in (0, 1].
    level: for all looks together, in (0, 1].

  Source: Lan and DeMets 1983, "Discrete sequential boundaries for clinical trials", alpha_1*.
  Differs from source: none.
  """
  return min(level, 4 * float(special.ndtr(special.ndtri(level / 4) / math.sqrt(share))))


def levels(plan: tuple[int, ...], transitions: list[Transition], level: float) -> list[float]:
  """Returns the nominal two-sided level of each look, up to where the transitions lead.

  The probability to cross at look k and at none before it is what the spending function adds there,
  if no difference is there. So all looks together cross with probability `level`.

  Args:
    plan: seeds at each look, ascending.
    transitions: from each look to the next, see `t_transition`.
    level: for all looks together, in (0, 1].

  Source: Armitage, McPherson and Rowe 1969, "Repeated significance tests on accumulating data",
  the recursion. Differs from source: sums over cells, and t in place of z.
  """
  uncrossed = np.diff(2 * special.ndtr(_EDGES))
  result, before = [], 0.0
  for index, seeds in enumerate(plan[: len(transitions) + 1]):
    if index:
      uncrossed = uncrossed @ transitions[index - 1]
    now = spent(seeds / plan[-1], level)
    part, before = now - before, now
    bound = _bound(uncrossed, part) if index and part > _LEAST_BY_CELLS else None
    # No test crosses at this look alone more often than its own level.
    nominal = part if bound is None else max(part, 2 * float(special.ndtr(-bound)))
    result.append(nominal)
    crossing = -float(special.ndtri(nominal / 2)) if nominal > 0 else math.inf
    uncrossed = uncrossed * np.clip((crossing - _EDGES[:-1]) / np.diff(_EDGES), 0.0, 1.0)
  return result


@functools.cache
def t_transition(n: int, later: int) -> Transition:
  """Returns the probabilities to come from a cell at `n` seeds to a cell at `later`, without a
  difference.

  Exact for normal differences, up to the width of the cells: u, the mean by the root mean square of
  the differences, is a Markov chain. With x_{n+1} by the root of their sum of squares = tan(phi),
  u' = (sqrt(n) u cos(phi) + sin(phi)) / sqrt(n + 1), and sqrt(n) tan(phi) has a t distribution with
  n degrees of freedom. (For a known spread the chain would be Brownian motion; with few seeds its
  levels let 5.1 to 5.7 % through.)

  Args:
    n: seeds before, at least 3.
    later: seeds after, more than `n`.
  """
  result = np.eye(len(_EDGES) - 1)
  for seeds in range(n, min(later, _MANY)):
    result = result @ _one_more_seed(seeds)
  first = max(n, _MANY)
  return result @ brownian_transition(float(first), float(later)) if first < later else result


def brownian_transition(time: float, later: float) -> Transition:
  """Returns the same for a known spread: z is Brownian motion by the square root of its time."""
  middles, sd = (_EDGES[1:] + _EDGES[:-1]) / 2, math.sqrt(later - time)
  start, ends = math.sqrt(time) * middles[:, None], math.sqrt(later) * _EDGES
  return np.diff(special.ndtr((ends - start) / sd) - special.ndtr((-ends - start) / sd), axis=1)


def _one_more_seed(n: int) -> Transition:
  u = np.sin(_angles((_EDGES[1:] + _EDGES[:-1]) / 2, n))[:, None]
  bounds = np.sin(_angles(_EDGES, n + 1))
  largest, shift = np.sqrt((n * u**2 + 1) / (n + 1)), np.arctan(math.sqrt(n) * u)

  def below(bound: Float[np.ndarray, "edges"]) -> Float[np.ndarray, "cells edges"]:
    """Returns P(u' <= bound): u' is `largest` sin(phi + shift), and u >= 0."""
    angle = np.arcsin(np.clip(bound / largest, -1.0, 1.0))
    return _phi_below(angle - shift, n) + 1.0 - _phi_below(math.pi - angle - shift, n)

  return np.diff(below(bounds) - below(-bounds), axis=1)


def _phi_below(phi: Float[np.ndarray, "..."], n: int) -> Float[np.ndarray, "..."]:
  """Returns the distribution function of phi, which is within a right angle of 0."""
  tangent = np.tan(np.clip(phi, -math.pi / 2 + 1e-12, math.pi / 2 - 1e-12))
  return special.stdtr(n, math.sqrt(n) * tangent)


def _angles(z: Float[np.ndarray, "values"], n: int) -> Float[np.ndarray, "values"]:
  """Returns the angle whose sine is u, for a t statistic of `n` seeds as rare as z, z >= 0."""
  return np.arctan2(-special.stdtrit(n - 1, special.ndtr(-z)), math.sqrt(n - 1))


def _bound(uncrossed: Float[np.ndarray, "cells"], part: float) -> float:
  """Returns the |z| above which there is `part` of the probability; the mass is in the cells."""
  tail = np.append(np.cumsum(uncrossed[::-1])[::-1], 0.0)
  known = tail > 1e-15
  # On this scale the tail is nearly a straight line.
  heights = -special.ndtri(np.minimum(tail[known], 1.0) / 2)
  return float(np.interp(-special.ndtri(part / 2), heights, _EDGES[known]))


@functools.cache
def _nominal_levels(plan: tuple[int, ...], number: int) -> Float[np.ndarray, "levels"]:
  """Returns the nominal level of a look, from 1, at each of `_LEVELS`, ascending."""
  steps = [t_transition(*pair) for pair in itertools.pairwise(plan[:number])]
  return np.array([levels(plan, steps, float(level))[-1] for level in _LEVELS])


def _interpolated(
  value: float, grid: Float[np.ndarray, "levels"], values: Float[np.ndarray, "levels"]
) -> float:
  """Returns the value between those of an ascending grid; both are interpolated as logarithms."""
  known = np.minimum(grid, values) > 1e-300
  at = np.interp(math.log(max(value, 1e-300)), np.log(grid[known]), np.log(values[known]))
  return float(math.exp(at))
