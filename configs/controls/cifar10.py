"""The controls on CIFAR-10 with ResNet-20: 300 rounds, five paired seeds. For a GPU or TPU.

    python run.py --config=configs/controls/cifar10.py

Arms as in configs/controls/digits.py. A batch of 125, where the paper has 128, divides the 50,000,
5,000 and 45,000 examples of all parts: no step is on a few examples. A stopped run continues with
the same command. Time and accuracy: not yet measured; on 2 CPU cores it would take weeks, see
configs/controls/cifar10_small.py instead.

A is the paper's, not balanced by class, and may collapse: docs/method.md, "A collapsed training".
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.data = {"name": "cifar10"}
  config.model = {"name": "resnet20"}
  config.seeds = (0, 1, 2, 3, 4)
  config.rounds = 300
  config.batch_size = 125
  config.augment = {"pad_crop": 4, "flip": True}
  config.method = {"lambda_A": 1e-3}
  config.arms = (
    "baseline",
    "method",
    "alternate_mean",
    "uniform_mean",
    "random_subset",
    "class_matched_random",
    "alternate_only",
    "less_data",
  )
  return config
