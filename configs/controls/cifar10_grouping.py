"""What is the harm of a phase of easy examples? 5,000 images of CIFAR-10 at 16 x 16, five seeds.

    python run.py --config=configs/controls/cifar10_grouping.py
    # --config.data.path=FILE: an archive, or a tfds-prepared directory

No arm has another decay than the baseline: they differ in which tenth of the images has a phase of
its own in every round. A batch of 125 divides all parts, so that no step is on a few examples. The
tenths: the easiest (the paper's A), as many of every class as that has but drawn at random, the
easiest of every class, and any.

A is the paper's, not balanced by class, and may collapse: docs/method.md, "A collapsed training".

Design and outcome: docs/results/grouping_cifar10.md.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.data = {"name": "cifar10", "num_train": 5_000, "downsample": 2}
  config.model = {"name": "resnet8"}
  config.seeds = (100, 101, 102, 103, 104)
  config.rounds = 30
  config.eval_every_rounds = 10
  config.batch_size = 125
  config.augment = {"pad_crop": 2, "flip": True}
  config.optim = {"milestones": (15, 22), "weight_decay": 1e-3}
  config.own_arms = (
    "easiest = A@baseline + B@baseline against matched",
    "matched = matched_A@baseline + matched_B@baseline against baseline",
    "balanced = balanced_A@baseline + balanced_B@baseline against baseline",
    "random = random_A@baseline + random_B@baseline against baseline",
  )
  config.arms = ("baseline", "easiest", "matched", "balanced", "random")
  return config
