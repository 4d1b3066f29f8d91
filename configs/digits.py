"""The demo: scikit-learn's handwritten digits, 8x8 grey images inside a dependency; no network.

    python run.py --config=configs/digits.py

A two-stage ResNet, two seeds, baseline and method. Measured on two shared CPU cores: 32 s, or 21 s
when it has run before. Test accuracy 98.75 +- 0.59 % (baseline) and 98.89 +- 0.79 % (method), mean
and standard deviation of two seeds: too few for a verdict. See docs/results/demo.md.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.data = {"name": "digits"}
  config.model = {"name": "resnet", "blocks": (1, 1), "widths": (16, 32), "shortcut": "projection"}
  config.seeds = (0, 1)
  config.rounds = 30
  config.batch_size = 64
  # One pixel is an eighth of the image. No flip: a mirrored 2 is no digit.
  config.augment = {"pad_crop": 1, "flip": False}
  config.optim = {"learning_rate": 0.1, "milestones": (15, 22)}
  config.method = {"lambda_A": 1e-3, "lambda_B": 1e-4}
  config.arms = ("baseline", "method")
  return config
