"""The preprocessing of a batch inside the compiled step: what `data.normalise` names.

The statistics come from `sdt.data.preprocess`.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Float32, Shaped

from sdt.arrays import AnyArray
from sdt.data.dataset import Step
from sdt.inputs.augment import normalise, shift_and_scale
from sdt.types import Leaf


@functools.partial(jax.tree_util.register_dataclass, data_fields=("arrays",), meta_fields=("kind",))
@dataclasses.dataclass(frozen=True)
class Applied:
  """A `Step` on the devices, or on the host."""

  kind: str
  arrays: tuple[Leaf, ...]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Preparation:
  """What is done to the inputs: (x - shift) * scale, then the steps.

  Attributes:
    shift, scale: see `normalise`.
    steps: in order; none with `data.normalise=channel`.
  """

  shift: Leaf
  scale: Leaf
  steps: tuple[Applied, ...] = ()

  @property
  def mean_colour(self) -> Leaf | None:
    """[C], the mean of each channel in units of a pixel; None where places have their own."""
    return self.shift if self.shift.ndim == 1 else None

  @classmethod
  def of(
    cls,
    mean: Float[np.ndarray, "*s"],
    std: Float[np.ndarray, "*s"],
    steps: tuple[Step, ...],
    *,
    dtype: DTypeLike,
  ) -> "Preparation":
    """Returns the preparation of inputs of this dtype, on the host; see `Data` for the others."""
    applied = tuple(Applied(step.kind, step.arrays) for step in steps)
    return cls(*shift_and_scale(mean, std, dtype), applied)


def prepare(inputs: Shaped[AnyArray, "B ..."], by: Preparation) -> Float32[Array, "B ..."]:
  """Returns what the network is given of a batch of images or vectors, float32."""
  prepared = normalise(inputs, by.shift, by.scale)
  for step in by.steps:
    prepared = APPLY[step.kind](prepared, *step.arrays)
  return prepared


def _affine(
  x: Float32[Array, "B ..."], shift: AnyArray, scale: AnyArray
) -> Float32[Array, "B ..."]:
  return normalise(x, shift, scale)


def _without_mean(x: Float32[Array, "B ..."]) -> Float32[Array, "B ..."]:
  return x - jnp.mean(x, axis=tuple(range(1, x.ndim)), keepdims=True)


def _each_image(x: Float32[Array, "B ..."]) -> Float32[Array, "B ..."]:
  """Returns (x - mean) / max(sd, 1/sqrt(n)) of each example, whose n numbers are its own.

  Source: TensorFlow's tf.image.per_image_standardization.
  """
  axes, floor = tuple(range(1, x.ndim)), 1.0 / math.sqrt(math.prod(x.shape[1:]))
  centred = _without_mean(x)
  spread = jnp.sqrt(jnp.mean(centred * centred, axis=axes, keepdims=True))
  return centred / jnp.maximum(spread, floor)


def _whitened(
  x: Float32[Array, "B ..."], mean: Float32[AnyArray, "D"], matrix: Float32[AnyArray, "D D"]
) -> Float32[Array, "B ..."]:
  """Returns (x - mean) M of the flat examples, in their shape."""
  flat = x.reshape(x.shape[0], -1) - mean.reshape(1, -1)
  return jnp.matmul(flat, matrix, precision=jax.lax.Precision.HIGHEST).reshape(x.shape)


APPLY: Mapping[str, Callable[..., Float32[Array, "B ..."]]] = {
  "affine": _affine,
  "image": _each_image,
  "dc": _without_mean,
  "whiten": _whitened,
}
