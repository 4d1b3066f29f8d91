"""CIFAR-100, Wide ResNet28, lambda_A 2e-3: in the paper 79.07 % (baseline), 80.12 % (method).

    python run.py --config=configs/paper/cifar100_wrn28_10.py

Its other value of lambda_A is 2.5e-3 (80.07 %): add --config.method.lambda_A=2.5e-3, or for all of
the row in one command

    --config.sweep.key=method.lambda_A --config.sweep.values=2e-3,2.5e-3

36,536,884 parameters, 5,243 M multiply-adds an image; 391 steps a round for the baseline, 40 + 352
for the method. Time for each arm and seed: at least 18 minutes on one H200, about 47 days on 2 CPU
cores, both estimated, not measured (docs/results/paper.md). Accuracy here: not yet measured.

A is the paper's, not balanced by class, and may collapse: docs/method.md, "A collapsed training".
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.data = {"name": "cifar100"}
  config.model = {"name": "wrn28_10"}
  config.seeds = (0, 1, 2)
  config.augment = {"pad_crop": 4, "flip": True}
  config.method = {"lambda_A": 2e-3}
  return config
