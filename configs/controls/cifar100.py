"""The controls on CIFAR-100, the paper's "ResNet56": 300 rounds, five paired seeds, GPU or TPU.

    python run.py --config=configs/controls/cifar100.py

Arms as in configs/controls/digits.py. A stopped run continues with the same command. Time and
accuracy: not yet measured; on 2 CPU cores it would take weeks, see
configs/controls/cifar10_small.py instead.

A is the paper's, not balanced by class, and may collapse: docs/method.md, "A collapsed training".
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.data = {"name": "cifar100"}
  config.model = {"name": "paper_resnet56"}
  config.seeds = (0, 1, 2, 3, 4)
  config.rounds = 300
  config.augment = {"pad_crop": 4, "flip": True}
  config.method = {"lambda_A": 1.5e-3}
  config.arms = (
    "baseline",
    "method",
    "alternate_mean",
    "uniform_mean",
    "random_subset",
    "alternate_only",
    "less_data",
  )
  return config
