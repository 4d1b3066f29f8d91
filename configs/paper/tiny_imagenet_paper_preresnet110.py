"""Tiny-ImageNet, PreResNet110, lambda_A 1e-3: in the paper 60.97 % (baseline), 64.56 % (method).

    python run.py --config=configs/paper/tiny_imagenet_paper_preresnet110.py

1,752,088 parameters, 991 M multiply-adds an image; 782 steps a round for the baseline, 79 + 704 for
the method. Time for each arm and seed: at least 19 minutes on one H200, about 32 days on 2 CPU
cores, both estimated, not measured (docs/results/paper.md). Accuracy here: not yet measured.

A is the paper's, not balanced by class, and may collapse: docs/method.md, "A collapsed training".
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.data = {"name": "tiny_imagenet"}
  # Bottleneck blocks, 164 layers: what the paper's trainer built under this name.
  config.model = {"name": "paper_preresnet110"}
  config.seeds = (0, 1, 2)
  config.augment = {"pad_crop": 8, "flip": True}
  config.method = {"lambda_A": 1e-3}
  return config
