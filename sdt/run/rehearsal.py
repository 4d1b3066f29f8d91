"""Programs of plans whose teacher is not there yet: for shapes, memory and time."""

import math
from collections.abc import Sequence

import jax

from sdt.engine.plan import Plan
from sdt.engine.state import TrainState
from sdt.engine.teacher import TEACHERS, Teacher, teacher_of
from sdt.engine.trainer import Trainer
from sdt.run.programs import Setup


def rehearsal(setup: Setup, plan: Plan) -> Trainer:
  """Returns the trainer of a plan; a teacher is replaced by the networks of the fresh start."""
  kind = teacher_of(plan)
  if kind is None:
    return setup.trainer(plan)
  state = setup.state_shapes if setup.layout.is_abstract else setup.fresh_start.state
  return setup.trainer(plan, _stand_in(setup, kind, state))


def _stand_in(setup: Setup, kind: str, state: TrainState) -> Teacher:
  own, shared = TEACHERS[kind].stand_in(state.variables, len(setup.data.class_names))
  return Teacher(own, shared, setup.config.distil.temperature)


def teacher_bytes(setup: Setup, plans: Sequence[Plan]) -> int:
  """Returns what the largest teacher of the plans takes on a device, bytes; 0 without any."""
  sizes = [0]
  for kind in {teacher_of(plan) for plan in plans} - {None}:
    teacher = _stand_in(setup, str(kind), setup.state_shapes)
    own, shared = (
      sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
      for tree in (teacher.own, teacher.shared)
    )
    sizes.append(own // setup.layout.replica_parts + shared)
  return max(sizes)
