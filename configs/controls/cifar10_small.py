"""The controls on 5,000 training images of CIFAR-10, ResNet-8, 40 rounds, five seeds; 2:34 hours.

    python run.py --config=configs/controls/cifar10_small.py
    python run.py --config=configs/controls/cifar10_small.py --config.data.path=FILE
    # an archive, or a tfds-prepared directory

Arms as in configs/controls/digits.py. A stopped run continues with the same command. The whole test
set is used; it is twice as large as the training set, so only every fifth round evaluates it.
Measured on two cores: baseline 63.8 +- 0.3 %, method 62.4 +- 1.5 %, no power; see
docs/results/controls_cifar10_small.md.

A is the paper's, not balanced by class, and may collapse: docs/method.md, "A collapsed training".
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.data = {"name": "cifar10", "num_train": 5_000}
  config.model = {"name": "resnet8"}
  config.seeds = (0, 1, 2, 3, 4)
  config.rounds = 40
  config.eval_every_rounds = 5
  config.augment = {"pad_crop": 4, "flip": True}
  config.optim = {"milestones": (20, 30)}
  config.method = {"lambda_A": 1e-3}
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
