"""CIFAR-10, PreResNet56, lambda_A 1e-3: in the paper 94.06 % (baseline), 94.49 % (method).

    python run.py --config=configs/paper/cifar10_paper_preresnet56.py

868,634 parameters, 127.3 M multiply-adds an image; 391 steps a round for the baseline, 40 + 352 for
the method. Time for each arm and seed: at least 3.0 minutes on one H200, about 2 days on 2 CPU
cores, both estimated, not measured (docs/results/paper.md). Accuracy here: not yet measured.

A is the paper's, not balanced by class, and may collapse: docs/method.md, "A collapsed training".
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.data = {"name": "cifar10"}
  # Bottleneck blocks, 83 layers: what the paper's trainer built under this name.
  config.model = {"name": "paper_preresnet56"}
  config.seeds = (0, 1, 2)
  config.augment = {"pad_crop": 4, "flip": True}
  config.method = {"lambda_A": 1e-3}
  return config
