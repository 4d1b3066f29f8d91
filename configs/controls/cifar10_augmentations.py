"""Augmentations one by one on CIFAR-10: 5,000 images at 16 x 16, ResNet-8, 40 rounds, five seeds.

    python run.py --config=configs/controls/cifar10_augmentations.py --config.data.path=FILE
    python run.py --config=configs/controls/cifar10_augmentations.py:policy --config.data.path=FILE

Every arm is the baseline (crop and flip) with one change: without the crop, without the flip, or
with one more operation. Each has the baseline as its control, on the same seeds, so report.html
has an interval and a verdict for each. The operations that an arm does not have are at strength 0:
other strengths need no other program, so most arms share one. TrivialAugment computes all of its
operations, which costs more than a step of this network: it has a run of its own, `:policy`. Pixels
are averaged 2 x 2 for the sake of time. Time and accuracy: not yet measured.

No arm trains on A alone. A is the paper's, not balanced by class; a method added here may collapse:
docs/method.md, "A collapsed training".
"""

from ml_collections import ConfigDict

# The strength of each operation in the arm of its name; in all other arms it is 0.
STRENGTHS = {
  "translate": 2,
  "rotate": 15,
  "zoom": 0.2,
  "shear": 15,
  "colour": 0.3,
  "hue": 0.05,
  "noise": 0.05,
  "gaussian_blur": 1,
  "cutout": 8,
  "erase": 0.5,
  "cutmix": 1,
}
POLICY = {"trivial_augment": 1}


def get_config(which: str = "operations") -> ConfigDict:
  if which not in ("operations", "policy"):
    raise ValueError(f"{which!r}: expected operations or policy")
  strengths = POLICY if which == "policy" else STRENGTHS
  config = ConfigDict()
  config.data = {"name": "cifar10", "num_train": 5_000, "downsample": 2}
  config.model = {"name": "resnet8"}
  config.rounds = 40
  config.batch_size = 125  # divides the training set: no last batch of a few examples
  config.seeds = (0, 1, 2, 3, 4)
  off = " ".join(f"{name}(0)" for name in strengths)
  config.augment = {"ops": f"crop(2) flip {off}"}
  config.optim = {"milestones": (20, 30)}
  changes = {f"with_{name}": f"{name}={value:g}" for name, value in strengths.items()}
  if which == "operations":
    changes |= {"no_crop": "crop=0", "no_flip": "flip=0"}
  config.own_arms = tuple(
    f"{arm} = all@baseline[{change}] against baseline" for arm, change in changes.items()
  )
  config.arms = ("baseline", *changes)
  return config
