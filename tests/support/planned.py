"""Settings with scores, and the plans of arms in them."""

import dataclasses

import numpy as np

from sdt.arms.planning import Setting, make_plan
from sdt.scores.split import Sizes, split
from tests.support import tiny


def setting(num_examples=70, seeds=(0, 1), size=20, left_out=0, **changes):
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
  size = Sizes(size, left_out=left_out)
  parts = tuple(
    split(one, of, size, seed=seed, rule=config.split)
    for one, seed in zip(scores, seeds, strict=True)
  )
  return dataclasses.replace(of, partitions=parts)


def phases(arm, of):
  return {phase.name: phase for phase in make_plan(arm, of).phases}
