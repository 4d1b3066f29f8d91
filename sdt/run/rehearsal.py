"""Programs of plans whose teacher is not there yet: for shapes, memory and time."""

import math

import jax

from sdt.engine.plan import Plan
from sdt.engine.state import TrainState
from sdt.engine.teacher import TEACHERS, Teacher, is_taught
from sdt.engine.trainer import Trainer
from sdt.run.programs import Setup


def rehearsal(setup: Setup, plan: Plan) -> Trainer:
  """Returns the trainer of a plan; a teacher is replaced by the networks of the fresh start."""
  if not is_taught(plan):
    return setup.trainer(plan)
  state = setup.state_shapes if setup.layout.is_abstract else setup.fresh_start.state
  return setup.trainer(plan, _stand_in(setup, state))


def _stand_in(setup: Setup, state: TrainState) -> Teacher:
  asked, num_classes = setup.config.distil, len(setup.data.class_names)
  own, shared = TEACHERS[asked.teacher].of_variables(state.variables, num_classes)
  return Teacher(asked.teacher, own, shared, temperature=asked.temperature)


def teacher_bytes(setup: Setup) -> int:
  """Returns what a teacher takes on a device, bytes."""
  teacher = _stand_in(setup, setup.state_shapes)
  own, shared = (
    sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
    for tree in (teacher.own, teacher.shared)
  )
  return own // setup.layout.replica_parts + shared
