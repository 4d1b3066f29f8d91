"""All tables of building blocks, in the order of docs/toolbox.md."""

import dataclasses
import types
from collections.abc import Mapping

from sdt.config.toolbox import network_blocks, operation_blocks, training_blocks
from sdt.config.toolbox.block import Table


@dataclasses.dataclass(frozen=True)
class Chapter:
  """A table and where its blocks are named.

  Attributes:
    key: the config key that names a block of it.
    table: the blocks.
    about: a sentence or two for docs/toolbox.md.
  """

  key: str
  table: Table
  about: str


CHAPTERS: Mapping[str, Chapter] = types.MappingProxyType(
  {
    "Activations": Chapter(
      "model.activation",
      network_blocks.ACTIVATIONS,
      "The function after every layer but the last.",
    ),
    "Optimisers": Chapter(
      "optim.name",
      training_blocks.OPTIMISERS,
      "The two decay chains are the same with every optimiser: one state, decay as a number.",
    ),
    "Schedules": Chapter(
      "optim.schedule",
      training_blocks.SCHEDULES,
      "The learning rate over the rounds.",
    ),
    "Augmentation": Chapter(
      "augment.ops",
      operation_blocks.OPS,
      "Operations on training images, in order. The first number is the strength: "
      "`A@baseline[rotate=30]` gives a phase another one. At strength 0 an operation changes "
      "nothing.",
    ),
  }
)
