"""Five optimisers, each at a rate of its own: document 004's comparison, on handwritten digits.

    python run.py --config=configs/sweeps/optimisers.py

The network of configs/controls/digits.py, five seeds, the baseline alone. SGD and RMSProp have
momentum 0.9;
`--config.optim.momentum=0 --config.sweep.values=sgd,rmsprop --config.sweep.also_values=0.1,1e-3` is
without. The rates are usual ones and not tuned, so the sweep compares recipes, not optimisers at
their best; other rates: `--config.sweep.also_values`. docs/results/toolbox.md has what came of it.

L-BFGS and Newton's method need the whole set in a batch and a network without BatchNorm, see
docs/toolbox.md.
"""

from ml_collections import ConfigDict

RATES = {"sgd": 0.1, "adagrad": 0.05, "rmsprop": 1e-3, "adam": 3e-3, "adamw": 3e-3}


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.data = {"name": "digits"}
  config.model = {"name": "resnet", "blocks": (1, 1), "widths": (16, 32), "shortcut": "projection"}
  config.seeds = (0, 1, 2, 3, 4)
  config.rounds = 30
  config.batch_size = 64
  config.augment = {"pad_crop": 1}
  config.optim = {"schedule": "cosine"}
  config.arms = ("baseline",)
  config.sweep = {
    "key": "optim.name",
    "values": tuple(RATES),
    "also_key": "optim.learning_rate",
    "also_values": tuple(RATES.values()),
  }
  return config
