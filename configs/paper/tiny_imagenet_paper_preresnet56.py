"""Tiny-ImageNet, PreResNet56, lambda_A 1e-3: in the paper 58.60 % (baseline), 60.50 % (method).

    python run.py --config=configs/paper/tiny_imagenet_paper_preresnet56.py

917,464 parameters, 509 M multiply-adds an image; 782 steps a round for the baseline, 79 + 704 for
the method. Time for each arm and seed: at least 10 minutes on one H200, about 16 days on 2 CPU
cores, both estimated, not measured (docs/results/paper.md). Accuracy here: not yet measured.

A is the paper's, not balanced by class, and may collapse: docs/method.md, "A collapsed training".
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.data = {"name": "tiny_imagenet"}
  # Bottleneck blocks, 83 layers: what the paper's trainer built under this name.
  config.model = {"name": "paper_preresnet56"}
  config.seeds = (0, 1, 2)
  config.augment = {"pad_crop": 8, "flip": True}
  config.method = {"lambda_A": 1e-3}
  return config
