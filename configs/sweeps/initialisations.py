"""Eight ways to draw the weights of six layers of tanh: document 004's comparison, on digits.

    python run.py --config=configs/sweeps/initialisations.py

Layers of 256 units, not of 4,096, so that it takes minutes on two cores. Five seeds, the baseline
alone, SGD with momentum at one rate for all, which favours none on purpose. In the document's
figure the activations vanish at N(0, 0.01^2), saturate when the weights are large, and keep their
spread with Xavier; `monitor.units` draws that for the first and the last round.
"""

from ml_collections import ConfigDict

VALUES = (
  *("constant(0)", "normal(0.01)", "normal(0.25)", "uniform(0.05)"),
  *("he_fan_in", "xavier_lecun", "xavier_glorot", "orthogonal"),
)


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.data = {"name": "digits"}
  config.model = {"name": "mlp", "hidden_sizes": (256,) * 6, "activation": "tanh"}
  config.seeds = (0, 1, 2, 3, 4)
  config.rounds = 20
  config.batch_size = 64
  config.optim = {"learning_rate": 0.02, "schedule": "cosine"}
  config.monitor = {"units": True}
  config.arms = ("baseline",)
  config.sweep = {"key": "model.initialisation", "values": VALUES}
  return config
