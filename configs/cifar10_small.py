"""CIFAR-10 through every stage on a CPU: 5,000 training images, ResNet-8, 10 rounds.

    python run.py --config=configs/cifar10_small.py --config.data.path=FILE

It tests the bytes, the stages and the report; the training is far too short to test the method.
Measured with seeds 0 and 1 alone, on 2 busy CPU cores: 8 minutes; test accuracy 45.76 +- 1.03 %
(baseline) and 42.06 +- 1.31 % (method), mean and standard deviation, on the test set with 20
re-encoded images (`data.verify=known`).

A is the paper's, not balanced by class, and may collapse: docs/method.md, "A collapsed training".
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.data = {"name": "cifar10", "num_train": 5_000}
  config.model = {"name": "resnet8"}
  config.seeds = (0, 1, 2)
  config.rounds = 10
  config.augment = {"pad_crop": 4, "flip": True}
  config.optim = {"milestones": (5, 7)}
  config.method = {"lambda_A": 1e-3}
  return config
