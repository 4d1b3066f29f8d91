"""CIFAR-100, VGG16, lambda_A 1.5e-3: in the paper 72.45 % (baseline), 74.67 % (method).

    python run.py --config=configs/paper/cifar100_vgg16.py

14,774,436 parameters, 313.2 M multiply-adds an image; 391 steps a round for the baseline, 40 + 352
for the method. Time for each arm and seed: at least 1.1 minutes on one H200, about 11 days on 2 CPU
cores, both estimated, not measured (docs/results/paper.md). Accuracy here: not yet measured.

A is the paper's, not balanced by class, and may collapse: docs/method.md, "A collapsed training".
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.data = {"name": "cifar100"}
  config.model = {"name": "vgg16"}
  config.seeds = (0, 1, 2)
  config.augment = {"pad_crop": 4, "flip": True}
  config.method = {"lambda_A": 1.5e-3}
  return config
