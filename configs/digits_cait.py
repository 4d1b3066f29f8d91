"""A small CaiT on scikit-learn's handwritten digits: 16 patches of 2x2 pixels.

    python run.py --config=configs/digits_cait.py

Measurements: docs/results/transformers.md. The weights of the paper's networks, normal with 0.02,
suit hundreds of channels; 48 learn faster from Glorot's.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.data = {"name": "digits"}
  config.model = {
    "name": "cait",
    "patch_size": 2,
    "depth": 2,
    "width": 48,
    "heads": 4,
    "initialisation": "xavier_glorot",
  }
  config.seeds = (0, 1, 2, 3, 4)
  config.rounds = 60
  config.batch_size = 64
  # One pixel is an eighth of the image. No flip: a mirrored 2 is no digit.
  config.augment = {"pad_crop": 1, "flip": False}
  config.optim = {
    "name": "adamw",
    "learning_rate": 4e-3,
    "schedule": "cosine",
    "warmup_rounds": 5,
    "decay_form": "decoupled",
    "weight_decay": 0.05,
  }
  config.arms = ("baseline",)
  return config
