"""The size of A, nine fractions of the paper's Fig. 4, one lambda_A: CIFAR-100, its "ResNet56".

    python run.py --config=configs/sweeps/fraction.py

The decay on A stays at 1.5e-3, so a larger A also means more decay in all: the mean over the steps
of a round goes from 1.14e-4 at 1 % to 5.21e-4 at 30 %, a factor of 4.6. The effects of size and
decay cannot be told apart here; configs/sweeps/fraction_constant_mean.py keeps the mean constant.
All values share one baseline: the first trains it, the others copy it. Time on a GPU or TPU, and
accuracy here: not yet measured. configs/sweeps/lambda_A.py has the keys that put scikit-learn's
digits in CIFAR's place, for a try on a CPU.

A is the paper's, not balanced by class, and may collapse: docs/method.md, "A collapsed training".
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.data = {"name": "cifar100"}
  config.model = {"name": "paper_resnet56"}
  config.seeds = (0, 1, 2)
  config.augment = {"pad_crop": 4, "flip": True}
  config.method = {"lambda_A": 1.5e-3}
  config.sweep = {
    "key": "method.fraction",
    "values": (0.01, 0.025, 0.05, 0.075, 0.1, 0.125, 0.15, 0.2, 0.3),
  }
  return config
