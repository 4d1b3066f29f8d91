"""CIFAR-10 with 250 labels and a WRN-28-2: the full experiment of the papers. Not run here.

    python run.py --config=configs/partial/cifar10.py --dry_run

FixMatch nearly as its authors train it: 2^20 steps of 64 labelled and 448 unlabelled images, SGD
with Nesterov's momentum at 0.03, a decay of 5e-4, and the average of the weights, which is what
their figures are of. The cosine here falls to 0, theirs ends at 0.2 of the rate. MixMatch with its
weight of 75, mixing 0.75 and temperature 0.5, in the same training, which is not its authors' (Adam
at a constant rate): for the comparison, not for their figure. Published: 94.9 % (FixMatch,
RandAugment, 5 label sets) and 88.9 % (MixMatch).

What it needs: about 1.3e18 floating-point operations a seed and arm with unlabelled images, that is
about 4 hours on a GPU that does 100 teraflops a second, and most of a year on two CPU cores. The
figures are the lines `average` of the results.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.data = {"name": "cifar10", "labelled": 250}
  config.model = {"name": "wrn", "depth": 28, "widen_factor": 2}
  config.seeds = (0, 1, 2, 3, 4)
  config.batch_size = 64
  # Four steps are a pass over the labelled images, so a round: 2^20 steps.
  config.rounds = 2**18
  config.eval_every_rounds = 2**11
  config.log_every_rounds = 2**11
  config.augment = {"ops": "crop(4) flip", "strong": "crop(4) flip rand_augment(10, 2) cutout(16)"}
  config.optim = {
    "learning_rate": 0.03,
    "nesterov": True,
    "weight_decay": 5e-4,
    "schedule": "cosine",
    "average": 0.999,
  }
  # MixMatch's ramp is 16,000 steps; its paper has a ratio of 1.
  config.semi = {"ratio": 7, "ramp_rounds": 4000}
  config.own_arms = (
    "fixmatch = all&unlabelled@baseline[fixmatch=1] against baseline",
    "mixmatch = all&unlabelled@baseline[mixmatch=75] against baseline",
  )
  config.arms = ("baseline", "fixmatch", "mixmatch")
  return config
