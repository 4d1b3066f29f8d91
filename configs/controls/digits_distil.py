"""Does a teacher help where images are few? 300 digits, six arms, 20 seeds.

    python run.py --config=configs/controls/digits_distil.py

The network of the demo at one uniform decay, chosen beforehand. The arms have a teacher (the seed's
own network), the class-mean teacher that controls it, smoothed labels, and twice the rounds.

Design and outcome: docs/results/distil_digits.md.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.data = {"name": "digits", "num_train": 300}
  config.model = {"name": "resnet", "blocks": (1,), "widths": (16,), "shortcut": "projection"}
  config.seeds = tuple(range(100, 120))  # 0 to 9 chose the decay
  config.rounds = 60
  config.batch_size = 60
  config.eval_every_rounds = 60
  config.augment = {"pad_crop": 1, "flip": False}
  config.optim = {"learning_rate": 0.1, "milestones": (30, 45), "weight_decay": 1e-2}
  config.own_arms = (
    "taught = all@baseline[distil=0.5] against baseline",
    "classes = all@baseline[distil_classes=0.5] against baseline",
    "smooth = all@baseline[label_smoothing=0.1] against baseline",
  )
  config.arms = ("baseline", "taught", "classes", "smooth", "long_baseline", "less_data")
  return config
