"""The controls on handwritten digits: five seeds, six arms that tell what helps, positive control.

    python run.py --config=configs/controls/digits.py

Data, network and recipe are those of configs/digits.py. Arms: the baseline; the method; alternation
at the step-mean (does the placing of the decay matter?); uniform decay at the step-mean (is it only
more decay?); a random A (is the scoring needed?); alternation at one decay (what does the grouping
do?); half of the data, which must come out worse, or the experiment has no power.

Measured: see docs/results/controls_digits.md.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.data = {"name": "digits"}
  config.model = {"name": "resnet", "blocks": (1, 1), "widths": (16, 32)}
  config.split = {"class_balanced": False}  # as measured
  config.seeds = (0, 1, 2, 3, 4)
  config.rounds = 30
  config.batch_size = 64
  config.augment = {"pad_crop": 1}
  config.optim = {"milestones": (15, 22)}
  config.method = {"lambda_A": 1e-3}
  config.arms = (
    "baseline",
    "method",
    "alternate_mean",
    "uniform_mean",
    "random_subset",
    "alternate_only",
    "less_data",
  )
  return config
