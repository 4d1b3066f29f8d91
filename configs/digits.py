"""The demo: scikit-learn's handwritten digits, 8x8 grey images inside a dependency; no network.

    python run.py --config=configs/digits.py

A one-block ResNet, five seeds, and with the method two controls that ask: is it only more decay
(uniform_mean)? Could this experiment show anything (less_data: half of the data must be worse)?
Measurements: docs/results/demo.md. configs/controls/digits.py has a larger network, more rounds and
more arms.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.data = {"name": "digits"}
  config.model = {"name": "resnet", "blocks": (1,), "widths": (16,), "shortcut": "projection"}
  config.seeds = (0, 1, 2, 3, 4)
  config.rounds = 12
  config.batch_size = 72  # no batch of a few examples: 1,438, 144 and 1,294 leave 70, 72 and 70
  # One pixel is an eighth of the image. No flip: a mirrored 2 is no digit.
  config.augment = {"pad_crop": 1, "flip": False}
  config.optim = {"learning_rate": 0.1, "milestones": (6, 9)}
  config.method = {"lambda_A": 1e-3, "lambda_B": 1e-4}
  config.arms = ("baseline", "method", "uniform_mean", "less_data")
  return config
