"""What a training is made of, by name: the optimiser, clipping and the schedule of its rate."""

import types
from collections.abc import Mapping

from sdt.config.toolbox.block import Block, Number, Table

_OF_ADAM = ("optim.betas", "optim.epsilon")

# The optax transformations are in `OPTIMISERS` of sdt/engine/optimisers.py.
OPTIMISERS: Table = types.MappingProxyType(
  {
    "sgd": Block(
      "v <- momentum v + g, w <- w - rate v",
      "Polyak 1964; Nesterov 1983; the paper, section 4; documents 002 and 004",
      keys=("optim.momentum", "optim.nesterov"),
    ),
    "adagrad": Block(
      "steps of g over the root of the sum of all g^2, epsilon 1e-10",
      "Duchi et al. 2011; documents 002 and 004",
      keys=("optim.epsilon",),
    ),
    "rmsprop": Block(
      "steps of g over the root of its mean square (betas 0.99, epsilon 1e-8), with momentum; "
      "momentum 0 is plain RMSProp",
      "Tieleman and Hinton 2012; documents 002 and 004",
      keys=("optim.momentum", *_OF_ADAM),
    ),
    "adam": Block(
      "steps of the mean gradient over the root of its mean square (betas 0.9 and 0.999, epsilon "
      "1e-8)",
      "Kingma and Ba 2015; documents 002 and 004",
      keys=_OF_ADAM,
    ),
    "adamw": Block(
      "adam with decoupled decay, whatever optim.decay_form says",
      "Loshchilov and Hutter 2019",
      keys=_OF_ADAM,
    ),
    "lbfgs": Block(
      "quasi-Newton steps of the last 10 differences, no line search; the whole training set in a "
      "batch",
      "Liu and Nocedal 1989; document 002",
      differs="the first step is g min(1, 1 / |g|); a difference without positive curvature makes "
      "the memory begin anew",
    ),
    "newton": Block(
      "w <- w - rate (|H| + epsilon)^-1 g of the Hessian H of the mean loss, epsilon 0.1; the "
      "whole training set in a batch, networks below 2,000 parameters",
      "Dauphin et al. 2014, section 4; documents 002 and 004",
      keys=("optim.epsilon",),
      differs="|H| has the absolute eigenvalues of H, so that no step climbs to a saddle; where "
      "the loss is convex it is H",
    ),
  }
)

# What is usual where steps do not shrink with the gradient.
USUAL_RATES: Mapping[str, float] = types.MappingProxyType(
  {"adagrad": 0.01, "rmsprop": 0.001, "adam": 0.001, "adamw": 0.001}
)

# Those that compare gradients or curvatures of steps: every step must see the same loss.
FULL_BATCH = ("lbfgs", "newton")
# `newton` holds a matrix of as many rows and columns.
NEWTON_PARAMETERS = 2000

_THRESHOLD = (Number("x", above=0.0),)

# The optax transformations are in `CLIPS` of sdt/engine/clipping.py.
CLIPS: Table = types.MappingProxyType(
  {
    "value": Block(
      "every number of the gradient to [-x, x]", "documents 003 and 004", numbers=_THRESHOLD
    ),
    "norm": Block(
      "the gradient of each array to a norm of at most x", "document 004", numbers=_THRESHOLD
    ),
    "global_norm": Block(
      "the whole gradient to a norm of at most x",
      "Pascanu et al. 2013; documents 003 and 004",
      numbers=_THRESHOLD,
    ),
    "average_norm": Block(
      "the gradient of each array of n numbers to a norm of at most n x",
      "document 004",
      numbers=_THRESHOLD,
    ),
  }
)

_CYCLES = ("optim.cycle_rounds", "optim.floor")

# The functions are in `SCHEDULES` of sdt/engine/schedule.py.
SCHEDULES: Table = types.MappingProxyType(
  {
    "step": Block(
      "times decay_factor after each milestone, a round counted from the start of the run",
      "the paper, section 4; documents 002 and 004",
      keys=("optim.milestones", "optim.decay_factor"),
      also=("multistep", "piecewise"),
    ),
    "constant": Block("the same in every round", "documents 002 and 004"),
    "cosine": Block(
      "(1 + cos(pi t / T)) / 2",
      "Loshchilov and Hutter 2017; document 002",
      keys=("optim.floor",),
    ),
    "linear": Block("1 - t / T", "document 002", keys=("optim.floor",)),
    "inverse_sqrt": Block(
      "1 / sqrt(1 + t), after W warm-up rounds 1 / sqrt(1 + t / W)",
      "Vaswani et al. 2017, equation 3; document 002",
      keys=("optim.floor",),
    ),
    "inverse_time": Block(
      "1 / (1 + k t)",
      "documents 003 and 004",
      numbers=(Number("k", above=0.0),),
      keys=("optim.floor",),
    ),
    "exponential": Block(
      "factor^t",
      "document 004",
      numbers=(Number("factor", above=0.0, high=1.0),),
      keys=("optim.floor",),
    ),
    "natural_exponential": Block(
      "exp(-k t)", "document 004", numbers=(Number("k", above=0.0),), keys=("optim.floor",)
    ),
    "triangular": Block(
      "from floor to rate and back in every cycle, in straight lines",
      "Smith 2017, section 3.1; document 004",
      keys=_CYCLES,
    ),
    "warm_restarts": Block(
      "a cosine in every cycle (SGDR)",
      "Loshchilov and Hutter 2017, equation 5; documents 002 and 004",
      keys=_CYCLES,
      differs="all cycles are of one length",
      also=("sgdr",),
    ),
  }
)
