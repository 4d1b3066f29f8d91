"""Other regularisers than decay on the easy digits: one arm for each, one decay, five paired seeds.

    python run.py --config=configs/controls/digits_regularisers.py

Every arm trains on A and B like its control, `alternate_only`, and adds one regulariser on A; the
values are the defaults of `regularise`. The network is a small wide ResNet, which has dropout and
residual branches: all seven arms apply. Half of the data must come out worse, or the experiment has
no power.

Measured: see docs/results/regularisers_digits.md.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.data = {"name": "digits"}
  config.model = {"name": "wrn", "depth": 10, "widen_factor": 1}
  config.split = {"class_balanced": False}  # as measured
  config.seeds = (0, 1, 2, 3, 4)
  config.rounds = 30
  config.batch_size = 64
  config.augment = {"pad_crop": 1}
  config.optim = {"milestones": (15, 22)}
  easy = (
    "smooth_easy",
    "augment_easy",
    "mixup_easy",
    "dropout_easy",
    "depth_easy",
    "weight_easy",
    "floor_easy",
  )
  config.arms = ("baseline", "alternate_only", *easy, "less_data")
  return config
