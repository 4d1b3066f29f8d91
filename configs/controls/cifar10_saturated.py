"""What is best where the network fits its images? 1,280 images of CIFAR-10 at 16 x 16, 150 rounds.

    python run.py --config=configs/controls/cifar10_saturated.py:decay --config.data.path=FILE

A small set, long training and a decay that acts: here uniform decay brings points, and so does the
paper's. After the colon stands the part. Three choose, by 10,000 training images that are held
out, with seeds 0 to 2; the set's test images are left alone:

    decay      five uniform decays
    lambda_A   the method with five lambda_A
    variants   teachers, smooth labels, a decay that falls, at the chosen uniform decay

The parts that confirm the choices follow when they are made.

Batches of 32 divide all parts, and A is balanced by class.

Designs and outcomes: docs/results/saturated_cifar10.md.
"""

from ml_collections import ConfigDict

DECAY = 4e-3  # chosen by `decay`

HELD_OUT = {"test_split": "held_out", "test_fraction": 0.2}
PARTS = {
  "decay": {
    "data": HELD_OUT,
    "sweep": {"key": "optim.weight_decay", "values": (1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2)},
    "arms": ("baseline",),
  },
  "lambda_A": {
    "data": HELD_OUT,
    "method": {"lambda_B": 1e-3},
    "split": {"class_balanced": True},
    "sweep": {"key": "method.lambda_A", "values": (5e-3, 1e-2, 2e-2, 4e-2, 8e-2)},
    "arms": ("baseline", "method"),
  },
  "variants": {
    "data": HELD_OUT,
    "optim": {"weight_decay": DECAY},
    "own_arms": (
      "taught5 = all@baseline[distil=0.5] against baseline",
      "taught9 = all@baseline[distil=0.9] against baseline",
      "smooth1 = all@baseline[label_smoothing=0.1] against baseline",
      "smooth2 = all@baseline[label_smoothing=0.2] against baseline",
      "falling = all@baseline~falling against baseline",
    ),
    "arms": ("baseline", "taught5", "taught9", "smooth1", "smooth2", "falling"),
  },
}


def get_config(part: str = "lambda_A") -> ConfigDict:
  if part not in PARTS:
    raise ValueError(f"{part!r}: expected one of {', '.join(PARTS)}")
  config = ConfigDict()
  config.data = {"name": "cifar10", "num_train": 1_280, "downsample": 2}
  config.model = {"name": "resnet8"}
  config.seeds = tuple(range(3))
  config.rounds = 150
  config.batch_size = 32
  config.eval_every_rounds = 50
  config.augment = {"pad_crop": 2, "flip": True}
  config.optim = {"learning_rate": 0.1, "milestones": (75, 112), "weight_decay": 1e-3}
  for key, value in PARTS[part].items():
    config[key] = {**config.get(key, {}), **value} if isinstance(value, dict) else value
  return config
