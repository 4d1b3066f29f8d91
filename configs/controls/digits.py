"""The controls on handwritten digits: five seeds, six controls, a positive control.

    python run.py --config=configs/controls/digits.py

A larger network than the demo's, for more rounds. Arms: the baseline; the method; alternation at
the step-mean (does the placing of the decay matter?); uniform decay at the step-mean (is it only
more decay?); a random A (is the scoring needed?), and one with the class counts of A (easiness, or
the classes?); alternation at one decay (what does the grouping do?); half of the data, which must
come out worse, or the experiment has no power.

The decay runs for 1.3 time constants in the baseline and 2.4 in the method, and no step is on fewer
than 70 examples (docs/method.md, "What a run can show").

Measured: see docs/results/controls_digits.md.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.data = {"name": "digits"}
  config.model = {"name": "resnet", "blocks": (1, 1), "widths": (16, 32)}
  config.seeds = (0, 1, 2, 3, 4)
  config.rounds = 30
  config.batch_size = 72
  config.augment = {"pad_crop": 1}
  config.optim = {"milestones": (15, 22), "weight_decay": 4e-3}
  config.method = {"lambda_A": 4e-2, "lambda_B": 4e-3}
  config.arms = (
    "baseline",
    "method",
    "alternate_mean",
    "uniform_mean",
    "random_subset",
    "class_matched_random",
    "alternate_only",
    "less_data",
  )
  return config
