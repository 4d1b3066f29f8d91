"""After which rounds the states of a training are kept, beside its end."""

from sdt.arms.catalogue import num_rounds_of, scoring_arms
from sdt.config import Config


def snapshot_rounds(arm: str, config: Config) -> tuple[int, ...]:
  """Returns the rounds, from 1, after which an arm's networks are those of `evaluate.snapshots`.

  They end the last cycles of its schedule; the last is the end of the training. () for none.
  """
  cycle, rounds = config.optim.cycle_rounds, config.rounds
  if not config.evaluate.snapshots or cycle is None or arm not in config.arms:
    return ()
  stretch = num_rounds_of(arm, config) // rounds  # its schedule is so many times slower
  cycles_left = reversed(range(config.evaluate.snapshots))
  return tuple(stretch * (rounds - number * cycle) for number in cycles_left)


def kept_rounds(arm: str, config: Config) -> tuple[int, ...]:
  """Returns the rounds, ascending, whose states are needed later, without the end of the arm.

  That are the networks that score, and the snapshots.
  """
  scored = (config.score.at_round,) if arm in scoring_arms(config) else ()
  numbers = {number for number in (*scored, *snapshot_rounds(arm, config)) if number is not None}
  return tuple(sorted(numbers - {num_rounds_of(arm, config)})) if numbers else ()
