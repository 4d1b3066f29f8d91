"""Ten activations in six layers without normalisation: document 002's question, on digits.

    python run.py --config=configs/sweeps/activations.py

Layers of 256 units with He's initial weights, five seeds, the baseline alone, SGD with momentum at
one rate for all: it compares activations under one recipe, not at the best recipe of each.
`monitor.units` counts dead and saturated units.
"""

from ml_collections import ConfigDict

VALUES = (
  *("relu", "leaky_relu", "prelu", "elu", "selu", "gelu", "silu"),
  *("tanh", "sigmoid", "maxout(2)"),
)


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.data = {"name": "digits"}
  config.model = {"name": "mlp", "hidden_sizes": (256,) * 6, "initialisation": "he_fan_in"}
  config.seeds = (0, 1, 2, 3, 4)
  config.rounds = 20
  config.batch_size = 64
  config.optim = {"learning_rate": 0.02, "schedule": "cosine"}
  config.monitor = {"units": True}
  config.arms = ("baseline",)
  config.sweep = {"key": "model.activation", "values": VALUES}
  return config
