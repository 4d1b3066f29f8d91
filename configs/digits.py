"""The demo: scikit-learn's handwritten digits, 8x8 grey images that come inside a dependency, so no
network is needed.

    python run.py --config=configs/digits.py

A two-stage ResNet, two seeds, baseline and method. Aim: baseline test accuracy at least 97 %, at
most 90 s on 2 CPU cores with a cold compilation cache. Measured on 2 shared CPU cores with jax
0.12.0.1, medians of three runs: 24.5 s with a cold cache, the first round after 6.4 s; 18.4 s and
3.6 s with a warm one. Test accuracy 98.47 +- 0.20 % (baseline) and 99.16 +- 0.39 % (method), mean
and standard deviation of two seeds: too few for a verdict.
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
