"""SVHN, cropped, with ResNet-20: 73,257 + 26,032 colour images of 32x32, 10 classes.

    python run.py --config=configs/svhn.py

The Street View House Numbers without their extra set. 573 steps a round for the baseline, 58 + 516
for the method. The paper's table has 95.76 % for the baseline and 96.81 % (its text suggests 95.81
%) for the method at this lambda_A. For a GPU or TPU: 2 CPU cores train about 370 images/s, so the
two arms and three seeds would take four days there. Accuracy here, and the time on a GPU or TPU:
not yet measured.

A is the paper's, not balanced by class, and may collapse: docs/method.md, "A collapsed training".
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.data = {"name": "svhn"}
  config.model = {"name": "resnet20"}
  config.seeds = (0, 1, 2)
  config.rounds = 300
  # No flip: a mirrored digit is no digit.
  config.augment = {"pad_crop": 4, "flip": False}
  config.method = {"lambda_A": 5e-4}
  return config
