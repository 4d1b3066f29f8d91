"""Ensembles and test time on handwritten digits: five seeds, each asked in four ways.

    python run.py --config=configs/ensembles_digits.py

One training for each seed, with dropout and three cosine cycles (warm restarts). The final networks
are asked about the centre of the test images, about nine shifted views, and twenty times with
dropout on; and the networks at the end of the three cycles together. Each stands alone and as the
ensemble of the five seeds, with accuracy, negative log-likelihood and calibration.

Measured: see docs/results/ensembles_digits.md.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.data = {"name": "digits"}
  config.model = {"name": "resnet", "blocks": (1, 1), "widths": (16, 32), "dropout": 0.1}
  config.seeds = (0, 1, 2, 3, 4)
  config.rounds = 30
  config.batch_size = 64
  config.augment = {"pad_crop": 1}
  config.optim = {"schedule": "warm_restarts", "cycle_rounds": 10}
  config.arms = ("baseline",)
  # No flip: a mirrored 2 is no digit.
  config.evaluate = {
    "views": "shifts(1)",
    "dropout_samples": 20,
    "snapshots": 3,
    "ensemble": True,
  }
  return config
