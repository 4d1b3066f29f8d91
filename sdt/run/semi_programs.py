"""What the programs of plans with unlabelled examples have besides."""

import dataclasses

from sdt.config import Config
from sdt.config.schema import NEUTRAL
from sdt.config.toolbox.pipeline import strong_pipeline_of
from sdt.engine.plan import Plan, PlanArrays
from sdt.engine.program import SemiProgram
from sdt.engine.semi import SEMI, numbers_of_semi


def semi_program(plan: Plan, config: Config) -> SemiProgram | None:
  """Returns what is static about phases with unlabelled examples; None if no phase learns of any.

  Then the program is the one that it was before there were such phases.
  """
  overrides = [item for phase in plan.phases for item in phase.overrides.items()]
  names = [name for name, value in overrides if name in SEMI and value != NEUTRAL[name]]
  if not names or not plan.num_unlabelled:
    return None
  return SemiProgram(
    names[0],
    plan.num_unlabelled,
    config.semi.ratio * config.batch_size,
    strong=strong_pipeline_of(config.augment) if SEMI[names[0]].is_strong else None,
  )


def with_semi(arrays: PlanArrays, plan: Plan, config: Config) -> PlanArrays:
  """Returns the numbers of a plan with those of its phases with unlabelled examples."""
  semi = semi_program(plan, config)
  if semi is None:
    return arrays
  return dataclasses.replace(arrays, semi=numbers_of_semi(plan, semi.name, config.semi))
