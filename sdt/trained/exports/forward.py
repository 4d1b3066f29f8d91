"""What every export computes: the logits of inputs as they are read, normalisation included."""

from typing import Any

import jax
import jax.export
import numpy as np
from jaxtyping import Array, Float, Shaped

from sdt.arrays import AnyArray
from sdt.inputs.preprocess import prepare
from sdt.models.conv import plain_convolutions
from sdt.trained.model import Model
from sdt.types import PyTree


def input_dtype(model: Model) -> np.dtype:
  """Returns uint8 for images, float32 for vectors."""
  return np.dtype(np.uint8 if len(model.input_shape) == 3 else np.float32)


def batch_of(model: Model) -> jax.ShapeDtypeStruct:
  """Returns shape and type of a batch of inputs; the number of examples is the symbol "batch"."""
  (batch,) = jax.export.symbolic_shape("batch")
  return jax.ShapeDtypeStruct((batch, *model.input_shape), input_dtype(model))


def constants_of(model: Model) -> dict[str, Any]:
  """Returns all numbers of the network: its variables, and "normalisation": a `Preparation`."""
  return {**model.variables, "normalisation": model.preparation(input_dtype(model))}


def forward(
  model: Model, constants: PyTree, inputs: Shaped[AnyArray, "B ..."]
) -> Float[Array, "B K"]:
  """Returns logits [B, K] of uint8 images [B, H, W, C] or float32 vectors [B, D], to be traced.

  It is the same program on all platforms, in float32: the convolutions are lax's own.

  Args:
    model: the network.
    constants: of `constants_of`.
    inputs: not normalised.
  """
  variables = {key: tree for key, tree in constants.items() if key != "normalisation"}
  with plain_convolutions():
    normalised = prepare(inputs, constants["normalisation"])
    return model.module.apply(variables, normalised, train=False)
