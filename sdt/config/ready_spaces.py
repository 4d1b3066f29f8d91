"""Ready-made spaces of a search, a row for each kind of data: what `sdt.fit` tries.

The middle of a space is a recipe that was found by hand, and is tried first. Choices may need a
program of their own, which takes seconds to compile; rates, decays and most strengths of operations
are numbers of one program. So an augmentation names the same operations in all of its choices (at
strength 0 one changes nothing), with the same crops, which are a part of the program.
"""

import dataclasses
import math
import types
from collections.abc import Mapping
from typing import Any

from sdt.config.search_space import CHOICE, Space, space_of
from sdt.config.toolbox.operation_blocks import OPS
from sdt.config.toolbox.parse import parse_calls
from sdt.config.toolbox.pipeline import Pipeline

# Rounds of a whole training, of which the time allows the most.
ROUNDS = (3, 9, 27, 81, 243)
_LEAST_STEPS = 150  # of a whole training; with fewer a network has learned next to nothing
_LEAST_JUDGED = 50  # steps before a recipe is compared with others
_LEAST_BATCH = 4


@dataclasses.dataclass(frozen=True)
class Kind:
  """A kind of data and how it is learned.

  Attributes:
    what: the data in words.
    most_pixels: the longest side of the images; 0 for vectors.
    base: the keys of every trial, as nested dicts.
    space: the items of `select.space`.
    least_secs: less time is refused before anything compiles; what is needed is measured after.
    pilot_examples: on how many examples the time of a round is measured.
    compile_secs, step_secs: what the first recipe takes on two cores, roughly: by it the length of
      the training is guessed that is measured, because another length is another program.
  """

  what: str
  most_pixels: float
  base: Mapping[str, Any]
  space: tuple[str, ...]
  least_secs: float
  pilot_examples: int
  compile_secs: float
  step_secs: float

  @property
  def dimensions(self) -> Space:
    return space_of(self.space)


_DECAY = "optim.weight_decay = log(1e-5, 1e-2)"
# One row a kind, in the order of the sizes.
KINDS: Mapping[str, Kind] = types.MappingProxyType(
  {
    "vectors": Kind(
      what="vectors",
      most_pixels=0,
      base={"model": {"name": "mlp"}, "batch_size": 32},
      space=(
        "model.hidden_sizes = choice((64,), (128,), (128, 128))",
        "optim.learning_rate = log(0.005, 0.5)",
        _DECAY,
      ),
      least_secs=3.0,
      pilot_examples=20_000,
      compile_secs=3.0,
      step_secs=0.002,
    ),
    "tiny_images": Kind(
      what="images of up to 16 pixels a side",
      most_pixels=16,
      base={"model": {"name": "resnet"}, "batch_size": 64},
      space=(
        "model.widths = choice((16,), (16, 32), (32, 64))",
        "optim.learning_rate = log(0.02, 0.5)",
        _DECAY,
        "augment.ops = choice(crop(1) rotate(10), crop(1) rotate(0), crop(1) rotate(20))",
      ),
      least_secs=5.0,
      pilot_examples=5_000,
      compile_secs=10.0,
      step_secs=0.006,
    ),
    "small_images": Kind(
      what="images of 17 to 48 pixels a side",
      most_pixels=48,
      base={"batch_size": 64},
      space=(
        "model.name = choice(resnet20, resnet8, preresnet20)",
        "optim.learning_rate = log(0.02, 0.5)",
        _DECAY,
        "augment.ops = choice(crop(4) flip(0) cutout(0), crop(4) flip(0.5) cutout(0), "
        "crop(4) flip(0.5) cutout(8))",
      ),
      least_secs=10.0,
      pilot_examples=2_000,
      compile_secs=20.0,
      step_secs=0.08,
    ),
    "large_images": Kind(
      what="images of more than 48 pixels a side",
      most_pixels=math.inf,
      base={"batch_size": 32},
      space=(
        "model.name = choice(resnet20, resnet18, resnet34)",
        "optim.learning_rate = log(0.01, 0.3)",
        _DECAY,
        "augment.ops = choice(resized_crop(0.5) flip(0) brightness(0), "
        "resized_crop(0.5) flip(0.5) brightness(0), resized_crop(0.5) flip(0.5) brightness(0.4))",
      ),
      least_secs=15.0,
      pilot_examples=500,
      compile_secs=40.0,
      step_secs=1.0,
    ),
  }
)


def kind_of(shape: tuple[int, ...]) -> str:
  """Returns the name of the kind of inputs of this shape, (D,) or (H, W, C)."""
  if len(shape) == 1:
    return "vectors"
  side = max(shape[:2])
  return next(name for name, kind in KINDS.items() if kind.most_pixels >= side)


def recipe(kind: Kind, num_train: int) -> dict[str, Any]:
  """Returns the keys of every trial on so many training examples, as nested dicts.

  A batch is at most a sixteenth of them, so that a round has several steps.
  """
  batch = min(kind.base["batch_size"], max(_LEAST_BATCH, num_train // 16))
  return {
    **kind.base,
    "batch_size": batch,
    "seeds": (0,),
    "arms": ("baseline",),
    "optim": {"schedule": "cosine"},
  }


def lengths(steps_per_round: int) -> tuple[int, ...]:
  """Returns the numbers of rounds that a training may have, of so many steps each; one at least."""
  long_enough = tuple(rounds for rounds in ROUNDS if rounds * steps_per_round >= _LEAST_STEPS)
  return long_enough or ROUNDS[-1:]


def least_round(steps_per_round: int) -> int:
  """Returns after how many rounds, of so many steps each, recipes may be compared."""
  return math.ceil(_LEAST_JUDGED / steps_per_round)


def program_of(space: Space, texts: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
  """Returns what of a point needs a program of its own: its choices, strengths being numbers."""
  chosen = zip(space, texts, strict=True)
  return tuple(_static(key, text) for one, (key, text) in chosen if one.kind == CHOICE)


def _static(key: str, text: str) -> str:
  if key != "augment.ops":
    return text
  calls = Pipeline(parse_calls(text, OPS)).without_traced.calls
  return " ".join(f"{call.name}{call.numbers}" for call in calls)
