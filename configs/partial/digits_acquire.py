"""Active learning on handwritten digits: 20 labels, then 20 more seven times; five seeds.

    python run.py --config=configs/partial/digits_acquire.py

Labels are asked for where the network of the run before has the smallest margin, or at random. Of
1,438 images 160 are labelled at the end. Measured: docs/results/active_learning.md.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.data = {"name": "digits"}
  config.model = {"name": "mlp", "hidden_sizes": (256,)}
  config.arms = ("baseline",)
  config.seeds = (0, 1, 2, 3, 4)
  config.acquire = {"strategies": ("margin", "random"), "start": 20, "add": 20, "times": 7}
  config.rounds = 200
  config.batch_size = 20
  config.eval_every_rounds = 200
  config.log_every_rounds = 200
  config.augment = {"ops": "crop(1)"}
  config.optim = {"learning_rate": 0.05, "schedule": "cosine", "weight_decay": 5e-4}
  return config
