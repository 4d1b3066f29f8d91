"""Tuned against tuned on digits: lambda_A and one uniform decay, each the best of five candidates.

    python run.py --config=configs/controls/digits_tuned.py

Data, network and recipe are those of configs/digits.py. First a tenth of the training images is
held out. On the rest, three seeds try the method at five values of lambda_A, and ordinary training
at five values of its decay. Then everything is trained on all training images, with five paired
seeds: is the tuned method (method) better than one tuned number (uniform_tuned)? The test images
are looked at once, at the end.

Measured: see docs/results/selection_digits.md. 6 minutes of CPU time.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.data = {"name": "digits"}
  config.model = {"name": "resnet", "blocks": (1, 1), "widths": (16, 32)}
  config.split = {"class_balanced": False}  # as measured
  config.seeds = (0, 1, 2, 3, 4)
  config.rounds = 30
  config.batch_size = 64
  config.augment = {"pad_crop": 1}
  config.optim = {"milestones": (15, 22)}
  config.select = {
    "lambda_A": (5e-4, 1e-3, 1.5e-3, 2e-3, 2.5e-3),
    "weight_decay": (1e-4, 2e-4, 3e-4, 5e-4, 1e-3),
    "num_seeds": 3,
  }
  config.arms = (
    "baseline",
    "method",
    "alternate_mean",
    "uniform_mean",
    "uniform_tuned",
    "less_data",
  )
  return config
