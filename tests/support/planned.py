"""Settings with scores, and the plans of arms in them."""

import dataclasses
from typing import Any

import numpy as np

from sdt.arms.planning import make_plan
from sdt.arms.setting import Setting
from sdt.engine.plan import Phase
from sdt.scores.split import Sizes, split
from tests.support import tiny


def setting(
  num_examples: int = 70,
  seeds: tuple[int, ...] = (0, 1),
  size: int = 20,
  left_out: int = 0,
  **changes: Any,
) -> Setting:
  """Returns a setting with scores for each seed, and ids that differ from the positions."""
  config = tiny.config(seeds=seeds, **({"method__lambda_tuned": 3e-4} | changes))
  rng = np.random.default_rng(1)
  scores = rng.normal(size=(len(seeds), num_examples))
  labels = rng.integers(0, 3, num_examples).astype(np.int32)
  of = Setting(
    config,
    labels,
    np.arange(num_examples, dtype=np.int32) * 7,
    scores=scores,
    inputs=np.eye(num_examples, 3, dtype=np.float32),
    wrong_label=np.arange(num_examples) % 7 == 2,
  )
  sizes = Sizes(size, left_out=left_out)
  parts = tuple(
    split(one, of, sizes, seed=seed, rule=config.split)
    for one, seed in zip(scores, seeds, strict=True)
  )
  return dataclasses.replace(of, partitions=parts)


def phases(arm: str, of: Setting) -> dict[str, Phase]:
  return {phase.name: phase for phase in make_plan(arm, of).phases}
