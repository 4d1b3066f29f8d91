r"""Procedural shapes: any number and size, with known difficulty and a known share of wrong labels.

    python run.py --config=configs/shapes.py
    python run.py --config=configs/shapes.py --config.data.shapes.num_train=10000 \
      --config.data.shapes.image_size=32

On this set scores can be graded: a tenth of the training labels is wrong on purpose, and a good
score ranks those examples last. Measured with seeds 0 and 1 alone, on 2 busy CPU cores on
2026-11-21: 2:32 minutes; 95.7 % (baseline) and 97.0 % (method), means.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.data = {"name": "shapes", "wrong_label_fraction": 0.1}
  config.model = {"name": "resnet", "blocks": (1, 1), "widths": (16, 32), "shortcut": "projection"}
  config.seeds = (0, 1, 2)
  config.rounds = 30
  config.batch_size = 64
  config.optim = {"milestones": (15, 22)}
  config.method = {"lambda_A": 1e-3}
  return config
