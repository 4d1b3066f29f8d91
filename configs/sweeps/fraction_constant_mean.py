"""The size of A, fractions of the paper's Fig. 4, one mean decay: CIFAR-100, its "ResNet56".

    python run.py --config=configs/sweeps/fraction_constant_mean.py

In configs/sweeps/fraction.py a larger A also means more decay in all. Here lambda_A falls as A
grows, so that the mean over the optimiser steps of a round is that of 10 % at 1.5e-3, (40 x 1.5e-3
+ 352 x 1e-4) / 392 = 2.43e-4, for every fraction: the amount of decay does not change along the
axis. This holds at batch 128 on 50,000 training examples; for other data or batches the printed
mean decay shows the deviation. Time on a GPU or TPU, and accuracy here: not yet measured.

A is the paper's, not balanced by class, and may collapse: docs/method.md, "A collapsed training".
"""

from ml_collections import ConfigDict

NUM_TRAIN, BATCH_SIZE, LAMBDA_B = 50_000, 128, 1e-4
PER_MILLE = (
  10,
  25,
  50,
  75,
  100,
  125,
  150,
  200,
  300,
)  # of the training set, whole numbers, so that no size is rounded


def steps_of(per_mille: int) -> tuple[int, int]:
  """Returns the optimiser steps of a round on A and on B; a last batch that is not full counts."""
  num_easy = NUM_TRAIN * per_mille // 1000
  return -(-num_easy // BATCH_SIZE), -(-(NUM_TRAIN - num_easy) // BATCH_SIZE)


def lambda_of(per_mille: int) -> float:
  """Returns the lambda_A that gives the mean decay of a round with 10 % at 1.5e-3."""
  easy, rest = steps_of(100)
  mean = (easy * 1.5e-3 + rest * LAMBDA_B) / (easy + rest)
  easy, rest = steps_of(per_mille)
  return ((easy + rest) * mean - rest * LAMBDA_B) / easy


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.data = {"name": "cifar100"}
  config.model = {"name": "paper_resnet56"}
  config.seeds = (0, 1, 2)
  config.batch_size = BATCH_SIZE
  config.augment = {"pad_crop": 4, "flip": True}
  config.method = {"lambda_A": 1.5e-3, "lambda_B": LAMBDA_B}
  config.sweep = {
    "key": "method.fraction",
    "values": tuple(share / 1000 for share in PER_MILLE),
    "also_key": "method.lambda_A",
    "also_values": tuple(lambda_of(share) for share in PER_MILLE),
  }
  return config
