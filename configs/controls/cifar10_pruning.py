"""Can a small set do without its easiest images? 5,000 images of CIFAR-10 at 16 x 16, ten seeds.

    python run.py --config=configs/controls/cifar10_pruning.py:20 --config.data.path=FILE

After the colon stands the share of the training images, in percent, that the arms leave out:
`pruned` the easiest of every class, `random_cut` as many at random. Both take as many steps as the
baseline, and no arm has another decay.

Design and outcome: docs/results/pruning_cifar10.md.
"""

from ml_collections import ConfigDict

SHARES = {"20": 0.2, "30": 0.3}


def get_config(share: str = "20") -> ConfigDict:
  if share not in SHARES:
    raise ValueError(f"{share!r}: expected one of {', '.join(SHARES)}")
  config = ConfigDict()
  config.data = {"name": "cifar10", "num_train": 5_000, "downsample": 2}
  config.model = {"name": "resnet8"}
  config.seeds = tuple(range(100, 110))
  config.rounds = 30
  config.batch_size = 125  # divides what is left of the set
  config.eval_every_rounds = 10
  config.augment = {"pad_crop": 2, "flip": True}
  config.optim = {"milestones": (15, 22), "weight_decay": 1e-3}
  config.split = {"class_balanced": True}
  config.method = {"fraction": SHARES[share]}
  config.own_arms = (
    "pruned = B@baseline:all against random_cut",
    "random_cut = random_B@baseline:all against baseline",
  )
  config.arms = ("baseline", "pruned", "random_cut", "less_data")
  return config
