"""Is the method more than its mean decay, where the decay acts? Digits, nine arms, 20 seeds.

    python run.py --config=configs/controls/digits_decay.py

The data and the network of the demo. Its decays are so weak that they hardly change the weights in
12 rounds (0.02 time constants, docs/method.md, "What a run can show"); here they run for 0.6 in the
baseline and 1.2 in the method. A batch of 72 leaves no batch of a few examples: 70 are the fewest.

Design and outcome: docs/results/decay_digits.md.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.data = {"name": "digits"}
  config.model = {"name": "resnet", "blocks": (1,), "widths": (16,), "shortcut": "projection"}
  config.seeds = tuple(range(100, 120))  # 0 to 4 chose the decays
  config.rounds = 12
  config.batch_size = 72
  config.augment = {"pad_crop": 1, "flip": False}
  config.optim = {"learning_rate": 0.1, "milestones": (6, 9), "weight_decay": 5e-3}
  config.method = {"lambda_A": 5e-2, "lambda_B": 5e-3}
  config.arms = (
    "baseline",
    "method",
    "alternate_mean",
    "uniform_mean",
    "random_subset",
    "alternate_only",
    "random_batches",
    "swap_order",
    "less_data",
  )
  return config
