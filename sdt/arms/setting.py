"""What the arms of one run have in common."""

import dataclasses
import functools

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from sdt.arms import resampling
from sdt.config import Config
from sdt.data.dataset import Data
from sdt.inputs.order import num_batches
from sdt.scores.split import Partition


@dataclasses.dataclass(frozen=True)
class Setting:
  """What the arms of one run have in common.

  Attributes:
    config: of the run.
    labels: [N] int32 of the training set.
    example_ids: [N] int32.
    scores: [R, N] float, larger is easier: each seed splits by its own row. None before scoring,
      when only the baseline can be planned.
    partitions: of each seed, by `split.policy`.
    num_classes: K; 0 for as many as the labels name.
    inputs: [N, ...] of the training set, which only `cluster_all` reads.
    num_unlabelled: m, the training examples without a label, which are not among the N.
    wrong_label: [N] whether the label is not the true one; None where nobody knows.
  """

  config: Config
  labels: Shaped[np.ndarray, "N *D"]
  example_ids: Int[np.ndarray, "N"]
  scores: Float[np.ndarray, "R N"] | None = None
  partitions: tuple[Partition, ...] = ()
  num_classes: int = 0
  inputs: Shaped[np.ndarray, "N ..."] | None = None
  num_unlabelled: int = 0
  wrong_label: Bool[np.ndarray, "N"] | None = None

  @classmethod
  def of(cls, config: Config, data: Data) -> "Setting":
    """Returns the setting of a run on these data, before scoring."""
    train, num_classes = data.train, len(data.class_names)
    return cls(
      config,
      train.labels,
      train.example_ids,
      num_classes=num_classes,
      inputs=train.inputs,
      num_unlabelled=0 if data.unlabelled is None else len(data.unlabelled),
      wrong_label=train.wrong_label,
    )

  @functools.cached_property
  def clusters(self) -> Int[np.ndarray, "N"]:
    """The cluster of every example, the same for all seeds."""
    if self.inputs is None:
      raise ValueError("the clusters of the classes are made from the inputs, and there are none")
    seed = self.config.data.split_seed
    return resampling.clusters_of(self.inputs, self.labels, self.example_ids, seed=seed)

  @property
  def num_easy(self) -> int:
    """Size of A; 0 before there is one."""
    return len(self.partitions[0].easy) if self.partitions else 0

  def steps_of(self, num_examples: int) -> int:
    """Returns the optimiser steps of one pass over so many examples."""
    return num_batches(num_examples, self.config.batch_size)

  @property
  def steps_easy_rest(self) -> tuple[int, int]:
    """The optimiser steps of A and of B in a round of the method.

    Examples that are left out count as B's here, so that arms of equal work stay equal: B's own
    examples come round again for the difference.
    """
    return self.steps_of(self.num_easy), self.steps_of(len(self.labels) - self.num_easy)
