"""CIFAR-100, DenseNet100, lambda_A 5e-4: in the paper 77.21 % (baseline), 77.59 % (method).

    python run.py --config=configs/paper/cifar100_densenet_bc100.py

Its other value of lambda_A is 1e-3 (77.30 %): add --config.method.lambda_A=1e-3, or for all of the
row in one command

    --config.sweep.key=method.lambda_A --config.sweep.values=1e-3,5e-4

Batches of 64, as DenseNet-BC is trained in the field; the time is that of batches of 128.

800,032 parameters, 288.0 M multiply-adds an image; 782 steps a round for the baseline, 79 + 704 for
the method. Time for each arm and seed: at least 9.3 minutes on one H200, about 5 days on 2 CPU
cores, both estimated, not measured (docs/results/paper.md). Accuracy here: not yet measured.

A is the paper's, not balanced by class, and may collapse: docs/method.md, "A collapsed training".
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.data = {"name": "cifar100"}
  config.model = {"name": "densenet_bc100"}
  config.seeds = (0, 1, 2)
  # DenseNet-BC is trained with batches of 64.
  config.batch_size = 64
  config.augment = {"pad_crop": 4, "flip": True}
  config.method = {"lambda_A": 5e-4}
  return config
