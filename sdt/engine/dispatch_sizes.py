"""How a plan is cut into dispatches: calls of the compiled program of a few seconds each."""

from __future__ import annotations

import dataclasses

import jax

from sdt.devices.layout import num_cpus
from sdt.inputs.order import num_batches

# A dispatch should last no longer than this, so that signals, progress and saves get their turn.
_DISPATCH_SECS = 2.5
# Cautious multiply-adds per second, to choose a dispatch before anything has run: a wrong guess
# changes its length and no number.
_MULTIPLY_ADDS_PER_SEC = {"cpu": 15e9, "gpu": 30e12, "tpu": 30e12}
_LEAST_STEP_SECS = {"cpu": 2e-3, "gpu": 1e-3, "tpu": 1e-3}
TRAINED = 3  # multiply-adds of a training step over those of a forward pass


@dataclasses.dataclass(frozen=True)
class DispatchSizes:
  """How much one dispatch runs: whole rounds, or (with `rounds` 1) some steps or some evaluation
  batches of a round.
  """

  rounds: int
  steps: int
  evals: int


def estimated_secs(multiply_adds: float) -> float:
  """Returns a cautious guess of how long one step or batch of so many multiply-adds takes on the
  default backend.
  """
  platform = jax.default_backend()
  speed = _MULTIPLY_ADDS_PER_SEC.get(platform, 30e12) * (num_cpus() if platform == "cpu" else 1)
  return max(_LEAST_STEP_SECS.get(platform, 1e-3), multiply_adds / speed)


def batches_within(multiply_adds: float, total: int) -> int:
  """Returns how many of `total` batches, each of so many multiply-adds, one dispatch should run."""
  return max(1, min(total, int(_DISPATCH_SECS / estimated_secs(multiply_adds))))


def choose_sizes(
  *,
  steps_per_round: int,
  evals_per_round: int,
  rounds: int,
  step_multiply_adds: float,
  eval_multiply_adds: float,
  steps: int | None = None,
  at_most: tuple[int, int] | None = None,
) -> DispatchSizes:
  """Returns the sizes of a dispatch, from a cautious estimate of the device's speed or from `steps`
  (`parallel.steps_per_dispatch`).

  Args:
    steps_per_round: S.
    evals_per_round: evaluation batches of the test set.
    rounds: of the plan.
    step_multiply_adds: of all replicas in one optimiser step (three forward passes).
    eval_multiply_adds: of all replicas in one evaluation batch.
    steps: the optimiser steps that the user wants in a dispatch.
    at_most: streamed inputs: of how many steps, and of how many evaluation batches, they fit; no
      dispatch has both, or several rounds.
  """
  step_secs, eval_secs = estimated_secs(step_multiply_adds), estimated_secs(eval_multiply_adds)
  budget_secs = _DISPATCH_SECS if steps is None else steps * step_secs
  round_secs = steps_per_round * step_secs + evals_per_round * eval_secs
  fits = round_secs <= budget_secs if steps is None else steps >= steps_per_round
  if fits and at_most is None:
    whole = budget_secs // round_secs if steps is None else steps // steps_per_round
    return DispatchSizes(int(min(rounds, max(1, whole))), steps_per_round, evals_per_round)
  most_steps, most_evals = at_most or (steps_per_round, evals_per_round)
  pieces = num_batches(
    steps_per_round,
    min(most_steps, max(1, int(budget_secs / step_secs)) if steps is None else steps),
  )
  # Pieces of equal length need no test for the end of the round in the loop; take them where there
  # are some a little shorter.
  even = next(
    (count for count in range(pieces, 2 * pieces + 1) if steps_per_round % count == 0), pieces
  )
  return DispatchSizes(
    1,
    num_batches(steps_per_round, even),
    max(1, min(most_evals, evals_per_round, int(budget_secs / eval_secs))),
  )
