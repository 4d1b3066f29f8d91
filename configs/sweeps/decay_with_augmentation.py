"""Weight decay with and without augmentation: which decay suits each? Handwritten digits.

    python run.py --config=configs/sweeps/decay_with_augmentation.py

The report "Thinking Deeper about Cifar10" advises to lower the decay where data are augmented,
because both regularise. Five decays from none to 1e-2, the two-block ResNet of the demo, 30 rounds,
five seeds. The baseline is augmented (pad by one pixel and crop, turn by up to 10 degrees); `plain`
is the same without. Its control is the baseline, so each value's report has the difference with an
interval. Where the best decay of the baseline lies below that of `plain`, the advice holds here.
Time and accuracy: not yet measured.

No arm trains on A alone; the sweep chooses nothing.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.data = {"name": "digits"}
  config.model = {"name": "resnet", "blocks": (1, 1), "widths": (16, 32), "shortcut": "projection"}
  config.seeds = (0, 1, 2, 3, 4)
  config.rounds = 30
  config.batch_size = 64
  config.augment = {"ops": "crop(1) rotate(10)"}
  config.optim = {"milestones": (15, 22)}
  config.own_arms = ("plain = all@baseline[crop=0, rotate=0] against baseline",)
  config.arms = ("baseline", "plain")
  config.sweep = {
    "key": "optim.weight_decay",
    "values": (0.0, 1e-4, 1e-3, 3e-3, 1e-2),
  }
  return config
