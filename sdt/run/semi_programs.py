"""What the programs of plans with unlabelled examples have besides, and what a step costs."""

import dataclasses

from sdt.config import Config
from sdt.config.schema import NEUTRAL
from sdt.config.toolbox.pipeline import strong_pipeline_of
from sdt.engine.dispatch_sizes import TRAINED
from sdt.engine.plan import Plan, PlanArrays
from sdt.engine.program import SemiProgram
from sdt.engine.semi import SEMI, numbers_of_semi
from sdt.engine.teacher import TEACHERS, teacher_of


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


def rows_of_step(plan: Plan, config: Config) -> int:
  """Returns how many images a step of a plan trains on, all together.

  A pass without gradient counts a third.
  """
  semi, rows, passed = semi_program(plan, config), config.batch_size, 0
  if semi is not None:
    rows += 2 * semi.batch_size
    passed += 2 * semi.batch_size * SEMI[semi.name].guesses
  if (kind := teacher_of(plan)) is not None:
    passed += config.batch_size * TEACHERS[kind].passes(len(config.seeds))
  return rows + passed // TRAINED


def with_semi(arrays: PlanArrays, plan: Plan, config: Config) -> PlanArrays:
  """Returns the numbers of a plan with those of its phases with unlabelled examples."""
  semi = semi_program(plan, config)
  if semi is None:
    return arrays
  return dataclasses.replace(arrays, semi=numbers_of_semi(plan, semi.name, config.semi))
