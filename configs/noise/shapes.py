"""Which score finds wrong labels? Drawn figures, a tenth of the labels wrong; five seeds.

    python benchmarks/label_noise.py --config=configs/noise/shapes.py
    python run.py --config=configs/noise/shapes.py

The labels are wrong on purpose. The first command stops when the examples are scored, and prints
how well each score finds the wrong labels. The second is the whole experiment, with the method. The
results: docs/results/label_noise.md.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.data = {"name": "shapes", "wrong_label_fraction": 0.1}
  config.model = {"name": "resnet", "blocks": (1, 1), "widths": (16, 32), "shortcut": "projection"}
  config.seeds = (0, 1, 2, 3, 4)
  config.rounds = 20
  config.batch_size = 64
  config.optim = {"milestones": (10, 15)}
  config.method = {"lambda_A": 1e-3}
  return config
