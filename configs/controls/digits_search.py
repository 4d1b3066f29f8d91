"""A search on digits: the recipe by ordinary training, then the decay of each side, by halving.

    python run.py --config=configs/controls/digits_search.py

Data and network are those of configs/digits.py. A tenth of the training images is held out. On the
rest, three seeds try nine recipes (learning rate, batch, schedule) of ordinary training; most of
them are stopped after 4 or 10 of 30 rounds. With the best recipe the method then tries nine values
of lambda_A, and ordinary training nine values of its decay. Everything is trained on all training
images in the end, with five paired seeds. The test images are looked at once.

Measured: see docs/results/search_digits.md.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.data = {"name": "digits"}
  config.model = {"name": "resnet", "blocks": (1, 1), "widths": (16, 32)}
  config.seeds = (0, 1, 2, 3, 4)
  config.rounds = 30
  config.augment = {"pad_crop": 1}
  config.optim = {"milestones": (15, 22)}
  config.select = {
    "space": (
      "optim.learning_rate = log(0.01, 1)",
      "batch_size = choice(32, 64, 128)",
      "optim.schedule = choice(step, cosine)",
      "method.lambda_A = log(2e-4, 2e-2)",
      "method.lambda_tuned = log(2e-5, 2e-3)",
    ),
    "method": "halving",
    "trials": 9,
    "num_seeds": 3,
  }
  config.arms = ("baseline", "method", "uniform_tuned", "less_data")
  return config
