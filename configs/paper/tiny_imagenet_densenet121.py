"""Tiny-ImageNet, DenseNet121, lambda_A 2e-3: in the paper 63.67 % (baseline), 65.90 % (method).

    python run.py --config=configs/paper/tiny_imagenet_densenet121.py

7,151,048 parameters, 3,554 M multiply-adds an image; 782 steps a round for the baseline, 79 + 704
for the method. Time for each arm and seed: at least 25 minutes on one H200, about 67 days on 2 CPU
cores, both estimated, not measured (docs/results/paper.md). Accuracy here: not yet measured.

A is the paper's, not balanced by class, and may collapse: docs/method.md, "A collapsed training".
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.data = {"name": "tiny_imagenet"}
  # 3x3, stride 1, no max-pool: the last map must be larger than 2x2 for the paper's class
  # activation maps.
  config.model = {"name": "densenet121", "stem": "small"}
  config.seeds = (0, 1, 2)
  config.augment = {"pad_crop": 8, "flip": True}
  config.method = {"lambda_A": 2e-3}
  return config
