"""CIFAR-10 with ResNet-20: 50,000 + 10,000 colour images of 32x32, 10 classes.

    python run.py --config=configs/cifar10.py
    python run.py --config=configs/cifar10.py --config.data.path=FILE
    # an archive, or a tfds-prepared directory

300 rounds, the learning rate divided by 10 after 150 and 225; 391 steps a round for the baseline,
40 + 352 for the method. For a GPU or TPU: 2 CPU cores train about 370 images/s, so the two arms and
three seeds would take three days there; see cifar10_small instead. Accuracy, and the time on a GPU
or TPU: not yet measured.

A is the paper's, not balanced by class, and may collapse: docs/method.md, "A collapsed training".
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.data = {"name": "cifar10"}
  config.model = {"name": "resnet20"}
  config.seeds = (0, 1, 2)
  config.rounds = 300
  config.augment = {"pad_crop": 4, "flip": True}
  config.method = {"lambda_A": 1e-3}
  return config
