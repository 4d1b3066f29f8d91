"""The data set as compiled programs see it.

A program finds the rows of a batch by `Split.rows_of`. Nothing else in it depends on whether the
inputs are on the devices, whole, or come with every dispatch.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Int32, Shaped

from sdt.inputs.operations.smote import Neighbours
from sdt.inputs.preprocess import Preparation
from sdt.types import Leaf


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class WholeSplit:
  """The inputs of all examples of a split: an example is found by its id."""

  inputs: Leaf  # [N, ...]

  def rows_of(
    self, ids: Int[Array, "B"], offset: Int[Array, ""]
  ) -> tuple[Shaped[Array, "N ..."], Int[Array, "B"]]:
    """Returns an array of inputs, and the rows [B] of it that are the batch of these ids."""
    del offset
    return self.inputs, ids


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class DispatchBatches:
  """The inputs of the batches of one dispatch: a batch is found by its number in the dispatch."""

  inputs: Leaf  # [batches, B, ...]

  def rows_of(
    self, ids: Int[Array, "B"], offset: Int[Array, ""]
  ) -> tuple[Shaped[Array, "B ..."], Int32[Array, "B"]]:
    """Returns an array of inputs, and the rows [B] of it that are batch `offset`."""
    return self.inputs[offset], jnp.arange(ids.shape[0], dtype=jnp.int32)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Split:
  """One split on the devices; `inputs` is None where a dispatch does not use them."""

  inputs: WholeSplit | DispatchBatches | None
  sizes: Leaf  # [N, 2] int32, height and width of every image
  labels: Leaf  # [N] int32, or [N, D] float
  neighbours: Neighbours | None = None  # of the training set, where `augment.ops` has smote

  def rows_of(
    self, ids: Int[Array, "B"], offset: Int[Array, ""]
  ) -> tuple[Shaped[Array, "..."], Int[Array, "B"]]:
    """Returns an array of inputs, and the rows [B] of it that are a batch.

    Args:
      ids: [B] int32, positions in the split.
      offset: [] int32, number of the batch in the dispatch.
    """
    if self.inputs is None:
      raise ValueError("this dispatch was given no inputs of the split")
    return self.inputs.rows_of(ids, offset)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class DeviceData:
  """The data set as programs see it, and how its inputs are prepared."""

  train: Split
  test: Split
  preparation: Preparation
  unlabelled: Split | None = None  # whose labels are zeros

  def with_inputs(self, split: str, inputs: Leaf) -> "DeviceData":
    """Returns the data with the inputs [batches, B, ...] of one dispatch."""
    one = dataclasses.replace(getattr(self, split), inputs=DispatchBatches(inputs))
    return dataclasses.replace(self, **{split: one})


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Steps:
  """The batches of the T training steps of one dispatch, where the inputs are streamed."""

  ids: Leaf  # [R, T, B] int32, of the examples
  masks: Leaf  # [R, T, B] bool, which examples count
  inputs: Leaf  # [R, T, B, ...]
  unlabelled: "Steps | None" = None  # the same of the unlabelled examples, [R, T, U]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Feed:
  """What one dispatch of a training is given of the data set.

  It holds the inputs of the training set, of the test set, or of both: by what it holds, the
  program trains, evaluates, or does both.
  """

  data: DeviceData
  steps: Steps | None = None

  @property
  def trains(self) -> bool:
    return self.steps is not None or self.data.train.inputs is not None

  @property
  def evaluates(self) -> bool:
    return self.data.test.inputs is not None
