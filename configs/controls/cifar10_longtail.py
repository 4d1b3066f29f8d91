"""What helps against imbalance: a 100:1 long tail of CIFAR-10, ResNet-8, 12 epochs, three seeds.

    python run.py --config=configs/controls/cifar10_longtail.py
    python run.py --config=configs/controls/cifar10_longtail.py:unbalanced
    # --config.data.path=FILE: an archive, or a tfds-prepared directory

4,964 training images, from 2,000 to 20 of a class, and the whole test set, in which the classes are
equal: balanced accuracy is accuracy here. Seven ways stand side by side: the baseline (plain), the
baseline with moved thresholds (a column of the table), and five arms of as many optimiser steps,
whose control is the baseline: weighted drawing, over- and under-sampled classes, weighted losses,
adjusted logits. The paper's method is the eighth, with an A of the easiest tenth of every class.
With `:unbalanced` only the baseline and the method are trained, and A is the easiest tenth of all
images, as in the paper: what becomes of the rare classes?

Measured, in %: plain 29.8, under-sampled 30.8, weighted losses 32.3, moved thresholds 37.2,
adjusted logits 38.4, weighted drawing 47.3, over-sampled 47.7; the method 29.3, and 24.8 with
`:unbalanced`: docs/results/imbalance.md.
"""

from ml_collections import ConfigDict


def get_config(split: str = "balanced") -> ConfigDict:
  config = ConfigDict()
  config.data = {"name": "cifar10", "num_train": 20_000, "imbalance": "longtail(100)"}
  config.model = {"name": "resnet8"}
  config.seeds = (0, 1, 2)
  config.rounds = 12
  config.eval_every_rounds = 6
  config.augment = {"pad_crop": 4, "flip": True}
  config.optim = {"schedule": "cosine"}
  config.method = {"lambda_A": 1e-3}
  config.split = {"class_balanced": split == "balanced"}
  if split != "balanced":
    config.arms = ("baseline", "method")
    return config
  config.own_arms = (
    "weighted = all@baseline[class_balance] against baseline",
    "over = over_all@baseline:all against baseline",
    "under = under_all@baseline:all against baseline",
    "cost = all@baseline[class_weight] against baseline",
    "adjusted = all@baseline[logit_adjustment] against baseline",
  )
  config.arms = ("baseline", "weighted", "over", "under", "cost", "adjusted", "method")
  return config
