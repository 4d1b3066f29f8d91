"""Your own arrays in one .npz file: images uint8 [N, H, W, C] and labels, for training and test.

    python run.py --config=configs/npz.py --config.data.path=FILE.npz

No augmentation: only you know whether your images may be shifted or mirrored; see `augment.*`. Time
and accuracy depend on the images.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.data = {"name": "npz"}
  config.model = {"name": "resnet20"}
  config.seeds = (0, 1, 2)
  config.rounds = 100
  config.optim = {"milestones": (50, 75)}
  config.method = {"lambda_A": 1e-3}
  config.score = {"course": True}  # review.html shows how each image was learnt
  return config
