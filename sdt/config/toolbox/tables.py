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
    "Gradient clipping": Chapter(
      "optim.clip",
      training_blocks.CLIPS,
      "One or several, in order, such as `value(1) global_norm(5)`. What is clipped is the "
      "gradient of the mean loss and its regularisers; L1 and decay are added after it. Formulas: "
      "tf's; torch adds 1e-6 to a norm.",
    ),
    "Schedules": Chapter(
      "optim.schedule",
      training_blocks.SCHEDULES,
      "The learning rate over the rounds: `floor` + (`learning_rate` - `floor`) times what the "
      "table says, t rounds after the warm-up, of T that follow it. In `optim.warmup_rounds` the "
      "rate grows in equal steps up to `learning_rate`. `optim.clock=step` has t grow with every "
      "optimiser step. With `optim.reference_batch` the rate is `learning_rate` times `batch_size` "
      "over it (Goyal et al. 2017).",
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
