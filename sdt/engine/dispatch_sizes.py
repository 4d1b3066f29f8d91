"""How a plan is cut into dispatches: calls of the compiled program of a few seconds each."""

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
  """How much one dispatch runs.

  Whole rounds, or (with `rounds` 1) some steps or some evaluation batches of a round.
  """

  rounds: int
  steps: int
  evals: int


@dataclasses.dataclass(frozen=True)
class RoundWork:
  """The work of one round.

  Attributes:
    steps: optimiser steps.
    evals: evaluation batches of the test set.
    step_multiply_adds: of all replicas in one optimiser step (three forward passes).
    eval_multiply_adds: of all replicas in one evaluation batch.
  """

  steps: int
  evals: int
  step_multiply_adds: float
  eval_multiply_adds: float


def estimated_secs(multiply_adds: float) -> float:
  """Returns a cautious guess of the seconds of one step or batch on the default backend."""
  platform = jax.default_backend()
  speed = _MULTIPLY_ADDS_PER_SEC.get(platform, 30e12) * (num_cpus() if platform == "cpu" else 1)
  return max(_LEAST_STEP_SECS.get(platform, 1e-3), multiply_adds / speed)


def batches_within(multiply_adds: float, total: int) -> int:
  """Returns how many of `total` batches, each of so many multiply-adds, one dispatch should run."""
  return max(1, min(total, int(_DISPATCH_SECS / estimated_secs(multiply_adds))))


def choose_sizes(
  work: RoundWork,
  rounds: int,
  steps: int | None = None,
  at_most: tuple[int, int] | None = None,
) -> DispatchSizes:
  """Returns the sizes of a dispatch, from `steps` or a cautious estimate of the device's speed.

  Args:
    work: of a round.
    rounds: of the plan.
    steps: the optimiser steps that the user wants in a dispatch (`parallel.steps_per_dispatch`).
    at_most: of streamed inputs, the most steps and the most evaluation batches that one dispatch
      may be given. Then no dispatch has both, or several rounds.
  """
  step_secs = estimated_secs(work.step_multiply_adds)
  eval_secs = estimated_secs(work.eval_multiply_adds)
  budget_secs = _DISPATCH_SECS if steps is None else steps * step_secs
  round_secs = work.steps * step_secs + work.evals * eval_secs
  fits = round_secs <= budget_secs if steps is None else steps >= work.steps
  if fits and at_most is None:
    whole = budget_secs // round_secs if steps is None else steps // work.steps
    return DispatchSizes(int(min(rounds, max(1, whole))), work.steps, work.evals)
  most_steps, most_evals = at_most or (work.steps, work.evals)
  affordable = max(1, int(budget_secs / step_secs)) if steps is None else steps
  pieces = num_batches(work.steps, min(most_steps, affordable))
  # Pieces of equal length need no test for the end of the round in the loop: they are taken where
  # slightly shorter pieces are equal.
  counts = range(pieces, 2 * pieces + 1)
  even = next((count for count in counts if work.steps % count == 0), pieces)
  evals = max(1, min(most_evals, work.evals, int(budget_secs / eval_secs)))
  return DispatchSizes(1, num_batches(work.steps, even), evals)
