"""250 labels of 5,000 images of CIFAR-10 at 16 x 16, three seeds: partial labels on two CPU cores.

    python run.py --config=configs/partial/cifar10_small.py

The baseline learns from the 250 alone, the other arms also from 4,750 whose labels are hidden; as
many optimiser steps each. MixMatch's factor of 75 is its paper's, for Adam; with this rate of SGD
it fell back to 15 % (docs/results/partial_labels.md).
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.data = {"name": "cifar10", "num_train": 5000, "labelled": 250, "downsample": 2}
  config.model = {"name": "resnet8"}
  config.seeds = (0, 1, 2)
  config.batch_size = 50
  # Five steps are a pass over the labelled images, so a round: 1,500 steps.
  config.rounds = 300
  config.eval_every_rounds = 50
  config.log_every_rounds = 50
  config.augment = {"ops": "crop(2) flip", "strong": "crop(2) flip rand_augment(10, 2) cutout(8)"}
  config.optim = {"learning_rate": 0.05, "schedule": "cosine", "weight_decay": 5e-4}
  config.semi = {"ratio": 1, "ramp_rounds": 100}
  config.own_arms = (
    "fixmatch = all&unlabelled@baseline[fixmatch=1] against baseline",
    "mixmatch = all&unlabelled@baseline[mixmatch=25] against baseline",
  )
  config.arms = ("baseline", "fixmatch", "mixmatch")
  return config
