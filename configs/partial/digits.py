"""Fifty labels: handwritten digits of which only 50 have a label, five seeds; no network.

    python run.py --config=configs/partial/digits.py

The baseline learns from the 50 alone, the other arms also from the 1,388 whose labels are hidden;
as many optimiser steps each. Measured: docs/results/partial_labels.md.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.data = {"name": "digits", "labelled": 50}
  config.model = {"name": "resnet", "blocks": (1,), "widths": (16,), "shortcut": "projection"}
  config.seeds = (0, 1, 2, 3, 4)
  # A pass over the labelled examples is one step, so a round is.
  config.rounds = 1200
  config.batch_size = 50
  config.eval_every_rounds = 300
  config.log_every_rounds = 300
  config.augment = {"ops": "crop(1)", "strong": "crop(1) rotate(20) noise(0.15) cutout(3)"}
  config.optim = {"learning_rate": 0.05, "schedule": "cosine", "weight_decay": 5e-4}
  config.semi = {"ramp_rounds": 400}
  config.arms = ("baseline", "fixmatch", "mixmatch")
  config.own_arms = (
    "fixmatch = all&unlabelled@baseline[fixmatch=1] against baseline",
    "mixmatch = all&unlabelled@baseline[mixmatch=10] against baseline",
  )
  return config
