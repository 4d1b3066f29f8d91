"""oneDNN's convolutions on a CPU, which XLA can call and does not by default.

Measured in docs/speed.md. They have a price: JAX cannot write a program that calls them to its
cache on the disk, and jax 0.12 must not try. So only programs with large convolutions call them:
small ones would lose more in compiling than they win.
"""

import contextlib
import functools
import math
import re
import threading
from collections.abc import Iterator, Mapping

import jax
import jax.numpy as jnp
from jax import lax

# oneDNN takes convolutions from Eigen; YNNPACK, which would come before it, keeps matrix products.
SWITCH = "xla_cpu_experimental_onednn_custom_call"
OPTIONS: dict[str, str | bool] = {
  SWITCH: True,
  "xla_cpu_experimental_ynn_fusion_type": (
    "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT,LIBRARY_FUSION_TYPE_REDUCE"
  ),
}
CALL = "__onednn$convolution"
# The largest convolution of a program has at least so many floating-point operations.
SMALLEST = 2e8

_CONVOLUTION = re.compile(
  r"stablehlo\.convolution.*: \(tensor<\S+>, tensor<([\dx]+)xf32>\) -> tensor<([\dx]+)xf32>"
)
_KEEPING = threading.Lock()
_NOT_KEPT: list[float] = []


def options(
  lowered: jax.stages.Lowered, given: Mapping[str, str | bool]
) -> Mapping[str, str | bool]:
  """Returns the options of XLA with which to compile a program for CPUs.

  Args:
    lowered: the program.
    given: the user's options. They are kept, and whether one of them is `SWITCH` decides before the
      size of the program does.
  """
  is_large = largest_convolution(lowered.as_text() or "") >= SMALLEST
  return {**OPTIONS, **given} if given.get(SWITCH, is_large) and is_available() else given


def largest_convolution(text: str) -> float:
  """Returns the operations, 2 for each product, of the largest float32 convolution of a program.

  Args:
    text: of the program in StableHLO. Kernels end with their outputs, as `conv2d`'s do.
  """
  operations = [0.0]
  for kernel, result in _CONVOLUTION.findall(text):
    sizes = [int(size) for size in kernel.split("x")]
    operations.append(
      2.0 * math.prod(sizes[:-1]) * math.prod(int(size) for size in result.split("x"))
    )
  return max(operations)


@functools.cache
def is_available() -> bool:
  """Returns whether this jaxlib calls oneDNN when it is asked to."""

  def convolution(images: jax.Array, kernel: jax.Array) -> jax.Array:
    order = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(images, kernel, (1, 1), "SAME", dimension_numbers=order)

  args = (jnp.zeros((8, 8, 8, 8)), jnp.zeros((3, 3, 8, 8)))
  try:
    with not_kept():
      lowered = jax.jit(convolution).lower(*args)
      return CALL in (lowered.compile(compiler_options=OPTIONS).as_text() or "")
  except (jax.errors.JaxRuntimeError, ValueError):  # this XLA does not have an option
    return False


@contextlib.contextmanager
def not_kept() -> Iterator[None]:
  """Within it, programs of all threads are compiled and not written to JAX's cache on the disk."""
  name = "jax_persistent_cache_min_compile_time_secs"
  with _KEEPING:
    _NOT_KEPT.append(getattr(jax.config, name))
    jax.config.update(name, math.inf)
  try:
    yield
  finally:
    with _KEEPING:
      before = _NOT_KEPT.pop()
      if not _NOT_KEPT:
        jax.config.update(name, before)
