"""The toy of the paper's introduction: y = x^2 with noise, fitted with three kinds of decay.

    python run.py --config=configs/toy.py

The kinds: (a) no decay, (b) one decay, (c) more decay on A. Each of 20 seeds draws its own 40
points. A is the 8 points with the largest noise (the method's A is the opposite: the easiest).
Measured: 3:24 minutes of CPU time on 2 shared cores, nearly all of it on one. Without decay the
networks overfit, and (c) is farther from the curve than (b) in 20 of 20 seeds: docs/results/toy.md.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.data = {"name": "curve"}
  config.model = {"name": "mlp", "hidden_sizes": (64, 64, 64), "activation": "tanh"}
  config.seeds = tuple(range(20))
  # Enough that the network without decay overfits.
  config.rounds = 3000
  config.batch_size = 8  # A takes 1 step of a round and B 4
  config.eval_every_rounds = config.log_every_rounds = 100
  config.optim = {
    "name": "adam",
    "learning_rate": 3e-3,
    "milestones": (2250, 2700),
    "decay_form": "penalty",
  }
  config.toy = {"lambdas": (1e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2)}
  return config
