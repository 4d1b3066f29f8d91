"""Ten schedules of the learning rate, SGD with momentum at one first rate: handwritten digits.

    python run.py --config=configs/sweeps/schedules.py

The network of configs/controls/digits.py, five seeds, the baseline alone. The rate changes with
every step. Step divides by 10 after 15 and 22 of 30 rounds; the exponentials fall to a hundredth;
triangular and SGDR have three cycles of 10 rounds. Three rounds of warm-up before any of them:
`--config.optim.warmup_rounds=3`. docs/results/toolbox.md has what came out.
"""

from ml_collections import ConfigDict

CYCLE_ROUNDS = {
  "step": None,
  "constant": None,
  "cosine": None,
  "linear": None,
  "inverse_sqrt": None,
  "inverse_time(0.3)": None,
  "exponential(0.86)": None,
  "natural_exponential(0.15)": None,
  "triangular": 10,
  "warm_restarts": 10,
}


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.data = {"name": "digits"}
  config.model = {"name": "resnet", "blocks": (1, 1), "widths": (16, 32), "shortcut": "projection"}
  config.seeds = (0, 1, 2, 3, 4)
  config.rounds = 30
  config.batch_size = 64
  config.augment = {"pad_crop": 1}
  config.optim = {"milestones": (15, 22), "clock": "step"}
  config.arms = ("baseline",)
  config.sweep = {
    "key": "optim.schedule",
    "values": tuple(CYCLE_ROUNDS),
    "also_key": "optim.cycle_rounds",
    "also_values": tuple(CYCLE_ROUNDS.values()),
  }
  return config
