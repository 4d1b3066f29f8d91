r"""SMOTE beside plain over-sampling, on handwritten digits with a 50:1 long tail: five seeds.

    python run.py --config=configs/controls/digits_smote.py

Both arms train on classes that are made equally frequent, in as many optimiser steps as the
baseline. `over` repeats the images of the rare classes; `synthetic` replaces most of the repeated
ones by points between two near images of their class. Its control is `over`, so their difference is
that of the synthetic images.

Measured: see docs/results/imbalance.md.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.data = {"name": "digits", "imbalance": "longtail(50)"}
  config.model = {"name": "mlp", "hidden_sizes": (128,)}
  config.seeds = (0, 1, 2, 3, 4)
  config.rounds = 30
  config.batch_size = 32
  config.eval_every_rounds = 5
  # At 0 it changes nothing: the arm names the probability with which it acts.
  config.augment = {"ops": "smote(0) crop(1)"}
  config.optim = {"schedule": "cosine", "learning_rate": 0.05}
  config.own_arms = (
    "over = over_all@baseline:all against baseline",
    "synthetic = over_all@baseline[smote=1]:all against over",
  )
  config.arms = ("baseline", "over", "synthetic")
  return config
