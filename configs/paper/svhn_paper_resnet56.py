"""SVHN, ResNet56, lambda_A 2e-3: in the paper 96.63 % (baseline), 96.76 % (method).

    python run.py --config=configs/paper/svhn_paper_resnet56.py

Its other values of lambda_A are 1e-3 (96.68 %) and 1.5e-3 (96.72 %): add
--config.method.lambda_A=1e-3, or for all of the row in one command

    --config.sweep.key=method.lambda_A --config.sweep.values=1e-3,1.5e-3,2e-3

869,530 parameters, 127.3 M multiply-adds an image; 573 steps a round for the baseline, 58 + 516 for
the method. Time for each arm and seed: at least 4.4 minutes on one H200, about 3 days on 2 CPU
cores, both estimated, not measured (docs/results/paper.md). Accuracy here: not yet measured.

A is the paper's, not balanced by class, and may collapse: docs/method.md, "A collapsed training".
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.data = {"name": "svhn"}
  # Bottleneck blocks, 83 layers: what the paper's trainer built under this name.
  config.model = {"name": "paper_resnet56"}
  config.seeds = (0, 1, 2)
  # No flip: a mirrored digit is no digit.
  config.augment = {"pad_crop": 4}
  config.method = {"lambda_A": 2e-3}
  return config
