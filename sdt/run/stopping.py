"""Early stopping: at which round each seed of an arm ends, by its accuracy on the validation split.

The rows of metrics.jsonl decide: the same rows stop a training, continue it after a kill, and say
in the results where it ended. The test set is not asked.
"""

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Shaped

from sdt import files
from sdt.config import Config
from sdt.engine.state import Best, Snapshot
from sdt.run import metrics
from sdt.run.metrics import Row


@dataclasses.dataclass(frozen=True)
class End:
  """Where a seed of an arm ends.

  Attributes:
    best: the round of its highest validation accuracy, the first of equal ones; 0 where none was
      measured.
    stopped: the round after which it trains no more; None if it went to the last.
  """

  best: int = 0
  stopped: int | None = None


def ends_of(rows: Iterable[Row], patience: int) -> dict[int, End]:
  """Returns where each seed of one arm ends, by its rows in order of the rounds.

  Rounds without an evaluation decide nothing. `patience` is in rounds.
  """
  ends: dict[int, End] = {}
  highest: dict[int, float] = {}
  for row in rows:
    if not row["last_phase"] or "validation_accuracy" not in row:
      continue
    seed, accuracy, number = row["seed"], row["validation_accuracy"], row["round"]
    end = ends.setdefault(seed, End())
    if end.stopped is not None:
      continue
    if accuracy is not None and accuracy > highest.get(seed, -math.inf):
      highest[seed], ends[seed] = accuracy, End(best=number)
    elif number - end.best >= patience:
      ends[seed] = End(end.best, stopped=number)
  return ends


def num_rounds(rows: Sequence[Row], total: int, config: Config) -> int:
  """Returns how many rounds an arm of `total` trains: up to where its last seed has stopped.

  `rows` are those of the arm.
  """
  ends = ends_of(rows, config.stop.patience) if config.stop.patience else {}
  stopped = [ends[seed].stopped for seed in config.seeds if seed in ends]
  known = [number for number in stopped if number is not None]
  return max(known) if known and len(known) == len(config.seeds) else total


def judged(rows: Sequence[Row], config: Config) -> Sequence[Row]:
  """Returns the rows up to the round whose network counts, of every arm and seed.

  Those are all rows without early stopping.
  """
  if not config.stop.patience:
    return rows
  arms = dict.fromkeys(row["arm"] for row in rows)
  best = {
    (arm, seed): end.best
    for arm in arms
    for seed, end in ends_of(
      (row for row in rows if row["arm"] == arm), config.stop.patience
    ).items()
  }
  return [
    row for row in rows if row["round"] <= (best.get((row["arm"], row["seed"])) or row["round"])
  ]


def read_judged(workdir: Path, config: Config) -> Sequence[Row]:
  """Returns the `judged` rows of metrics.jsonl."""
  return judged(files.read_rows(workdir / metrics.FILE), config)


def described(rows: Iterable[Row], arms: Sequence[str], config: Config) -> dict[str, Any]:
  """Returns the entry `early_stopping` of results.json; {} without early stopping."""
  if not config.stop.patience:
    return {}
  rows = list(rows)
  ends = {
    arm: ends_of((row for row in rows if row["arm"] == arm), config.stop.patience) for arm in arms
  }
  of_arms = {
    arm: {
      "best_round": {seed: end.best or None for seed, end in of_arm.items()},
      "stopped_after": {seed: end.stopped for seed, end in of_arm.items()},
    }
    for arm, of_arm in ends.items()
  }
  return {
    "early_stopping": {
      "patience": config.stop.patience,
      "arms": of_arms,
      "sentence": _sentence(ends, config),
    }
  }


def _sentence(ends: Mapping[str, Mapping[int, End]], config: Config) -> str:
  bests = {arm: [end.best for end in of_arm.values()] for arm, of_arm in ends.items()}
  told = ", ".join(
    f"{arm} {min(best)}" + (f" to {max(best)}" if max(best) > min(best) else "")
    for arm, best in bests.items()
    if best
  )
  same = len({number for best in bests.values() for number in best}) <= 1
  differ = "all at the same round" if same else "the arms stopped at different rounds"
  return (
    f"Early stopping with a patience of {config.stop.patience} rounds: {differ}, so every arm is "
    f"compared after its own number of rounds. The networks are of round: {told}."
  )


class Stopper:
  """Keeps the best state of every seed of one arm, and tells when all have stopped.

  Attributes:
    best: what a checkpoint keeps of it, on the host.
  """

  def __init__(self, config: Config, arm: str, start: Snapshot, earlier: Iterable[Row]):
    """Starts, or goes on after the earlier rows of the arm, with `start.best` if there is one."""
    self._config = config
    self._rows: list[Row] = [row for row in earlier if row["arm"] == arm]
    self.best = start.best or Best(start.state, start.dynamics)

  @property
  def is_over(self) -> bool:
    """Whether every seed has stopped."""
    ends = ends_of(self._rows, self._config.stop.patience)
    return bool(ends) and all(end.stopped is not None for end in ends.values())

  def see(self, rows: Iterable[Row], get_state: Callable[[], Snapshot]) -> None:
    """Takes the rows of a round, and its state [R, ...] if a seed is better than ever."""
    new = [row for row in rows if "validation_accuracy" in row]
    if not new:
      return
    self._rows += new
    ends = ends_of(self._rows, self._config.stop.patience)
    now = max(row["round"] for row in new)
    # A seed that was never measured has diverged: of it the last state is kept.
    better = np.array([ends[seed].best in (0, now) for seed in self._config.seeds])
    if not better.any():
      return
    reached = get_state()

    def chosen(
      new: Shaped[np.ndarray, "R ..."], old: Shaped[np.ndarray, "R ..."]
    ) -> Shaped[np.ndarray, "R ..."]:
      return np.where(better.reshape(-1, *[1] * (np.ndim(new) - 1)), new, old)

    self.best = jax.tree.map(chosen, Best(reached.state, reached.dynamics), self.best)

  def beside(self, reached: Snapshot) -> Snapshot:
    """Returns the snapshot of a training under way, with the best states beside it."""
    return dataclasses.replace(reached, best=self.best)

  def at_the_end(self, reached: Snapshot) -> Snapshot:
    """Returns the snapshot with the states that count in place of the last ones."""
    best = self.best
    return dataclasses.replace(reached, state=best.state, dynamics=best.dynamics, best=best)
