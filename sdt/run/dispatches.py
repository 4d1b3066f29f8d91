"""How the training of an arm is cut into dispatches: as sealed with the run, or as chosen now."""

import dataclasses

from sdt.devices import processes
from sdt.engine.dispatch_sizes import DispatchSizes, RoundWork, batches_within, choose_sizes
from sdt.engine.plan import Plan


def batches_of_pass(multiply_adds: float, total: int) -> int:
  """Returns how many batches a dispatch should run, for the processors of the first process."""
  return int(processes.agree(batches_within(multiply_adds, total)))


def arm_sizes(
  dispatches: dict[str, dict[str, int]],
  plan: Plan,
  work: RoundWork,
  steps: int | None,
  most: tuple[int, int] | None,
) -> DispatchSizes:
  """Returns how an arm is cut into dispatches, and puts it into `dispatches`.

  An earlier start of the run may have had its inputs on the devices. Then its dispatches are cut
  into pieces that end wherever these ended.

  Args:
    dispatches: by arm, what is sealed with the run.
    plan: of the arm.
    work: of a round.
    steps: the optimiser steps that the user wants in a dispatch.
    most: how many steps, and how many evaluation batches, one dispatch may be given where inputs
      are streamed.
  """
  sealed = dispatches.get(plan.arm)
  if sealed is not None and most is not None and sealed["steps"] < plan.steps_per_round:
    shorter = range(min(most[0], sealed["steps"]), 0, -1)
    pieces = next(count for count in shorter if sealed["steps"] % count == 0)
    chosen = {"rounds": 1, "steps": pieces, "evals": min(most[1], sealed["evals"])}
  elif sealed is None or most is not None:
    # Sealed dispatches of whole rounds need no piece: none of them ended within a round.
    chosen = dataclasses.asdict(choose_sizes(work, plan.rounds, steps, at_most=most))
  else:
    chosen = sealed
  # The sizes depend on this machine's processors and memory; the first process's count.
  dispatches[plan.arm] = processes.agree(chosen)
  return DispatchSizes(**dispatches[plan.arm])
