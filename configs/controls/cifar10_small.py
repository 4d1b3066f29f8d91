"""The controls where the decay acts: 2,000 images of CIFAR-10 at 16 x 16, ResNet-8, five seeds.

    python run.py --config=configs/controls/cifar10_small.py
    python run.py --config=configs/controls/cifar10_small.py --config.data.path=FILE
    # an archive, or a tfds-prepared directory

Arms as in configs/controls/digits.py. A stopped run continues with the same command. A batch of 50
divides all parts; the decay runs for 2.1 time constants in the baseline and 4.0 in the method. The
whole test set is used; it is five times as large as the training set, so only every 25th round
evaluates it. A is balanced by class: the paper's has hardly a cat.

Design, outcome and an earlier design without power: docs/results/controls_cifar10_small.md.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.data = {"name": "cifar10", "num_train": 2_000, "downsample": 2}
  config.model = {"name": "resnet8"}
  config.seeds = (0, 1, 2, 3, 4)
  config.split = {"class_balanced": True}
  config.rounds = 100
  config.batch_size = 50
  config.eval_every_rounds = 25
  config.augment = {"pad_crop": 2, "flip": True}
  config.optim = {"milestones": (50, 75), "weight_decay": 1e-3}
  config.method = {"lambda_A": 1e-2, "lambda_B": 1e-3}
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
