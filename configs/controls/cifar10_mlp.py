"""Is the method more than its mean decay? 5,000 images of CIFAR-10 at 16 x 16, an MLP, 20 seeds.

    python run.py --config=configs/controls/cifar10_mlp.py
    # --config.data.path=FILE: an archive, or a tfds-prepared directory

An MLP is cheap, and its seeds differ little, so that many seeds tell differences of a few tenths of
a point apart. First the method's lambda_A and one uniform decay are chosen on a tenth of the
training images, each the best of six by five seeds. Then all arms train on all images. A is
balanced by class, and batches of 125 divide all parts.

Design and outcome: docs/results/mlp_cifar10.md.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.data = {"name": "cifar10", "num_train": 5_000, "downsample": 2}
  config.model = {"name": "mlp", "hidden_sizes": (256,)}
  config.seeds = tuple(range(100, 120))
  config.split = {"class_balanced": True}
  config.rounds = 60
  config.batch_size = 125
  config.eval_every_rounds = 30
  config.augment = {"flip": True}
  config.optim = {"learning_rate": 0.05, "milestones": (30, 45), "weight_decay": 2e-3}
  config.method = {"lambda_B": 2e-3}
  config.select = {
    "lambda_A": (1e-2, 2e-2, 5e-2, 1e-1, 2e-1, 4e-1),
    "weight_decay": (2e-3, 4e-3, 7e-3, 1.2e-2, 2e-2, 4e-2),
    "num_seeds": 5,
  }
  config.stats = {"margin": 0.005}
  config.arms = (
    "baseline",
    "method",
    "alternate_mean",
    "uniform_mean",
    "uniform_tuned",
    "random_subset",
    "alternate_only",
    "less_data",
  )
  return config
