"""CIFAR-100, VGG19, lambda_A 1.5e-3: in the paper 73.14 % (baseline), 73.74 % (method).

    python run.py --config=configs/paper/cifar100_vgg19.py

20,086,692 parameters, 398.2 M multiply-adds an image; 391 steps a round for the baseline, 40 + 352
for the method. Time for each arm and seed: at least 1.4 minutes on one H200, about 14 days on 2 CPU
cores, both estimated, not measured (docs/results/paper.md). Accuracy here: not yet measured.

A is the paper's, not balanced by class, and may collapse: docs/method.md, "A collapsed training".
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.data = {"name": "cifar100"}
  config.model = {"name": "vgg19"}
  config.seeds = (0, 1, 2)
  config.augment = {"pad_crop": 4, "flip": True}
  config.method = {"lambda_A": 1.5e-3}
  return config
