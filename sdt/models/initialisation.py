"""Distributions of initial weights, by name: `sdt.config.toolbox.network_blocks.INITS`.

Kernels are [..., C, O]: fan_in is the number of weights of an output, fan_out that of an input.
"""

import math
from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Float

type Shape = tuple[int, ...]
type Values = Float[np.ndarray, "..."]
# From (generator, shape) and the numbers of the config to float64 values of that shape.
type Draw = Callable[..., Values]


def fans(shape: Shape) -> tuple[int, int]:
  """Returns fan_in and fan_out of a kernel of this shape: [D, K], or [kh, kw, C, O]."""
  pixels = math.prod(shape[:-2])
  return pixels * shape[-2], pixels * shape[-1]


def _constant(generator: np.random.Generator, shape: Shape, value: float) -> Values:
  del generator
  return np.full(shape, value)


def _normal(generator: np.random.Generator, shape: Shape, sd: float) -> Values:
  return sd * generator.standard_normal(shape)


def _uniform(generator: np.random.Generator, shape: Shape, bound: float) -> Values:
  return bound * generator.uniform(-1.0, 1.0, shape)


def _with_variance(variance: Callable[..., float]) -> Draw:
  """Returns the draw of N(0, variance), with the variance from fan_in, fan_out and the numbers."""

  def draw(generator: np.random.Generator, shape: Shape, *numbers: float) -> Values:
    return _normal(generator, shape, math.sqrt(variance(*fans(shape), *numbers)))

  return draw


def _orthogonal(generator: np.random.Generator, shape: Shape, gain: float) -> Values:
  """Returns gain * Q, as a matrix [fan_in, O] with orthonormal columns, or rows if it is wide.

  Source: Saxe et al. 2014. Differs from source: none; Q of the QR decomposition with positive
  diagonal of R, so that all such matrices are equally likely.
  """
  rows, columns = math.prod(shape[:-1]), shape[-1]
  normal = generator.standard_normal((max(rows, columns), min(rows, columns)))
  q, r = np.linalg.qr(normal)
  q = q * np.where(np.diag(r) < 0, -1.0, 1.0)
  return gain * (q if rows >= columns else q.T).reshape(shape)


INITS: Mapping[str, Draw] = {
  "constant": _constant,
  "normal": _normal,
  "uniform": _uniform,
  "he_fan_in": _with_variance(lambda fan_in, fan_out: 2.0 / fan_in),
  "he_fan_out": _with_variance(lambda fan_in, fan_out: 2.0 / fan_out),
  "xavier_lecun": _with_variance(lambda fan_in, fan_out: 1.0 / fan_in),
  "xavier_glorot": _with_variance(
    lambda fan_in, fan_out, factor: factor * 2.0 / (fan_in + fan_out)
  ),
  "orthogonal": _orthogonal,
}
