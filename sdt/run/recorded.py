"""What the baseline records of every training example: the summaries, and the course if asked for.

They score the examples, so no other arm records any.
"""

from sdt.arms.planning import make_plan, neutral_values
from sdt.arms.setting import Setting
from sdt.config import Config
from sdt.data.dataset import Data
from sdt.engine.plan import Plan
from sdt.errors import ConfigError
from sdt.losses import is_regression
from sdt.scores.dynamics import Dynamics, no_dynamics

MOST_BYTES = 2 * 10**9  # of the course of all seeds


def records(config: Config, data: Data, arm: str) -> bool:
  """Returns whether an arm keeps the training dynamics of every example."""
  return config.score.dynamics and arm == "baseline" and not is_regression(data.train.labels)


def num_recorded(config: Config, data: Data, arm: str) -> int:
  """Returns of how many examples an arm keeps the training dynamics: of all, or of none."""
  return len(data.train) if records(config, data, arm) else 0


def num_carried(config: Config, data: Data, plan: Plan) -> int:
  """Returns of how many examples the program of a plan carries the dynamics: of all, or of none.

  That of the baseline carries what it keeps. Plans of the same shapes share it, which costs less
  than to compile another; not with the course, which would take too much memory.
  """
  count = num_recorded(config, data, "baseline")
  if plan.arm == "baseline" or not count:
    return count
  baseline, neutral = make_plan("baseline", Setting.of(config, data)), neutral_values(config)
  is_like_it = plan.sizes == baseline.sizes
  is_like_it &= plan.regularisers(neutral) == baseline.regularisers(neutral)
  return count if is_like_it and not config.score.course else 0


def course_rounds(config: Config, arm: str) -> int:
  """Returns of how many rounds an arm keeps the label's probability; 0 where it keeps none."""
  return config.rounds if config.score.course and arm == "baseline" else 0


def nothing_yet(config: Config, data: Data, arm: str) -> Dynamics | None:
  """Returns the dynamics of an arm before its first step; None where none are recorded."""
  count = num_recorded(config, data, arm)
  return no_dynamics(len(config.seeds), count, course_rounds(config, arm)) if count else None


def course_bytes(config: Config, data: Data) -> int:
  """Returns the bytes of the course of all seeds; 0 where none is kept."""
  count = num_recorded(config, data, "baseline")
  return len(config.seeds) * count * course_rounds(config, "baseline")


def check(config: Config, data: Data) -> None:
  """Refuses a course that is too large, before anything is compiled.

  Raises:
    ConfigError: it has more than `MOST_BYTES`.
  """
  needed = course_bytes(config, data)
  if needed > MOST_BYTES:
    raise ConfigError(
      f"score.course = True: {len(config.seeds)} seed(s) x {len(data.train):,} examples x "
      f"{config.rounds} rounds take {needed / 1e9:.1f} GB, in memory and in each checkpoint of the "
      f"baseline; expected at most {MOST_BYTES / 1e9:.0f} GB; leave score.course out, or give "
      "fewer seeds or rounds"
    )
