"""All tables of building blocks, in the order of docs/toolbox.md."""

import dataclasses
import types
from collections.abc import Mapping

from sdt.config.toolbox import (
  acquire_blocks,
  imbalance_blocks,
  network_blocks,
  operation_blocks,
  preprocessing_blocks,
  training_blocks,
  view_blocks,
)
from sdt.config.toolbox.block import Table


@dataclasses.dataclass(frozen=True)
class Chapter:
  """A table and where its blocks are named.

  Attributes:
    key: the config key that names a block of it.
    table: the blocks.
    about: a sentence or two for docs/toolbox.md.
    tests: that show what its blocks do, paths from the root.
  """

  key: str
  table: Table
  about: str
  tests: tuple[str, ...]


CHAPTERS: Mapping[str, Chapter] = types.MappingProxyType(
  {
    "Preprocessing": Chapter(
      "data.normalise",
      preprocessing_blocks.NORMALISERS,
      "Blocks in order, such as `image_mean zca(0.1)`. x is pixel / 255 of images. Statistics are "
      "those of the training split.",
      tests=("tests/data/test_preprocess.py",),
    ),
    "Activations": Chapter(
      "model.activation",
      network_blocks.ACTIVATIONS,
      "The function after every layer but the last.",
      tests=("tests/models/test_activations.py",),
    ),
    "Normalisation": Chapter(
      "model.norm",
      network_blocks.NORMS,
      "By default the network's own. Only `batch` mixes examples; examples that fill up a batch "
      "are left out.",
      tests=("tests/models/test_norms.py",),
    ),
    "Pooling": Chapter(
      "model.pool",
      network_blocks.POOLS,
      "How VGG, DenseNet's transitions, LeNet and AlexNet shrink an image.",
      tests=("tests/models/test_pools.py",),
    ),
    "Initial weights": Chapter(
      "model.initialisation",
      network_blocks.INITS,
      "For the kernels of all layers, the head's too; biases start at 0 then, or at "
      "`model.bias_start`. fan_in and fan_out are the numbers of weights of an output and of an "
      "input.",
      tests=("tests/models/test_initialisation.py",),
    ),
    "Starts": Chapter(
      "model.start",
      network_blocks.STARTS,
      "What becomes of the drawn weights before the first step.",
      tests=("tests/models/test_starts.py",),
    ),
    "Optimisers": Chapter(
      "optim.name",
      training_blocks.OPTIMISERS,
      "The two decay chains are the same with every optimiser: one state, decay as a number. "
      "`optim.l1` adds the derivative of l1 sum |w| in every phase, with a decay the elastic net. "
      "`optim.average` keeps an exponential average of weights and BatchNorm's statistics and "
      "evaluates it beside them. `lbfgs` and `newton` take `optim.decay_form=decoupled`, a network "
      "without BatchNorm and nothing that is drawn anew in every step; `lbfgs` takes arms of one "
      "phase. `optim.betas` and `optim.epsilon` are numbers of the program where they are given; "
      "left out, they are constants, and the last bits of a run may differ.",
      tests=("tests/engine/test_optimisers.py",),
    ),
    "Gradient clipping": Chapter(
      "optim.clip",
      training_blocks.CLIPS,
      "One or several, in order, such as `value(1) global_norm(5)`. What is clipped is the "
      "gradient of the mean loss and its regularisers; L1 and decay are added after it. Formulas: "
      "tf's; torch adds 1e-6 to a norm.",
      tests=("tests/engine/test_optimisers.py",),
    ),
    "Schedules": Chapter(
      "optim.schedule",
      training_blocks.SCHEDULES,
      "The learning rate over the rounds: `floor` + (`learning_rate` - `floor`) times what the "
      "table says, t rounds after the warm-up, of T that follow it. In `optim.warmup_rounds` the "
      "rate grows in equal steps up to `learning_rate`. `optim.clock=step` has t grow with every "
      "optimiser step. With `optim.reference_batch` the rate is `learning_rate` times `batch_size` "
      "over it (Goyal et al. 2017).",
      tests=("tests/engine/test_schedule.py",),
    ),
    "Augmentation": Chapter(
      "augment.ops",
      operation_blocks.OPS,
      "Operations on training images, in order. The first number is the strength: "
      "`A@baseline[rotate=30]` gives a phase another one. At strength 0 an operation changes "
      "nothing.",
      tests=(
        "tests/inputs/operations/test_pipeline.py",
        "tests/inputs/operations/test_geometry.py",
        "tests/inputs/operations/test_pixels.py",
        "tests/inputs/operations/test_mixing.py",
        "tests/inputs/operations/test_smote.py",
        "tests/inputs/operations/test_policies.py",
      ),
    ),
    "Class imbalance": Chapter(
      "data.imbalance",
      imbalance_blocks.IMBALANCES,
      "Makes the training set imbalanced on purpose, after `data.num_train`; the test set stays. "
      "What helps against imbalance, in training and after it, is in "
      "[method.md](method.md#class-imbalance).",
      tests=("tests/data/test_imbalance.py",),
    ),
    "Test-time views": Chapter(
      "evaluate.views",
      view_blocks.VIEWS,
      "How the networks are asked about a test image besides: the mean of their probabilities over "
      "all views. Each block makes of every view so far one or several, so `flip shifts(1)` are "
      "18 ([predictions.md](predictions.md#further-answers)).",
      tests=("tests/inputs/test_views.py",),
    ),
    "Active learning": Chapter(
      "acquire.strategies",
      acquire_blocks.STRATEGIES,
      "Which hidden examples are worth a label: those of the largest number. p1 and p2 are the two "
      "largest of the K probabilities that the network of the run before gives an example, p_k "
      "that of class k. A seeded hash of the ids breaks ties "
      "([method.md](method.md#active-learning)).",
      tests=("tests/scores/test_acquisition.py", "tests/commands/test_acquire.py"),
    ),
  }
)
