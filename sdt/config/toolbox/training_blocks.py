"""What a training is made of, by name: the optimiser and the schedule of its rate."""

import types

from sdt.config.toolbox.block import Block, Table

# The optax transformations are in `sdt/engine/optim.py`.
OPTIMISERS: Table = types.MappingProxyType(
  {
    "sgd": Block(
      "v <- momentum v + g, w <- w - rate v",
      "Polyak 1964; Nesterov 1983; the paper, section 4; documents 002 and 004",
      keys=("optim.momentum", "optim.nesterov"),
    ),
    "adam": Block(
      "steps of the mean gradient over the root of its mean square", "Kingma and Ba 2015"
    ),
  }
)

# The functions are in `sdt/engine/schedule.py`.
SCHEDULES: Table = types.MappingProxyType(
  {
    "step": Block(
      "times decay_factor after each milestone",
      "the paper, section 4; documents 002 and 004",
      keys=("optim.milestones", "optim.decay_factor"),
    ),
    "constant": Block("the same in every round", "document 004"),
    "cosine": Block("rate (1 + cos(pi t / T)) / 2", "Loshchilov and Hutter 2017; document 002"),
  }
)
