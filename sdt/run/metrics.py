"""The rows of metrics.jsonl: which rounds have rows, what a row says, which rows are dropped."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from sdt import files
from sdt.config import Config
from sdt.engine.plan import Phase, Plan
from sdt.engine.state import Sums
from sdt.engine.trainer import FinishedRound

FILE = "metrics.jsonl"
# More losses of single steps are not kept of a training.
MOST_STEPS = 20_000

type Row = Mapping[str, Any]

# What a seed that diverged has not.
_TESTED = {"test_loss", "test_accuracy", "average_test_loss", "average_test_accuracy"}


def has_rows(number: int, rounds: int, config: Config) -> bool:
  """Returns whether round `number`, from 1, of `rounds` has rows.

  Every evaluated round has rows, so that no evaluation is lost.
  """
  is_measured = config.monitor.units and number == 1
  is_due = number % config.log_every_rounds == 0 or is_measured
  return is_due or is_evaluated(number, rounds, config)


def is_evaluated(number: int, rounds: int, config: Config) -> bool:
  """Returns whether the test set is evaluated at the end of round `number`, from 1."""
  return number % config.eval_every_rounds == 0 or number == rounds


def diverged_seeds(rows: Iterable[Row], arm: str) -> tuple[int, ...]:
  """Returns the seeds whose training of `arm` was frozen, in the order of their first such row."""
  return tuple(
    dict.fromkeys(row["seed"] for row in rows if row["arm"] == arm and row.get("diverged"))
  )


def drop_rows(workdir: Path, is_covered: Callable[[Row], bool]) -> Sequence[Row]:
  """Removes the rows that no checkpoint covers from metrics.jsonl; returns the removed rows."""
  path = workdir / FILE
  lost = [row for row in files.read_rows(path) if not is_covered(row)]
  files.truncate_rows(path, is_covered)
  return lost


def rows_of_round(
  plan: Plan,
  config: Config,
  ended: FinishedRound,
  *,
  learning_rate: float | Float[np.ndarray, "..."],
  steps_done: Int[np.ndarray, "R"],
  is_regression: bool = False,
) -> list[dict[str, Any]]:
  """Returns the rows of one finished round: one for each seed and phase.

  Args:
    plan: the arm's plan.
    config: for the seeds, and for the rounds that are evaluated.
    ended: the round, its sums with leaves [R, ...] and its seconds for all seeds together.
    learning_rate: of the round, or of each of its steps, [S]: a row has the mean over its phase.
    steps_done: [R] optimiser steps done by then or later; fewer where a replica was frozen.
    is_regression: there are no classes, and so no accuracies.
  """
  rows = []
  rates = np.broadcast_to(learning_rate, plan.steps_per_round)
  factors = plan.factors_of(ended.index)
  evaluated = is_evaluated(ended.index + 1, plan.rounds, config)
  for replica, seed in enumerate(config.seeds):
    step = ended.index * plan.steps_per_round
    for number, phase in enumerate(plan.phases):
      rate = _mean(rates[step % plan.steps_per_round :][: phase.num_steps])
      step += phase.num_steps
      is_last = number == len(plan.phases) - 1
      place, is_tested = (replica, number), is_last and evaluated
      figures = _figures(ended.sums, place, is_tested, is_regression=is_regression)
      # A last update can be finite and still give a network whose outputs are not.
      diverged = int(steps_done[replica]) < step or not math.isfinite(figures["test_loss"] or 0.0)
      lost = {**dict.fromkeys(_TESTED & figures.keys()), "diverged": True} if diverged else {}
      row = {
        "arm": plan.arm,
        "seed": seed,
        "round": ended.index + 1,
        "phase": phase.name,
        "last_phase": is_last,
        "step": min(step, int(steps_done[replica])),
        "learning_rate": _short(rate),
        "weight_decay": _short(np.mean(phase.weight_decay[replica]) * factors[number]),
        **figures,
        **_guesses(ended.sums, place, phase),
        "seconds": round(ended.seconds / plan.steps_per_round * phase.num_steps, 6),
        **({"overrides": values} if (values := {**phase.overrides, **phase.by_part}) else {}),
      }
      rows.append(row | lost)
  return _with_step_losses(rows, plan, ended, steps_done=steps_done)


def _with_step_losses(
  rows: list[dict[str, Any]],
  plan: Plan,
  ended: FinishedRound,
  *,
  steps_done: Int[np.ndarray, "R"],
) -> list[dict[str, Any]]:
  """Returns the rows of a round with the losses of their steps, every k-th of the training.

  Steps that were not made, because the seed had diverged, have None. The rows stay as they are
  where no losses are kept.
  """
  if ended.sums.step_losses is None:
    return rows
  begin, every = plan.steps_per_round * ended.index, kept_every(plan.rounds * plan.steps_per_round)
  ends = np.cumsum([phase.num_steps for phase in plan.phases])
  with_losses = []
  for number, row in enumerate(rows):
    replica, phase = divmod(number, len(plan.phases))
    losses, last = ended.sums.step_losses[replica], int(ends[phase])
    kept = [
      _short(losses[step], 6) if begin + step < steps_done[replica] else None
      for step in range(last - plan.phases[phase].num_steps, last)
      if (begin + step) % every == 0
    ]
    with_losses.append({**row, "step_losses": kept})
  return with_losses


def kept_every(num_steps: int) -> int:
  """Returns k: of a training of so many steps the loss of every k-th is kept, 20,000 at most."""
  return max(1, math.ceil(num_steps / MOST_STEPS))


def _figures(
  sums: Sums, place: tuple[int, int], evaluated: bool, is_regression: bool
) -> dict[str, Any]:
  """Returns the losses, accuracies and norms of a row; `place` is (replica, phase)."""
  count = int(sums.train_count[place])
  tests = int(sums.test_count[place[0]]) if evaluated else 0
  has_classes = not is_regression
  return {
    "train_loss": float(sums.train_loss[place]) / count if count else None,
    "train_accuracy": int(sums.train_correct[place]) / count if count and has_classes else None,
    **_norms(sums, place),
    "test_loss": float(sums.test_loss[place[0]]) / tests if tests else None,
    "test_accuracy": int(sums.test_correct[place[0]]) / tests if tests and has_classes else None,
    **_of_average(sums, place[0], tests, has_classes=has_classes),
  }


def _guesses(sums: Sums, place: tuple[int, int], phase: Phase) -> dict[str, float | None]:
  """Returns the share of the unlabelled examples whose guess was learned from; {} without any."""
  if sums.guesses_used is None or not phase.num_unlabelled:
    return {}
  steps = int(sums.num_steps[place])
  return {"guesses_used": _short(sums.guesses_used[place] / steps, 6) if steps else None}


def _of_average(sums: Sums, replica: int, tests: int, *, has_classes: bool) -> dict[str, Any]:
  """Returns what the average of the weights reaches on the test set; nothing without one."""
  if sums.average is None:
    return {}
  loss, correct = sums.average.loss[replica], sums.average.correct[replica]
  return {
    "average_test_loss": float(loss) / tests if tests else None,
    "average_test_accuracy": int(correct) / tests if tests and has_classes else None,
  }


def _mean(rates: Float[np.ndarray, "S"]) -> float:
  """Returns the mean of rates; of equal ones exactly their value, and 0 of none."""
  if not rates.size or np.all(rates == rates[0]):
    return float(rates[0]) if rates.size else 0.0
  return float(np.mean(rates))


def _norms(sums: Sums, place: tuple[int, int]) -> dict[str, float | list[float] | None]:
  """Returns the norms of a row: means over the phase's steps, and the kernels' at its end.

  A phase that took no step has None.
  """
  steps, norms = int(sums.num_steps[place]), sums.weight_norms[place].astype(np.float64)
  ended = steps > 0 and norms.any()
  return {
    "gradient_norm": _short(sums.gradient_norm[place] / steps, 6) if steps else None,
    "update_norm": _short(sums.update_norm[place] / steps, 6) if steps else None,
    "weight_norm": _short(np.sqrt(np.square(norms).sum()), 6) if ended else None,
    "weight_norms": [_short(norm, 6) for norm in norms] if ended else None,
  }


def _short(value: float | np.floating, digits: int = 12) -> float:
  """Returns the float to so many digits: 0.01, where 0.1 * 0.1 is 0.010000000000000002."""
  return float(f"{float(value):.{digits}g}")
