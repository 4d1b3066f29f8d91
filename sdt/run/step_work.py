"""What the steps of a plan cost, counted in images."""

from sdt.config import Config
from sdt.engine.dispatch_sizes import TRAINED
from sdt.engine.plan import Phase, Plan
from sdt.engine.semi import SEMI
from sdt.engine.teacher import TEACHERS, teacher_of
from sdt.run.semi_programs import semi_program


def images_of_step(plan: Plan, config: Config) -> int:
  """Returns how many images a step of a plan makes at most, all together."""
  semi = semi_program(plan, config)
  return config.batch_size + (0 if semi is None else 2 * semi.batch_size)


def rows_of_step(plan: Plan, config: Config) -> int:
  """Returns how many images a step trains on, all together, on average over the steps of a round.

  A pass without gradient counts a third, rounded down.
  """
  passed = sum(phase.num_steps * _passes(plan, phase, config) for phase in plan.phases)
  return passed // (TRAINED * plan.steps_per_round)


def _passes(plan: Plan, phase: Phase, config: Config) -> int:
  """Returns how many images go forward through a network in a step; a trained one counts thrice."""
  semi, kind, passes = semi_program(plan, config), teacher_of(plan), TRAINED * config.batch_size
  if semi is not None and phase.num_unlabelled and phase.overrides.get(semi.name):
    passes += 2 * semi.batch_size * (TRAINED + SEMI[semi.name].guesses)
  if kind is not None and (phase.overrides.get(kind) or kind in phase.by_part):
    passes += config.batch_size * TEACHERS[kind].passes(len(config.seeds))
  return passes
