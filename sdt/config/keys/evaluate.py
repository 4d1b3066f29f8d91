"""The keys of the predictions: what else the trained networks are asked, beside the centre."""

import dataclasses

from sdt.config.keys.declare import config_key
from sdt.config.toolbox.view_blocks import VIEWS

# The strengths of `prior_shift` that are tried lie so far apart.
SHIFT_STEP = 0.1


@dataclasses.dataclass(frozen=True)
class EvaluateConfig:
  """Further answers of the trained networks, means of probabilities; docs/predictions.md."""

  views: str = config_key(
    "centre",
    "views of a test image whose probabilities are averaged, such as 'flip shifts(1)'",
    calls=VIEWS,
    is_later=True,
  )
  dropout_samples: int = config_key(
    0,
    "passes with dropout on whose probabilities are averaged (MC dropout); 0 is off",
    low=0,
    high=1000,
    is_later=True,
  )
  snapshots: int = config_key(
    0,
    "networks of one training whose probabilities are averaged: those at the end of its last "
    "cycles; 0 is off",
    low=0,
    high=100,
    is_later=True,
  )
  prior_shift: float = config_key(
    0.0,
    "the largest strength tau that is tried for answers by log p - tau log(share of the class), "
    "chosen on a part of the training set that is held out: data.validation_fraction; 0 is off",
    low=0.0,
    high=10.0,
    is_later=True,
  )
  ensemble: bool = config_key(
    False,
    "the mean of the seeds' probabilities stands beside the single networks, with its intervals",
    is_later=True,
  )
