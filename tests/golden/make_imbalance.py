"""Writes imbalance.npz: what imbalanced-learn makes of an imbalanced set, in class counts.

    python make_imbalance.py    # with imbalanced-learn 0.14.2, which sdt does not need

The labels are drawn here; counts are what the samplers leave of them.
"""

from pathlib import Path

import numpy as np
from imblearn.datasets import make_imbalance
from imblearn.over_sampling import RandomOverSampler
from imblearn.under_sampling import RandomUnderSampler

if __name__ == "__main__":
  rng = np.random.default_rng(0)
  balanced = np.repeat(np.arange(5), 40)
  points = rng.normal(size=(len(balanced), 2))
  kept = {0: 40, 1: 22, 2: 13, 3: 7, 4: 4}
  made, labels = make_imbalance(points, balanced, sampling_strategy=kept, random_state=0)
  order = rng.permutation(len(labels))
  made, labels = made[order], labels[order]
  found = {"balanced": balanced, "kept": np.bincount(labels), "labels": labels}
  for name, sampler in (("over", RandomOverSampler), ("under", RandomUnderSampler)):
    found[name] = np.bincount(sampler(random_state=0).fit_resample(made, labels)[1])
  np.savez_compressed(Path(__file__).with_name("imbalance.npz"), **found)
