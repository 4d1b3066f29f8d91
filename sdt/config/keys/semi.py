"""The keys of learning from unlabelled examples."""

import dataclasses

from sdt.config.keys.declare import config_key


@dataclasses.dataclass(frozen=True)
class SemiConfig:
  """How phases with unlabelled examples, such as all&unlabelled@baseline[fixmatch=1], use them."""

  ratio: int = config_key(
    3,
    "unlabelled examples of a step, as a multiple of batch_size",
    low=1,
    high=64,
    is_later=True,
  )
  threshold: float = config_key(
    0.95,
    "fixmatch: a guess counts from this probability on",
    low=0.0,
    high=1.0,
    is_later=True,
  )
  temperature: float = config_key(
    0.5,
    "mixmatch: T; guesses are sharpened to p^(1/T)",
    above=0.0,
    high=1.0,
    is_later=True,
  )
  mixing_alpha: float = config_key(
    0.75,
    "mixmatch: examples are mixed with a weight max(w, 1 - w), w drawn from Beta(alpha, alpha)",
    above=0.0,
    high=1e3,
    is_later=True,
  )
  ramp_rounds: int = config_key(
    0,
    "mixmatch: its factor grows from 0 in equal steps over so many rounds; 0: it is whole at once",
    low=0,
    is_later=True,
  )
