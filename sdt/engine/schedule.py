"""The learning rate of every round."""

import numpy as np
from jaxtyping import Float64

from sdt.config.schema import OptimConfig


def learning_rates(config: OptimConfig, rounds: int) -> Float64[np.ndarray, "rounds"]:
  """Returns the learning rate of every round, float64 [rounds].

  All phases of a round share it: the paper trains each subset for E epochs "with the learning rate
  as above", so the clock counts rounds, not passes over a subset.
  """
  clock = np.arange(rounds)
  if config.schedule == "step":
    drops = np.searchsorted(np.sort(np.asarray(config.milestones)), clock, side="right")
    rates = config.learning_rate * np.power(config.decay_factor, drops)
  elif config.schedule == "cosine":
    rates = config.learning_rate * 0.5 * (1.0 + np.cos(np.pi * clock / rounds))
  else:
    rates = np.full(rounds, config.learning_rate)
  return rates
