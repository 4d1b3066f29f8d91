"""Which score finds wrong labels? 5,000 images of CIFAR-10, 15 % labels wrong; ResNet-8, 3 seeds.

    python benchmarks/label_noise.py --config=configs/noise/cifar10.py --config.data.path=FILE
    python run.py --config=configs/noise/cifar10.py --config.data.path=FILE

The labels are wrong on purpose. The first command stops when the examples are scored, and prints
how well each score finds the wrong labels. The second is the whole experiment, with the method. The
results: docs/results/label_noise.md.

A is the paper's, not balanced by class, and may collapse: docs/method.md, "A collapsed training".
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.data = {"name": "cifar10", "num_train": 5_000, "wrong_label_fraction": 0.15}
  config.model = {"name": "resnet8"}
  config.seeds = (0, 1, 2)
  config.rounds = 12
  config.eval_every_rounds = 12
  config.augment = {"pad_crop": 4, "flip": True}
  config.optim = {"milestones": (8, 10)}
  config.method = {"lambda_A": 1e-3}
  return config
