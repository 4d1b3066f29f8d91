"""The keys of distillation: learning from the network that scored the examples."""

import dataclasses

from sdt.config.keys.declare import config_key

# Which network teaches.
TEACHERS = ("own", "mean", "classes")


@dataclasses.dataclass(frozen=True)
class DistilConfig:
  """Who teaches phases such as all@baseline[distil=0.5]: the baseline, as it is when it scores."""

  teacher: str = config_key(
    "own",
    "own: the network of the same seed; mean: the mean of the probabilities of all seeds' "
    "networks; classes: of the same seed, the mean of the probabilities of each class, a control "
    "that knows no single image",
    choices=TEACHERS,
    is_later=True,
  )
  temperature: float = config_key(
    2.0,
    "T: teacher and student are compared at softmax(logits / T); above 1 the teacher's second "
    "choices weigh more",
    above=0.0,
    high=1e3,
    is_later=True,
  )
