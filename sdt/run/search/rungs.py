"""How long the trials of a search train: all to the end, or by synchronous successive halving."""

import dataclasses
import math

from sdt.config.schema import SelectConfig


@dataclasses.dataclass(frozen=True)
class Rung:
  """So many trials train up to the end of this round, counted from 1."""

  num_trials: int
  round: int


def rungs_of(rule: SelectConfig, rounds: int, *, num_trials: int, every: int) -> tuple[Rung, ...]:
  """Returns the rungs, the last at `rounds`; without halving it is the only one.

  With factor f the next-to-last is at rounds / f and has f times as many trials, and so on. There
  are as many rungs as leave one trial for the last, and none is below `min_rounds`.

  Source: Jamieson and Talwalkar 2016, algorithm 1. Differs from source: the largest budget is the
  length of the run; rounds are rounded up.

  Args:
    rule: the method, the factor and `min_rounds`.
    rounds: of the whole run.
    num_trials: of the first rung.
    every: rounds between two evaluations; a rung ends with one.
  """
  if rule.method != "halving":
    return (Rung(num_trials, rounds),)
  ends, factor = [rounds], rule.factor
  while num_trials // factor ** len(ends) >= 1:
    before = _evaluated(rounds / factor ** len(ends), every)
    if before < rule.min_rounds or before >= ends[0]:
      break
    ends.insert(0, before)
  return tuple(Rung(num_trials // factor**index, end) for index, end in enumerate(ends))


def work(rungs: tuple[Rung, ...]) -> int:
  """Returns how many rounds the trials train in all."""
  before = 0
  total = 0
  for rung in rungs:
    total += rung.num_trials * (rung.round - before)
    before = rung.round
  return total


def _evaluated(least: float, every: int) -> int:
  """Returns the first round from `least` on that ends with an evaluation."""
  return math.ceil(math.ceil(round(least, 9)) / every) * every
