"""The pass over a split that keeps what every stage of a network hands to the next."""

import functools
from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Int, Shaped

from sdt.data.dataset import Data, Dataset, image_sizes
from sdt.inputs.augment import centre_crop
from sdt.inputs.preprocess import Preparation, prepare
from sdt.models.stages import stage_features, stages_of
from sdt.types import Model, Variables


class View(NamedTuple):
  """How a network looks at examples.

  Attributes:
    by: what is done to the inputs.
    crop_size: of the middle that it sees; None for the whole image.
    batch_size: examples at once; it changes no result but in its last digits.
  """

  by: Preparation
  crop_size: int | None
  batch_size: int

  @classmethod
  def of(cls, data: Data, crop_size: int | None, batch_size: int) -> "View":
    """Returns the view of an evaluation on these data."""
    by = Preparation.of(data.mean, data.std, data.steps, dtype=data.train.inputs.dtype)
    return cls(by, crop_size, batch_size)


def features_by_stage(
  model: Model, variables: Variables, split: Dataset, *, view: View
) -> dict[str, Float32[np.ndarray, "N D"]]:
  """Returns `stage_features` of every example of a split, in one forward pass of each.

  The last batch is filled up with examples that do not count.

  Args:
    model: of the registry.
    variables: of one network, on the host.
    split: N examples.
    view: see there.
  Returns:
    stage -> [N, D], in the order of the forward pass.
  """
  program = jax.jit(functools.partial(_features, model, view.crop_size))
  size, parts = min(view.batch_size, len(split)), []
  for first in range(0, len(split), size):
    positions = np.arange(first, first + size)
    batch = split.inputs[positions % len(split)], image_sizes(split)[positions % len(split)]
    parts.append(jax.device_get(program(variables, *batch, view.by)))
  # A compiled program gives the stages in the order of the alphabet.
  return {
    stage: np.concatenate([part[stage] for part in parts])[: len(split)]
    for stage in stages_of(variables["params"])[:-1]
  }


def _features(
  model: Model,
  crop_size: int | None,
  variables: Variables,
  inputs: Shaped[Array, "B ..."],
  sizes: Int[Array, "B 2"],
  by: Preparation,
) -> Mapping[str, Float[Array, "B D"]]:
  inputs = prepare(centre_crop(inputs, sizes, crop_size), by)
  found = stage_features(model, variables, inputs)
  return {stage: leaf.astype(jnp.float32) for stage, leaf in found.items()}
