"""Weight decay with and without augmentation: which decay suits each? Handwritten digits.

    python run.py --config=configs/sweeps/decay_with_augmentation.py

The report "Thinking Deeper about Cifar10" advises to lower the decay where data are augmented,
because both regularise. Six decays from none to 3e-2, a two-block ResNet, 200 training images (with
all 1,437 every decay reaches 99 %), 60 rounds, five seeds. The baseline is augmented (crop by one
pixel, turn by up to 10 degrees); `plain` is the same without. Its control is the baseline, so each
value's report has the difference with an interval. Where the best decay of the baseline lies below
that of `plain`, the advice holds here. docs/results/toolbox.md has what came out.

No arm trains on A alone; the sweep chooses nothing.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.data = {"name": "digits", "num_train": 200}
  config.model = {"name": "resnet", "blocks": (1, 1), "widths": (16, 32), "shortcut": "projection"}
  config.seeds = (0, 1, 2, 3, 4)
  config.rounds = 60
  config.batch_size = 50
  config.augment = {"ops": "crop(1) rotate(10)"}
  config.optim = {"milestones": (30, 45)}
  config.own_arms = ("plain = all@baseline[crop=0, rotate=0] against baseline",)
  config.arms = ("baseline", "plain")
  config.sweep = {
    "key": "optim.weight_decay",
    "values": (0.0, 1e-4, 1e-3, 3e-3, 1e-2, 3e-2),
  }
  return config
