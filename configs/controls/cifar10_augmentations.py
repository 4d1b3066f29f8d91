"""Augmentations one by one on CIFAR-10: 5,000 images at 16 x 16, ResNet-8, 40 rounds, five seeds.

    python run.py --config=configs/controls/cifar10_augmentations.py:geometry
    # --config.data.path=FILE: an archive, or a tfds-prepared directory

After the colon stands a group: geometry, colour, boxes or policy; a run of its own each, as all
operations of a run are computed in every step, at strength 0 too. Every arm is the baseline (crop
and flip) with one change: one more operation; in geometry also without the crop, or the flip. Each
has the baseline as its control, on the same seeds, so report.html has an interval and a verdict for
each. Pixels are averaged 2 x 2 for the sake of time: seven to ten minutes an arm on busy cores.
Measured: baseline 61.1 %, none of the operations tried above it; docs/results/augmentations.md.

No arm trains on A alone. A is the paper's, not balanced by class; a method added here may collapse:
docs/method.md, "A collapsed training".
"""

from ml_collections import ConfigDict

# The strength of each operation in the arm of its name; in all other arms it is 0.
GROUPS = {
  "geometry": {"translate": 2, "rotate": 15, "zoom": 0.2, "shear": 15},
  "colour": {"colour": 0.3, "hue": 0.05, "noise": 0.05, "gaussian_blur": 1},
  "boxes": {"cutout": 8, "erase": 0.5, "cutmix": 1},
  "policy": {"trivial_augment": 1},
}


def get_config(group: str = "geometry") -> ConfigDict:
  if group not in GROUPS:
    raise ValueError(f"{group!r}: expected one of {', '.join(GROUPS)}")
  strengths = GROUPS[group]
  config = ConfigDict()
  config.data = {"name": "cifar10", "num_train": 5_000, "downsample": 2}
  config.model = {"name": "resnet8"}
  config.rounds = 40
  config.eval_every_rounds = 40
  config.batch_size = 125  # divides the training set: no last batch of a few examples
  config.seeds = (0, 1, 2, 3, 4)
  off = " ".join(f"{name}(0)" for name in strengths)
  config.augment = {"ops": f"crop(2) flip {off}"}
  config.optim = {"milestones": (20, 30)}
  changes = {f"with_{name}": f"{name}={value:g}" for name, value in strengths.items()}
  if group == "geometry":
    changes |= {"no_crop": "crop=0", "no_flip": "flip=0"}
  config.own_arms = tuple(
    f"{arm} = all@baseline[{change}] against baseline" for arm, change in changes.items()
  )
  config.arms = ("baseline", *changes)
  return config
