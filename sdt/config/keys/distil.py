"""The keys of distillation: learning from the networks that scored the examples."""

import dataclasses

from sdt.config.keys.declare import config_key

# The regularisers that have a teacher.
DISTIL = ("distil", "distil_mean", "distil_classes")


@dataclasses.dataclass(frozen=True)
class DistilConfig:
  """How phases such as all@baseline[distil=0.5] compare themselves with their teacher."""

  temperature: float = config_key(
    2.0,
    "T: teacher and student are compared at softmax(logits / T); above 1 the teacher's second "
    "choices weigh more",
    low=0.1,
    high=20.0,
    is_later=True,
  )
