"""CIFAR-100, PreResNet56, lambda_A 1e-3: in the paper 74.18 % (baseline), 74.46 % (method).

    python run.py --config=configs/paper/cifar100_paper_preresnet56.py

Its other value of lambda_A is 1.5e-3 (74.24 %): add --config.method.lambda_A=1.5e-3, or for all of
the row in one command

    --config.sweep.key=method.lambda_A --config.sweep.values=1e-3,1.5e-3

891,764 parameters, 127.3 M multiply-adds an image; 391 steps a round for the baseline, 40 + 352 for
the method. Time for each arm and seed: at least 3.0 minutes on one H200, about 2 days on 2 CPU
cores, both estimated, not measured (docs/results/paper.md). Accuracy here: not yet measured.

A is the paper's, not balanced by class, and may collapse: docs/method.md, "A collapsed training".
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.data = {"name": "cifar100"}
  # Bottleneck blocks, 83 layers: what the paper's trainer built under this name.
  config.model = {"name": "paper_preresnet56"}
  config.seeds = (0, 1, 2)
  config.augment = {"pad_crop": 4, "flip": True}
  config.method = {"lambda_A": 1e-3}
  return config
